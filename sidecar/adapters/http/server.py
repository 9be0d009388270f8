"""A small HTTP/1.1 server: connections, time and size limits, drain. What to answer, others say.

Hypercorn does far more for each request than a check costs (`benchmarks/servers.py`); this one
does what RFC 9112 asks of a server of short answers: keep-alive, pipelining in order, HEAD, chunked
bodies, `Expect: 100-continue`, HTTP/1.0. Neither TLS nor upgrades: it serves its own pod.

A connection is one task that reads, answers and reads on. Its only cancel scope has a deadline
that is moved from phase to phase.
"""

import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from email.utils import formatdate
from enum import StrEnum
from http import HTTPStatus
from typing import TypeAlias

import trio
from trio.socket import SocketType

from sidecar.adapters.events.speakers import uid_of
from sidecar.adapters.http.request_parser import BODY, IDLE, Exchange, RequestParser
from sidecar.adapters.listening.acceptor import Acceptor, linger, send_all, ten_seconds
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.listening.socket_files import SocketFile
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.http.messages import Request, Response, header_lines
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

READ_SIZE = 16384
"""Bytes that are read into requests before others get their turn: some 400 requests at most."""
LAST_WORDS = 1.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class HttpIncident(StrEnum):
    """A fault of a connection or request: a closed set, fit for a metric's label."""

    REFUSED = "refused"  # too many connections
    MADE_ROOM = "made-room"  # it waited for its client, and a new one needed the place
    NO_DESCRIPTOR = "no-descriptor"  # a new one waits: the process has no descriptor for it
    MALFORMED = "malformed"
    FLOODED = "flooded"  # too many frames that ask nothing
    MANY_RESETS = "many-resets"  # its calls are given up at once, and it takes turns with others
    SLOW_REQUEST = "slow-request"
    SLOW_READER = "slow-reader"
    CRASHED = "crashed"  # the handler raised what it should not


OnHttpIncident: TypeAlias = Callable[[HttpIncident, Exception | None], None]


def _ignore(incident: HttpIncident, error: Exception | None) -> None:
    """Do nothing."""


class LeanServer:
    """Serves `handler` on the TCP and unix addresses of the settings.

    `clock` gives the `Date`. `on_incident` is called with each fault; an exception comes with
    `CRASHED`, and the client then gets a 500 that says nothing of it.
    """

    def __init__(
        self,
        handler: Handler,
        settings: Http,
        *,
        clock: Callable[[], float],
        on_incident: OnHttpIncident = _ignore,
    ) -> None:
        self.handler = handler
        self.settings = settings
        self.on_incident = on_incident
        self.draining = False
        self._clock = clock
        self._connections: set[_Connection] = set()
        self._second = -1
        self._common = b""

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
        with ExitStack() as files:
            listeners, bound = await self._bind(files)
            acceptor = Acceptor(
                self._serve,
                limit=self.settings.max_connections,
                refusal=self.render(_TOO_MANY, close=True),
                drain=self._drain,
                drain_timeout=drain_timeout,
                on_crowding=lambda what: self.on_incident(HttpIncident(what), None),
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(acceptor.run, listeners, draining)
                task_status.started(bound)

    def render(
        self,
        response: Response,
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
        return b"%b%b%b%bContent-Length: %d\r\n\r\n%b" % (
            _STATUS[response.status],
            self._common,
            connection,
            header_lines(response.fields),
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
        connection = _Connection(self, stream, peer, seat)
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


_TOO_MANY = problem(Problem.TOO_MANY, fields=(("Retry-After", "1"),))
_INTERNAL = problem(Problem.INTERNAL)
_TIMED_OUT = problem(Problem.TIMED_OUT)


class _Connection:
    """One connection: reads, answers in order, reads on."""

    def __init__(self, server: LeanServer, stream: SocketType, peer: str, seat: Seat) -> None:
        settings = server.settings
        self._server = server
        self._stream = stream
        self._seat = seat
        uid = None if peer else uid_of(stream)
        self._parser = RequestParser(peer, settings.max_header_bytes, settings.max_body_bytes, uid)
        self._scope = trio.CancelScope()
        self._reading = False
        self._writing = False

    def end_if_idle(self) -> None:
        """End now between requests; else `server.draining` ends it after the next answer."""
        if self._reading and self._parser.phase == IDLE:
            self._scope.cancel()

    def close(self) -> None:
        """Hold nothing any more."""
        self._parser.close()

    async def run(self) -> None:
        """Serve to the end; raises OSError where the other end is gone."""
        with self._scope:
            await self._converse()
            return
        if self._writing:
            self._server.on_incident(HttpIncident.SLOW_READER, None)
        elif self._parser.phase != IDLE:
            self._server.on_incident(HttpIncident.SLOW_REQUEST, None)
            await self._last_words(_TIMED_OUT)

    async def _converse(self) -> None:
        parser = self._parser
        limits = self._server.settings
        patience = limits.header_timeout
        while True:
            self._allow(patience)
            self._seat.waits()
            if not await self._read_requests():
                return
            self._seat.works()
            while parser.ready:
                if not await self._answer(parser.ready.popleft()):
                    return
            if parser.fault is not None:
                self._server.on_incident(HttpIncident.MALFORMED, None)
                self._scope.deadline = math.inf
                await self._last_words(parser.fault)
                return
            if self._server.draining and parser.phase == IDLE:
                return
            patience = limits.keep_alive_timeout

    async def _read_requests(self) -> bool:
        """Read until a request is whole or refused; False where no more will come."""
        parser = self._parser
        phase = parser.phase
        if phase != IDLE:
            self._enter(phase)
        while not parser.ready and parser.fault is None:
            self._reading = True
            data = await self._stream.recv(READ_SIZE)
            self._reading = False
            if not data:
                return False
            parser.feed(data)
            if parser.phase != phase and not parser.ready:
                phase = parser.phase
                self._enter(phase)
            if parser.wants_continue and parser.fault is None:
                parser.wants_continue = False
                await send_all(self._stream, _CONTINUE)
        return True

    def _enter(self, phase: int) -> None:
        limits = self._server.settings
        self._allow(limits.body_timeout if phase == BODY else limits.header_timeout)

    def _allow(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds

    async def _answer(self, exchange: Exchange) -> bool:
        """Answer one request; False where the connection ends with it."""
        request, keep_alive, http_1_0 = exchange
        server = self._server
        self._scope.deadline = math.inf
        try:
            response = await server.handler(request)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            server.on_incident(HttpIncident.CRASHED, error)
            response = _INTERNAL
        keep_alive = keep_alive and not (server.draining and not self._parser.ready)
        data = server.render(
            response, close=not keep_alive, http_1_0=http_1_0, head=request.method == "HEAD"
        )
        self._allow(server.settings.write_timeout)
        self._writing = True
        await send_all(self._stream, data)
        self._writing = False
        if not keep_alive and (self._parser.ready or self._parser.fault is not None):
            await linger(self._stream)
        return keep_alive

    async def _last_words(self, response: Response) -> None:
        with trio.move_on_after(LAST_WORDS):
            await send_all(self._stream, self._server.render(response, close=True))
            await linger(self._stream)
