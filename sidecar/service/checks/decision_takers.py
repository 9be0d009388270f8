"""Hands each decision to those who take it: the traces of checks, and the log of decisions."""

from contextvars import Token
from typing import NamedTuple, Protocol

from sidecar.service.ports.calls import Answer, Call
from sidecar.service.traces.current import SpanScope


class DecisionTaker(Protocol):
    """Takes decisions for the log of them."""

    def take(  # noqa: PLR0913 - all that a decision is
        self,
        call: Call,
        answer: Answer,
        id_: str,
        at: float,
        seconds: float,
        *,
        repeated: bool,
        trace: str = "",
    ) -> None:
        """Take a decision. Neither waits nor raises."""


class CheckTraces(Protocol):
    """Takes checks for traces of them."""

    def enter(self, call: Call) -> "Token[SpanScope | None]":
        """Begin the span of a check, for this task; `leave` ends that."""

    def leave(self, token: "Token[SpanScope | None]") -> None:
        """End what `enter` began."""

    def check(  # noqa: PLR0913 - all that a decision is
        self, call: Call, answer: Answer, id_: str, at: float, seconds: float, *, repeated: bool
    ) -> str:
        """Take a check; return the id of its trace. Neither waits nor raises."""


class DecisionTakers(NamedTuple):
    """Those who take decisions; at least one of them is there."""

    log: DecisionTaker | None
    traces: CheckTraces | None

    def take(  # noqa: PLR0913 - all that a decision is
        self, call: Call, answer: Answer, id_: str, at: float, seconds: float, *, repeated: bool
    ) -> str:
        """Hand a decision to each; return the id of its trace, empty where it has none."""
        trace = ""
        if self.traces is not None:
            trace = self.traces.check(call, answer, id_, at, seconds, repeated=repeated)
        if self.log is not None:
            self.log.take(call, answer, id_, at, seconds, repeated=repeated, trace=trace)
        return trace


def takers_of(log: DecisionTaker | None, traces: CheckTraces | None) -> DecisionTakers | None:
    """Return those who take decisions; None: nobody does."""
    return None if log is None and traces is None else DecisionTakers(log, traces)
