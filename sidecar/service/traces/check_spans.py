"""Makes the spans of checks, of what an answer and its call say: beside the way of the check."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.ports.calls import Answer, Call
from sidecar.wire.decision_log.masks import Masks
from sidecar.wire.decision_log.records import method_of
from sidecar.wire.traces.event_contexts import EventContexts
from sidecar.wire.traces.spans import Attribute, Span, SpanKind, SpanLink
from sidecar.wire.traces.trace_context import TraceContext

MAX_LINKS = 16
"""Events that a challenged check is linked to at most."""


class TakenCheck(NamedTuple):
    """A check as it was taken: references to what was there at that moment."""

    context: TraceContext
    parent: int
    call: Call
    answer: Answer
    id: str
    at: float
    seconds: float
    repeated: bool


class CheckSpans:
    """Makes spans under one configuration; `template_of` names the route of a call.

    `policy_set` is the digest of the policies in force. `share` is that of the traces recorded.
    """

    def __init__(
        self,
        *,
        masks: Masks,
        policy_set: str,
        template_of: Callable[[str, str, str], str],
        events: EventContexts,
        share: float,
    ) -> None:
        self.masks = masks
        self._policy_set = policy_set
        self._template_of = template_of
        self._events = events
        self._share = share

    def span(self, taken: TakenCheck) -> Span:
        """Return the span of a check."""
        context, answer = taken.context, taken.answer
        return Span(
            name=f"check {answer.error or answer.verdict.value}",
            kind=SpanKind.SERVER,
            trace=context.trace,
            span=context.span,
            parent=taken.parent,
            start=taken.at,
            end=taken.at + taken.seconds,
            attributes={name: value for name, value in self._attributes(taken) if value},
            links=() if answer.verdict is Verdict.ALLOW else self._links(answer),
            failure=answer.message if answer.status >= 500 else "",
            state=context.state,
        )

    def _attributes(self, taken: TakenCheck) -> Iterator[tuple[str, Attribute]]:
        call, answer = taken.call, taken.answer
        yield "sidecar.decision.id", taken.id
        yield "sidecar.decision.verdict", answer.verdict.value
        yield "sidecar.decision.error", answer.error
        yield "sidecar.decision.repeated", taken.repeated
        yield "sidecar.policy_set", self._policy_set
        yield "sidecar.listener", call.via.listener
        yield "sidecar.contexts", tuple(answer.context.split(",")) if answer.context else ()
        yield "sidecar.assurance", answer.assurance
        yield "sidecar.pending", answer.pending
        yield "sidecar.policies", tuple(dict.fromkeys(one.policy for one in answer.reasons))
        yield "sidecar.signals", tuple(dict.fromkeys(one.signal for one in answer.reasons))
        yield "http.request.method", method_of(call.method)
        yield "http.response.status_code", answer.status
        if call.path:
            yield "http.route", self._template_of(call.method, call.host, call.path)
        yield from self._masked(call, answer)

    def _masked(self, call: Call, answer: Answer) -> Iterator[tuple[str, Attribute]]:
        """Yield what is of a person, as far as `traces.masks` lets it be there."""
        masks, issuer = self.masks, answer.issuer
        yield "user.id", masks.name("user", issuer, answer.subject)
        yield "session.id", masks.name("session", issuer, answer.session)
        yield "client.address", masks.name("address", "", call.ip)
        yield "sidecar.issuer", masks.name("issuer", "", issuer)
        basis = answer.basis
        if basis is None:
            return
        yield "sidecar.app", basis.app
        yield "sidecar.stale", basis.stale
        yield "sidecar.device", masks.name("device", issuer, basis.device)

    def _links(self, answer: Answer) -> tuple[SpanLink, ...]:
        """Return links to the events that brought what a call is challenged for."""
        if answer.basis is None:
            return ()
        causes = (cause for demand in answer.basis.demands for cause in demand.causes)
        events = dict.fromkeys(event for cause in causes for event in cause.by)
        behind = self._events.behind(tuple(events), self._share)
        found = (SpanLink(one.trace, one.span) for one in behind if one.sampled)
        return tuple(islice(found, MAX_LINKS))
