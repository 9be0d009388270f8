"""A table's file: made whole beside its place, readable by one group, and put there at once."""

import contextlib
import mmap
import os
from pathlib import Path

from sidecar.adapters.listening.socket_files import group_id, lock
from sidecar.wire.shared_table import layout

MODE = 0o640
_FRESH = ".new"
_BOOT = "/proc/sys/kernel/random/boot_id"


def boot_id() -> bytes:
    """Return the machine's boot as 16 bytes; raises OSError where there is none to be had."""
    text = Path(_BOOT).read_text(encoding="ascii").strip().replace("-", "")
    try:
        return bytes.fromhex(text)[:16].ljust(16, b"\0")
    except ValueError as error:
        raise OSError(f"{_BOOT} is no id") from error


def path_of(socket: str) -> str:
    """Return where the table is that nothing names: beside the socket."""
    return str(Path(socket).with_name(layout.FILE_NAME))


class MappedFile:
    """Memory that is a file: `words` to write to, until `close`."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._identity = _identity(os.fstat(descriptor))
        self._memory = mmap.mmap(descriptor, size)
        self.words = memoryview(self._memory).cast("Q")

    def unlink(self, path: str) -> None:
        """Take the file away from a path, where it still is that path's."""
        with contextlib.suppress(OSError):
            if _identity(os.lstat(path)) == self._identity:
                Path(path).unlink()


class TableFiles:
    """Makes the files of a table at `path`, for the group of that name or number to read."""

    def __init__(self, path: str, group: str = "") -> None:
        self.path = path
        self._group = group
        self._lock = -1
        self._current: MappedFile | None = None

    def claim(self) -> None:
        """Have the place to ourselves; a table that lies there is dead from then on.

        Raises `AddressInUse` where a running process has it, and OSError.
        """
        self._lock = lock(f"{self.path}.lock")
        self._bury()

    def make(self, slots: int) -> MappedFile:
        """Make a file of zeros for so many slots, and put it in its place. Raises OSError.

        Its blocks are reserved: a volume that is full says so here, and not by a signal when a
        word is written.
        """
        size = layout.size_of(slots)
        fresh = Path(self.path + _FRESH)
        fresh.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            group = group_id(self._group)
            if group >= 0:
                os.chown(descriptor, -1, group)
            os.fchmod(descriptor, MODE)
            made = MappedFile(descriptor, size)
            fresh.replace(self.path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        self._current = made
        return made

    def release(self) -> None:
        """Take away what we put there, and give up the place."""
        if self._current is not None:
            self._current.unlink(self.path)
        if self._lock >= 0:
            os.close(self._lock)
        self._current, self._lock = None, -1

    def _bury(self) -> None:
        """Mark what an earlier life left there as dead, for whoever has it in its memory."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_size >= layout.HEADER_BYTES:
                    dead = layout.DEAD.to_bytes(layout.WORD, "little")
                    os.pwrite(descriptor, dead, layout.AT_STATE * layout.WORD)
            finally:
                os.close(descriptor)
            Path(self.path).unlink()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
