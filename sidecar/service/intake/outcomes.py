"""Counts and logs what became of each event, at the door through which all events come."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import trio

from sidecar.domain.facts.signal import Signal
from sidecar.domain.values.causes import words_of
from sidecar.service.observations.observations import EventOutcome, EventTaken, Telemetry
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.wire.events.members import InvalidSignal

AcceptedOrNot: TypeAlias = Accepted | Exception
"""The outcome of one event of several: it is durable, or why it was not taken."""


async def accept_each(
    accept: Callable[[Signal], Awaitable[Accepted]], signals: Sequence[Signal]
) -> list[AcceptedOrNot]:
    """Take several events at the same time, each by itself; the outcomes are in their order."""
    outcomes: list[AcceptedOrNot] = [Unavailable("it was not taken")] * len(signals)

    async def take(place: int) -> None:
        try:
            outcomes[place] = await accept(signals[place])
        except Exception as error:  # noqa: BLE001 - it is that event's outcome
            outcomes[place] = error

    async with trio.open_nursery() as nursery:
        for place in range(len(signals)):
            nursery.start_soon(take, place)
    return outcomes


class EventTaker(Protocol):
    """Takes events durably."""

    async def accept_all(self, signals: Sequence[Signal]) -> list[AcceptedOrNot]:
        """Take several as `accept` does, together where that can be; each fails alone."""

    async def accept(self, signal: Signal) -> Accepted:
        """Take it; returns once it is durable. Raises `Overloaded` and `Unavailable`."""


class CountedEvents:
    """Has `events` take each event, and records the outcome, whatever it is."""

    def __init__(self, events: EventTaker, telemetry: Telemetry) -> None:
        self._events = events
        self._telemetry = telemetry

    async def accept(self, signal: Signal) -> Accepted:
        """Have an event taken, and record what became of it. Raises what taking it raises."""
        try:
            accepted = await self._events.accept(signal)
        except Exception as error:
            self._count(signal, error)
            raise
        except BaseException:
            self.count(signal, EventOutcome.FAILED)
            raise
        self._count(signal, accepted)
        return accepted

    async def accept_all(self, signals: Sequence[Signal]) -> list[AcceptedOrNot]:
        """Have events taken together, and record what became of each."""
        taken = await self._events.accept_all(signals)
        for signal, outcome in zip(signals, taken, strict=True):
            self._count(signal, outcome)
        return taken

    def _count(self, signal: Signal, taken: AcceptedOrNot) -> None:
        match taken:
            case Accepted():
                self.count(signal, _outcome_of(taken))
            case Overloaded():
                self.count(signal, EventOutcome.OVERLOADED)
            case InvalidSignal():
                self.count(signal, EventOutcome.INVALID, str(taken))
            case Unavailable():
                self.count(signal, EventOutcome.FAILED, words_of(taken))
            case error:
                # No words of its own, which may quote the payload.
                self.count(signal, EventOutcome.FAILED, type(error).__name__)

    def count(self, signal: Signal, outcome: EventOutcome, detail: str = "") -> None:
        """Record the outcome of an event that went no further than the door."""
        self._telemetry.record(
            EventTaken(
                type=signal.kind,
                outcome=outcome,
                id=signal.stamp.id,
                source=signal.source,
                label=signal.label,
                detail=detail,
            )
        )


def _outcome_of(accepted: Accepted) -> EventOutcome:
    if accepted.duplicate:
        return EventOutcome.DUPLICATE
    return EventOutcome.SPOOLED if accepted.spooled else EventOutcome.ACCEPTED
