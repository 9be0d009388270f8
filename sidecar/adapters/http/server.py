"""A small HTTP/1.1 server: connections, time and size limits, drain. What to answer, others say.

Hypercorn does far more for each request than a check costs (`benchmarks/servers.py`); this one
does what RFC 9112 asks of a server of short answers: keep-alive, pipelining in order, HEAD, chunked
bodies, `Expect: 100-continue`, HTTP/1.0. Neither TLS nor upgrades: it serves its own pod.

What can be answered at once is answered in turns that all connections share; all else is done by
the connection's own task (`connection`).
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from email.utils import formatdate
from http import HTTPStatus

import trio
from trio.socket import SocketType

from sidecar.adapters.http.connection import HttpConnection
from sidecar.adapters.http.handlers import (
    Gather,
    Handler,
    HttpIncident,
    OnHttpIncident,
    Prepare,
    ignore_incident,
    nothing_at_once,
    nothing_gathered,
)
from sidecar.adapters.http.request_parser import KnownRequests
from sidecar.adapters.listening.acceptor import Acceptor, ten_seconds
from sidecar.adapters.listening.readiness import ReadySet
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.listening.socket_files import SocketFile
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.http.messages import PreparedResponse, Request, Response, header_lines
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http

_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_TOO_MANY = problem(Problem.TOO_MANY, fields=(("Retry-After", "1"),))


class LeanServer:
    """Serves `handler` on the TCP and unix addresses of the settings.

    `prepare` says what can be answered without waiting; the handler answers the same. `gather` gets
    requests that come together, before the first of them is handled. `clock` gives the `Date`.
    `on_incident` is called with each fault; an exception comes with `CRASHED`, and the client then
    gets a 500 that says nothing of it.
    """

    def __init__(  # noqa: PLR0913 - what it serves, by name
        self,
        handler: Handler,
        settings: Http,
        *,
        clock: Callable[[], float],
        prepare: Prepare = nothing_at_once,
        gather: Gather = nothing_gathered,
        on_incident: OnHttpIncident = ignore_incident,
    ) -> None:
        self.handler = handler
        self.prepare = prepare
        self.gather = gather
        self.settings = settings
        self.on_incident = on_incident
        self.draining = False
        self.ready = ReadySet()
        self.known = KnownRequests()
        self._clock = clock
        self._connections: set[HttpConnection] = set()
        self._second = -1
        self._common = b""

    def replace(self, settings: Http) -> None:
        """Serve as is configured now: what requests describe is read anew."""
        self.settings = settings
        self.known.forget()

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: Callable[[], float] = ten_seconds,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or the task is cancelled, then drain.

        Starts with the addresses bound, `HOST:PORT` and `unix:PATH`. Raises OSError, and
        `AddressInUse` for a unix socket.
        """
        with closing(self.ready), ExitStack() as files:
            listeners, bound = await self._bind(files)
            acceptor = Acceptor(
                self._serve,
                limit=self.settings.max_connections,
                refusal=self.render(_TOO_MANY, close=True),
                drain=self._drain,
                drain_timeout=drain_timeout,
                on_crowding=lambda what: self.on_incident(HttpIncident(what), None),
            )
            async with trio.open_nursery() as turns:
                self._tasks = turns
                turns.start_soon(self.ready.run)
                turns.start_soon(self.ready.end_silent, lambda: self.settings.keep_alive_timeout)
                turns.start_soon(self._forget)
                async with trio.open_nursery() as nursery:
                    await nursery.start(acceptor.run, listeners, draining)
                    task_status.started(bound)
                turns.cancel_scope.cancel()

    async def _forget(self) -> None:
        """Forget again and again what requests were like: they have secrets in them."""
        while True:
            await trio.sleep(self.settings.keep_alive_timeout)
            self.known.forget()

    async def begin_gathering(self, requests: Sequence[Request]) -> trio.CancelScope:
        """Have what requests wait for got ready beside them; it can be given up."""
        scope: trio.CancelScope = await self._tasks.start(_gather, self.gather, requests)
        return scope

    def render(
        self,
        response: Response | PreparedResponse,
        *,
        close: bool = False,
        http_1_0: bool = False,
        head: bool = False,
    ) -> bytes:
        """Return the bytes of a response; to a HEAD request all but the body (RFC 9110, 9.3.2)."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._common = b"Date: %s\r\n" % formatdate(second, usegmt=True).encode()
        connection = b""
        if close:
            connection = b"Connection: close\r\n"
        elif http_1_0:
            connection = b"Connection: keep-alive\r\n"
        if isinstance(response, PreparedResponse):
            lines = response.lines
        else:
            lines = header_lines(response.fields)
        return b"%b%b%b%bContent-Length: %d\r\n\r\n%b" % (
            _STATUS[response.status],
            self._common,
            connection,
            lines,
            len(response.body),
            b"" if head else response.body,
        )

    async def _bind(self, files: ExitStack) -> tuple[list[SocketType], list[str]]:
        listeners: list[SocketType] = []
        bound: list[str] = []
        for tcp in await tcp_listeners(binds_of(self.settings)):
            listeners.append(files.enter_context(tcp))
            address, number, *_ = tcp.getsockname()
            bound.append(f"[{address}]:{number}" if ":" in address else f"{address}:{number}")
        if self.settings.unix:
            mode, group = int(self.settings.unix_mode, 8), self.settings.unix_group
            file = await trio.to_thread.run_sync(SocketFile, self.settings.unix, mode, group)
            files.enter_context(file)
            listeners.append(trio.socket.from_stdlib_socket(file.socket))
            bound.append(f"unix:{file.path}")
        return listeners, bound

    async def _serve(self, stream: SocketType, peer: str, seat: Seat) -> None:
        connection = HttpConnection(self, stream, peer, seat)
        self._connections.add(connection)
        try:
            if peer:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await connection.run()
        except OSError:
            pass  # the other end is gone, and nobody is left to answer
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self.on_incident(HttpIncident.CRASHED, error)
        finally:
            self._connections.discard(connection)
            connection.close()

    def _drain(self) -> None:
        self.draining = True
        for connection in self._connections:
            connection.end_if_idle()


async def _gather(
    gather: Gather, requests: Sequence[Request], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(gather, requests)
        task_status.started(nursery.cancel_scope)
