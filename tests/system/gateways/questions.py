"""What a gateway asks its sidecar, read on the wire between the two."""

import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes, Settings

from sidecar.wire.http.gateway_calls import EXT_AUTHZ


class Asked(NamedTuple):
    """The call that a question is about, as the gateway describes it."""

    method: str
    host: str
    target: str


class Recorder(socketserver.ThreadingTCPServer):
    """Passes on what a gateway and its sidecar send each other, and keeps what is asked."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, read: "Callable[[], Reading]", asked: list[Asked]) -> None:
        self.asked = asked
        self.port = port
        self.read = read
        super().__init__(("127.0.0.1", 0), _Between)

    @property
    def address(self) -> int:
        """The port at which the gateway asks."""
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """A gateway that is killed resets its connections."""


class _Between(socketserver.BaseRequestHandler):
    server: Recorder
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as sidecar:
            back = threading.Thread(target=_pass_on, args=(sidecar, self.request, lambda _: None))
            back.start()
            reading = self.server.read()
            _pass_on(self.request, sidecar, lambda data: self._keep(reading, data))
            back.join()

    def _keep(self, reading: "Reading", data: bytes) -> None:
        self.server.asked.extend(reading(data))


def _pass_on(one: socket.socket, other: socket.socket, see: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            see(data)
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


Reading = Callable[[bytes], Iterator[Asked]]


def reading_of(setting: str) -> Callable[[], Reading]:
    """Return what makes a reader of one connection for gateways with this `http.gateway`."""
    return _Grpc if setting == "none" else lambda: _Http(setting)


class _Http:
    """Reads requests without a body."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._rest = b""

    def __call__(self, data: bytes) -> Iterator[Asked]:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            fields = {
                name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
            }
            match self._setting:
                case "envoy":
                    yield Asked(method, fields["host"], target.removeprefix(EXT_AUTHZ.decode()))
                case "nginx":
                    yield Asked(
                        fields["x-original-method"], fields["host"], fields["x-original-uri"]
                    )
                case _:
                    heard = ("x-forwarded-method", "x-forwarded-host", "x-forwarded-uri")
                    yield Asked(*(fields[name] for name in heard))


class _Grpc:
    """Reads Envoy's questions: one message in the data of each stream."""

    def __init__(self) -> None:
        messages: Any = import_module("envoy.service.auth.v3.external_auth_pb2")
        self._message = messages.CheckRequest
        self._end = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        # No answer is seen here, so that to this end no stream is ever over.
        many = {SettingCodes.MAX_CONCURRENT_STREAMS: 2**31 - 1}
        self._end.local_settings = Settings(client=False, initial_values=many)
        self._parts: dict[int, bytes] = {}

    def __call__(self, data: bytes) -> Iterator[Asked]:
        for event in self._end.receive_data(data):
            match event:
                case h2.events.DataReceived(stream_id=stream, data=part) if stream and part:
                    self._end.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                    self._parts[stream] = self._parts.get(stream, b"") + part
                case h2.events.StreamEnded(stream_id=stream) if stream:
                    # Five bytes go before a message of gRPC.
                    message = self._message.FromString(self._parts.pop(stream)[5:])
                    call = message.attributes.request.http
                    yield Asked(call.method, call.host, call.path)


def number_of(target: str) -> int:
    """Return which call of a test this is, by the number in its query; 0 if it has none."""
    found = re.search(r"n=(\d+)", target)
    return int(found[1]) if found else 0
