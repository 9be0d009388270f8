"""A gRPC server on hypercorn's HTTP/2, as good as its public parts allow.

What `benchmarks.servers` measures our own server against; see docs/decisions/0028. Places, seats
and listeners are those of our server, and so are the codec and the handlers: HTTP/2 alone differs.
"""

import sys
from collections.abc import Mapping
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, HTTPScope
from trio.socket import SocketType

from sidecar.adapters.grpc.server import GrpcHandler
from sidecar.adapters.http.handlers import HttpIncident, OnHttpIncident
from sidecar.adapters.listening.acceptor import Acceptor
from sidecar.adapters.listening.seats import BY_ADDRESS_LONG, Seat
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.grpc.messages import (
    PREFIX_SIZE,
    CallRefused,
    Code,
    packed,
    trailers,
    unpacked,
)
from sidecar.wire.settings.settings import Grpc

_HEADERS = [(b"content-type", b"application/grpc+proto")]


class HypercornGrpcServer:
    """Serves `methods` as `LeanGrpcServer` does."""

    def __init__(
        self, methods: Mapping[bytes, GrpcHandler], settings: Grpc, *, on_incident: OnHttpIncident
    ) -> None:
        self._methods = methods
        self._settings = settings
        self._on_incident = on_incident
        self._worker = WorkerContext(None)
        self._open: set[trio.CancelScope] = set()
        config = Config()
        config.accesslog = None
        config.errorlog = None
        config.include_server_header = False
        config.include_date_header = False
        config.keep_alive_max_requests = sys.maxsize
        config.keep_alive_timeout = settings.idle_timeout
        config.h2_max_concurrent_streams = settings.max_streams
        self._config = config

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: float = 10.0,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or the task is cancelled, then drain."""
        draining = trio.Event() if draining is None else draining
        listeners = await tcp_listeners(binds_of(self._settings))
        acceptor = Acceptor(
            self._serve,
            limit=self._settings.max_connections,
            refusal=b"",
            drain=lambda: None,
            drain_timeout=lambda: drain_timeout,
            on_crowding=lambda what: self._on_incident(HttpIncident(what), None),
            rate=BY_ADDRESS_LONG,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(acceptor.run, listeners, draining)
            task_status.started([f"127.0.0.1:{one.getsockname()[1]}" for one in listeners])
            await draining.wait()
            await self._worker.terminated.set()

    async def _serve(self, connection: SocketType, _peer: str, seat: Seat) -> None:
        try:
            async with trio.open_nursery() as own:
                own.start_soon(_close_when_cancelled, connection)
                await TCPServer(
                    ASGIWrapper(_App(self._methods, self._settings, self._on_incident, seat)),
                    self._config,
                    self._worker,
                    ConnectionState({}),
                    trio.SocketStream(connection),  # type: ignore[arg-type] # it takes plain ones
                )
                own.cancel_scope.cancel()
        except* Exception as errors:  # noqa: BLE001 - the door: counted, logged, and survived
            self._on_incident(HttpIncident.CRASHED, errors)


async def _close_when_cancelled(connection: SocketType) -> None:
    try:
        await trio.sleep_forever()
    finally:
        connection.close()


class _App:
    """The methods as an ASGI application, for one connection."""

    def __init__(
        self,
        methods: Mapping[bytes, GrpcHandler],
        settings: Grpc,
        on_incident: OnHttpIncident,
        seat: Seat,
    ) -> None:
        self._methods = methods
        self._settings = settings
        self._on_incident = on_incident
        self._seat = seat
        self._whole = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call; its reset gives it up."""
        refused = _refused(scope)
        if refused:
            await send({"type": "http.response.start", "status": refused, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        answer, fields = b"", trailers(Code.OK)
        try:
            answer = packed(await self._call(scope, receive))
        except CallRefused as error:
            fields = trailers(error.code, str(error))
        except _GivenUp:
            return
        start = {"type": "http.response.start", "status": 200, "headers": _HEADERS}
        await send({**start, "trailers": True})
        with trio.move_on_after(self._settings.write_timeout) as patience:
            await send({"type": "http.response.body", "body": answer})
            await send({"type": "http.response.trailers", "headers": fields})
        if patience.cancelled_caught:
            self._on_incident(HttpIncident.SLOW_READER, None)

    async def _call(self, scope: HTTPScope, receive: Any) -> bytes:
        handler = self._methods.get(scope["raw_path"])
        if handler is None:
            raise CallRefused(Code.UNIMPLEMENTED, "there is no such method here")
        message = await self._message(receive)
        self._whole += 1
        self._seat.works()
        try:
            return await self._answer(handler, message, receive)
        except (CallRefused, _GivenUp):
            raise
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._on_incident(HttpIncident.CRASHED, error)
            raise CallRefused(Code.INTERNAL, "something went wrong here") from None
        finally:
            self._whole -= 1
            if not self._whole:
                self._seat.waits()

    async def _answer(self, handler: GrpcHandler, message: bytes, receive: Any) -> bytes:
        answer: bytes | None = None
        error: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def disconnected() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(disconnected)
            try:
                answer = await handler(message)
            except Exception as raised:  # noqa: BLE001 - raised below, without its group
                error = raised
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
        if answer is None:
            raise _GivenUp
        return answer

    async def _message(self, receive: Any) -> bytes:
        body, most = bytearray(), self._settings.max_message_bytes + PREFIX_SIZE
        with trio.move_on_after(self._settings.message_timeout):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise _GivenUp
                body += event["body"]
                if len(body) > most:
                    raise CallRefused(Code.RESOURCE_EXHAUSTED, "the request is too large")
                if not event["more_body"]:
                    return unpacked(bytes(body))
        self._on_incident(HttpIncident.SLOW_REQUEST, None)
        raise CallRefused(Code.DEADLINE_EXCEEDED, "the request took too long to arrive")


class _GivenUp(Exception):  # noqa: N818 - named by what the peer did
    """The peer has reset the call, or its connection has ended."""


def _refused(scope: HTTPScope) -> int:
    if scope["method"] != "POST":
        return 405
    kind = dict(scope["headers"]).get(b"content-type", b"")
    return 0 if kind.startswith(b"application/grpc") else 415
