"""Both ends of an upgrade: an app that takes every one, and a client that smuggles calls in it."""

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from email.message import Message as Headers
from io import BufferedIOBase
from typing import NamedTuple, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

Fields = Sequence[tuple[str, str]]
Record = Callable[[str, str, list[tuple[str, str]]], None]

SETTINGS = "AAMAAABkAAQAoAAAAAIAAAAA"
"""A SETTINGS frame's payload, as RFC 7540, section 3.2.1, has it sent along with `Upgrade: h2c`."""

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE: Fields = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
)
H2C: Fields = (
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", SETTINGS),
)


def accepted(headers: Headers) -> list[tuple[str, str]]:
    """Return the header lines of a 101 to a request, whatever it wants to be upgraded to."""
    key = headers.get("Sec-WebSocket-Key", KEY).encode()
    return [
        ("Connection", "Upgrade"),
        ("Upgrade", headers.get("Upgrade", "")),
        ("Sec-WebSocket-Accept", generate_accept_token(key).decode()),
    ]


def serve_websocket(reading: BufferedIOBase, write: Callable[[bytes], object]) -> None:
    """Echo messages until the client closes, or sends what is no frame."""
    frames = Connection(ConnectionType.SERVER)
    with suppress(OSError, LocalProtocolError, RemoteProtocolError):
        while data := reading.read1(65536):
            frames.receive_data(data)
            for event in frames.events():
                if isinstance(event, Message):
                    write(frames.send(Message(data=event.data)))
                elif isinstance(event, CloseConnection | Ping):
                    write(frames.send(event.response()))
                    if isinstance(event, CloseConnection):
                        return


def serve_h2(
    reading: BufferedIOBase, write: Callable[[bytes], object], record: Record, settings: str
) -> None:
    """Answer each request of an HTTP/2 connection that an HTTP/1.1 request was upgraded to."""
    end = h2.connection.H2Connection(h2.config.H2Configuration(False, "latin-1"))
    end.initiate_upgrade_connection(settings.encode())
    end.send_headers(1, [(":status", "200")], end_stream=True)
    write(end.data_to_send())
    with suppress(OSError, h2.exceptions.ProtocolError):
        while data := reading.read1(65536):
            for event in end.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    fields = [(str(name), str(value)) for name, value in event.headers or ()]
                    heard = dict(fields)
                    record(heard[":method"], heard[":path"], fields)
                    stream = event.stream_id or 0
                    end.send_headers(stream, [(":status", "200")], end_stream=True)
            write(end.data_to_send())


def head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a request, its target and header lines as they are here."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Response(NamedTuple):
    """What answers a request: its status, header lines, and what came along."""

    status: int
    fields: dict[str, str]
    body: bytes


class Link:
    """A client's connection, on which nothing is made right."""

    def __init__(self, port: int, address: str = "127.0.0.9") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 15, (address, 0))
        self._socket.settimeout(15)
        self._reading = self._socket.makefile("rb")
        self._frames = Connection(ConnectionType.CLIENT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reading.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; the other end may have left."""
        with suppress(OSError):
            self._socket.sendall(data)

    def receive(self) -> bytes:
        """Return the next bytes that are there; empty at the end."""
        try:
            return self._reading.read1(65536)
        except ConnectionError:
            return b""

    def rest(self) -> bytes:
        """Say no more, and return all that comes until the other end leaves."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return b"".join(iter(self.receive, b""))

    def response(self) -> Response:
        """Read one response; status 0 where the other end leaves without any."""
        begun = self.begun()
        return begun if begun.status in {0, 101} else begun._replace(body=self._body(begun.fields))

    def begun(self) -> Response:
        """Read the head of a response, and leave its body to be read."""
        try:
            first = self._reading.readline()
        except ConnectionError:
            first = b""
        if not first:
            return Response(0, {}, b"")
        fields: dict[str, str] = {}
        while line := self._reading.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        return Response(int(first.split(b" ")[1]), fields, b"")

    def _body(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self._reading.readline(), 16):
                parts.append(self._reading.read(size))
                self._reading.readline()
            self._reading.readline()
            return b"".join(parts)
        return self._reading.read(int(fields.get("content-length", "0")))

    def chunk(self) -> bytes:
        """Return the next chunk of a body; empty at its end, or where the other end leaves."""
        size = int(self._reading.readline() or b"0", 16)
        data = self._reading.read(size)
        self._reading.readline()
        return data

    def say(self, text: str) -> None:
        """Send a message over the WebSocket that this connection has become."""
        self.send(self._frames.send(Message(data=text)))

    def hear(self) -> str | int:
        """Return the next message of the WebSocket, or the code with which it is closed."""
        while True:
            for event in self._frames.events():
                if isinstance(event, Message):
                    return str(event.data)
                if isinstance(event, CloseConnection):
                    return int(event.code)
            self._frames.receive_data(self.receive() or None)

    def smuggle(self, upgraded: str, method: str, target: str, fields: Fields) -> None:
        """Send a request through the tunnel that a 101 has opened, and see the tunnel end."""
        if upgraded == "h2c":
            self._smuggle_h2(method, target, fields)
        else:
            last = [("Host", "shop.example"), ("Connection", "close"), *fields]
            self.send(head(method, target, last))
        self.rest()

    def over_h2(self, calls: Sequence[Fields], *, end_stream: bool = True) -> dict[int, int]:
        """Make calls over HTTP/2 at once; return the status of each that is answered.

        `end_stream`: they have no body. One that has is over with its status.
        """
        end = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
        )
        end.initiate_connection()
        open_ones = set()
        for number, fields in enumerate(calls):
            end.send_headers(2 * number + 1, list(fields), end_stream=end_stream)
            open_ones.add(2 * number + 1)
        self.send(end.data_to_send())
        statuses: dict[int, int] = {}
        while open_ones and (data := self.receive()):
            try:
                events = end.receive_data(data)
            except h2.exceptions.ProtocolError:  # it speaks HTTP/1.1
                break
            for event in events:
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers or ())[b":status"]
                    statuses[(event.stream_id or 0) // 2] = int(status)
                    if not end_stream:
                        open_ones.discard(event.stream_id or 0)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    open_ones.discard(event.stream_id or 0)
            self.send(end.data_to_send())
        return statuses

    def _smuggle_h2(self, method: str, target: str, fields: Fields) -> None:
        end = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        end.initiate_upgrade_connection()
        heard = [(":method", method), (":path", target), (":scheme", "http")]
        heard += [(":authority", "shop.example"), *((key.lower(), value) for key, value in fields)]
        end.send_headers(3, heard, end_stream=True)
        self.send(end.data_to_send())
        while data := self.receive():
            with suppress(h2.exceptions.ProtocolError):
                if any(_is_last(event) for event in end.receive_data(data)):
                    break
            self.send(end.data_to_send())


def _is_last(event: h2.events.Event) -> bool:
    ended = isinstance(event, h2.events.StreamEnded) and event.stream_id == 3
    return ended or isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)
