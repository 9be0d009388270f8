"""The spool's directory: segments that are written in order, synced, read again and removed.

    DIR/lock                       held while a daemon uses the directory
    DIR/0000000000000042.spool     a segment; only the newest one grows
    DIR/0000000000000041.damaged   a segment that could not be read to its end, kept for a human

Everything here blocks: `adapters.files.spool` calls it from threads, one call at a time.

A segment whose writing or syncing has failed is not written to again: after a failed sync nobody
knows which of its pages are on the disk, and a second sync that succeeds would not show it. What it
held before the failure was synced before; what came with the failure is cut off, and is not
acknowledged.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sidecar.wire.store.spool_records import (
    HEADER_BYTES,
    SALT_BYTES,
    SegmentReading,
    decode_segment,
    encode_header,
    encode_record,
)

_SEGMENT = re.compile(r"([0-9]{16})\.(spool|damaged)")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW


class SpoolInUse(Exception):  # noqa: N818 - named by who must act: the operator
    """Another process has this directory: each daemon needs a spool of its own."""


class Appended(NamedTuple):
    """The result of an append: how many payloads are on the disk, and why not all of them."""

    kept: int
    error: OSError | None = None


class _Active:
    """The segment that grows. `size` counts what is synced."""

    __slots__ = ("fd", "number", "salt", "size")

    def __init__(self, fd: int, number: int, salt: bytes) -> None:
        self.fd = fd
        self.number = number
        self.salt = salt
        self.size = 0


class SpoolFiles:
    """The segments in `directory`, which is this process's own from now on.

    `segments` are those that wait, by number, with their size; `bytes` is what all files take up,
    those that were set aside included. `sync(fd)` puts on the disk what was written.
    """

    def __init__(
        self, directory: str, segment_bytes: int, sync: Callable[[int], None] = os.fsync
    ) -> None:
        """Take the directory. Raises `SpoolInUse`, and OSError where it cannot be used."""
        self._directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._active: _Active | None = None
        self.segments: dict[int, int] = {}
        self.bytes = 0
        self._next = 1
        _make(self._directory, sync)
        self._lock = _lock(self._directory / "lock")
        try:
            self._scan()
        except BaseException:
            os.close(self._lock)
            raise

    def _scan(self) -> None:
        for entry in os.scandir(self._directory):
            found = _SEGMENT.fullmatch(entry.name)
            if found is None or not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                continue
            number, size = int(found[1]), entry.stat(follow_symlinks=False).st_size
            self._next = max(self._next, number + 1)
            self.bytes += size
            if found[2] == "spool":
                self.segments[number] = size

    def name(self, number: int) -> str:
        """Return the file name of a segment."""
        return f"{number:016d}.spool"

    def _path(self, number: int) -> Path:
        return self._directory / self.name(number)

    # Writing

    def append(self, payloads: Sequence[bytes]) -> Appended:
        """Put payloads on the disk: each segment that they reach is synced once."""
        kept = 0
        while kept < len(payloads):
            try:
                active = self._active or self._open()
                kept += self._write(active, payloads[kept:])
            except OSError as error:
                self._abandon()
                return Appended(kept, error)
            if active.size >= self._segment_bytes:
                self.seal()
        return Appended(kept)

    def _open(self) -> _Active:
        number, self._next = self._next, self._next + 1
        salt = secrets.token_bytes(SALT_BYTES)
        active = _Active(os.open(self._path(number), _CREATE, 0o600), number, salt)
        self._active = active
        return active

    def _write(self, active: _Active, payloads: Sequence[bytes]) -> int:
        """Write and sync as many as the segment takes, one at least; returns how many."""
        frames = [] if active.size else [encode_header(active.salt)]
        size = active.size or HEADER_BYTES
        written = 0
        for payload in payloads:
            if written and size >= self._segment_bytes:
                break
            frame = encode_record(active.salt, size, payload)
            frames.append(frame)
            size += len(frame)
            written += 1
        _write_all(active.fd, b"".join(frames))
        self._sync(active.fd)
        if not os.fstat(active.fd).st_nlink:  # somebody took it away: it is gone when it is closed
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not active.size:
            _sync_directory(self._directory, self._sync)
        self.bytes += size - active.size
        self.segments[active.number] = active.size = size
        return written

    def seal(self) -> None:
        """Write no more to the segment that grows; the next event begins another."""
        active, self._active = self._active, None
        if active is not None:
            with suppress(OSError):  # all that was acknowledged is synced
                os.close(active.fd)

    def _abandon(self) -> None:
        active = self._active
        if active is None:
            return
        with suppress(OSError):
            os.ftruncate(active.fd, active.size)
        self.seal()
        if not active.size:
            with suppress(OSError):
                self._path(active.number).unlink()

    # Reading

    def read(self, number: int) -> SegmentReading:
        """Read a segment. Raises OSError."""
        fd = os.open(self._path(number), _READ)
        with os.fdopen(fd, "rb") as file:
            return decode_segment(file.read())

    def remove(self, number: int) -> None:
        """Remove a segment of which everything has been accepted. Raises OSError."""
        self._path(number).unlink(missing_ok=True)
        self.bytes -= self.segments.pop(number, 0)

    def set_aside(self, number: int) -> None:
        """Keep a segment for a human, as `.damaged`. Raises OSError."""
        path = self._path(number)
        path.replace(path.with_suffix(".damaged"))
        del self.segments[number]

    def close(self) -> None:
        """Let the directory go."""
        self.seal()
        os.close(self._lock)


def _make(directory: Path, sync: Callable[[int], None]) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        with suppress(PermissionError):  # a mount point may belong to somebody else
            directory.chmod(0o700)
    else:
        _sync_directory(directory.parent, sync)


def _lock(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SpoolInUse(f"{path} is locked by a running process") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _sync_directory(directory: Path, sync: Callable[[int], None]) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
