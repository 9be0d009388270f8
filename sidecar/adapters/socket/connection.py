"""One connection of the local socket: reads lines, replies in order, pushes changes if it watches.

Where nothing has to be waited for, it is served in turns that `readiness` gives it: a turn reads
what has come, answers the checks of it and sends the replies. A line that takes longer, as an event
does, ends the turn; the connection's own task then does this one and those behind it, and sends
their replies, before there are turns again. So lines are done in their order, and a client that
does not read its replies is not read from.
"""

import math
import socket
from collections import Counter, deque
from collections.abc import Sequence
from enum import Enum
from itertools import islice
from typing import Protocol, assert_never

import trio
from trio.socket import SocketType

from sidecar.adapters.events.check_lines import call_of, plain_call
from sidecar.adapters.events.intake import CONCURRENT, EventIntake, OnInvalid, reply_to
from sidecar.adapters.events.replies import (
    RepeatedReplies,
    check_reply,
    ok_reply,
    overloaded_reply,
    refusal_reply,
    standing_line,
    unavailable_reply,
)
from sidecar.adapters.listening.acceptor import linger, send_all
from sidecar.adapters.listening.readiness import AT_A_TIME, ReadySet
from sidecar.adapters.listening.seats import Seat
from sidecar.adapters.ports import Checks, StandingChanges
from sidecar.adapters.socket.incidents import OnSocketIncident, SocketIncident
from sidecar.service.audit.turns import Turns
from sidecar.service.ports.calls import (
    Call,
    Overloaded,
    StandingChange,
    Unavailable,
    Via,
)
from sidecar.wire.events.socket_lines import (
    CheckRequest,
    EventRequest,
    LineRequest,
    PingRequest,
    Ref,
    Refusal,
    WatchRequest,
)
from sidecar.wire.settings.settings import Socket

READ_SIZE = 65536
AHEAD = 32
"""Checks of one connection whose tokens and sessions are brought at the same time."""
ENOUGH = 32768
"""Bytes of replies that are sent without waiting for more."""

# Lines that cost as much as several checks whose answer is at hand.
JUDGED, EVENT, REFUSED_TOKEN, PROOF = 4, 4, 8, 12

UNREADABLE = 16
"""Lines in a row that cannot be read end a connection: whoever sends them speaks no protocol."""

_UNREADABLE = frozenset({"invalid_json", "unknown_op"})
_INTERNAL = "something went wrong here"


class _End(Enum):
    """The reason for which nothing more is read."""

    CLIENT = "the client has ended, or is gone"
    TOO_LARGE = "a line is too large"
    IDLE = "nothing has come for too long"


class Door(Protocol):
    """The server of a connection, as it is configured now."""

    settings: Socket
    draining: bool
    checks: Checks
    intake: EventIntake
    watches: StandingChanges
    watching: Counter[str]
    ready: ReadySet
    replies: RepeatedReplies
    on_incident: OnSocketIncident
    on_invalid: OnInvalid

    def decode(self, line: bytes, uid: int | None) -> LineRequest:
        """Read one request line of a peer, as the source that it is or shows itself to be."""

    def may_watch(self, request: WatchRequest, uid: int | None) -> bool:
        """Return whether a peer may watch this, as sources and their credentials now are."""


class SocketConnection:
    """One client."""

    def __init__(self, door: Door, stream: SocketType, uid: int | None, seat: Seat) -> None:
        self._door = door
        self._stream = stream
        self._descriptor = stream.fileno()
        self._uid = uid
        self._via = Via("socket", uid=uid)
        self._seat = seat
        self._life = trio.CancelScope()
        self._sending = trio.Lock()
        self._unread = bytearray()
        self._lines = deque[bytes]()
        self._end: _End | None = None
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
        self._stop(SocketIncident.FORBIDDEN)

    def end_reading(self) -> None:
        """Read no more: what is already read is still answered."""
        self._take_over()

    async def run(self) -> None:
        """Serve the client to its end."""
        # Trio's socket has a checkpoint in each operation; this is the same one without.
        self._raw = socket.socket(fileno=self._descriptor)
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
            self._raw.detach()
            if self._watch is not None:
                self._door.watching[self._seat.owner] -= 1

    def _stop(self, incident: SocketIncident, error: Exception | None = None) -> None:
        if not self._life.cancel_called:
            self._door.on_incident(incident, error)
            self._life.cancel()

    # Reading

    async def _converse(self) -> None:
        while True:
            if self._lines:
                self._seat.works()
                await self._do_lines()
                self._wait()
            if self._unreadable >= UNREADABLE:
                await self._refuse_unreadable()
                return
            if self._end is _End.TOO_LARGE:
                await self._refuse_large()
                return
            if self._end is not None:
                return
            await self._flush()
            if self._door.draining:
                return
            await self._door.ready.give_turns(self._descriptor, self)

    def _wait(self) -> None:
        """Note that nothing is left to do but to wait for the client, or for changes to send."""
        if self._watch is None:
            self._seat.waits()
        else:
            self._seat.watches()

    def _take_over(self) -> None:
        """Have the connection's own task go on."""
        self._door.ready.end_turns(self._descriptor)

    def silent_since(self) -> float:
        """Return since when the client has asked nothing; a part of a line buys no time."""
        return math.inf if self._watch is not None or self._lines else self._seat.since

    def give_up(self) -> None:
        """End, as the client has been silent for too long."""
        self._door.on_incident(SocketIncident.IDLE, None)
        self._end = _End.IDLE
        self._take_over()

    def _receive(self) -> bool:
        """Take up what has come: whole lines, and a part of one. Return whether anything has."""
        try:
            data = self._raw.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        unread = self._unread
        limit = self._door.settings.max_line_bytes
        if data and not unread and data[-1] == 10 and len(data) <= limit:  # as nearly always
            self._lines.extend(data[:-1].split(b"\n"))
            return True
        searched = len(unread)
        unread += data
        end = unread.rfind(b"\n", searched) + 1
        if not data:
            end = len(unread)  # a last line may lack its end
            self._end = _End.CLIENT
        lines = bytes(unread[:end]).split(b"\n")
        if not lines[-1]:
            lines.pop()
        del unread[:end]
        whole = next((at for at, line in enumerate(lines) if len(line) > limit), None)
        self._lines.extend(lines[:whole])
        if whole is not None or len(unread) > limit:
            self._end = _End.TOO_LARGE
        return True

    async def _refuse_unreadable(self) -> None:
        self._door.on_incident(SocketIncident.MALFORMED, None)
        message = f"{UNREADABLE} lines in a row could not be read: this connection ends"
        self._out += refusal_reply(Refusal("invalid_json", message))
        await self._flush()
        await linger(self._stream)

    async def _refuse_large(self) -> None:
        self._door.on_incident(SocketIncident.TOO_LARGE, None)
        limit = self._door.settings.max_line_bytes
        self._out += refusal_reply(Refusal("too_large", f"a line has at most {limit} bytes"))
        await self._flush()
        await linger(self._stream)

    # Turns

    @property
    def has_more(self) -> bool:
        """Return whether requests are left which another turn is to do."""
        return bool(self._lines)

    def turn(self, most: int) -> int:
        """Read, do lines until `most` are done, send the replies; return how many were done."""
        try:
            return self._turn(most)
        except Exception as error:  # noqa: BLE001 - the door: it is one connection's, and not the set's
            self._stop(SocketIncident.CRASHED, error)
            return most

    def _turn(self, most: int) -> int:
        lines = self._lines
        if not lines and not self._receive():
            return 0
        if self._end is not None or (self._watch is not None and lines):
            if lines:
                self._seat.works()
            self._take_over()
            return 1
        if not lines:
            return 1  # a part of one
        done = self._answer_at_once(most)
        if lines:
            self._seat.works()
            if done < most:
                self._take_over()
                return done + 1
            if len(self._out) < ENOUGH:
                return done
        else:
            self._seat.served()
        if not self._send_at_once():
            self._take_over()
        return done

    def _answer_at_once(self, most: int) -> int:
        """Answer checks until one has no answer at hand, or `most` are done; return how many."""
        lines, out = self._lines, self._out
        checks, reply_of = self._door.checks, self._door.replies.reply
        check, via = checks.check_at_once, self._via
        done = 0
        while lines and done < most:
            found = plain_call(lines[0], via)
            if found is None:
                break
            call, ref = found
            try:
                repeated = check(call)
                if repeated is not None:
                    out += reply_of(repeated, ref)
                else:
                    answer = checks.judge_at_once(call)
                    if answer is None:
                        break
                    out += check_reply(answer, ref)
                    done += JUDGED - 1
            except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
                self._door.on_incident(SocketIncident.CRASHED, error)
                out += unavailable_reply(_INTERNAL, ref)
            lines.popleft()
            done += 1
        if done:
            self._unreadable = 0
        return done

    def _send_at_once(self) -> bool:
        """Send what there is; return False where some of it is left."""
        out = self._out
        if not out:
            return True
        try:
            sent = self._raw.send(out)
        except OSError:  # it would have to wait, or the client is gone: sending again says which
            return False
        if sent == len(out):
            out.clear()
            return True
        del out[:sent]
        return False

    # Doing

    async def _do_lines(self) -> None:
        """Do all lines, whatever each of them takes."""
        lines = self._lines
        events: list[EventRequest] = []
        ahead: deque[tuple[Call, Ref] | None] = deque()  # what the next lines are, if plain checks
        turns = Turns(share=1)
        while lines:
            await self._give_way(turns)
            if not ahead:
                ahead.extend(plain_call(one, self._via) for one in islice(lines, AHEAD))
                await self._gather([found[0] for found in ahead if found is not None])
            line = lines.popleft()
            request = ahead.popleft() or self._door.decode(line, self._uid)
            unreadable = isinstance(request, Refusal) and request.error in _UNREADABLE
            self._unreadable = self._unreadable + 1 if unreadable else 0
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

    async def _give_way(self, turns: Turns) -> None:
        """Let others have their turn after enough lines, or after few that took long.

        A check whose session was gathered waits for nothing, and may cost what many lines do.
        """
        self._done += 1
        if self._done >= AT_A_TIME:
            self._done = 0
            await trio.lowlevel.checkpoint()
        await turns.give_way()

    async def _gather(self, calls: Sequence[Call]) -> None:
        """Have what these calls need brought at once, not one after the other; all are done later.

        It goes on beside what they are done with: each waits for what it needs itself, and no
        longer.
        """
        if len(calls) > 1:
            await self._tasks.start(self._door.checks.gather, calls)

    async def _take(self, events: Sequence[EventRequest]) -> None:
        await self._flush()  # events take their time; what was answered before need not wait
        outcomes = await self._door.intake.take_all(events)
        for request, outcome in zip(events, outcomes, strict=True):
            self._out += reply_to(outcome, request.ref)

    async def _do_one(
        self, request: tuple[Call, Ref] | CheckRequest | WatchRequest | PingRequest | Refusal
    ) -> None:
        match request:
            case (call, ref):
                self._out += await self._check(call, ref)
            case CheckRequest():
                self._out += await self._check(call_of(request, self._via), request.ref)
            case WatchRequest():
                await self._begin_watch(request)
            case PingRequest():
                self._out += ok_reply(request.ref)
            case Refusal():
                self._door.on_invalid(request)
                self._out += refusal_reply(request)
            case _ as never:
                assert_never(never)

    async def _check(self, call: Call, ref: Ref) -> bytes:
        try:
            if call.shown is not None and call.shown.dpop:
                self._done += PROOF - 1
            answer = await self._door.checks.check(call)
            if answer.error == "invalid_token":
                self._done += REFUSED_TOKEN - 1
            return check_reply(answer, ref)
        except Overloaded as error:
            return overloaded_reply(error, ref)
        except Unavailable as error:
            return unavailable_reply(str(error) or "no decision could be made", ref)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._door.on_incident(SocketIncident.CRASHED, error)
            return unavailable_reply(_INTERNAL, ref)

    # Watching

    async def _begin_watch(self, request: WatchRequest) -> None:
        server, owner, before = self._door, self._seat.owner, self._watch
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
                with trio.move_on_after(self._door.settings.watch_timeout):
                    async with self._door.watches.watch(request.sessions) as changes:
                        self._out += ok_reply(ref)
                        started = True
                        task_status.started(scope)
                        async for change in changes:
                            if not self._door.may_watch(request, self._uid):
                                break
                            self._send_change(change)
                            self._send_waiting(changes)
                # Changes are lost, there will be none, or they are not for it any more: the client
                # must not trust its silence.
                self._stop(SocketIncident.WATCH_ENDED)
        except Overloaded as error:
            self._fail(overloaded_reply(error, ref), started=started)
        except Unavailable as error:
            reply = unavailable_reply(str(error) or "watching is not possible", ref)
            self._fail(reply, started=started)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            self._door.on_incident(SocketIncident.CRASHED, error)
            self._fail(unavailable_reply(_INTERNAL, ref), started=started)
        if not started:
            task_status.started(self._watch)

    def _fail(self, reply: bytes, *, started: bool) -> None:
        if started:
            self._stop(SocketIncident.WATCH_ENDED)
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
        if len(self._out) > self._door.settings.max_backlog_bytes:
            self._stop(SocketIncident.SLOW_WATCHER)
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
        if not self._out or (not self._sending.locked() and self._send_at_once()):
            return
        async with self._sending:
            while self._out:
                out, self._out = self._out, bytearray()
                with trio.move_on_after(self._door.settings.write_timeout) as patience:
                    await send_all(self._stream, out)
                if patience.cancelled_caught:
                    self._stop(SocketIncident.SLOW_READER)
