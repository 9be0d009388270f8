"""The client for any event loop, which `on_asyncio` and `on_trio` bring.

Connections are plain sockets that no loop owns, so one client may serve one loop after another, as
test clients make them, also in several threads. At most `connections` calls of a loop are under
way; a further one waits for its turn. A process that was forked opens connections of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stepup_client.connection import requests
from stepup_client.connection.calls import AsyncCalls
from stepup_client.connection.liveness import is_closed
from stepup_client.connection.protocol import (
    Change,
    Lines,
    Stale,
    Unreachable,
    accepted,
    change_of,
    decoded,
    matched,
    named_path,
    referred,
    unreachable,
    usual_path,
)

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Notice(Protocol):
    """Something that one task waits for and any thread may bring about, again and again."""

    def wake(self) -> None:
        """Wake who waits; from any thread, and also when the loop has ended."""

    async def wait(self, seconds: float) -> None:
        """Return when woken since the last time, or after so many seconds."""


class Cut(Protocol):
    """The end that may come to the body of `Loop.cutting`. `why` is empty while it has not."""

    why: str

    def watch(self, until: Callable[[], Awaitable[str]]) -> None:
        """Run `until` beside the body; when it returns why, the body is cancelled."""


class Loop(Protocol):
    """An event loop, as the client needs it. All of it raises OSError as sockets do."""

    async def connect(self, connection: socket.socket, path: str) -> None:
        """Connect a socket."""

    async def send(self, connection: socket.socket, data: bytes) -> None:
        """Send all."""

    async def receive(self, connection: socket.socket) -> bytes:
        """Receive some; none at the other end's close."""

    def within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError if the body takes longer."""

    async def take_turn(self, count: int) -> Callable[[], None]:
        """Wait until one of `count` turns is free; gives what frees it again."""

    def notice(self) -> Notice:
        """Make a notice for the running loop."""

    def cutting(self) -> AbstractAsyncContextManager[Cut]:
        """Run a body that may be cut off. Leaving it is no error then: see `Cut.why`."""


class _Connection:
    """A connection, and what was read of it too early."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.lines = Lines()
        self.used = False


class _Changes:
    """Changes without end; unlike a generator it may be left in its middle, unclosed."""

    def __init__(self, wait: Callable[[], Awaitable[Change]]) -> None:
        self._wait = wait

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        return await self._wait()


class AsyncClient(AsyncCalls):
    """Connections to the sidecar at `path` (default: `SIDECAR_SOCKET`, else the usual place).

    `timeout` is in seconds, for a turn and for each exchange. Every method raises `Unreachable`,
    and those that can be refused raise `Refused`.
    """

    def __init__(
        self, loop: Loop, path: str = "", *, timeout: float = 5.0, connections: int = 16
    ) -> None:
        self.loop = loop
        self._named = named_path(path)
        self.path = self._named or usual_path()
        self._timeout = timeout
        self._connections = connections
        self._idle: list[_Connection] = []
        self._process = os.getpid()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what lies idle; the next call opens another."""
        while self._idle:
            self._idle.pop().socket.close()

    @asynccontextmanager
    async def watch(
        self, sessions: Iterable[str] | None = None
    ) -> AsyncIterator[AsyncIterator[Change]]:
        """Watch these sessions (None: all that the sidecar serves), on a connection of its own.

            async with sidecar.watch([session]) as changes:
                async for change in changes: ...

        Nothing is missed from when the body begins. The iterator raises `Unreachable` where
        something may be missed: watch anew, and check again.
        """
        connection = await self._connect(self._timeout)
        try:
            await self._exchange(connection, requests.watch(sessions).message, self._timeout)
            yield _Changes(partial(self._change, connection))
        finally:
            connection.socket.close()

    async def _change(self, connection: _Connection) -> Change:
        while True:
            try:
                reply = await self._receive(connection)
            except OSError as error:
                raise unreachable(self.path, error) from error
            change = change_of(reply)
            if change is not None:
                return change

    async def ask(self, request: requests.Request[T]) -> T:
        """Send a request on any connection, and return what its reply says."""
        free = await self._turn()
        try:
            try:
                return await self._ask_once(request)
            except Stale:
                if not request.may_repeat:
                    raise
                return await self._ask_once(request)
        finally:
            free()

    async def _turn(self) -> Callable[[], None]:
        try:
            async with self.loop.within(self._timeout):
                return await self.loop.take_turn(self._connections)
        except TimeoutError:
            raise Unreachable(
                f"all {self._connections} connections to {self.path} are busy",
                "Have more connections, or find out why the sidecar is slow: see its /metrics.",
            ) from None

    async def _ask_once(self, request: requests.Request[T]) -> T:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()  # here only: two processes would read each other's replies
        process = self._process
        patience = request.patience or self._timeout
        connection = self._fresh() or await self._connect(patience)
        whole = False
        try:
            reply = await self._exchange(connection, request.message, patience)
            whole = True
        finally:
            # A reply that nobody has read, as the caller was cancelled, would answer the next.
            if not whole or process != os.getpid():
                connection.socket.close()
            else:
                self._idle.append(connection)
        return request.read(accepted(reply))

    def _fresh(self) -> _Connection | None:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not is_closed(connection.socket):
                    return connection
                connection.socket.close()
        return None

    async def _connect(self, patience: float) -> _Connection:
        self.path = self._named or usual_path()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with self.loop.within(patience):
                await self.loop.connect(connection, self.path)
        except OSError as error:
            connection.close()
            raise unreachable(self.path, error) from error
        except BaseException:
            connection.close()
            raise
        return _Connection(connection)

    async def _exchange(
        self, connection: _Connection, request: Mapping[str, Any], patience: float
    ) -> Mapping[str, Any]:
        line, ref = referred(request)
        try:
            async with self.loop.within(patience):
                await self.loop.send(connection.socket, line)
                reply = await self._receive(connection)
        except OSError as error:
            raised = unreachable(self.path, error)
            is_stale = connection.used and connection.lines.is_empty
            if is_stale and isinstance(error, ConnectionError):
                raise Stale(str(raised), raised.hint) from error
            raise raised from error
        connection.used = True
        return matched(reply, ref, self.path)

    async def _receive(self, connection: _Connection) -> Mapping[str, Any]:
        while (line := connection.lines.next()) is None:
            connection.lines.feed(await self.loop.receive(connection.socket))
        return decoded(line, self.path)
