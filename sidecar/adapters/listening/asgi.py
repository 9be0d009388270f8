"""Serves ASGI applications by hypercorn, on listeners that no peer can crowd.

Hypercorn closes its listeners at once on shutdown. Slow headers are ended by its keep-alive
time-out (its read time-out does not end them); it bounds no body, so `application.body_of` does.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

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

from sidecar.adapters.listening.acceptor import Acceptor, CrowdOutcome
from sidecar.adapters.listening.certificates import Certificate
from sidecar.adapters.listening.seats import BY_ADDRESS_LONG, Seat
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.service.observations.observations import DoorIncident, Observation, SecretRead
from sidecar.wire.checks.reach import binds_of

HEADER_TIMEOUT = 5.0
GRACE = 1.0
CONNECTIONS = 64
READ_SIZE = 2048
"""Bytes that are taken before others get their turn: some 200 frames or chunks at most."""
CLIENT_NAMES = "sidecar.client_names"
"""The scope's key for the names of the client's certificate; none where none was asked for."""
MALFORMED = "malformed"
"""The incident of a connection that hypercorn could not go on with."""


class SecureConfig(Config):
    """The configuration of hypercorn with a TLS context of ours; None: without TLS."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.context = context

    @property
    def ssl_enabled(self) -> bool:
        """Return whether connections begin with a handshake."""
        return self.context is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return the context of handshakes."""
        return self.context


def _ignore(_: object) -> None:
    """Do nothing."""


class Listener:
    """Serves an application by HTTP/1.1 at `binds` (`[::]:9090`; port 0: any free one).

    The listener has `limit` places, and a peer may take only a share of them. If all are taken, a
    connection that waits for its client is closed for a new one (`seats`), so that a peer who holds
    connections keeps nobody from an answer and takes no descriptors from other listeners. A
    connection whose request is whole keeps its place until the answer is there.

    Hypercorn raises what it does not expect of a peer, as of a malformed upgrade. That ends the
    connection alone; `on_broken` is called with it.
    """

    def __init__(  # noqa: PLR0913 - what differs between listeners, by name
        self,
        binds: str | Iterable[str],
        app: ASGIFramework,
        *,
        limit: int = CONNECTIONS,
        header_timeout: float = HEADER_TIMEOUT,
        certificate: Certificate | None = None,
        on_crowding: Callable[[CrowdOutcome], None] = _ignore,
        on_broken: Callable[[Exception], None] = _ignore,
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
        self._on_broken = on_broken
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
            drain_timeout=lambda: GRACE,
            on_crowding=self._on_crowding,
            rate=BY_ADDRESS_LONG,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(acceptor.run, listeners, self._stopping)
            task_status.started(urls)
            await self._stopping.wait()
            await self._worker.terminated.set()  # idle connections end

    async def _serve(self, connection: SocketType, _peer: str, seat: Seat) -> None:
        try:
            await self._converse(connection, seat)
        except* Exception as errors:  # noqa: BLE001 - the door: counted, logged, and survived
            self._on_broken(errors)

    async def _converse(self, connection: SocketType, seat: Seat) -> None:
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
                    ASGIWrapper(_Seated(self._app, seat, stream)),
                    self._config,
                    self._worker,
                    ConnectionState({}),
                    _InPieces(stream),  # type: ignore[arg-type] # it takes plain ones, too
                )
            finally:
                self._open.discard(own.cancel_scope)
                own.cancel_scope.cancel()

    def _drain(self) -> None:
        if not self._stopping.is_set():  # cancelled: nobody has the time
            for scope in self._open:
                scope.cancel()


class Records(Protocol):
    """Records observations."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


class Section(Protocol):
    """The settings of a listener: a section that has `bind`, too."""

    @property
    def max_connections(self) -> int:
        """Return how many connections may be open."""


class TlsFiles(NamedTuple):
    """The files of a certificate and its key; `field` is the setting that names them."""

    certificate: str
    key: str
    field: str
    client_authorities: str = ""  # who signs clients' certificates; empty: none is asked for


def listener_of(  # noqa: PLR0913 - what differs between listeners, by name
    section: Section,
    app: ASGIFramework,
    telemetry: Records,
    door: str,
    *,
    tls: TlsFiles | None = None,
    header_timeout: float = HEADER_TIMEOUT,
) -> Listener:
    """Return the listener of an application; `door` is its name in metrics and in the log.

    It speaks TLS if there is a certificate. Raises `UnusableCertificate`.
    """
    certificate: Certificate | None = None
    if tls is not None and tls.certificate:
        field = tls.field
        certificate = Certificate(
            tls.certificate,
            tls.key,
            lambda reason: telemetry.record(SecretRead(field=field, reason=reason)),
            client_authorities=tls.client_authorities,
        )
    return Listener(
        binds_of(section),
        app,
        limit=section.max_connections,
        header_timeout=header_timeout,
        certificate=certificate,
        on_crowding=lambda what: telemetry.record(DoorIncident(door=door, incident=what)),
        on_broken=lambda error: telemetry.record(
            DoorIncident(door=door, incident=MALFORMED, error=error)
        ),
    )


class _InPieces:
    """A stream that is read in small pieces, between which others get their turn.

    Hypercorn reads 64 KiB at once, and parses thousands of frames or chunks without giving way.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Return what has come, as far as it is one piece."""
        return await self._stream.receive_some(min(max_bytes, READ_SIZE))


async def _close_when_cancelled(connection: SocketType) -> None:
    """Close a connection under hypercorn, which shields its sending to clients that do not read."""
    try:
        await trio.sleep_forever()
    finally:
        connection.close()


class _Seated:
    """Passes requests of a connection to the application, and notes in its seat its state."""

    def __init__(self, app: ASGIFramework, seat: Seat, stream: trio.abc.Stream) -> None:
        self._app = app
        self._seat = seat
        self._stream = stream

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve a request; the seat works from its last byte to the first byte of the answer."""
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
        asked: Any = {**scope, CLIENT_NAMES: _client_names(self._stream)}
        try:
            await self._app(asked, received, sent)
        finally:
            seat.waits()


def _client_names(stream: trio.abc.Stream) -> tuple[str, ...]:
    """Return the DNS names and URIs of the client's certificate, which the handshake verified."""
    if not isinstance(stream, trio.SSLStream):
        return ()
    alternatives: Any = (stream.getpeercert() or {}).get("subjectAltName", ())
    return tuple(value for kind, value in alternatives if kind in {"DNS", "URI"})


def _has_body(scope: HTTPScope) -> bool:
    """Return whether a body follows (RFC 9112, section 6)."""
    names = {name for name, value in scope["headers"] if value != b"0"}
    return not names.isdisjoint((b"content-length", b"transfer-encoding"))
