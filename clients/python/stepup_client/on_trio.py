"""The client on trio.

async with TrioClient() as sidecar:
    decision = await sidecar.check(token, context="c1", ip=address)
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import trio

from stepup_client.connection.asynchronous import AsyncClient, Cut, Loop, Notice

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # trio brings it

READ_SIZE = 65536


class TrioClient(AsyncClient):
    """`AsyncClient` for trio."""

    def __init__(self, path: str = "", *, timeout: float = 5.0, connections: int = 16) -> None:
        super().__init__(TrioLoop(), path, timeout=timeout, connections=connections)


class TrioLoop(Loop):
    """Whichever trio loop is running."""

    def __init__(self) -> None:
        # A client may outlive a run, and what waits in a semaphore belongs to one.
        self._turns: trio.lowlevel.RunVar[trio.Semaphore] = trio.lowlevel.RunVar("turns")

    async def connect(self, connection: socket.socket, path: str) -> None:
        """Connect a socket."""
        await trio.socket.from_stdlib_socket(connection).connect(path)

    async def send(self, connection: socket.socket, data: bytes) -> None:
        """Send all."""
        stream = trio.socket.from_stdlib_socket(connection)
        unsent = memoryview(data)
        while unsent:
            unsent = unsent[await stream.send(unsent) :]

    async def receive(self, connection: socket.socket) -> bytes:
        """Receive some."""
        return await trio.socket.from_stdlib_socket(connection).recv(READ_SIZE)

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError if the body takes longer."""
        return _within(seconds)

    async def take_turn(self, count: int) -> Callable[[], None]:
        """Wait for one of `count` turns of this run."""
        try:
            turns = self._turns.get()
        except LookupError:
            turns = trio.Semaphore(count)
            self._turns.set(turns)
        await turns.acquire()
        return turns.release

    def notice(self) -> Notice:
        """Make a notice for the running loop."""
        return _Notice()

    @asynccontextmanager
    async def cutting(self) -> AsyncIterator[Cut]:
        """Run a body that may be cut off."""
        failed: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                yield _Cut(nursery)
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            # One error of the body, as it would be without a nursery around it.
            if len(group.exceptions) != 1:
                raise
            failed = group.exceptions[0]
        if failed is not None:
            raise failed


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise TimeoutError("it took too long") from None


class _Notice:
    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._woken = trio.Event()

    def wake(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._set)

    def _set(self) -> None:
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._woken.wait()
        self._woken = trio.Event()


class _Cut:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.why = ""
        self._nursery = nursery

    def watch(self, until: Callable[[], Awaitable[str]]) -> None:
        self._nursery.start_soon(self._watch, until)

    async def _watch(self, until: Callable[[], Awaitable[str]]) -> None:
        self.why = await until()
        self._nursery.cancel_scope.cancel()
