"""Replaces files as a whole: who reads them sees the old or the new, never a part."""

import contextlib
import errno
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write the text beside the file and put it in its place; raises OSError, and changes nothing.

    The file keeps its mode and, where we may, its owner. A link stays one: what it leads to is
    replaced.
    """
    path = path.resolve(strict=True)
    before = path.stat()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_texts(directory: Path, texts: Mapping[str, str]) -> None:
    """Write files by their paths below a directory: all of them, or none.

    Directories are made as they are needed. What is there under such a name is replaced; a link is,
    too, and not what it leads to. Raises OSError; neither that nor an interrupt leaves a part.
    """
    made: list[Path] = []
    aside: dict[Path, Path] = {}
    try:
        for name, text in texts.items():
            file = directory / name
            _make_directory(file.parent, made)
            _check_replaceable(file)
            aside[file] = file.with_name(f".{file.name}.{os.getpid()}")
            with aside[file].open("x", encoding="utf-8", newline="") as opened:
                opened.write(text)
        with _uninterrupted():
            for file, written in aside.items():
                written.replace(file)
    except BaseException:
        for written in aside.values():
            written.unlink(missing_ok=True)
        for one in reversed(made):
            with contextlib.suppress(OSError):  # it is not empty: all was written
                one.rmdir()
        raise


def _check_replaceable(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))


def _make_directory(path: Path, made: list[Path]) -> None:
    """Make a directory and those above it, and add to `made` what was not there."""
    if path.is_dir():
        return
    _make_directory(path.parent, made)
    path.mkdir()
    made.append(path)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have an interrupt wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
