"""Builds the records of decisions, off the path of the checks.

What is said of an answer that is repeated, is encoded once and kept with it.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from sidecar.domain.session.standing import Demand
from sidecar.domain.session.state import Cause
from sidecar.domain.values import moments
from sidecar.domain.values.assurance import Ladder
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.ports.calls import Answer, Call, DecisionBasis, Reason, Via
from sidecar.wire.decision_log.masks import Masks
from sidecar.wire.decision_log.records import (
    DECISION,
    LoggedAnswer,
    LoggedCall,
    LoggedCause,
    LoggedReason,
    LoggedTrial,
    encode_answer,
    encode_call,
    latency_class,
    method_of,
)
from sidecar.wire.http.gateway_calls import SHORT

KEPT = 4096
"""Answers whose part of a record is kept; where they are more, all begin anew."""


ROUTES = 2048
"""Places of calls whose template is remembered."""


class TakenDecision(NamedTuple):
    """A decision as it was taken for the log: references to what was there at that moment.

    `share` is None for one that would be there in any case.
    """

    by: "RecordBuilder"
    call: Call
    answer: Answer
    id: str
    at: float
    seconds: float
    repeated: bool
    share: float | None
    trace: str = ""


class RecordBuilder:
    """Builds records under one configuration; `template_of` names the route of a call.

    `policy_set` is the digest of the policies in force, `peer_of` names the source of a uid.
    """

    def __init__(
        self,
        masks: Masks,
        policy_set: str,
        template_of: Callable[[str, str, str], str],
        peer_of: Callable[[int], str],
    ) -> None:
        self._peer_of = peer_of
        self._masks = masks
        self._policy_set = policy_set
        self._template_of = template_of
        self._short_template_of = lru_cache(ROUTES)(template_of)
        self._kept: dict[int, tuple[Answer, bytes]] = {}

    def build(self, taken: TakenDecision) -> bytes:
        """Return the record of a decision, as one line of JSON without its end."""
        call, masks = taken.call, self._masks
        said = LoggedCall(
            time=moments.micros(taken.at),
            kind=DECISION,
            id=taken.id,
            policy_set=self._policy_set,
            listener=call.via.listener,
            asker=masks.name("asker", "", self._asker(call.via)),
            method=method_of(call.method),
            route=self._route(call) if call.path else "",
            address=masks.name("address", "", call.ip),
            latency=latency_class(taken.seconds),
            repeated=taken.repeated,
            share=taken.share,
            trace=taken.trace,
        )
        return encode_call(said) + self._of_answer(taken)

    def _route(self, call: Call) -> str:
        is_short = len(call.path) <= SHORT  # a longer one would be remembered, too
        template_of = self._short_template_of if is_short else self._template_of
        return template_of(call.method, call.host, call.path)

    def _asker(self, via: Via) -> str:
        return via.asker if via.uid is None else self._peer_of(via.uid)

    def _of_answer(self, taken: TakenDecision) -> bytes:
        answer = taken.answer
        kept = self._kept.get(id(answer))
        if kept is not None and kept[0] is answer:
            return kept[1]
        encoded = encode_answer(self._answer(answer))
        if taken.repeated:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[id(answer)] = (answer, encoded)
        return encoded

    def _answer(self, answer: Answer) -> LoggedAnswer:
        masks, basis = self._masks, answer.basis or _NOTHING
        issuer, place = answer.issuer, basis.place
        country = masks.keeps("country")
        return LoggedAnswer(
            verdict=answer.verdict.value,
            status=answer.status,
            error=answer.error,
            app=basis.app,
            contexts=tuple(answer.context.split(",")) if answer.context else (),
            user=masks.name("user", issuer, answer.subject),
            session=masks.name("session", issuer, answer.session),
            issuer=masks.name("issuer", "", issuer),
            device=masks.name("device", issuer, basis.device),
            assurance=answer.assurance,
            standing=basis.standing,
            pending=answer.pending,
            acr_values=tuple(answer.acr_values.split()),
            max_age=answer.max_age,
            controls=tuple(dict.fromkeys(_controls(basis.demands, basis.ladder))),
            reasons=tuple(self._reasons(answer, basis)),
            report_only=tuple(LoggedTrial(policy, verdict) for policy, verdict in basis.tried),
            country=place.country if country else "",
            region=place.region if masks.keeps("region") else "",
            asn=place.asn if masks.keeps("asn") else 0,
            networks=tuple(filter(None, (masks.name("networks", "", n) for n in basis.networks))),
            break_glass=basis.break_glass,
            stale=basis.stale,
        )

    def _reasons(self, answer: Answer, basis: DecisionBasis) -> Iterator[LoggedReason]:
        """Yield the reasons of an answer, each with the causes of the demand that it is."""
        demands = {demand.policy: demand for demand in basis.demands}
        for reason in answer.reasons:
            yield self._reason(reason, demands.get(reason.policy))

    def _reason(self, reason: Reason, demand: Demand | None) -> LoggedReason:
        causes: tuple[LoggedCause, ...] = ()
        if demand is not None and self._masks.keeps("reasons.causes"):
            causes = tuple(map(_cause, demand.causes))
        text = reason.text if self._masks.keeps("reasons.text") else ""
        return LoggedReason(reason.policy, reason.signal, text, causes)


_NOTHING = DecisionBasis()


def _controls(demands: tuple[Demand, ...], ladder: Ladder | None) -> Iterator[str]:
    for demand in demands:
        if demand.block:
            yield "block"
        elif demand.unsatisfiable:
            yield "compliant-device"
        for ask in demand.asks:
            wanted = ask.requirement
            if wanted.strength:
                yield wanted.strength
            elif wanted.rank and ladder is not None:
                yield ladder.name(wanted.rank)


def _cause(cause: Cause) -> LoggedCause:
    since = "" if cause.since is None else moments.micros(cause.since / MICROSECONDS)
    return LoggedCause(
        cause.kind, cause.value, since, cause.source, tuple(event for _, event in cause.by)
    )
