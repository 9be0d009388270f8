"""The intake of events for both doors: hand in many at once, and return their outcomes.

Events commute (contract, "Meaning" 5), so a run of them need not wait for one another; the replies
come in order all the same. Those of one source are worked on `CONCURRENT` at a time, whichever
connections they come by, and as many revocations of it: those of another one do not wait behind all
that it has sent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, assert_never

import trio

from sidecar.adapters.events.replies import (
    event_reply,
    overloaded_reply,
    refusal_reply,
    unavailable_reply,
)
from sidecar.domain.facts.signal import SessionRevoked, Signal
from sidecar.service.ports.calls import (
    Accepted,
    FleetAcknowledgement,
    Forbidden,
    Overloaded,
    Unavailable,
)
from sidecar.service.traces.current import NotesSenders
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.socket_lines import EventRequest, Ref, Refusal

CONCURRENT = 64

UNKNOWN = FleetAcknowledgement(have=1, live=0)
"""This sidecar has the event, and nobody knows whether the others do."""

OnInvalid: TypeAlias = Callable[[Refusal], None]
"""Is called with each event that was refused at a door because it is not well formed."""


def ignore_invalid(refusal: Refusal) -> None:
    """Do nothing."""


class DurableEvents(Protocol):
    """Takes events durably."""

    async def accept(self, signal: Signal) -> Accepted:
        """Take it; returns once it is durable.

        Raises `Forbidden` where its source may not say so, `InvalidSignal` where its id counts for
        another event or nobody knows whom it concerns, `Overloaded` and `Unavailable`.
        """

    async def accept_all(self, signals: Sequence[Signal]) -> Sequence[Accepted | Exception]:
        """Take several as `accept` does, together where that can be; each fails alone."""


class FleetAcknowledgements(Protocol):
    """Knows how far an event's outcome has got."""

    async def acknowledged(self, event: str, within: float, source: str) -> FleetAcknowledgement:
        """Return how many of the live sidecars have it in their view.

        All, or those after `within` s.
        """


class DurableEvent(NamedTuple):
    """The event is durable; with how many have it, if that was asked for."""

    accepted: Accepted
    acknowledgement: FleetAcknowledgement | None = None


Outcome: TypeAlias = DurableEvent | Refusal | Overloaded | Unavailable


class EventIntake:
    """Hands events in. `on_crash` is called with exceptions that nothing here expects."""

    def __init__(
        self,
        events: DurableEvents,
        acknowledger: FleetAcknowledgements | None,
        on_crash: Callable[[Exception], None],
    ) -> None:
        self._events = events
        self._acknowledger = acknowledger
        self._on_crash = on_crash
        self._turns: dict[tuple[str, bool], trio.Semaphore] = {}
        self._traced = events if isinstance(events, NotesSenders) else None

    def _note_sender(self, request: EventRequest) -> None:
        """Note what an event brings of its sender's trace, where there are traces."""
        if self._traced is not None and request.trace is not None:
            self._traced.sent(request.signal, request.trace)

    def _turn_of(self, signal: Signal) -> trio.Semaphore:
        """Return where an event waits until it may be worked on. Sources are few, as configured."""
        key = (signal.source, isinstance(signal, SessionRevoked))
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = trio.Semaphore(CONCURRENT)
        return turn

    async def take(self, request: EventRequest) -> Outcome:
        """Hand in one event, and wait for the others' news of it if the sender wants so."""
        if request.wait is not None and self._acknowledger is None:
            return _cannot_wait(request)
        turn = self._turn_of(request.signal)
        await _acquire(turn)
        self._note_sender(request)
        try:
            accepted = await self._events.accept(request.signal)
        except (Overloaded, Unavailable, Forbidden, InvalidSignal) as error:
            return _refused(request, error)
        finally:
            turn.release()
        return await self._durable(request, accepted)

    async def _durable(self, request: EventRequest, accepted: Accepted) -> Outcome:
        """Return the outcome of an event that was taken, once others have it if that is asked."""
        if request.wait is None:
            return DurableEvent(accepted)
        if accepted.spooled:  # the others cannot have it: it is on this one's disk
            return DurableEvent(accepted, UNKNOWN)
        return DurableEvent(
            accepted, await self._acknowledged(accepted, request.signal.source, request.wait)
        )

    async def _acknowledged(
        self, accepted: Accepted, source: str, within: float
    ) -> FleetAcknowledgement | None:
        """Return how many sidecars have the event, which is durable even where that is unknown."""
        if self._acknowledger is None:
            return None
        try:
            return await self._acknowledger.acknowledged(
                accepted.key or accepted.id, within, source
            )
        except (Overloaded, Unavailable):
            return UNKNOWN

    async def take_all(self, requests: Sequence[EventRequest]) -> list[Outcome]:
        """Hand in many, together as far as they have their turns; the outcomes are in order."""
        if len(requests) == 1:
            return [await self._take_alone(requests[0])]
        outcomes: list[Outcome] = []
        while len(outcomes) < len(requests):
            left = requests[len(outcomes) : len(outcomes) + CONCURRENT]
            turns = await self._turns_of(left)
            outcomes += await self._take_together(left[: len(turns)], turns)
        return outcomes

    async def _take_alone(self, request: EventRequest) -> Outcome:
        """Hand in one event, which has nobody to share anything with."""
        try:
            return await self.take(request)
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            return self._failed(request, error)

    async def _turns_of(self, requests: Sequence[EventRequest]) -> list[trio.Semaphore]:
        """Wait for the first one's turn, and take those of the others that are free.

        None is waited for while others are held: two connections could wait for each other.
        """
        turns = [self._turn_of(requests[0].signal)]
        await _acquire(turns[0])
        for request in requests[1:]:
            turn = self._turn_of(request.signal)
            try:
                turn.acquire_nowait()
            except trio.WouldBlock:
                break
            turns.append(turn)
        return turns

    async def _take_together(
        self, requests: Sequence[EventRequest], turns: Sequence[trio.Semaphore]
    ) -> list[Outcome]:
        """Hand in events that have their turns, which end once they are durable or refused."""
        outcomes: dict[int, Outcome] = {}
        asked: list[tuple[int, EventRequest]] = []
        for place, request in enumerate(requests):
            if request.wait is not None and self._acknowledger is None:
                outcomes[place] = _cannot_wait(request)
            else:
                asked.append((place, request))
                self._note_sender(request)
        taken: Sequence[Accepted | Exception]
        try:
            taken = await self._events.accept_all([request.signal for _, request in asked])
        except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
            taken = [error] * len(asked)
        finally:
            for turn in turns:
                turn.release()
        waits: list[tuple[int, EventRequest, Accepted]] = []
        for (place, request), accepted in zip(asked, taken, strict=True):
            if isinstance(accepted, Exception):
                outcomes[place] = self._failed(request, accepted)
            elif request.wait is None:
                outcomes[place] = DurableEvent(accepted)
            else:
                waits.append((place, request, accepted))
        if waits:
            await self._wait_for(waits, outcomes)
        return [outcomes[place] for place in range(len(requests))]

    async def _wait_for(
        self, waits: Sequence[tuple[int, EventRequest, Accepted]], outcomes: dict[int, Outcome]
    ) -> None:
        async def wait(place: int, request: EventRequest, accepted: Accepted) -> None:
            try:
                outcomes[place] = await self._durable(request, accepted)
            except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
                outcomes[place] = self._failed(request, error)

        async with trio.open_nursery() as nursery:
            for one in waits:
                nursery.start_soon(wait, *one)

    def _failed(self, request: EventRequest, error: Exception) -> Outcome:
        if isinstance(error, Overloaded | Unavailable | Forbidden | InvalidSignal):
            return _refused(request, error)
        self._on_crash(error)
        return Unavailable("something went wrong here")


async def _acquire(turn: trio.Semaphore) -> None:
    """Wait for a turn; where one is free, without a turn of the loop for it.

    Whoever has it waits for the store next, or sends an answer: others are not kept waiting.
    """
    try:
        turn.acquire_nowait()
    except trio.WouldBlock:
        await turn.acquire()


def _cannot_wait(request: EventRequest) -> Refusal:
    return Refusal("invalid_event", "waiting is not possible here", "wait", request.ref)


def _refused(
    request: EventRequest, error: Overloaded | Unavailable | Forbidden | InvalidSignal
) -> Outcome:
    match error:
        case Forbidden():
            return Refusal("not_allowed", error.message, error.field, request.ref)
        case InvalidSignal():
            return Refusal("invalid_event", error.message, error.field, request.ref)
        case _:
            return error


def reply_to(outcome: Outcome, ref: Ref) -> bytes:
    """Return the reply line for an outcome."""
    match outcome:
        case DurableEvent():
            return event_reply(outcome.accepted, ref, outcome.acknowledgement)
        case Refusal():
            return refusal_reply(outcome)
        case Overloaded():
            return overloaded_reply(outcome, ref)
        case Unavailable():
            return unavailable_reply(str(outcome) or "something outside does not work", ref)
        case _ as never:
            assert_never(never)
