"""Reads regular files alone: to open a pipe, or to read a device, may take for ever."""

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 16 * 1_048_576
"""Bytes of the largest file that is read as a whole, if the caller does not say otherwise."""


def check_regular(path: str | Path, found: os.stat_result) -> None:
    """Raise OSError unless what `stat` has found there is a regular file."""
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def open_at_once(path: str, mode: int) -> int:
    """Open without waiting, as `open` takes it for its `opener`."""
    return os.open(path, mode | os.O_NONBLOCK)


def read_bytes(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """Return what a regular file holds; raises OSError, also where that is more than `most`."""
    with open(path, "rb", opener=open_at_once) as file:
        found = os.fstat(file.fileno())
        check_regular(path, found)
        if found.st_size > most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.read()


def read_text(path: str | Path) -> str:
    """Return the text in a regular file; raises OSError, or UnicodeDecodeError."""
    text = read_bytes(path).decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")
