"""Secrets in files of their own, read again now and then: whoever rotates one restarts nothing."""

import math
from collections.abc import Callable

import trio

from sidecar.adapters.documents import read_file
from sidecar.service.answers import Unavailable

FRESH = 5.0
"""Seconds for which what was read is not read again."""


def _ignore(reason: str) -> None:
    """Nobody listens."""


class SecretFile:
    """One line of text in a file. While it cannot be read, what was read before holds.

    `on_failure` is told, once a failure, why it cannot be read.
    """

    def __init__(self, path: str, on_failure: Callable[[str], None] = _ignore) -> None:
        self._path = path
        self._on_failure = on_failure
        self._text = ""
        self._read_at = -math.inf
        self._failing = False

    async def text(self) -> str:
        """The secret as it now is; raises `Unavailable` where it was never read."""
        if trio.current_time() - self._read_at < FRESH and self._text:
            return self._text
        self._read_at = trio.current_time()
        try:
            text = (await read_file(self._path)).decode().rstrip("\r\n")
        except (Unavailable, UnicodeDecodeError) as error:
            self._failed("it is no text" if isinstance(error, UnicodeError) else str(error))
        else:
            if text and text.isprintable():
                self._text, self._failing = text, False
            else:
                self._failed("it must hold one line of text")
        if not self._text:
            raise Unavailable("a secret cannot be read")
        return self._text

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            self._on_failure(reason)
