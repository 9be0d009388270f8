"""A raw HTTP/2 client for tests of the gRPC server: it can do everything wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from tests.waiting import until

GOAWAY = 7


class Outcome:
    """The answer that came back on a stream."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.data = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> int:
        """The gRPC status."""
        return int(self.fields[b"grpc-status"])


class Peer:
    """A client connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.outcomes: dict[int, Outcome] = {}
        self.goaway: int | None = None
        self.goaway_code: int | None = None
        self.closed = False
        self.reads = True
        self._sending = trio.Lock()
        self._unread = b""

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        async with self._sending:
            await self.stream.send_all(self.h2.data_to_send())

    async def call(
        self,
        path: bytes,
        body: bytes = b"",
        *,
        end: bool = True,
        method: bytes = b"POST",
        kind: bytes = b"application/grpc",
    ) -> int:
        """Begin a call; its stream."""
        number = self.h2.get_next_available_stream_id()
        self.outcomes[number] = Outcome()
        fields = [
            (b":method", method),
            (b":path", path),
            (b":scheme", b"http"),
            (b":authority", b"sidecar"),
            (b"content-type", kind),
            (b"te", b"trailers"),
        ]
        self.h2.send_headers(number, fields, end_stream=end and not body)
        while body:
            size = min(self.h2.local_flow_control_window(number), 16384, len(body))
            if size <= 0:
                await self.flush()
                await trio.sleep(0.001)  # the pace at which the window is looked at
                continue
            self.h2.send_data(number, body[:size], end_stream=end and size == len(body))
            body = body[size:]
        await self.flush()
        return number

    async def outcome(self, number: int) -> Outcome:
        await until(lambda: self.outcomes[number].over or self.closed)
        return self.outcomes[number]

    async def read(self) -> None:
        """Take what comes, until the other end closes."""
        try:
            while data := await self.stream.receive_some(65536):
                for event in self.h2.receive_data(self._without_goaway(data)):
                    self._take(event)
                await self.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.closed = True

    def _without_goaway(self, data: bytes) -> bytes:
        """Whole frames but GOAWAY, after which h2 would not take what comes on open streams."""
        self._unread += data
        frames = b""
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3])
            if len(self._unread) < end:
                break
            frame, self._unread = self._unread[:end], self._unread[end:]
            if frame[3] == GOAWAY:
                self.goaway = int.from_bytes(frame[9:13])
                self.goaway_code = int.from_bytes(frame[13:17])
            else:
                frames += frame
        return frames

    def _take(self, event: object) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                fields = {bytes(name): bytes(value) for name, value in event.headers}
                self.outcomes[event.stream_id].fields.update(fields)
            case DataReceived():
                self.outcomes[event.stream_id].data += event.data
                if self.reads:
                    size = event.flow_controlled_length
                    self.h2.acknowledge_received_data(size, event.stream_id)
            case StreamEnded():
                self.outcomes[event.stream_id].ended = True
            case StreamReset():
                self.outcomes[event.stream_id].reset = int(event.error_code)
            case _:
                pass


@asynccontextmanager
async def talking(address: str) -> AsyncIterator[Peer]:
    """A peer that reads as long as the block lasts."""
    host, _, port = address.rpartition(":")
    async with trio.open_nursery() as nursery:
        peer = Peer(await trio.open_tcp_stream(host.strip("[]"), int(port)))
        await peer.start()
        nursery.start_soon(peer.read)
        yield peer
        nursery.cancel_scope.cancel()
        await peer.stream.aclose()
