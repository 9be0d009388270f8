"""Conditions on risk: what was reported of user and session, detections, the score.

See `conditions`.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from sidecar.domain.facts.precedence import (
    RISK_CHANGE,
    signal_type,
    words_that_count,
)
from sidecar.domain.policy.conditional_access import (
    RiskLevel,
    Score,
    SessionRisk,
    Signals,
    UserRisk,
    key_of,
)
from sidecar.domain.session.risk import decayed, in_tenths
from sidecar.domain.session.scene import ConditionCheck, Finding, Found, Needs, Scene, Test
from sidecar.domain.session.state import Cause, Moment, RiskHeld, SignalHeld, said_by
from sidecar.domain.sources.source import ITSELF
from sidecar.domain.values.stamp import MICROSECONDS

_LOW, _MEDIUM, _HIGH = RiskLevel
_SCORE_SHOWN = {level: f"score {level}" for level in RiskLevel}

Words: TypeAlias = Mapping[str, RiskHeld]


def _reached(kind: str, words: Words, at_least: RiskLevel, scene: Scene) -> Finding:
    """Return a cause for every level reached from `at_least` up: a rise is news and a fall is not.

    What each source says is a cause of its own.
    """
    if not words:
        return Finding(False, (_risk_cause(kind, _LOW, None, ITSELF),))
    found: list[Cause] = []
    against: list[Cause] = []
    for source, held in words_that_count(words, RISK_CHANGE, scene.world.sources):
        if held.level.height < at_least.height:
            against.append(_risk_cause(kind, held.level, held.medium_since, source))
            continue
        found += _reached_by(kind, source, held, at_least)
    if found:
        return Finding(True, tuple(found))
    return Finding(False, tuple(against) or (_risk_cause(kind, _LOW, None, ITSELF),))


def _found_reached(
    kind: str, register: str, at_least: RiskLevel, *, loosens: bool
) -> tuple[Found, Found]:
    """Return what finds the causes of `_reached`, of those of one kind alone."""

    def reaches(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if loosens else scene
        words: Words = getattr(seen.state, register)
        if len(words) == 1:
            ((source, held),) = words.items()  # which counts
            return _reached_by(kind, source, held, at_least) or None
        if not words:
            return None
        finding = _reached(kind, words, at_least, seen)
        return finding.causes if finding.holds else None

    def stays_below(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if loosens else scene
        words: Words = getattr(seen.state, register)
        if len(words) == 1 and _is_reached(words, at_least):
            return None
        finding = _reached(kind, words, at_least, seen)
        return None if finding.holds else finding.causes

    return reaches, stays_below


def _reached_by(kind: str, source: str, held: RiskHeld, at_least: RiskLevel) -> tuple[Cause, ...]:
    """Return a cause for each level from `at_least` up that a source says is reached."""
    return tuple(
        [
            Cause(kind, reached, since, RISK_CHANGE, "", source)
            for reached, since in (
                (_LOW, None),
                (_MEDIUM, held.medium_since),
                (_HIGH, held.high_since),
            )
            if at_least.height <= reached.height <= held.level.height
        ]
    )


def _is_reached(words: Words, at_least: RiskLevel) -> bool:
    """Return whether the only word there is, which counts then, reaches this level."""
    (held,) = words.values()
    return held.level.height >= at_least.height


def _any_reaches(words: Words, at_least: RiskLevel, scene: Scene) -> bool:
    """Return whether `_reached` finds any that is at least this."""
    return bool(words) and any(
        held.level.height >= at_least.height
        for _, held in words_that_count(words, RISK_CHANGE, scene.world.sources)
    )


def _risk_cause(kind: str, level: RiskLevel, since: Moment, source: str) -> Cause:
    return Cause(kind, level, since, RISK_CHANGE, source=source)


def _reported(words: Words, scene: Scene) -> str:
    said = [
        f"{held.level}{said_by(source)}"
        for source, held in words_that_count(words, RISK_CHANGE, scene.world.sources)
    ]
    return ", ".join(said) or "not reported"


def user_risk(at_least: RiskLevel, *, loosens: bool) -> ConditionCheck:
    """Return whether the user's reported risk is at least this."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        return _reached("user_risk", seen.state.user_risk, at_least, seen)

    def value(scene: Scene) -> str:
        return _reported(scene.state.user_risk, scene)

    def holds(scene: Scene, _needs: Needs) -> bool:
        seen = scene.seen_by(loosens=loosens)
        return _any_reaches(seen.state.user_risk, at_least, seen)

    asks = f"at least {at_least}"
    found = _found_reached("user_risk", "user_risk", at_least, loosens=loosens)
    return ConditionCheck(key_of(UserRisk), test, asks, value, (), holds, True, found)


def session_risk(
    at_least: RiskLevel, *, loosens: bool, reported_only: bool = False
) -> ConditionCheck:
    """Return whether the session's risk, reported or by its score, is at least this."""
    if reported_only:
        return _reported_session_risk(at_least, loosens=loosens)

    def reaches(scene: Scene) -> bool:
        return scene.level.height >= at_least.height

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        sure = seen.loosening
        reported = _reached("session_risk", seen.state.session_risk, at_least, seen)
        if not reaches(seen) or (
            reported.holds and _any_reaches(sure.state.session_risk, at_least, sure)
        ):
            return reported
        by_score = _score_causes(seen, "session_risk", _SCORE_SHOWN[seen.level], reaches)
        return Finding(True, (*(reported.causes if reported.holds else ()), *by_score))

    def value(scene: Scene) -> str:
        return f"{_reported(scene.state.session_risk, scene)}; by its score {scene.level}"

    def holds(scene: Scene, _needs: Needs) -> bool:
        seen = scene.seen_by(loosens=loosens)
        return reaches(seen) or _any_reaches(seen.state.session_risk, at_least, seen)

    asks = f"at least {at_least}"
    found = _found_session_risk(at_least, test, loosens=loosens)
    return ConditionCheck(key_of(SessionRisk), test, asks, value, (), holds, True, found)


def _found_session_risk(at_least: RiskLevel, test: Test, *, loosens: bool) -> tuple[Found, Found]:
    """Return what finds the causes of a session's risk, quickly where nobody reports it."""

    def reaches(scene: Scene) -> bool:
        return scene.level.height >= at_least.height

    def found(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if loosens else scene
        if seen.state.session_risk:
            finding = test(scene, needs)
            return finding.causes if finding.holds else None
        if not reaches(seen):
            return None
        return _score_causes(seen, "session_risk", _SCORE_SHOWN[seen.level], reaches)

    def found_below(scene: Scene, needs: Needs) -> tuple[Cause, ...] | None:
        finding = test(scene, needs)
        return None if finding.holds else finding.causes

    return found, found_below


def _reported_session_risk(at_least: RiskLevel, *, loosens: bool) -> ConditionCheck:
    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        return _reached("session_risk", seen.state.session_risk, at_least, seen)

    def value(scene: Scene) -> str:
        return _reported(scene.state.session_risk, scene)

    def holds(scene: Scene, _needs: Needs) -> bool:
        seen = scene.seen_by(loosens=loosens)
        return _any_reaches(seen.state.session_risk, at_least, seen)

    asks = f"at least {at_least}, as reported"
    found = _found_reached("session_risk", "session_risk", at_least, loosens=loosens)
    return ConditionCheck(key_of(SessionRisk), test, asks, value, (), holds, True, found)


def _score_causes(
    scene: Scene, kind: str, shown: str, reaches: Callable[[Scene], bool]
) -> tuple[Cause, ...]:
    """Return what lets the score reach its threshold: the score, or the terms that others add.

    The score by itself, where those who may loosen say enough; what others add is named term by
    term. Whoever has signed in after one of their words has
    not answered what is said later, by somebody else, though the score was that high before.
    """
    sure = scene.loosening
    if sure is scene:
        return (_score_cause(scene, kind, shown),)
    enough = reaches(sure)
    causes = [_score_cause(sure, kind, shown)] if enough else []
    for term in scene.terms:
        if not (enough and term in sure.terms):
            since = round(term.since * MICROSECONDS)
            value = f"{shown}, with {term.name} since {_clock(since)}"
            causes.append(Cause(kind, value, since or None, term.signal, source=term.source))
    return tuple(causes)


def _score_cause(scene: Scene, kind: str, value: str) -> Cause:
    newest = scene.newest
    if newest is None:
        return Cause(kind, value, None, "policy")
    _, since, signal, _ = newest
    # It is kept as exactly as the seconds of a term are.
    return Cause(kind, value, round((since or 0) / MICROSECONDS * MICROSECONDS) or None, signal)


def score(at_least: float, *, loosens: bool) -> ConditionCheck:
    """Return whether the session's score is at least this."""
    reached, below = f"at least {at_least:g}", f"below {at_least:g}"

    def reaches(scene: Scene) -> bool:
        return scene.score >= at_least

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        if not reaches(seen):
            return Finding(False, (_score_cause(seen, "score", below),))
        return Finding(True, _score_causes(seen, "score", reached, reaches))

    def value(scene: Scene) -> str:
        return f"{in_tenths(scene.score):.1f}"

    def holds(scene: Scene, _needs: Needs) -> bool:
        return reaches(scene.seen_by(loosens=loosens))

    def found(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if loosens else scene
        return _score_causes(seen, "score", reached, reaches) if reaches(seen) else None

    def found_below(scene: Scene, _needs: Needs) -> tuple[Cause, ...] | None:
        seen = scene.loosening if loosens else scene
        return None if reaches(seen) else (_score_cause(seen, "score", below),)

    both = (found, found_below)
    return ConditionCheck(key_of(Score), test, reached, value, (), holds, True, both)


def signals(condition: Signals, *, loosens: bool) -> ConditionCheck:
    """Return whether any of these signals is live."""

    def live(scene: Scene) -> Iterator[tuple[SignalHeld, float]]:
        rating = scene.world.rating
        for raised in scene.raised:
            for held in raised:
                if held.name in condition.include:
                    weight, half_life = rating.of_signal(held.name, held.weight, held.half_life)
                    age = (scene.now - held.since) / MICROSECONDS
                    yield held, decayed(weight, half_life, age)

    def test(scene: Scene, _needs: Needs) -> Finding:
        found = [
            Cause(
                "signal",
                f"{held.name} at {_clock(held.since)}",
                held.since,
                signal_type(held),
                source=held.source,
            )
            for held, left in live(scene.seen_by(loosens=loosens))
            if left >= condition.at_least
        ]
        return Finding(bool(found), tuple(found))

    def value(scene: Scene) -> str:
        shown = [f"{held.name} {left:.1f}{said_by(held.source)}" for held, left in live(scene)]
        return ", ".join(shown) or "none"

    def holds(scene: Scene, _needs: Needs) -> bool:
        seen = scene.seen_by(loosens=loosens)
        return bool(seen.state.signals) and any(
            left >= condition.at_least for _, left in live(seen)
        )

    asks = f"{' or '.join(sorted(condition.include))}, at least {condition.at_least:g}"
    return ConditionCheck(key_of(Signals), test, asks, value, holds=holds)


def _clock(moment: int) -> str:
    seconds = dt.datetime.fromtimestamp(moment // MICROSECONDS, dt.UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{moment % MICROSECONDS:06d}Z"
