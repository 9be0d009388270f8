"""The risk score: named contributions that fade, added up, explained term by term."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
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
    return min(SCORE_MAX, math.fsum(term.points for term in terms))


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
WeighedWords: TypeAlias = tuple[Sequence[WeighedWord], Sequence[Sequence[WeighedWord]]]
"""All that is said, with what each of it weighs: the only words of their kind, and the others."""


def terms_of(state: State, now: int, rating: Rating, sources: Sources) -> tuple[Term, ...]:
    """Return what the score of a session is made of at `now` (microseconds), greatest first."""
    return terms_of_points(Sum(weighed_words(state, rating, sources), now).ordered())


Points: TypeAlias = tuple[float, str, int, Contribution, Weight]
"""What is left of a contribution: its points, negative, its name and a number; what weighs so."""

LEAST_POINTS = 0.05
"""Less than this is forgotten."""

FOR_EVER = 1 << 62
"""Microseconds: later than any moment."""

MARGIN = 1000
"""So many microseconds early a score is looked at: it is no exact number."""


class Sum:
    """Sum of what words add to a score at a moment, with all that is asked of it, in one pass.

    `left` are the points of each word that counts. Of them, `lasting` do not fade, and `fading` do,
    none faster than by the half-life `fastest`. `forgotten` is the first moment at which one of
    them is, and with `wavers` nothing is known of that: some word has not begun to fade, or which
    of several counts may change.
    """

    __slots__ = ("_newest", "fading", "fastest", "forgotten", "lasting", "left", "score", "wavers")

    def __init__(self, words: WeighedWords, now: int) -> None:
        left: list[tuple[float, WeighedWord]] = []
        rates: list[float] = []
        ends: list[int] = []
        lasting = fading = 0.0
        wavers = False
        single, several = words
        for one in (*single, *_that_count(several, now)) if several else single:
            word, weight = one
            since, points, half_life = word[1], weight.weight, weight.half_life
            if half_life <= 0 or since is None:
                if points < LEAST_POINTS:
                    continue
                lasting += points
            else:
                lasts = _lasts(points, half_life)
                if now > since:
                    points = points * 0.5 ** ((now - since) / MICROSECONDS / half_life)
                elif now < since:
                    wavers = True
                if points < LEAST_POINTS:
                    continue
                fading += points
                rates.append(half_life)
                ends.append(since + lasts)
            left.append((points, one))
        self.left = left
        self.score = min(SCORE_MAX, math.fsum([points for points, _ in left]))
        self.lasting = lasting
        self.fading = fading
        self.fastest = min(rates, default=math.inf)
        self.forgotten = min(ends, default=FOR_EVER)
        self.wavers = wavers or any(fades(one) for words in several for one in words)
        self._newest: Contribution | None = None

    @property
    def newest(self) -> Contribution | None:
        """The contribution that began last; None: nothing adds to the score."""
        if self._newest is None and self.left:
            found = [word for _, (word, _) in self.left]
            latest = max([word[1] or 0 for word in found])
            self._newest = max([word for word in found if (word[1] or 0) == latest])
        return self._newest

    def ordered(self) -> Sequence[Points]:
        """Return what is left of each word, greatest first."""
        return sorted(
            (-points, word[0], at, word, weight)
            for at, (points, (word, weight)) in enumerate(self.left)
        )


def _that_count(several: Iterable[Sequence[WeighedWord]], now: int) -> Iterator[WeighedWord]:
    """Yield, of the words of each kind, the one which makes most of it."""
    for words in several:
        yield max(words, key=lambda one: _points_of(one, now))


def _points_of(weighed: WeighedWord, now: int) -> float:
    (_, since, _, _), weight = weighed
    if since is None:
        return weight.weight
    return decayed(weight.weight, weight.half_life, (now - since) / MICROSECONDS)


def fades(weighed: WeighedWord) -> bool:
    """Return whether less and less is left of what is said, from when it began."""
    word, weight = weighed
    return word[1] is not None and weight.half_life > 0


@lru_cache(1024)
def _lasts(weight: float, half_life: float) -> int:
    """Return for how long (microseconds) a new contribution counts before it is forgotten."""
    if weight < LEAST_POINTS:
        return 0
    return int(half_life * math.log2(weight / LEAST_POINTS) * MICROSECONDS) - MARGIN


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


def weighed_words(
    state: State,
    rating: Rating,
    sources: Sources,
    signals: Iterable[Sequence[SignalHeld]] | None = None,
) -> WeighedWords:
    """Return all that is said of what adds to a score, with what each of it weighs.

    `signals` are the raised ones, where they are known.
    """
    weights = rating.weights
    single = _shown(state, rating)
    several: list[Sequence[WeighedWord]] = []
    for words in _said(state, sources):
        weighed = [(each, weights[each[0]]) for each in words if each[0] in weights]
        if len(weighed) == 1 == len(words):
            single.append(weighed[0])
        elif weighed:
            several.append(weighed)
    if state.signals:
        for raised in raised_signals(state, sources) if signals is None else signals:
            if len(raised) == 1:
                single.append(_signal(rating, raised[0]))
            else:
                several.append([_signal(rating, held) for held in raised])
    return single, several


def _signal(rating: Rating, held: SignalHeld) -> WeighedWord:
    name = held.name
    return (name, held.since, signal_type(held), held.source), _weight_of_signal(rating, held)


def _weight_of_signal(rating: Rating, held: SignalHeld) -> Weight:
    if held.weight < 0 and held.half_life < 0:
        known = rating.weights.get(held.name)
        if known is not None:
            return known
    return Weight(*rating.of_signal(held.name, held.weight, held.half_life))


def _said(state: State, sources: Sources) -> Sequence[Sequence[Contribution]]:
    """Return what adds to the score by somebody's word: of each kind everything that is said."""
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
    segments = _segments(state, sources)
    if segments:
        found.append(segments)
    return found


def _shown(state: State, rating: Rating) -> list[WeighedWord]:
    """Return what adds to the score by what calls have shown: of each kind there is one word."""
    found: list[WeighedWord] = []
    circumstances, baseline, witnessed = state.circumstances, state.baseline, state.witnessed
    proven, weights = state.proven, rating.weights
    for circumstance, name, signal in _CHANGES:
        held = circumstances.get(circumstance)
        if held is None:
            continue
        value = held.value
        if value == baseline.get(circumstance) == witnessed.get(circumstance, value):
            continue  # as it began (`State.began_with`)
        weight = weights.get(name)
        if weight is None:
            continue
        if proven or state.remembered:
            key = circumstance + "=" + value
            if proven.get(key) or (state.remembered and sign_ins_of(state, key)):
                continue
        found.append(((name, held.since, signal, ITSELF), weight))
    if state.location.anonymizer and "anonymizer" in weights:
        ip = circumstances.get("ip")
        since = ip.since if ip else None
        word = ("anonymizer", since, "session-presented", ITSELF)
        found.append((word, weights["anonymizer"]))
    if state.arrivals and "travel" in weights:
        fastest = rating.travel_speed_kmh
        since = max(
            [
                one.since
                for one in state.arrivals
                if one.speed >= fastest and not is_proven(state, one)
            ],
            default=None,
        )
        if since is not None:
            found.append((("travel", since, "session-presented", ITSELF), weights["travel"]))
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
