"""Declares what traces observe of themselves."""

from enum import StrEnum

from sidecar.service.observations.observations import Observation


class SpanDropCause(StrEnum):
    """The reason why spans are not at the collector: the label `cause` of their metric."""

    QUEUE = "queue-full"
    OUTPUT = "output-failed"
    REFUSED = "refused"  # by the collector, for good
    SPAN = "span-failed"  # an error of ours


class ContextMember(StrEnum):
    """A part of a trace context: the label `member`."""

    PARENT = "traceparent"
    STATE = "tracestate"


class SpansExported(Observation, frozen=True, kw_only=True):
    """The collector took so many spans."""

    spans: int


class SpansDropped(Observation, frozen=True, kw_only=True):
    """So many spans never reach the collector."""

    cause: SpanDropCause
    spans: int
    detail: str


class CollectorState(Observation, frozen=True, kw_only=True):
    """The collector of spans takes them, or does not, for this reason."""

    up: bool
    detail: str = ""


class ContextRefused(Observation, frozen=True, kw_only=True):
    """A part of a trace context was not well formed, and counted for nothing."""

    member: ContextMember
