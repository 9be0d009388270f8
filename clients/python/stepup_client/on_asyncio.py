"""The client on asyncio.

async with AsyncioClient() as sidecar:
    decision = await sidecar.check(token, context="c1", ip=address)
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - apps run on it
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from weakref import WeakKeyDictionary

from stepup_client.connection.asynchronous import AsyncClient, Cut, Loop, Notice
from stepup_client.connection.asyncio_timeout import timeout

READ_SIZE = 65536


class AsyncioClient(AsyncClient):
    """`AsyncClient` for asyncio (also uvloop)."""

    def __init__(self, path: str = "", *, timeout: float = 5.0, connections: int = 16) -> None:
        super().__init__(AsyncioLoop(), path, timeout=timeout, connections=connections)


class AsyncioLoop(Loop):
    """Whichever asyncio loop is running."""

    def __init__(self) -> None:
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )

    async def connect(self, connection: socket.socket, path: str) -> None:
        """Connect a socket."""
        await asyncio.get_running_loop().sock_connect(connection, path)

    async def send(self, connection: socket.socket, data: bytes) -> None:
        """Send all."""
        await asyncio.get_running_loop().sock_sendall(connection, data)

    async def receive(self, connection: socket.socket) -> bytes:
        """Receive some."""
        return await asyncio.get_running_loop().sock_recv(connection, READ_SIZE)

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError if the body takes longer."""
        return timeout(seconds)

    async def take_turn(self, count: int) -> Callable[[], None]:
        """Wait for one of `count` turns of this loop."""
        loop = asyncio.get_running_loop()
        turns = self._turns.get(loop)
        if turns is None:
            turns = self._turns[loop] = asyncio.Semaphore(count)
        await turns.acquire()
        return turns.release

    def notice(self) -> Notice:
        """Make a notice for the running loop."""
        return _Notice()

    @asynccontextmanager
    async def cutting(self) -> AsyncIterator[Cut]:
        """Run a body that may be cut off."""
        cut = _Cut()
        try:
            async with cut.limit:
                yield cut
        except TimeoutError:
            if not cut.why:
                raise
        finally:
            await cut.end()


class _Notice:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with timeout(seconds):
                await self._woken.wait()
        self._woken.clear()


class _Cut:
    """Cancels its body by a time-out that is set when the time has come."""

    def __init__(self) -> None:
        self.why = ""
        self.limit = timeout(None)
        self._task: asyncio.Task[None] | None = None

    def watch(self, until: Callable[[], Awaitable[str]]) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._watch(until))

    async def _watch(self, until: Callable[[], Awaitable[str]]) -> None:
        why = await until()
        self.why = why
        with suppress(RuntimeError):  # the body has just ended by itself
            self.limit.reschedule(asyncio.get_running_loop().time())

    async def end(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error
