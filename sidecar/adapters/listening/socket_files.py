"""A listening unix socket as a file: bound without a gap, never stolen, removed only if ours.

A file that a dead process left behind is replaced; one that a live process listens on is an
error. Two processes that start at once are kept apart by a lock on `PATH.lock`, which stays: to
remove a lock file is to race with whoever has just opened it.
"""

import errno
import fcntl
import grp
import os
import socket
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecar.domain.values.causes import words_of

BACKLOG = 512


LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path at most (unix(7), `sun_path`)."""

_SUFFIX = ".new"
_LONGEST = LONGEST_PATH - len(_SUFFIX)
"""Bytes of a path that leave room for the name it is bound under first."""


_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def usual_path(path: str, environ: Mapping[str, str]) -> str:
    """Return where a socket goes that nothing names: to `path`, if it can be made there.

    Else into the user's own directory for such things (the XDG base directory specification), if
    there is one; clients look there, too. Where others may write, or it is another's, anybody could
    listen in the daemon's place.
    """
    directory = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if os.access(Path(path).parent, os.W_OK | os.X_OK) or not _is_ours(directory):
        return path
    return str(directory / Path(path).name)


def _is_ours(directory: Path) -> bool:
    try:
        found = directory.stat()
    except OSError:
        return False
    is_private = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    return is_private and directory.is_absolute() and os.access(directory, os.W_OK | os.X_OK)


class AddressInUse(Exception):  # noqa: N818 - named by who must act: the operator
    """Somebody else has this socket, or something else stands in its place."""


class UnusableGroup(OSError):  # noqa: N818 - named by who must act: the operator
    """There is no such group, or the socket cannot be given to it."""


class SocketFile:
    """A listening socket at `path`. Release it, or use it as a context, to unlink the file."""

    def __init__(self, path: str, mode: int, group: str = "") -> None:
        """Bind; blocks shortly. Raises `AddressInUse`, and OSError where there can be no file.

        `mode` holds before anybody can connect. `group` is a name or number; `UnusableGroup`.
        """
        self.path = path
        number = group_id(group)
        if (size := len(os.fsencode(path))) > _LONGEST:
            words = f"is too long for a unix socket: {size} bytes, of {_LONGEST} at most"
            raise OSError(errno.ENAMETOOLONG, f"{path}: {words}")
        try:
            self._lock = lock(f"{path}.lock")
        except OSError as error:
            raise _of_path(path, error) from None
        try:
            _make_room(path)
            self.socket = _listen(path, mode, number)
            self._identity = _identity(path)
        except UnusableGroup:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise _of_path(path, error) from None
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


def _of_path(path: str, error: OSError) -> OSError:
    """Return an error that speaks of the socket, and not of what is made beside it first."""
    directory = os.path.dirname(path) or "."  # noqa: PTH120 - as it is written
    words = words_of(error)
    if isinstance(error, FileNotFoundError):
        words = f"there is no directory {directory}; create it, or mount it"
    elif isinstance(error, PermissionError):
        words = f"{words}: this user cannot write to {directory}"
    return OSError(error.errno, f"{path}: {words}")


def lock(path: str) -> int:
    """Lock a file that ends with `.lock` until it is closed; raises `AddressInUse`, or OSError."""
    locked = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(locked)
        of = path.removesuffix(".lock")
        raise AddressInUse(f"{of} is locked by a running process, maybe another sidecar") from None
    return locked


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
            raise AddressInUse(f"{path} cannot be probed: {words_of(error)}") from None
    raise AddressInUse(f"{path} belongs to a running process")


def _listen(path: str, mode: int, group: int) -> socket.socket:
    # Bound under another name and moved into place: at `path` there is always somebody who
    # listens, with the final mode.
    fresh = Path(f"{path}{_SUFFIX}")
    fresh.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(fresh))
        fresh.chmod(mode)
        if group >= 0:
            _give(fresh, group)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        fresh.replace(path)
    except BaseException:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def group_id(group: str) -> int:
    """Return the number of a group by its name or number; -1 for none. Raises `UnusableGroup`."""
    if not group:
        return -1
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        words = f"there is no group {group!r} in /etc/group here; give its number"
        raise UnusableGroup(errno.ENOENT, words) from None


def _give(file: Path, group: int) -> None:
    try:
        os.chown(file, -1, group)
    except OSError as error:
        words = f"the socket cannot be given to group {group}: {words_of(error)}"
        raise UnusableGroup(error.errno, f"{words}; this user must be in it") from error


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
