"""The local socket: JSON lines over a unix stream (contract, section 4).

The requests of one connection are done in order, but for a run of events, which commute and are
handed in together; so a check sees every event that was sent before it. Replies are sent when there
is nothing more to read, or enough of them. A client that does not read its replies is not read
from either. A watcher cannot be held back like that: what it does not read is kept up to
`max_backlog_bytes`, and then it is cut off, so that it watches anew and does not miss changes.

No peer can take the places of others: the connections and watches of each uid are bounded, and one
that waits for its client makes room where all places are taken (`seats`).
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec
import trio
from trio.socket import SocketType

from sidecar.adapters.events.intake import (
    CONCURRENT,
    DurableEvents,
    EventIntake,
    FleetAcknowledgements,
    OnInvalid,
    ignore_invalid,
    reply_to,
)
from sidecar.adapters.events.replies import (
    check_reply,
    ok_reply,
    overloaded_reply,
    refusal_reply,
    standing_line,
    unavailable_reply,
)
from sidecar.adapters.events.speakers import Speakers, uid_of
from sidecar.adapters.listening.acceptor import Acceptor, linger, send_all, ten_seconds
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.listening.socket_files import SocketFile
from sidecar.adapters.ports import Checks, StandingChanges
from sidecar.service.ports.calls import (
    Call,
    Overloaded,
    StandingChange,
    TokenPresentation,
    Unavailable,
)
from sidecar.wire.events.socket_lines import (
    CheckRequest,
    EventRequest,
    LineRequest,
    PingRequest,
    Ref,
    Refusal,
    WatchRequest,
    decode_line,
)
from sidecar.wire.settings.settings import Socket

READ_SIZE = 65536
ENOUGH = 32768
"""Bytes of replies that are sent without waiting for more."""

AT_A_TIME = 32
"""Lines that are done before others get their turn. Some cost as much as several."""
EVENT, REFUSED_TOKEN, PROOF = 4, 8, 12

UNREADABLE = 16
"""Lines in a row that cannot be read end a connection: whoever sends them speaks no protocol."""

_UNREADABLE = frozenset({"invalid_json", "unknown_op"})
_INTERNAL = "something went wrong here"


class SocketIncident(StrEnum):
    """A fault of a connection: a closed set, fit for a metric's label."""

    REFUSED = "refused"  # too many connections
    MADE_ROOM = "made-room"  # it waited for its client, and a new one needed the place
    NO_DESCRIPTOR = "no-descriptor"  # a new one waits: the process has no descriptor for it
    MALFORMED = "malformed"  # too many lines in a row could not be read
    FORBIDDEN = "forbidden"  # a uid that is not allowed
    TOO_LARGE = "too-large"
    IDLE = "idle"
    SLOW_READER = "slow-reader"
    SLOW_WATCHER = "slow-watcher"
    WATCH_ENDED = "watch-ended"
    WATCH_REFUSED = "watch-refused"  # its uid watches on as many connections as it may
    CRASHED = "crashed"  # a service raised what it should not


OnSocketIncident: TypeAlias = Callable[[SocketIncident, Exception | None], None]


def _ignore(incident: SocketIncident, error: Exception | None) -> None:
    """Do nothing."""


class LocalSocket:
    """Serves the local socket. `on_incident` is called with each fault.

    `clock` gives the time of events without one, `new_id` their ids, and `skew` how far in the
    future an event's own time may lie.
    """

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        settings: Socket,
        *,
        checks: Checks,
        events: DurableEvents,
        watches: StandingChanges,
        speakers: Speakers,
        clock: Callable[[], float],
        skew: Callable[[], float],
        new_id: Callable[[], str],
        acknowledger: FleetAcknowledgements | None = None,
        on_incident: OnSocketIncident = _ignore,
        on_invalid: OnInvalid = ignore_invalid,
    ) -> None:
        self.settings = settings
        self.checks = checks
        self.watches = watches
        self.speakers = speakers
        self.on_incident = on_incident
        self.on_invalid = on_invalid
        self.intake = EventIntake(
            events, acknowledger, lambda error: on_incident(SocketIncident.CRASHED, error)
        )
        self.draining = False
        self.watching = Counter[str]()
        self._clock = clock
        self._skew = skew
        self._new_id = new_id
        self._connections: set[_Connection] = set()

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: Callable[[], float] = ten_seconds,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or the task is cancelled, then drain.

        Starts with the path. Raises `AddressInUse`, OSError, and KeyError for an unknown group.
        """
        path, mode, group = self.settings.path, int(self.settings.mode, 8), self.settings.group
        file = await trio.to_thread.run_sync(SocketFile, path, mode, group)
        with file:
            acceptor = Acceptor(
                self._serve,
                limit=self.settings.max_connections,
                refusal=refusal_reply(Refusal("overloaded", "too many connections are open")),
                drain=self._drain,
                drain_timeout=drain_timeout,
                on_crowding=lambda what: self.on_incident(SocketIncident(what), None),
            )
            listener = trio.socket.from_stdlib_socket(file.socket)
            async with trio.open_nursery() as nursery:
                await nursery.start(acceptor.run, [listener], draining)
                task_status.started(path)

    def replace(self, settings: Socket) -> None:
        """Serve as is configured now; who may connect no longer goes."""
        self.settings = settings
        for connection in self._connections:
            if not self._is_allowed(connection.uid):
                connection.expel()

    def decode(self, line: bytes, uid: int | None) -> LineRequest:
        """Read one request line of a peer, as the source that it is or shows itself to be."""
        request = decode_line(line, now=self._clock(), skew=self._skew(), new_id=self._new_id)
        # Most lines are checks, of which nobody need be the source.
        if not isinstance(request, EventRequest | WatchRequest):
            return request
        name = self.speakers.peer(uid)
        if request.credential:
            try:
                name = self.speakers.shown(request.credential, uid)
            except Overloaded:
                message = "too many wrong ones were shown: try again later"
                return Refusal("overloaded", message, "credential", request.ref)
            if not name:
                return Refusal("not_allowed", "is no source's", "credential", request.ref)
        if isinstance(request, EventRequest):
            signal = msgspec.structs.replace(request.signal, source=name)
            return msgspec.structs.replace(request, signal=signal, credential="")
        if not self.may_watch(request, uid):
            message = (
                "is required: to watch every session takes a source with `may_watch: true` in"
                " `sources`"
            )
            return Refusal("not_allowed", message, "sessions", request.ref)
        return request

    def may_watch(self, request: WatchRequest, uid: int | None) -> bool:
        """Return whether a peer may watch this, as sources and their credentials now are."""
        if request.sessions is not None:
            return True
        shown = request.credential
        name = self.speakers.bearer(shown) if shown else self.speakers.peer(uid)
        return bool(name) and self.speakers.source(name).may_watch

    async def _serve(self, stream: SocketType, _peer: str, seat: Seat) -> None:
        uid = uid_of(stream)
        if not self._is_allowed(uid):
            self.on_incident(SocketIncident.FORBIDDEN, None)
            return
        connection = _Connection(self, stream, uid, seat)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self.on_incident(SocketIncident.CRASHED, error)
        finally:
            self._connections.discard(connection)

    def _is_allowed(self, uid: int | None) -> bool:
        allowed = self.settings.allowed_uids
        return allowed is None or uid in allowed

    def _drain(self) -> None:
        self.draining = True
        for connection in self._connections:
            connection.end_reading()


class _Connection:
    """One client: reads lines, replies in order, and pushes changes if it watches."""

    def __init__(
        self, server: LocalSocket, stream: SocketType, uid: int | None, seat: Seat
    ) -> None:
        self._server = server
        self._stream = stream
        self._uid = uid
        self._seat = seat
        self._quiet_since = trio.current_time()
        self._life = trio.CancelScope()
        self._waiting = trio.CancelScope()
        self._sending = trio.Lock()
        self._out = bytearray()
        self._flush_due = False
        self._pushed = trio.lowlevel.ParkingLot()
        self._watch: trio.CancelScope | None = None
        self._done = 0  # since others had their turn
        self._unreadable = 0  # lines in a row

    @property
    def uid(self) -> int | None:
        """Return the uid of the peer."""
        return self._uid

    def expel(self) -> None:
        """End at once: it may be here no longer."""
        self._end(SocketIncident.FORBIDDEN)

    def end_reading(self) -> None:
        """Read no more: what is already read is still answered."""
        self._waiting.cancel()

    async def run(self) -> None:
        """Serve the client to its end."""
        try:
            with self._life:
                async with trio.open_nursery() as nursery:
                    self._tasks = nursery
                    try:
                        await self._converse()
                        await self._flush()
                    except OSError:
                        pass  # the client is gone, and nobody is left to answer
                    nursery.cancel_scope.cancel()
        finally:
            if self._watch is not None:
                self._server.watching[self._seat.owner] -= 1

    def _end(self, incident: SocketIncident, error: Exception | None = None) -> None:
        if not self._life.cancel_called:
            self._server.on_incident(incident, error)
            self._life.cancel()

    # Reading

    async def _converse(self) -> None:
        unread = bytearray()
        while not self._server.draining:
            data = await self._read()
            limit = self._server.settings.max_line_bytes
            if data is None:
                return
            searched = len(unread)
            unread += data
            end = unread.rfind(b"\n", searched) + 1
            if not data:
                end = len(unread)  # a last line may lack its end
            lines = bytes(unread[:end]).split(b"\n")
            if not lines[-1]:
                lines.pop()
            del unread[:end]
            whole = next((at for at, line in enumerate(lines) if len(line) > limit), None)
            if lines:
                self._seat.works()
                await self._do(lines[:whole])
                self._wait()
            if self._unreadable >= UNREADABLE:
                await self._refuse_unreadable()
                return
            if whole is not None or len(unread) > limit:
                await self._refuse_large(limit)
                return
            if not data:
                return
            await self._flush()

    def _wait(self) -> None:
        """Note that nothing is left to do but to wait for the client, or for changes to send."""
        self._quiet_since = trio.current_time()
        if self._watch is None:
            self._seat.waits()
        else:
            self._seat.watches()

    async def _read(self) -> bytes | None:
        """Return some bytes; none at the client's end; None where nothing more is to be read.

        A part of a line buys no time.
        """
        patience = math.inf if self._watch else self._server.settings.idle_timeout
        with trio.CancelScope(deadline=self._quiet_since + patience) as self._waiting:
            return await self._stream.recv(READ_SIZE)
        if not self._server.draining:
            self._server.on_incident(SocketIncident.IDLE, None)
        return None

    async def _refuse_unreadable(self) -> None:
        self._server.on_incident(SocketIncident.MALFORMED, None)
        message = f"{UNREADABLE} lines in a row could not be read: this connection ends"
        self._out += refusal_reply(Refusal("invalid_json", message))
        await self._flush()
        await linger(self._stream)

    async def _refuse_large(self, limit: int) -> None:
        self._server.on_incident(SocketIncident.TOO_LARGE, None)
        self._out += refusal_reply(Refusal("too_large", f"a line has at most {limit} bytes"))
        await self._flush()
        await linger(self._stream)

    # Doing

    async def _do(self, lines: Sequence[bytes]) -> None:
        events: list[EventRequest] = []
        for line in lines:
            request = self._server.decode(line, self._uid)
            unreadable = isinstance(request, Refusal) and request.error in _UNREADABLE
            self._unreadable = self._unreadable + 1 if unreadable else 0
            self._done += 1
            if self._done >= AT_A_TIME:
                self._done = 0
                await trio.lowlevel.checkpoint()
            if isinstance(request, EventRequest):
                self._done += EVENT - 1
                events.append(request)
                if len(events) < CONCURRENT:
                    continue
            if events:
                await self._take(events)
                events = []
            if not isinstance(request, EventRequest):
                await self._do_one(request)
            if self._unreadable >= UNREADABLE:
                break
            if len(self._out) >= ENOUGH:
                await self._flush()
        if events:
            await self._take(events)

    async def _take(self, events: Sequence[EventRequest]) -> None:
        await self._flush()  # events take their time; what was answered before need not wait
        outcomes = await self._server.intake.take_all(events)
        for request, outcome in zip(events, outcomes, strict=True):
            self._out += reply_to(outcome, request.ref)

    async def _do_one(self, request: CheckRequest | WatchRequest | PingRequest | Refusal) -> None:
        match request:
            case CheckRequest():
                self._out += await self._check(request)
            case WatchRequest():
                await self._begin_watch(request)
            case PingRequest():
                self._out += ok_reply(request.ref)
            case Refusal():
                self._server.on_invalid(request)
                self._out += refusal_reply(request)
            case _ as never:
                assert_never(never)

    async def _check(self, request: CheckRequest) -> bytes:
        try:
            if request.dpop:
                self._done += PROOF - 1
            answer = await self._server.checks.check(_call(request))
            if answer.error == "invalid_token":
                self._done += REFUSED_TOKEN - 1
            return check_reply(answer, request.ref)
        except Overloaded as error:
            return overloaded_reply(error, request.ref)
        except Unavailable as error:
            return unavailable_reply(str(error) or "no decision could be made", request.ref)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._server.on_incident(SocketIncident.CRASHED, error)
            return unavailable_reply(_INTERNAL, request.ref)

    # Watching

    async def _begin_watch(self, request: WatchRequest) -> None:
        server, owner, before = self._server, self._seat.owner, self._watch
        if before is None:
            if server.watching[owner] >= server.settings.max_watches:
                server.on_incident(SocketIncident.WATCH_REFUSED, None)
                self._out += overloaded_reply(Overloaded(), request.ref)
                return
            server.watching[owner] += 1
        try:
            self._watch = await self._tasks.start(self._push, request)
        finally:
            if self._watch is None:
                server.watching[owner] -= 1
        if before is None and self._watch is not None:
            self._tasks.start_soon(self._keep_flushing)
        elif before is not None and before is not self._watch:
            before.cancel()

    async def _push(
        self, request: WatchRequest, *, task_status: trio.TaskStatus[trio.CancelScope | None]
    ) -> None:
        """Push changes until cancelled. The reply is written first: no change may precede it."""
        ref: Ref = request.ref
        scope = trio.CancelScope()
        started = False
        try:
            with scope:
                with trio.move_on_after(self._server.settings.watch_timeout):
                    async with self._server.watches.watch(request.sessions) as changes:
                        self._out += ok_reply(ref)
                        started = True
                        task_status.started(scope)
                        async for change in changes:
                            if not self._server.may_watch(request, self._uid):
                                break
                            self._send_change(change)
                            self._send_waiting(changes)
                # Changes are lost, there will be none, or they are not for it any more: the client
                # must not trust its silence.
                self._end(SocketIncident.WATCH_ENDED)
        except Overloaded as error:
            self._fail(overloaded_reply(error, ref), started=started)
        except Unavailable as error:
            reply = unavailable_reply(str(error) or "watching is not possible", ref)
            self._fail(reply, started=started)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._server.on_incident(SocketIncident.CRASHED, error)
            self._fail(unavailable_reply(_INTERNAL, ref), started=started)
        if not started:
            task_status.started(self._watch)

    def _fail(self, reply: bytes, *, started: bool) -> None:
        if started:
            self._end(SocketIncident.WATCH_ENDED)
        else:
            self._out += reply

    def _send_waiting(self, changes: trio.MemoryReceiveChannel[StandingChange]) -> None:
        """Take all that waits at once: a burst must not fill the channel while we are slow."""
        try:
            while True:
                self._send_change(changes.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return

    def _send_change(self, change: StandingChange) -> None:
        self._out += standing_line(change)
        if len(self._out) > self._server.settings.max_backlog_bytes:
            self._end(SocketIncident.SLOW_WATCHER)
        elif not (self._sending.locked() or self._flush_due):
            self._flush_due = True
            self._pushed.unpark()

    async def _keep_flushing(self) -> None:
        """Send what is pushed. One task for all: a change may have to go to many watchers."""
        while True:
            if not self._flush_due:
                await self._pushed.park()
            self._flush_due = False
            try:
                await self._flush()
            except OSError:
                self._life.cancel()  # the client is gone

    # Sending

    async def _flush(self) -> None:
        """Send all there is; raises OSError. Only one task sends at a time, in order."""
        if not self._out:
            return
        async with self._sending:
            while self._out:
                out, self._out = self._out, bytearray()
                with trio.move_on_after(self._server.settings.write_timeout) as patience:
                    await send_all(self._stream, out)
                if patience.cancelled_caught:
                    self._end(SocketIncident.SLOW_READER)


def _call(request: CheckRequest) -> Call:
    # An app that shows neither has checked the binding itself, or its gateway has.
    is_shown = bool(request.dpop or request.certificate)
    return Call(
        request.token,
        frozenset(request.contexts),
        request.method,
        request.host,
        request.path,
        request.ip,
        request.user_agent,
        TokenPresentation(request.dpop or None, request.certificate) if is_shown else None,
    )
