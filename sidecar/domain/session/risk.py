"""The risk score: named contributions that fade, added up, explained term by term."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.precedence import (
    COMPLIANCE_CHANGE,
    NETWORK_CHANGE,
    NOT_COMPLIANT,
    RISK_CHANGE,
    raised_signals,
    signal_type,
    words_that_count,
)
from sidecar.domain.facts.segments import changes, circumstance_of
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.session.state import Moment, RiskHeld, Said, SignalHeld, State
from sidecar.domain.sources.source import ITSELF, Sources
from sidecar.domain.values.places import is_proven, sign_ins_of
from sidecar.domain.values.stamp import MICROSECONDS

SCORE_MAX = 100.0

_LOW, _MEDIUM, _HIGH = RiskLevel  # asking the class for a member takes much longer

TOKEN_BINDING_CHANGE = "token-binding-change"  # noqa: S105 - a signal's name
"""The daemon's own detection: a session's tokens are bound to another key or certificate."""


class Weight(msgspec.Struct, frozen=True, gc=False):
    """Points of a contribution when it is new, and the seconds after which they halve.

    `half_life` 0: it does not fade while its cause lasts.
    """

    weight: float
    half_life: float = 0.0


class Thresholds(msgspec.Struct, frozen=True, gc=False):
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


class Term(msgspec.Struct, frozen=True, gc=False):
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
    height, less = before.height, thresholds.hysteresis
    if score >= thresholds.high - (less if height >= _HIGH.height else 0.0):
        return _HIGH
    if score >= thresholds.medium - (less if height >= _MEDIUM.height else 0.0):
        return _MEDIUM
    return _LOW


class Rating(msgspec.Struct, frozen=True, gc=False):
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

Contribution: TypeAlias = tuple[str, Moment, str, str]
"""What adds to a score: its name, since when, the events' type, and the source."""

WeighedWord: TypeAlias = tuple[Contribution, Weight]
WeighedWords: TypeAlias = Sequence[WeighedWord]
"""All that is said of one kind, with what each of it weighs."""


def terms_of(state: State, now: int, rating: Rating, sources: Sources) -> tuple[Term, ...]:
    """Return what the score of a session is made of at `now` (microseconds), greatest first."""
    return terms_of_points(points_left(weighed_words(state, rating, sources), now))


Points: TypeAlias = tuple[float, str, int, Contribution, Weight]
"""What is left of a contribution: its points, negative, its name and a number; what weighs so."""


def points_left(words: Iterable[WeighedWords], now: int) -> Sequence[Points]:
    """Return what is left at `now` (microseconds) of what adds to a score, greatest first.

    Where several sources say something of one kind, that counts which makes most of it.
    """
    found: list[Points] = []
    for weighed in words:
        most = -1.0
        for each in weighed:
            (_, since, _, _), weight = each
            points, half_life = weight.weight, weight.half_life
            if half_life > 0 and since is not None and now > since:
                points = float(points * 0.5 ** ((now - since) / MICROSECONDS / half_life))
            if points > most:
                most, greatest = points, each
        if most >= LEAST_POINTS:
            word, weight = greatest
            found.append((-most, word[0], len(found), word, weight))
    found.sort()
    return found


def score_of(points: Iterable[Points]) -> float:
    """Return the score: the sum of all points, at most 100."""
    return min(SCORE_MAX, -sum([each[0] for each in points]))


def terms_of_points(points: Iterable[Points]) -> tuple[Term, ...]:
    """Return the terms of a score that these points make up."""
    return tuple(
        Term(
            word[0],
            -negative,
            weight.weight,
            weight.half_life,
            (word[1] or 0) / MICROSECONDS,
            word[2],
            word[3],
        )
        for negative, _, _, word, weight in points
    )


_NAMED = {
    (name, level): f"{name}-{level}"
    for name in ("user-risk", "session-risk", "device-risk")
    for level in RiskLevel
}

LEAST_POINTS = 0.05
"""Less than this is forgotten."""


def weighed_words(
    state: State,
    rating: Rating,
    sources: Sources,
    signals: Iterable[Sequence[SignalHeld]] | None = None,
) -> Sequence[WeighedWords]:
    """Return, of each kind of contribution, all that is said of it with what that weighs.

    `signals` are the raised ones, where they are known.
    """
    weights = rating.weights
    found: list[WeighedWords] = []
    for contributions in _contributions(state, rating, sources):
        if len(contributions) == 1:
            each = contributions[0]
            if each[0] in weights:
                found.append(((each, weights[each[0]]),))
        else:
            found.append([(each, weights[each[0]]) for each in contributions if each[0] in weights])
    if state.signals:
        found += [
            [
                (
                    (held.name, held.since, signal_type(held), held.source),
                    _weight_of_signal(rating, held),
                )
                for held in raised
            ]
            for raised in (raised_signals(state, sources) if signals is None else signals)
        ]
    return found


def _weight_of_signal(rating: Rating, held: SignalHeld) -> Weight:
    if held.weight < 0 and held.half_life < 0:
        known = rating.weights.get(held.name)
        if known is not None:
            return known
    return Weight(*rating.of_signal(held.name, held.weight, held.half_life))


def _contributions(  # noqa: C901 - one case a kind
    state: State, rating: Rating, sources: Sources
) -> Sequence[Sequence[Contribution]]:
    """Return what adds to the score: of each kind everything that is said of it."""
    found: list[Sequence[Contribution]] = []
    if state.user_risk:
        found.append(_levels("user-risk", state.user_risk, sources))
    if state.session_risk:
        found.append(_levels("session-risk", state.session_risk, sources))
    device = state.device
    if device in state.device_risk:
        found.append(_levels("device-risk", state.device_risk[device], sources))
    if device in state.compliance:
        found.append(_not_compliant(state.compliance[device], sources))
    circumstances, baseline, witnessed = state.circumstances, state.baseline, state.witnessed
    proven = state.proven
    for circumstance, name, signal in _CHANGES:
        held = circumstances.get(circumstance)
        if held is None:
            continue
        value = held.value
        if value == baseline.get(circumstance) == witnessed.get(circumstance, value):
            continue  # as it began (`State.began_with`)
        key = circumstance + "=" + value
        if not proven.get(key) and not (state.remembered and sign_ins_of(state, key)):
            found.append(((name, held.since, signal, ITSELF),))
    segments = _segments(state, sources)
    if segments:
        found.append(segments)
    if state.location.anonymizer:
        ip = circumstances.get("ip")
        found.append((("anonymizer", ip.since if ip else None, "session-presented", ITSELF),))
    if state.arrivals:
        fastest = rating.travel_speed_kmh
        journeys = [one for one in state.arrivals if one.speed >= fastest]
        unproven = [one.since for one in journeys if not is_proven(state, one)]
        if unproven:
            found.append((("travel", max(unproven), "session-presented", ITSELF),))
    return found


def _segments(state: State, sources: Sources) -> Sequence[Contribution]:
    if not state.segments and not state.device_network:  # then it is the daemon's word, if any
        held = state.circumstances.get("network")
        if held is None or state.began_with("network", held.value):
            return ()
    return [
        ("network-changed", said.since, NETWORK_CHANGE, source)
        for source, said, is_new in changes(state, sources)
        if is_new and not sign_ins_of(state, circumstance_of(source, said.value))
    ]


def _not_compliant(words: Mapping[str, Said], sources: Sources) -> Sequence[Contribution]:
    if len(words) == 1:  # which counts
        ((source, said),) = words.items()
        if said.value != NOT_COMPLIANT:
            return ()
        return (("device-not-compliant", said.since, COMPLIANCE_CHANGE, source),)
    return [
        ("device-not-compliant", said.since, COMPLIANCE_CHANGE, source)
        for source, said in words_that_count(words, COMPLIANCE_CHANGE, sources)
        if said.value == NOT_COMPLIANT
    ]


def _levels(name: str, words: Mapping[str, RiskHeld], sources: Sources) -> Sequence[Contribution]:
    if len(words) == 1:  # which counts
        ((source, held),) = words.items()
        level = held.level
        if level is _LOW:
            return ()
        since = held.high_since if level is _HIGH else held.medium_since
        return ((_NAMED[name, level], since, RISK_CHANGE, source),)
    return [
        (
            f"{name}-{held.level}",
            held.high_since if held.level is _HIGH else held.medium_since,
            RISK_CHANGE,
            source,
        )
        for source, held in words_that_count(words, RISK_CHANGE, sources)
        if held.level is not _LOW
    ]
