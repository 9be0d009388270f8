"""The span that this task works in, and the trace context that its caller has sent."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple, Protocol, runtime_checkable

from sidecar.domain.facts.signal import Signal
from sidecar.wire.traces.spans import Attribute
from sidecar.wire.traces.trace_context import SentContext, TraceContext


class CallSpans(Protocol):
    """Records calls to others."""

    def outgoing(self, scope: "SpanScope") -> TraceContext:
        """Return the context of a call that begins now."""

    def called(  # noqa: PLR0913 - all that a call is
        self,
        scope: "SpanScope",
        context: TraceContext,
        *,
        method: str,
        began: float,
        attributes: Mapping[str, Attribute],
        failure: str,
    ) -> None:
        """Record a call that is over."""


@runtime_checkable
class NotesSenders(Protocol):
    """Takes events, with what their senders say of their traces."""

    def sent(self, signal: Signal, context: SentContext) -> None:
        """Note what came with an event, just before it is taken."""


class SpanScope(NamedTuple):
    """The span that this task works in; None: none, so that what it calls begins a trace.

    `above` is the span of its caller, 0 where that sent none.
    """

    spans: CallSpans
    context: TraceContext | None = None
    above: int = 0


CURRENT: ContextVar[SpanScope | None] = ContextVar("current-span", default=None)
"""None: there are no traces."""

SENDER: ContextVar[SentContext | None] = ContextVar("sent-context", default=None)
"""The context that the request came with which this task answers."""
