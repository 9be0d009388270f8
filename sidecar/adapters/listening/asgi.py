"""Small ASGI applications, and the hypercorn that serves them.

Hypercorn closes its listeners at once on shutdown. Slow headers are ended by its keep-alive
time-out (its read time-out does not end them); it bounds no body, so `body_of` does.
"""

import ssl
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple, Protocol, assert_never

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
    Scope,
)
from hypercorn.utils import repr_socket_addr
from trio.socket import SocketType

from sidecar.adapters.listening.acceptor import Acceptor, Crowding
from sidecar.adapters.listening.certificates import Certificate
from sidecar.adapters.listening.seats import BY_ADDRESS_LONG, Seat
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.service.observations.observations import DoorIncident, Observation

HEADER_TIMEOUT = 5.0
BODY_TIMEOUT = 10.0
GRACE = 1.0
CONNECTIONS = 64

JSON = "application/json"
_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class BodyRefused(Exception):  # noqa: N818 - named by who must act: the client
    """A body is too large (413), did not come in time (408), or will never come (400)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Reply(NamedTuple):
    """An answer before its framing."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def problem(status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    """Problem details (RFC 9457)."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Reply(status, msgspec.json.encode(body), "application/problem+json", headers)


async def reply_to(scope: HTTPScope, reply: Reply, send: ASGISendCallable) -> None:
    """Send an answer; to HEAD without its body."""
    headers = [*_ALWAYS, *reply.headers]
    if reply.status != HTTPStatus.NO_CONTENT:
        headers += [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
        ]
    # What an answer says of caching takes the place of what is said of all.
    if any(name == b"cache-control" for name, _ in reply.headers):
        headers.remove(_ALWAYS[0])
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def body_of(receive: ASGIReceiveCallable, most: int, within: float = BODY_TIMEOUT) -> bytes:
    """The body of a request; raises `BodyRefused`, also where the client left meanwhile."""
    body = bytearray()
    try:
        with trio.fail_after(within):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BodyRefused(400, "the client left before all of its body had come")
                body += message["body"]
                if len(body) > most:
                    raise BodyRefused(413, f"a body has at most {most} bytes")
                if not message["more_body"]:
                    return bytes(body)
    except trio.TooSlowError:
        raise BodyRefused(408, "the body did not come in time") from None


async def dispatch(
    scope: Scope,
    send: ASGISendCallable,
    serve: Callable[[HTTPScope], Awaitable[None]],
) -> None:
    """Have a request served, and refuse a WebSocket."""
    match scope["type"]:
        case "lifespan":
            pass  # nothing begins or ends with a listener
        case "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        case "http":
            await serve(scope)
        case _:
            assert_never(scope["type"])


class SecureConfig(Config):
    """Hypercorn's configuration with a TLS context of ours; with None it has no TLS."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.context = context

    @property
    def ssl_enabled(self) -> bool:
        """Whether connections begin with a handshake."""
        return self.context is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return what handshakes use."""
        return self.context


class Records(Protocol):
    """Where observations go."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


def recorded(telemetry: Records, door: str) -> Callable[[Crowding], None]:
    """Return what counts at a door that it was crowded."""
    return lambda what: telemetry.record(DoorIncident(door=door, incident=what))


def _ignore(_: Crowding) -> None:
    """Nobody counts."""


class Listener:
    """Serves an application by HTTP/1.1 at `binds` (`[::]:9090`; port 0: any free one).

    It has `limit` places, of which a peer has a share. Where they are taken, a connection that
    waits for its client makes room for a new one (`seats`): who holds connections keeps nobody from
    an answer, and takes no descriptors from other doors. One whose request is whole keeps its place
    until the answer is there.
    """

    def __init__(  # noqa: PLR0913 - what differs between listeners, by name
        self,
        binds: str | Iterable[str],
        app: ASGIFramework,
        *,
        limit: int = CONNECTIONS,
        header_timeout: float = HEADER_TIMEOUT,
        certificate: Certificate | None = None,
        on_crowding: Callable[[Crowding], None] = _ignore,
    ) -> None:
        config = SecureConfig(certificate.context if certificate is not None else None)
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.keep_alive_timeout = header_timeout
        config.h11_max_incomplete_size = 16384
        # No HTTP/2, which hypercorn would speak without TLS: a connection would be many requests,
        # and one that is reset would be worked on all the same.
        config.h2_max_concurrent_streams = 0
        self._binds = (binds,) if isinstance(binds, str) else tuple(binds)
        self._config = config
        self._app = app
        self._limit = limit
        self._on_crowding = on_crowding
        self._worker = WorkerContext(None)
        self._stopping = trio.Event()
        self._open: set[trio.CancelScope] = set()

    def stop(self) -> None:
        """Close the listener and let requests end, for a second at most; `run` then returns."""
        self._stopping.set()

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining`, stopped or cancelled.

        Starts with the URLs; raises `CannotListen`.
        """
        self._stopping = self._stopping if draining is None else draining
        listeners = await tcp_listeners(self._binds)
        scheme = "https" if self._config.ssl_enabled else "http"
        urls = [f"{scheme}://{repr_socket_addr(x.family, x.getsockname())}" for x in listeners]
        acceptor = Acceptor(
            self._serve,
            limit=self._limit,
            refusal=b"",
            drain=self._drain,
            drain_timeout=GRACE,
            on_crowding=self._on_crowding,
            rate=BY_ADDRESS_LONG,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(acceptor.run, listeners, self._stopping)
            task_status.started(urls)
            await self._stopping.wait()
            await self._worker.terminated.set()  # idle connections end

    async def _serve(self, connection: SocketType, _peer: str, seat: Seat) -> None:
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
        stream = plain = trio.SocketStream(connection)
        if self._config.context is not None:
            stream = trio.SSLStream(
                plain, self._config.context, server_side=True, https_compatible=True
            )
        async with trio.open_nursery() as own:
            self._open.add(own.cancel_scope)
            own.start_soon(_close_when_cancelled, connection)
            try:
                await TCPServer(
                    ASGIWrapper(_Seated(self._app, seat)),
                    self._config,
                    self._worker,
                    ConnectionState({}),
                    stream,  # type: ignore[arg-type] # it takes plain ones, too
                )
            finally:
                self._open.discard(own.cancel_scope)
                own.cancel_scope.cancel()

    def _drain(self) -> None:
        if not self._stopping.is_set():  # cancelled: nobody has the time
            for scope in self._open:
                scope.cancel()


async def _close_when_cancelled(connection: SocketType) -> None:
    """Close it under hypercorn, which shields what it sends to a client that does not read."""
    try:
        await trio.sleep_forever()
    finally:
        connection.close()


class _Seated:
    """The application, for one connection, whose seat is told what it waits for."""

    def __init__(self, app: ASGIFramework, seat: Seat) -> None:
        self._app = app
        self._seat = seat

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Have a request served. It is worked on from its last byte to the first of the answer."""
        seat = self._seat

        async def received() -> ASGIReceiveEvent:
            event = await receive()
            if event["type"] == "http.request" and not event["more_body"]:
                seat.works()
            return event

        async def sent(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                seat.waits()  # a client that does not read makes room, too
            await send(event)

        if scope["type"] == "http" and not _has_body(scope):
            seat.works()
        try:
            await self._app(scope, received, sent)
        finally:
            seat.waits()


def _has_body(scope: HTTPScope) -> bool:
    """Whether a body follows (RFC 9112, section 6)."""
    names = {name for name, value in scope["headers"] if value != b"0"}
    return not names.isdisjoint((b"content-length", b"transfer-encoding"))
