"""The client for event loops, but for the loop: `on_asyncio` and `on_trio` bring theirs.

Connections are plain sockets that no loop owns, so one client may serve one loop after another, as
test clients make them, also in several threads. At most `connections` calls of a loop are under
way; a further one waits for its turn. A process that was forked opens connections of its own.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol, Self

from sidecar.client.local import is_closed
from sidecar.client.protocol import (
    MARGIN,
    Change,
    Decision,
    Lines,
    Receipt,
    Stale,
    Unreachable,
    accepted,
    change_of,
    check_request,
    decision_of,
    decoded,
    event_request,
    matched,
    may_repeat,
    named_path,
    ping_request,
    receipt_of,
    referred,
    unreachable,
    usual_path,
    watch_request,
)


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
    """What the client needs of an event loop. All of it raises OSError as the sockets do."""

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


class AsyncClient:
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

    async def ping(self) -> None:
        """Return if the sidecar answers."""
        await self._ask(ping_request())

    async def check(  # noqa: PLR0913 - the fields of the request
        self,
        token: str,
        *,
        context: str | Iterable[str] = "",
        method: str = "",
        host: str = "",
        path: str = "",
        ip: str = "",
        user_agent: str = "",
    ) -> Decision:
        """May a call with this token pass? Raises `Refused` for a token that is not believed."""
        request = check_request(
            token,
            context=context,
            method=method,
            host=host,
            path=path,
            ip=ip,
            user_agent=user_agent,
        )
        return decision_of(await self._ask(request))

    async def event(
        self,
        event: Mapping[str, Any],
        *,
        wait_everywhere: bool = False,
        timeout: float = 5.0,  # noqa: ASYNC109 - the daemon's own patience
    ) -> Receipt:
        """Push an event; returns once it is durable.

        With `wait_everywhere` once every live sidecar has taken it, or after `timeout` seconds.
        """
        request = event_request(event, wait_everywhere=wait_everywhere, timeout=timeout)
        return receipt_of(await self._ask(request, timeout + MARGIN if wait_everywhere else 0))

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
            await self._exchange(connection, watch_request(sessions), self._timeout)
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

    async def _ask(self, request: Mapping[str, Any], patience: float = 0) -> Mapping[str, Any]:
        patience = patience or self._timeout
        free = await self._turn()
        try:
            try:
                return await self._ask_once(request, patience)
            except Stale:
                if not may_repeat(request):
                    raise
                return await self._ask_once(request, patience)
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

    async def _ask_once(self, request: Mapping[str, Any], patience: float) -> Mapping[str, Any]:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()  # here only: two processes would read each other's replies
        process = self._process
        connection = self._fresh() or await self._connect(patience)
        whole = False
        try:
            reply = await self._exchange(connection, request, patience)
            whole = True
        finally:
            # A reply that nobody has read, as the caller was cancelled, would answer the next.
            if not whole or process != os.getpid():
                connection.socket.close()
            else:
                self._idle.append(connection)
        return accepted(reply)

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
            told = unreachable(self.path, error)
            is_stale = connection.used and connection.lines.is_empty
            if is_stale and isinstance(error, ConnectionError):
                raise Stale(str(told), told.hint) from error
            raise told from error
        connection.used = True
        return matched(reply, ref, self.path)

    async def _receive(self, connection: _Connection) -> Mapping[str, Any]:
        while (line := connection.lines.next()) is None:
            connection.lines.feed(await self.loop.receive(connection.socket))
        return decoded(line, self.path)
