"""Secrets in files of their own: whoever rotates one restarts nothing, and sends no signal.

A file is looked at with each use (`stat`), and read again when it has changed. What then holds
where it cannot be read, or holds no line of text, depends on whose secret it is. One that others
show to us holds no more: nobody passes by it (`kept=False`). One that we show to others holds as it
last was: they say whether it is still good (`kept=True`).
"""

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import trio

from sidecar.adapters.files.regular_files import check_regular, read_text
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.config.secret_files import read_secret
from sidecar.wire.yaml.scalars import Misspelt


def _ignore(reason: str) -> None:
    """Do nothing."""


class FileStamp(NamedTuple):
    """A file as it is now, links followed: whatever replaces it has another."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def stamp_of(path: str) -> FileStamp:
    """Return the stamp of a regular file; raises OSError."""
    found = os.stat(path)  # noqa: PTH116 - on the way of a request: half the time of pathlib's
    check_regular(path, found)
    return FileStamp(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


class SecretFile:
    """One line of text in a file, as it now is. May be used from several threads.

    `on_state` gets the reason why it cannot be read, once a failure, and "" once it can again.
    """

    def __init__(
        self, path: str, on_state: Callable[[str], None] = _ignore, *, kept: bool = True
    ) -> None:
        self.path = path
        self._on_state = on_state
        self._kept = kept
        self._text = ""
        self._seen: FileStamp | None = None
        self._is_failing = False
        self._reason = ""
        self._lock = threading.Lock()

    def current(self) -> str:
        """Return the secret; empty where there is none. Blocks for a small file's time."""
        with self._lock:
            try:
                # Looked at before it is read: a change in between is seen the next time.
                seen = stamp_of(self.path)
                if seen != self._seen:
                    self._text, self._seen = self._read(), seen
            except (OSError, Misspelt) as error:
                self._seen = None
                self._text = self._text if self._kept else ""
                self._say(words_of(error))
            else:
                self._say("")
            return self._text

    def _read(self) -> str:
        """Read it; one that others show is without the blanks that no header has at its ends."""
        found = read_secret(self.path, read_text)
        return found if self._kept else found.strip()

    async def text(self) -> str:
        """Return the secret; raises `Unavailable` where there is none."""
        await trio.lowlevel.checkpoint()
        found = self.current()
        if not found:
            raise Unavailable(f"{self.path} cannot be used: {self._reason}")
        return found

    def _say(self, reason: str) -> None:
        self._reason = reason
        if bool(reason) is not self._is_failing:
            self._is_failing = bool(reason)
            self._on_state(reason)
