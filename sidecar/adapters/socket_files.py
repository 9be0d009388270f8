"""A listening unix socket as a file: bound without a gap, never stolen, removed only if ours.

A file that a dead process left behind is replaced; one that a live process listens on is an
error. Two processes that start at once are kept apart by a lock on `PATH.lock`, which stays: to
remove a lock file is to race with whoever has just opened it.
"""

import fcntl
import grp
import os
import socket
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

BACKLOG = 512


class AddressInUse(Exception):  # noqa: N818 - named by who must act: the operator
    """Somebody else has this socket, or something else stands in its place."""


class SocketFile:
    """A listening socket at `path`. Release it, or use it as a context, to unlink the file."""

    def __init__(self, path: str, mode: int, group: str = "") -> None:
        """Blocks shortly. Raises `AddressInUse`, and OSError where the file cannot be made.

        `mode` holds before anybody can connect. `group` is a name or number; KeyError: none such.
        """
        self.path = path
        self._lock = _lock(f"{path}.lock")
        try:
            _make_room(path)
            self.socket = _listen(path, mode, _group_id(group))
            self._identity = _identity(path)
        except BaseException:
            os.close(self._lock)
            raise

    def release(self) -> None:
        """Close the socket, and unlink the file if it is still ours."""
        self.socket.close()
        if self._lock < 0:
            return
        if _identity(self.path) == self._identity:
            Path(self.path).unlink()
        os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _lock(path: str) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AddressInUse(f"{path} is locked by a running process") from None
    return lock


def _make_room(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AddressInUse(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return  # nobody listens
        except OSError as error:
            raise AddressInUse(f"{path} cannot be probed: {error.strerror or error}") from None
    raise AddressInUse(f"{path} belongs to a running process")


def _listen(path: str, mode: int, group: int) -> socket.socket:
    # Bound under another name and moved into place: at `path` there is always somebody who
    # listens, with the final mode.
    fresh = Path(f"{path}.new")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(fresh))
        fresh.chmod(mode)
        if group >= 0:
            os.chown(fresh, -1, group)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        fresh.replace(path)
    except BaseException:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def _group_id(group: str) -> int:
    if not group:
        return -1
    return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
