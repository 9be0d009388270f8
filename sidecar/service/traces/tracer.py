"""Takes what becomes spans: checks, what events do on their way, and calls to others.

A check leaves references behind in a bounded queue, and the ids of its span; all else is done in a
task of its own (`span_queue`). What a caller sends of a trace is read here, and believed as far as
that: it is the parent of its check's span, and, where `follow` says so, decides whether that is
recorded.
"""

from collections.abc import Callable, Mapping
from contextvars import Token
from functools import partial

from sidecar.domain.sources.origin import Origins
from sidecar.service.observations.observations import Telemetry
from sidecar.service.observations.traces import ContextMember, ContextRefused
from sidecar.service.ports.calls import Answer, Call
from sidecar.service.traces.check_spans import CheckSpans, TakenCheck
from sidecar.service.traces.current import CURRENT, SpanScope
from sidecar.service.traces.span_queue import SpanQueue
from sidecar.wire.traces.event_contexts import EventContexts, is_in_share
from sidecar.wire.traces.spans import Attribute, Span, SpanKind, SpanLink
from sidecar.wire.traces.trace_context import (
    InvalidContext,
    SentContext,
    TraceContext,
    read_parent,
    read_state,
)


class TraceSampling:
    """The share of traces that is recorded, and whether callers decide for theirs."""

    __slots__ = ("follow", "share")

    def __init__(self, share: float, *, follow: bool) -> None:
        self.share = share
        self.follow = follow


class Tracer:
    """The traces of one sidecar; `random_bits` draws an integer of so many bits.

    `exemplar` is called with the time and the trace of each check that is recorded.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        queue: SpanQueue,
        events: EventContexts,
        checks: CheckSpans,
        sampling: TraceSampling,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random_bits: Callable[[int], int],
        exemplar: Callable[[float, str], None] = lambda _seconds, _trace: None,
        names_events: bool = True,
    ) -> None:
        self._queue = queue
        self._events = events
        self._telemetry = telemetry
        self._clock = clock
        self._random_bits = random_bits
        self._exemplar = exemplar
        self._names_events = names_events
        self.replace(checks, sampling)

    def replace(self, checks: CheckSpans, sampling: TraceSampling) -> None:
        """Take spans as is configured now."""
        self._checks = checks
        self._sampling = sampling

    # Checks

    def enter(self, call: Call) -> "Token[SpanScope | None]":
        """Begin the span of a check that may call others, for this task; `leave` ends that."""
        parent = self.sent(call.trace)
        above = 0 if parent is None else parent.span
        return CURRENT.set(SpanScope(self, self._below(parent), above))

    @staticmethod
    def leave(token: "Token[SpanScope | None]") -> None:
        """Work in the span before again."""
        CURRENT.reset(token)

    def check(  # noqa: PLR0913 - all that a decision is
        self, call: Call, answer: Answer, id_: str, at: float, seconds: float, *, repeated: bool
    ) -> str:
        """Take a check; return its trace's id, empty where it is in none. Never waits."""
        scope = CURRENT.get()
        if scope is not None and scope.context is not None:
            context, above = scope.context, scope.above
        else:
            parent = self.sent(call.trace)
            above = 0 if parent is None else parent.span
            context = self._below(parent)
        if not (context.sampled or above):
            return ""
        trace = f"{context.trace:032x}"
        if context.sampled:
            taken = TakenCheck(context, above, call, answer, id_, at, seconds, repeated)
            self._queue.put(partial(self._checks.span, taken))
            self._exemplar(seconds, trace)
        return trace

    def sent(self, sent: SentContext | None) -> TraceContext | None:
        """Return what a caller sent of its trace; None: nothing that is well formed."""
        if sent is None:
            return None
        try:
            context = read_parent(sent.parent)
        except InvalidContext:
            self._telemetry.record(ContextRefused(member=ContextMember.PARENT))
            return None
        if not sent.state:
            return context
        try:
            return context._replace(state=read_state(sent.state))
        except InvalidContext:
            self._telemetry.record(ContextRefused(member=ContextMember.STATE))
            return context

    def _below(self, parent: TraceContext | None) -> TraceContext:
        """Return the context of a span under this one, or of one that begins a trace."""
        span = self._random_bits(64) or 1
        if parent is not None:
            return TraceContext(parent.trace, span, self._is_recorded(parent), parent.state)
        trace = self._random_bits(128) or 1
        return TraceContext(trace, span, is_in_share(trace, self._sampling.share))

    def _is_recorded(self, parent: TraceContext) -> bool:
        if self._sampling.follow:
            return parent.sampled
        return is_in_share(parent.trace, self._sampling.share)

    # Events

    def event(self, key: str) -> TraceContext:
        """Return the context of an event's first span, by its key in all sources."""
        return self._events.of(key, self._sampling.share)

    def names(self, key: str) -> Mapping[str, Attribute]:
        """Return how an event is named in spans: not at all, where identifiers are keyed."""
        return {"sidecar.event.id": key} if self._names_events else {}

    def below(  # noqa: PLR0913 - all that a span is
        self,
        context: TraceContext,
        name: str,
        began: float,
        attributes: Mapping[str, Attribute],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: tuple[SpanLink, ...] = (),
        failure: str = "",
    ) -> None:
        """Record a span under this one that ends now."""
        if context.sampled:
            span = self._random_bits(64) or 1
            above = context.span
            self._put(
                context._replace(span=span),
                name,
                began,
                attributes,
                parent=above,
                kind=kind,
                links=links,
                failure=failure,
            )

    def first(  # noqa: PLR0913 - all that a span is
        self,
        context: TraceContext,
        name: str,
        began: float,
        attributes: Mapping[str, Attribute],
        *,
        kind: SpanKind,
        links: tuple[SpanLink, ...] = (),
    ) -> None:
        """Record the first span of a trace, which ends now."""
        if context.sampled:
            self._put(context, name, began, attributes, kind=kind, links=links)

    def _put(  # noqa: PLR0913 - all that a span is
        self,
        context: TraceContext,
        name: str,
        began: float,
        attributes: Mapping[str, Attribute],
        *,
        kind: SpanKind,
        parent: int = 0,
        links: tuple[SpanLink, ...] = (),
        failure: str = "",
    ) -> None:
        made = Span(
            name=name,
            kind=kind,
            trace=context.trace,
            span=context.span,
            parent=parent,
            start=began,
            end=max(began, self._clock()),
            attributes=attributes,
            links=links,
            failure=failure,
            state=context.state,
        )
        self._queue.put(lambda: made)

    def brought(self, by: Origins, name: str, attributes: Mapping[str, Attribute]) -> str:
        """Record what events have brought, in the trace of each; return the id of the first's."""
        now, first = self._clock(), ""
        for context in self._events.behind(by, self._sampling.share):
            if context.sampled:
                self.below(context, name, now, attributes)
                first = first or f"{context.trace:032x}"
        return first

    # Calls to others

    def outgoing(self, scope: SpanScope) -> TraceContext:
        """Return the context of a call that begins now."""
        return self._below(scope.context)

    def called(  # noqa: PLR0913 - all that a call is
        self,
        scope: SpanScope,
        context: TraceContext,
        *,
        method: str,
        began: float,
        attributes: Mapping[str, Attribute],
        failure: str,
    ) -> None:
        """Record a call that is over."""
        if context.sampled:
            above = 0 if scope.context is None else scope.context.span
            self._put(
                context,
                method,
                began,
                attributes,
                kind=SpanKind.CLIENT,
                parent=above,
                failure=failure,
            )
