"""The risk score: named contributions that fade, added up, explained term by term."""

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from sidecar.domain.facts.precedence import (
    COMPLIANCE_CHANGE,
    NETWORK_CHANGE,
    NOT_COMPLIANT,
    RISK_CHANGE,
    signal_type,
    signals,
    words_that_count,
)
from sidecar.domain.facts.segments import changes
from sidecar.domain.facts.segments import circumstance as circumstance_of
from sidecar.domain.policy.policy import RiskLevel
from sidecar.domain.session.state import Moment, RiskHeld, SignalHeld, State
from sidecar.domain.sources.source import ITSELF, Sources
from sidecar.domain.values.places import is_proven, sign_ins_of
from sidecar.domain.values.stamp import MICROSECONDS

SCORE_MAX = 100.0

TOKEN_BINDING_CHANGE = "token-binding-change"  # noqa: S105 - a signal's name
"""The daemon's own detection: a session's tokens are bound to another key or certificate."""


class Weight(msgspec.Struct, frozen=True):
    """Points of a contribution when it is new, and the seconds after which they halve.

    `half_life` 0: it does not fade while its cause lasts.
    """

    weight: float
    half_life: float = 0.0


class Thresholds(msgspec.Struct, frozen=True):
    """Scores at which levels begin; a level ends only `hysteresis` points below its beginning."""

    medium: float = 40.0
    high: float = 70.0
    hysteresis: float = 10.0


def default_weights() -> dict[str, Weight]:
    """Return the weight and half-life of each contribution that the daemon itself makes."""
    return {
        "user-risk-medium": Weight(30),
        "user-risk-high": Weight(60),
        "device-risk-medium": Weight(20),
        "device-risk-high": Weight(50),
        "session-risk-medium": Weight(30),
        "session-risk-high": Weight(60),
        "device-not-compliant": Weight(25),
        "country-changed": Weight(30, 86400),
        "asn-changed": Weight(10, 43200),
        "network-changed": Weight(10, 43200),
        "device-changed": Weight(25, 86400),
        "user-agent-changed": Weight(15, 43200),
        "anonymizer": Weight(25),
        "travel": Weight(40, 86400),
        "credential-change": Weight(15, 86400),
        TOKEN_BINDING_CHANGE: Weight(35, 43200),
        # What other parties' events bring that has no event of its own (docs/shared-signals.md).
        "ssf-credential-compromise": Weight(40, 604800),
        "ssf-account-credential-change-required": Weight(30, 86400),
        "ssf-recovery-activated": Weight(30, 86400),
        "ssf-recovery-information-changed": Weight(20, 86400),
        "ssf-identifier-changed": Weight(15, 86400),
        "ssf-session-established": Weight(0),
        "ssf-session-presented": Weight(0),
    }


class Term(msgspec.Struct, frozen=True):
    """One contribution as it counts now: `points` left of the `weight` it had at `since`.

    `since` is in seconds since the epoch, 0 for the start of the session; `signal` is the type of
    the events that bring it, `source` who says so, empty for the daemon itself.
    """

    name: str
    points: float
    weight: float
    half_life: float
    since: float
    signal: str
    source: str = ""


def decayed(weight: float, half_life: float, age: float) -> float:
    """Return what is left of `weight` after `age` seconds; a negative age counts as none."""
    if half_life <= 0 or age <= 0:
        return weight
    return float(weight * 0.5 ** (age / half_life))


def in_tenths(score: float) -> float:
    """Return a score as it is shown: never as one that a threshold above it would let hold."""
    return math.floor(score * 10 + 1e-9) / 10


def total(terms: tuple[Term, ...]) -> float:
    """Return the score: the sum of the terms, at most 100."""
    return min(SCORE_MAX, sum(term.points for term in terms))


def level_after(before: RiskLevel, score: float, thresholds: Thresholds) -> RiskLevel:
    """Return the level that `score` gives to a session that was at `before`."""
    for level, begins in ((RiskLevel.HIGH, thresholds.high), (RiskLevel.MEDIUM, thresholds.medium)):
        holds = begins - (thresholds.hysteresis if before.height >= level.height else 0.0)
        if score >= holds:
            return level
    return RiskLevel.LOW


class Rating(msgspec.Struct, frozen=True):
    """Configured weights by contribution, and defaults for signals."""

    weights: dict[str, Weight]
    thresholds: Thresholds = Thresholds()
    default_weight: float = 20.0
    default_half_life: float = 3600.0
    travel_speed_kmh: float = 900.0

    def of_signal(self, name: str, weight: float, half_life: float) -> tuple[float, float]:
        """Return a signal's weight and half-life: its own, else by its name, else the defaults."""
        known = self.weights.get(name)
        own_weight = known.weight if known else self.default_weight
        own_half_life = known.half_life if known else self.default_half_life
        return (
            weight if weight >= 0 else own_weight,
            half_life if half_life >= 0 else own_half_life,
        )


_CHANGES = (
    ("country", "country-changed", "session-presented"),
    ("asn", "asn-changed", "session-presented"),
    ("device", "device-changed", "session-established"),
    ("user_agent", "user-agent-changed", "session-presented"),
)

_Contribution = tuple[str, Moment, str, str]


def terms_of(state: State, now: int, rating: Rating, sources: Sources) -> tuple[Term, ...]:
    """Return what the score of a session is made of at `now` (microseconds), greatest first.

    Where several sources say something of one kind, that counts which makes most of it.
    """
    terms = []
    for contributions in _contributions(state, rating, sources):
        greatest: Term | None = None
        for contribution in contributions:
            weight = rating.weights.get(contribution[0])
            if weight is not None:
                term = _term(contribution, weight, now)
                if greatest is None or term.points > greatest.points:
                    greatest = term
        if greatest is not None:
            terms.append(greatest)
    for raised in signals(state, sources):
        each = [_signal_term(held, rating, now) for held in raised]
        terms.append(max(each, key=lambda term: term.points))
    return tuple(
        sorted(
            (term for term in terms if term.points >= LEAST_POINTS),
            key=lambda term: (-term.points, term.name),
        )
    )


LEAST_POINTS = 0.05
"""Less than this is forgotten."""


def _term(contribution: _Contribution, weight: Weight, now: int) -> Term:
    name, since, signal, source = contribution
    began = (since or 0) / MICROSECONDS
    age = 0.0 if since is None else (now - since) / MICROSECONDS
    points = decayed(weight.weight, weight.half_life, age)
    return Term(name, points, weight.weight, weight.half_life, began, signal, source)


def _signal_term(held: SignalHeld, rating: Rating, now: int) -> Term:
    weight = Weight(*rating.of_signal(held.name, held.weight, held.half_life))
    return _term((held.name, held.since, signal_type(held), held.source), weight, now)


def _contributions(
    state: State, rating: Rating, sources: Sources
) -> Iterator[Sequence[_Contribution]]:
    """Yield what adds to the score: of each kind everything that is said of it."""
    yield _levels("user-risk", state.user_risk, sources)
    yield _levels("session-risk", state.session_risk, sources)
    yield _levels("device-risk", state.device_risk.get(state.device, {}), sources)
    compliance = state.compliance.get(state.device, {})
    yield [
        ("device-not-compliant", said.since, COMPLIANCE_CHANGE, source)
        for source, said in words_that_count(compliance, COMPLIANCE_CHANGE, sources)
        if said.value == NOT_COMPLIANT
    ]
    for circumstance, name, signal in _CHANGES:
        held = state.circumstances.get(circumstance)
        if (
            held is not None
            and not state.began_with(circumstance, held.value)
            and not sign_ins_of(state, f"{circumstance}={held.value}")
        ):
            yield [(name, held.since, signal, ITSELF)]
    yield [
        ("network-changed", said.since, NETWORK_CHANGE, source)
        for source, said, is_new in changes(state, sources)
        if is_new and not sign_ins_of(state, circumstance_of(source, said.value))
    ]
    if state.location.anonymizer:
        since = state.circumstances["ip"].since if "ip" in state.circumstances else None
        yield [("anonymizer", since, "session-presented", ITSELF)]
    journeys = [one for one in state.arrivals if one.speed >= rating.travel_speed_kmh]
    unproven = [one.since for one in journeys if not is_proven(state, one)]
    if unproven:
        yield [("travel", max(unproven), "session-presented", ITSELF)]


def _levels(name: str, words: Mapping[str, RiskHeld], sources: Sources) -> Sequence[_Contribution]:
    return [
        (
            f"{name}-{held.level}",
            held.high_since if held.level is RiskLevel.HIGH else held.medium_since,
            RISK_CHANGE,
            source,
        )
        for source, held in words_that_count(words, RISK_CHANGE, sources)
        if held.level is not RiskLevel.LOW
    ]
