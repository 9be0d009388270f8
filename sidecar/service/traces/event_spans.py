"""Records the way of events: the door, the join at the store, the news, the look at sessions.

The first span of an event is that of the sidecar that took it. What a sender sent of its own trace
is linked: there is a span in it, too, for the request.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from sidecar.domain.facts.signal import Signal
from sidecar.service.audit.auditor import OpenWork
from sidecar.service.observations.observations import Cleared, Marked, RevokedSession
from sidecar.service.ports.calls import Accepted, Forbidden, Overloaded, Unavailable
from sidecar.service.records.writes import Write, Written
from sidecar.service.traces.current import SENDER
from sidecar.service.traces.tracer import Tracer
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.event_keys import event_key, event_of_field
from sidecar.wire.store.worklog import Work, disclose
from sidecar.wire.traces.spans import Attribute, SpanKind, SpanLink
from sidecar.wire.traces.trace_context import SentContext, TraceContext


class DurableEvents(Protocol):
    """Takes events durably: what stands behind the doors."""

    async def accept(self, signal: Signal) -> Accepted:
        """Take it; returns once it is durable."""

    async def accept_all(self, signals: Sequence[Signal]) -> Sequence[Accepted | Exception]:
        """Take several; each fails alone."""


class WorkLog(Protocol):
    """Remembers what is left to do for an event."""

    async def add(self, work: Work, *writes: Write) -> tuple[OpenWork | None, list[Written]]:
        """Join, and enter the work, in one round trip."""

    async def add_all(
        self, works: Sequence[tuple[Work, Sequence[Write]]]
    ) -> Sequence[tuple[OpenWork | None, list[Written]] | Unavailable]:
        """Do so for each."""


class _Begun(NamedTuple):
    """An event that is being taken: its first span, and the span that its sender sent."""

    signal: Signal
    context: TraceContext
    sender: TraceContext | None
    at: float


class TracedEvents:
    """Takes events at one door as `events` does, and records how that went."""

    def __init__(
        self, events: DurableEvents, tracer: Tracer, door: str, clock: Callable[[], float]
    ) -> None:
        self._events = events
        self._tracer = tracer
        self._door = door
        self._clock = clock
        self._sent: dict[str, SentContext] = {}

    def sent(self, signal: Signal, context: SentContext) -> None:
        """Note what came with an event of its sender's trace, just before it is taken."""
        self._sent[event_key(signal)] = context

    async def accept(self, signal: Signal) -> Accepted:
        """Take an event."""
        begun = self._begin(signal)
        try:
            accepted = await self._events.accept(signal)
        except Exception as error:
            self._end(begun, error)
            raise
        self._end(begun, accepted)
        return accepted

    async def accept_all(self, signals: Sequence[Signal]) -> Sequence[Accepted | Exception]:
        """Take several; each fails alone."""
        begun = [self._begin(signal) for signal in signals]
        outcomes = await self._events.accept_all(signals)
        for one, outcome in zip(begun, outcomes, strict=True):
            self._end(one, outcome)
        return outcomes

    def _begin(self, signal: Signal) -> _Begun:
        key = event_key(signal)
        sent = self._sent.pop(key, None) or SENDER.get()
        tracer = self._tracer
        return _Begun(signal, tracer.event(key), tracer.sent(sent), self._clock())

    def _end(self, begun: _Begun, outcome: Accepted | Exception) -> None:
        signal, context, sender, at = begun
        tracer, word = self._tracer, _word(outcome)
        said: Mapping[str, Attribute] = {
            **tracer.names(event_key(signal)),
            "sidecar.event.type": signal.kind,
            "sidecar.source": signal.source,
            "sidecar.door": self._door,
            "sidecar.event.outcome": word,
        }
        links = () if sender is None else (SpanLink(sender.trace, sender.span, sender.state),)
        name, kind = f"event {signal.kind}", SpanKind.CONSUMER
        if word in {"accepted", "spooled"}:
            tracer.first(context, name, at, said, kind=kind, links=links)
        else:  # the event's first span is that of its first taking
            tracer.below(context, name, at, said, kind=kind, links=links, failure=_failure(outcome))
        if sender is not None:
            own = (SpanLink(context.trace, context.span),) if context.sampled else ()
            tracer.below(sender, "receive event", at, said, kind=SpanKind.SERVER, links=own)


def _word(outcome: Accepted | Exception) -> str:
    match outcome:
        case Accepted(duplicate=True):
            return "duplicate"
        case Accepted(spooled=True):
            return "spooled"
        case Accepted():
            return "accepted"
        case Forbidden():
            return "not-allowed"
        case InvalidSignal():
            return "invalid"
        case Overloaded():
            return "overloaded"
        case Unavailable():
            return "unavailable"
        case _:
            return "failed"


def _failure(outcome: Accepted | Exception) -> str:
    return "" if isinstance(outcome, Accepted) else _word(outcome)


class TracedWorkLog:
    """Joins events as `worklog` does, and records the round trip."""

    def __init__(self, worklog: WorkLog, tracer: Tracer, clock: Callable[[], float]) -> None:
        self._worklog = worklog
        self._tracer = tracer
        self._clock = clock

    async def add(self, work: Work, *writes: Write) -> tuple[OpenWork | None, list[Written]]:
        """Join, and enter the work, in one round trip."""
        began = self._clock()
        try:
            entered = await self._worklog.add(work, *writes)
        except (Unavailable, Overloaded) as error:
            self._joined(work, began, 1, _word(error))
            raise
        self._joined(work, began, 1)
        return entered

    async def add_all(
        self, works: Sequence[tuple[Work, Sequence[Write]]]
    ) -> Sequence[tuple[OpenWork | None, list[Written]] | Unavailable]:
        """Do so for each, all in one round trip."""
        began = self._clock()
        entered = await self._worklog.add_all(works)
        for (work, _), one in zip(works, entered, strict=True):
            failure = _word(one) if isinstance(one, Unavailable) else ""
            self._joined(work, began, len(works), failure)
        return entered

    def _joined(self, work: Work, began: float, together: int, failure: str = "") -> None:
        context = self._tracer.event(event_key(disclose(work.signal)))
        said: Mapping[str, Attribute] = {"sidecar.events_together": together}
        self._tracer.below(context, "join", began, said, kind=SpanKind.CLIENT, failure=failure)


class EventWay:
    """Records what becomes of events once they are joined, on whichever sidecar."""

    def __init__(self, tracer: Tracer, clock: Callable[[], float]) -> None:
        self._tracer = tracer
        self._clock = clock

    def heard(
        self,
        hear: Callable[[bytes, Mapping[bytes, bytes]], bool],
        key: bytes,
        fields: Mapping[bytes, bytes],
    ) -> None:
        """Have news taken up, and record that in the traces of the events that they are of."""
        began = self._clock()
        is_news = hear(key, fields)
        for field in fields:
            event = event_of_field(field)
            if event:
                said: Mapping[str, Attribute] = {"sidecar.news.changed": is_news}
                context = self._tracer.event(event)
                self._tracer.below(context, "news", began, said, kind=SpanKind.CONSUMER)

    def rescored(self, work: OpenWork, cause: str, sessions: int, began: float) -> None:
        """Record that the sessions of an event were looked at."""
        said: Mapping[str, Attribute] = {
            "sidecar.event.type": cause,
            "sidecar.sessions": sessions,
        }
        self._tracer.below(self._tracer.event(work.key), "re-score", began, said)

    def changed(self, seen: Marked | Cleared | RevokedSession) -> str:
        """Record a change of a session's standing; return the trace's id."""
        said: dict[str, Attribute]
        match seen:
            case Marked():
                name = "would mark" if seen.report_only else "mark"
                said = {"sidecar.policy": seen.policy, "sidecar.signal": seen.signal}
                if seen.signal_to_mark_seconds is not None:
                    said["sidecar.signal_to_mark_seconds"] = seen.signal_to_mark_seconds
            case Cleared():
                name = "clear"
                said = {"sidecar.policy": seen.policy, "sidecar.reason": seen.reason.value}
            case RevokedSession():
                name, said = "revoke", {}
        return self._tracer.brought(seen.by, name, said)
