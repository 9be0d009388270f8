"""Counts and logs what became of each event, at the door through which all events come."""

from typing import Protocol

from sidecar.domain.facts.signal import Signal
from sidecar.domain.values.causes import words_of
from sidecar.service.observations.observations import EventOutcome, EventTaken, Telemetry
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.wire.events.members import InvalidSignal


class EventTaker(Protocol):
    """Takes events durably."""

    async def accept(self, signal: Signal) -> Accepted:
        """Take it; returns once it is durable. Raises `Overloaded` and `Unavailable`."""


class CountedEvents:
    """Has `events` take each event, and records the outcome, whatever it is."""

    def __init__(self, events: EventTaker, telemetry: Telemetry) -> None:
        self._events = events
        self._telemetry = telemetry

    async def accept(self, signal: Signal) -> Accepted:
        """Have an event taken, and record what became of it. Raises what taking it raises."""
        outcome, detail = EventOutcome.FAILED, ""
        try:
            accepted = await self._events.accept(signal)
            outcome = _outcome_of(accepted)
        except Overloaded:
            outcome = EventOutcome.OVERLOADED
            raise
        except InvalidSignal as error:
            outcome, detail = EventOutcome.INVALID, str(error)
            raise
        except Unavailable as error:
            detail = words_of(error)
            raise
        except Exception as error:
            detail = type(error).__name__  # no words of its own, which may quote the payload
            raise
        finally:
            self.count(signal, outcome, detail)
        return accepted

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
