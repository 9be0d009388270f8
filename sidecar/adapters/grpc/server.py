"""A small gRPC server on h2: unary calls over HTTP/2 without TLS; limits, time-outs, drain.

Hypercorn's HTTP/2 could carry gRPC, but takes several times the processor time for a call, loses
calls where many are under way, sends no GOAWAY while it drains, and bounds no flood
(docs/decisions/0028). This server is for its own pod, so it has no TLS.

A connection is one task that reads, and one for each open stream, at most `max_streams`. All write
through one lock, so that frames leave in the order in which h2 made them.

What a peer sends is taken in pieces, between which others get their turn. One that sends many
frames that ask nothing gets ENHANCE_YOUR_CALM, and its connection ends. Calls that are given up at
once (CVE-2023-44487) end no connection: behind a gateway it is that of many clients, and one of
them would end the calls of all. Where there are many of these, connections that have some take
turns, so that one piece of one of them is dealt with between two turns of all others.

Drain: a GOAWAY says to the peer which streams will still be answered (RFC 9113, section 6.8);
later ones are refused as not processed, and the connection ends with the last of the others. The
frame is written by hand, for h2 sends nothing more after a GOAWAY of its own.
"""

import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TypeAlias

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from trio.socket import SocketType

from sidecar.adapters.http.handlers import HttpIncident, OnHttpIncident
from sidecar.adapters.listening.acceptor import Acceptor, linger, send_all, ten_seconds
from sidecar.adapters.listening.seats import BY_ADDRESS_LONG, Seat
from sidecar.adapters.listening.tcp_listeners import tcp_listeners
from sidecar.service.traces.current import SENDER
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.grpc.messages import (
    HEAD,
    PREFIX_SIZE,
    CallRefused,
    Code,
    Fields,
    packed,
    trailers,
    unpacked,
)
from sidecar.wire.settings.settings import Grpc
from sidecar.wire.traces.trace_context import SentContext, sent_context

GrpcHandler: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Answers one message with another; raises `CallRefused`."""

READ_SIZE = 65536
AT_ONCE = 16
"""Frames that are taken before others get their turn."""

CALM = 256
"""Frames in a row that ask nothing, such as pings and settings, before the peer must go; and calls
in a row that are given up, on all connections, before those that have some take turns."""
CALM_RATE = 100.0
"""How many of these a second are nothing out of the ordinary."""
CALM_FOR_CALL = 2
"""How many come with each call that is answered: a window opens, a ping measures it."""
_PREFACE = 24
_FRAME_HEADER = 9

_MAX_HEADERS = 65536
_GOAWAY = struct.Struct(">HBBBIII")


class LeanGrpcServer:
    """Serves `methods`, each by its path (`/package.Service/Method`), at `settings.bind`."""

    def __init__(
        self, methods: Mapping[bytes, GrpcHandler], settings: Grpc, *, on_incident: OnHttpIncident
    ) -> None:
        self.methods = methods
        self.settings = settings
        self.on_incident = on_incident
        self.draining = False
        self.resets = _Resets()
        self._connections: set[_Connection] = set()

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: Callable[[], float] = ten_seconds,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or the task is cancelled, then drain.

        Starts with the addresses bound, `HOST:PORT`. Raises OSError.
        """
        with ExitStack() as files:
            found = await tcp_listeners(binds_of(self.settings))
            listeners = [files.enter_context(one) for one in found]
            acceptor = Acceptor(
                self._serve,
                limit=self.settings.max_connections,
                refusal=b"",
                drain=self._drain,
                drain_timeout=drain_timeout,
                on_crowding=lambda what: self.on_incident(HttpIncident(what), None),
                rate=BY_ADDRESS_LONG,
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(acceptor.run, listeners, draining)
                task_status.started([_shown(one.getsockname()) for one in listeners])

    async def _serve(self, stream: SocketType, _peer: str, seat: Seat) -> None:
        connection = _Connection(self, stream, seat)
        self._connections.add(connection)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await connection.run()
        except OSError:
            pass  # the other end is gone, and nobody is left to answer
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self.on_incident(HttpIncident.CRASHED, error)
        finally:
            self._connections.discard(connection)

    def _drain(self) -> None:
        self.draining = True
        for connection in self._connections:
            connection.drain()


def _shown(name: tuple[str, int]) -> str:
    host, port, *_ = name
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Stream:
    """One call: what has arrived of it, and the scope of the task that answers it."""

    __slots__ = ("body", "ended", "number", "path", "problem", "scope", "sent")

    def __init__(
        self, number: int, path: bytes, problem: int, sent: SentContext | None = None
    ) -> None:
        self.sent = sent
        self.number = number
        self.path = path
        self.problem = problem  # an HTTP status, where this is no gRPC call at all
        self.body = bytearray()
        self.ended = trio.Event()
        self.scope = trio.CancelScope()


class _Frames:
    """Cuts what comes into pieces of some frames, which are taken one after the other.

    And counts how many that ask nothing a peer may still send (RFC 9113, section 10.5): each costs
    time here and next to nothing there, such as settings to acknowledge, pings to answer, resets of
    what is no call. Those of calls are counted apart.
    """

    def __init__(self) -> None:
        self._left = float(CALM)
        self._at = trio.current_time()
        self._header = b""  # the part of a frame's header that has come
        self._before_next = _PREFACE  # bytes until the next frame begins
        self._begun = 0

    def answered(self) -> None:
        """Note that a call was answered."""
        self._left += CALM_FOR_CALL

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut after each frames that are to be taken together (RFC 9113, section 4.1)."""
        cut, place = 0, self._before_next
        known, data = len(self._header), self._header + data
        while place + _FRAME_HEADER <= len(data):
            self._begun += 1
            place += _FRAME_HEADER + int.from_bytes(data[place : place + 3])
            if self._begun >= AT_ONCE and place < len(data):
                yield data[max(cut, known) : place]
                cut, self._begun = place, 0
        self._header = data[place:]
        self._before_next = max(0, place - len(data))
        yield data[max(cut, known) :]
        self._begun = 0

    def is_calm(self, events: Sequence[Event], given_up: int) -> bool:
        """Return whether the peer may go on after a piece, of which h2 made this."""
        now = trio.current_time()
        self._left = min(CALM, self._left + (now - self._at) * CALM_RATE)
        self._left -= max(0, self._begun - sum(map(_asks, events)) - given_up)
        self._at = now
        return self._left >= 0


class _Resets:
    """The allowance of calls given up, on all connections, and the turn of those past it."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        self._left = float(CALM)
        self._at = -math.inf

    def answered(self) -> None:
        """Note that a call was answered."""
        self._left += CALM_FOR_CALL

    def given_up(self, count: int) -> bool:
        """Count calls given up; return whether they have just become more than usual."""
        was_many = self.are_many()
        self._left = max(0.0, self._left - count)
        return self.are_many() and not was_many

    def are_many(self) -> bool:
        """Return whether more are given up than usual."""
        now = trio.current_time()
        self._left = min(CALM, self._left + (now - self._at) * CALM_RATE)
        self._at = now
        return self._left < 1


class _FrugalConnection(H2Connection):
    """Remembers of few calls how they ended: h2 keeps 65,536 of a connection, which take 10 MB.

    It is asked of what was under way to a call that was reset; else what comes is a fault.
    """

    MAX_CLOSED_STREAMS = 1024


def _asks(event: Event) -> bool:
    """Return whether a frame is a part of a call; its end comes with one of these."""
    return isinstance(event, RequestReceived) or (
        isinstance(event, DataReceived) and bool(event.data)
    )


def _all(event: RequestReceived, wanted: bytes) -> list[bytes]:
    return [bytes(value) for name, value in event.headers if bytes(name) == wanted]


class _Connection:
    """One HTTP/2 connection."""

    def __init__(self, server: LeanGrpcServer, stream: SocketType, seat: Seat) -> None:
        self._server = server
        self._seat = seat
        self._limits = server.settings
        self._stream = stream
        self._streams: dict[int, _Stream] = {}
        self._whole = 0  # of the streams, those whose request is
        self._works = False
        self._calls: trio.Nursery | None = None
        self._writing = trio.Lock()
        self._window = trio.Event()
        self._patience = trio.CancelScope()
        self._frames = _Frames()
        self._fresh: list[_Stream] = []
        self._given_up = 0  # calls, in the latest piece
        self._last = -1  # the last stream that is answered, once draining
        self._goaway = b""
        self._h2 = _FrugalConnection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self._limits.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEADERS,
            },
        )

    async def run(self) -> None:
        """Serve to the end; raises OSError where the other end is gone."""
        self._h2.initiate_connection()
        try:
            async with trio.open_nursery() as calls:
                self._calls = calls
                await self._flush()
                await self._read()
                calls.cancel_scope.cancel()
        except* OSError:
            pass  # the other end is gone, and nobody is left to answer
        else:
            await linger(self._stream)

    def drain(self) -> None:
        """Take no further streams; end now if none is open, else after the last."""
        self._last = self._h2.highest_inbound_stream_id
        self._goaway = _GOAWAY.pack(0, 8, 7, 0, 0, self._last, ErrorCodes.NO_ERROR)
        if self._calls is not None and self._streams:
            self._calls.start_soon(self._flush)
        self._set_patience()

    def _set_patience(self) -> None:
        """Set how long nothing may come: while calls are open, as long as they take."""
        self._take_seat()
        if self._streams:
            self._patience.deadline = math.inf
            return
        if self._last >= 0:
            self._patience.deadline = -math.inf
        else:
            self._patience.deadline = trio.current_time() + self._limits.idle_timeout

    def _take_seat(self) -> None:
        """Work while a call is whole. A part of one, or a ping, buys no time."""
        works = self._whole > 0
        if works and not self._works:
            self._seat.works()
        elif self._works and not works:
            self._seat.waits()
        self._works = works

    def _end_request(self, stream: _Stream) -> None:
        if not stream.ended.is_set():
            stream.ended.set()
            self._whole += 1

    def _forget(self, stream: _Stream) -> None:
        del self._streams[stream.number]
        self._whole -= stream.ended.is_set()

    async def _read(self) -> None:
        with self._patience:
            self._patience.deadline = trio.current_time() + self._limits.message_timeout
            while data := await self._stream.recv(READ_SIZE):
                if not await self._feed(data):
                    break
                await self._flush()
                self._set_patience()
        await self._flush()  # the last word: what h2 says of an error, or the GOAWAY of a drain

    async def _feed(self, data: bytes) -> bool:
        """Take what came, in pieces that give way to others; False where the connection ends."""
        for number, piece in enumerate(self._frames.pieces(data)):
            resets = self._server.resets
            if self._given_up and resets.are_many():
                async with resets.turn:
                    await trio.lowlevel.checkpoint()
                    goes_on = self._feed_piece(piece)
            else:
                if number:
                    await trio.lowlevel.checkpoint()
                goes_on = self._feed_piece(piece)
            if self._given_up and resets.given_up(self._given_up):
                self._server.on_incident(HttpIncident.MANY_RESETS, None)
            if not goes_on:
                return False
        return True

    def _feed_piece(self, piece: bytes) -> bool:
        self._given_up = 0
        try:
            events = self._h2.receive_data(piece)
            for event in events:
                self._take(event)
        except H2Error:
            self._server.on_incident(HttpIncident.MALFORMED, None)
            return False
        finally:
            self._serve_fresh()
        if any(isinstance(event, ConnectionTerminated) for event in events):
            return False  # the peer leaves, and h2 sends it nothing more
        if not self._frames.is_calm(events, self._given_up):
            self._server.on_incident(HttpIncident.FLOODED, None)
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            return False
        return True

    def _serve_fresh(self) -> None:
        """Begin to answer the calls that came and were not given up since."""
        fresh, self._fresh = self._fresh, []
        for stream in fresh:
            if stream.scope.cancel_called or self._calls is None:
                self._forget(stream)
            else:
                self._calls.start_soon(self._serve, stream)

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event)
            case DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                stream = self._streams.get(event.stream_id)
                if stream is not None and len(stream.body) <= self._max_body:
                    stream.body += event.data
                    if len(stream.body) > self._max_body:
                        self._end_request(stream)  # too much: answered without the rest
            case StreamEnded():
                if event.stream_id in self._streams:
                    self._end_request(self._streams[event.stream_id])
            case StreamReset():
                if event.stream_id in self._streams:
                    self._given_up += 1
                    self._streams[event.stream_id].scope.cancel()
            case WindowUpdated() | RemoteSettingsChanged():
                self._window.set()
                self._window = trio.Event()
            case _:
                pass  # h2 answers pings and settings by itself

    @property
    def _max_body(self) -> int:
        return self._limits.max_message_bytes + PREFIX_SIZE

    def _begin(self, event: RequestReceived) -> None:
        number = event.stream_id
        if 0 <= self._last < number:
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        fields = {bytes(name): bytes(value) for name, value in event.headers}
        problem = 0
        if fields.get(b":method") != b"POST":
            problem = 405
        elif not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            problem = 415
        sent = None
        if b"traceparent" in fields:
            sent = sent_context(*(_all(event, name) for name in (b"traceparent", b"tracestate")))
        stream = _Stream(number, fields.get(b":path", b""), problem, sent)
        self._streams[number] = stream
        self._fresh.append(stream)

    async def _serve(self, stream: _Stream) -> None:
        try:
            with stream.scope:
                await self._answer(stream)
        except (OSError, H2Error):
            pass  # the stream or its connection has ended, and nobody waits for the answer
        finally:
            self._forget(stream)
            self._set_patience()

    async def _answer(self, stream: _Stream) -> None:
        if stream.problem:
            await self._send_fields(stream, [(b":status", b"%d" % stream.problem)])
            return
        try:
            answer = packed(await self._call(stream))
        except CallRefused as error:
            await self._send_fields(stream, [*HEAD, *trailers(error.code, str(error))])
            return
        with trio.move_on_after(self._limits.write_timeout) as patience:
            self._h2.send_headers(stream.number, HEAD)
            await self._send_data(stream.number, answer)
            await self._send_fields(stream, trailers(Code.OK))
            self._frames.answered()
            self._server.resets.answered()
        if patience.cancelled_caught:
            self._server.on_incident(HttpIncident.SLOW_READER, None)
            self._h2.reset_stream(stream.number, ErrorCodes.CANCEL)
            await self._flush()

    async def _call(self, stream: _Stream) -> bytes:
        handler = self._server.methods.get(stream.path)
        if handler is None:
            raise CallRefused(Code.UNIMPLEMENTED, "there is no such method here")
        with trio.move_on_after(self._limits.message_timeout):
            await stream.ended.wait()
        if not stream.ended.is_set():
            self._server.on_incident(HttpIncident.SLOW_REQUEST, None)
            raise CallRefused(Code.DEADLINE_EXCEEDED, "the request took too long to arrive")
        if len(stream.body) > self._max_body:
            raise CallRefused(Code.RESOURCE_EXHAUSTED, "the request is too large")
        message = unpacked(bytes(stream.body))
        SENDER.set(stream.sent)  # each stream has a task of its own
        try:
            return await handler(message)
        except CallRefused:
            raise
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._server.on_incident(HttpIncident.CRASHED, error)
            raise CallRefused(Code.INTERNAL, "something went wrong here") from None

    async def _send_fields(self, stream: _Stream, fields: Fields) -> None:
        """Send a stream's last header section; stop a request that is not whole (NO_ERROR)."""
        self._h2.send_headers(stream.number, fields, end_stream=True)
        if not stream.ended.is_set() or len(stream.body) > self._max_body:
            self._h2.reset_stream(stream.number, ErrorCodes.NO_ERROR)
        await self._flush()

    async def _send_data(self, number: int, data: bytes) -> None:
        while data:
            window = self._window
            room = self._h2.local_flow_control_window(number)
            size = min(room, self._h2.max_outbound_frame_size, len(data))
            if size <= 0:
                await self._flush()
                await window.wait()
                continue
            self._h2.send_data(number, data[:size])
            data = data[size:]

    async def _flush(self) -> None:
        """Send what there is; raises OSError, and then the connection ends.

        A stream that is reset while it writes must not leave half a frame: hence the shield.
        """
        async with self._writing:
            data = self._h2.data_to_send() + self._goaway
            self._goaway = b""
            if not data:
                return
            try:
                with trio.CancelScope(shield=True) as patience:
                    patience.deadline = trio.current_time() + self._limits.write_timeout
                    await send_all(self._stream, data)
                    return
            except OSError:
                self._end()
                raise
            self._server.on_incident(HttpIncident.SLOW_READER, None)
            self._end()
            raise ConnectionResetError("the other end does not read")

    def _end(self) -> None:
        if self._calls is not None:
            self._calls.cancel_scope.cancel()
