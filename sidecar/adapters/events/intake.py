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

    def _turn_of(self, signal: Signal) -> trio.Semaphore:
        """Return where an event waits until it may be worked on. Sources are few, as configured."""
        key = (signal.source, isinstance(signal, SessionRevoked))
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = trio.Semaphore(CONCURRENT)
        return turn

    async def take(self, request: EventRequest) -> Outcome:
        """Hand in one event, and wait for the others' news of it if the sender wants so."""
        turn = self._turn_of(request.signal)
        await turn.acquire()
        return await self._take(request, turn)

    async def _take(self, request: EventRequest, turn: trio.Semaphore) -> Outcome:
        """Hand in an event that has its turn; the turn ends once it is durable or refused."""
        try:
            if request.wait is not None and self._acknowledger is None:
                return Refusal("invalid_event", "waiting is not possible here", "wait", request.ref)
            accepted = await self._events.accept(request.signal)
        except (Overloaded, Unavailable) as error:
            return error
        except Forbidden as error:
            return Refusal("not_allowed", error.message, error.field, request.ref)
        except InvalidSignal as error:
            return Refusal("invalid_event", error.message, error.field, request.ref)
        finally:
            turn.release()
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
        """Hand in many, `CONCURRENT` at a time; the outcomes are in their order."""
        outcomes: dict[int, Outcome] = {}

        async def take_one(place: int, request: EventRequest, turn: trio.Semaphore) -> None:
            try:
                outcomes[place] = await self._take(request, turn)
            except Exception as error:  # noqa: BLE001 - the door: counted, logged, and survived
                self._on_crash(error)
                outcomes[place] = Unavailable("something went wrong here")

        for begin in range(0, len(requests), CONCURRENT):
            batch = requests[begin : begin + CONCURRENT]
            if len(batch) == 1:
                turn = self._turn_of(batch[0].signal)
                await turn.acquire()
                await take_one(begin, batch[0], turn)
                continue
            async with trio.open_nursery() as nursery:
                for place, request in enumerate(batch, begin):
                    turn = self._turn_of(request.signal)
                    await turn.acquire()  # before there is a task, of which there may be many
                    nursery.start_soon(take_one, place, request, turn)
        return [outcomes[place] for place in range(len(requests))]


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
