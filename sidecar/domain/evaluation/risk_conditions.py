"""Conditions on risk: what was reported of user and session, detections, the score.

See `conditions`.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from sidecar.domain.facts.precedence import RISK_CHANGE, signal_type, words_that_count
from sidecar.domain.facts.precedence import signals as raised_signals
from sidecar.domain.policy.policy import RiskLevel, Score, SessionRisk, Signals, UserRisk, key_of
from sidecar.domain.session.risk import Term, decayed, in_tenths, terms_of
from sidecar.domain.session.scene import ConditionCheck, Finding, Needs, Scene
from sidecar.domain.session.state import Cause, Moment, RiskHeld, SignalHeld, said_by
from sidecar.domain.sources.source import ITSELF
from sidecar.domain.values.stamp import MICROSECONDS

Words: TypeAlias = Mapping[str, RiskHeld]


def _reached(kind: str, words: Words, at_least: RiskLevel, scene: Scene) -> Finding:
    """Return a cause for every level reached from `at_least` up: a rise is news and a fall is not.

    What each source says is a cause of its own.
    """
    found: list[Cause] = []
    against: list[Cause] = []
    for source, held in words_that_count(words, RISK_CHANGE, scene.world.sources):
        if held.level.height < at_least.height:
            against.append(_risk_cause(kind, held.level, held.medium_since, source))
            continue
        for reached, since in (
            (RiskLevel.LOW, None),
            (RiskLevel.MEDIUM, held.medium_since),
            (RiskLevel.HIGH, held.high_since),
        ):
            if at_least.height <= reached.height <= held.level.height:
                found.append(_risk_cause(kind, reached, since, source))
    if found:
        return Finding(True, tuple(found))
    return Finding(False, tuple(against) or (_risk_cause(kind, RiskLevel.LOW, None, ITSELF),))


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

    return ConditionCheck(key_of(UserRisk), test, f"at least {at_least}", value)


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
            reported.holds and _reached("", sure.state.session_risk, at_least, sure).holds
        ):
            return reported
        by_score = _score_causes(seen, "session_risk", f"score {seen.level}", reaches)
        return Finding(True, (*(reported.causes if reported.holds else ()), *by_score))

    def value(scene: Scene) -> str:
        return f"{_reported(scene.state.session_risk, scene)}; by its score {scene.level}"

    return ConditionCheck(key_of(SessionRisk), test, f"at least {at_least}", value)


def _reported_session_risk(at_least: RiskLevel, *, loosens: bool) -> ConditionCheck:
    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        return _reached("session_risk", seen.state.session_risk, at_least, seen)

    def value(scene: Scene) -> str:
        return _reported(scene.state.session_risk, scene)

    return ConditionCheck(key_of(SessionRisk), test, f"at least {at_least}, as reported", value)


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
    for term in _terms(scene):
        if not (enough and term in _terms(sure)):
            since = round(term.since * MICROSECONDS)
            value = f"{shown}, with {term.name} since {_clock(since)}"
            causes.append(Cause(kind, value, since or None, term.signal, source=term.source))
    return tuple(causes)


def _terms(scene: Scene) -> tuple[Term, ...]:
    world = scene.world
    return terms_of(scene.state, scene.now, world.rating, world.sources)


def _score_cause(scene: Scene, kind: str, value: str) -> Cause:
    latest = max(_terms(scene), key=lambda term: (term.since, term.name), default=None)
    if latest is None:
        return Cause(kind, value, None, "policy")
    since = round(latest.since * MICROSECONDS) or None
    return Cause(kind, value, since, latest.signal)


def score(at_least: float, *, loosens: bool) -> ConditionCheck:
    """Return whether the session's score is at least this."""
    reached = f"at least {at_least:g}"

    def reaches(scene: Scene) -> bool:
        return scene.score >= at_least

    def test(scene: Scene, _needs: Needs) -> Finding:
        seen = scene.seen_by(loosens=loosens)
        if not reaches(seen):
            return Finding(False, (_score_cause(seen, "score", f"below {at_least:g}"),))
        return Finding(True, _score_causes(seen, "score", reached, reaches))

    def value(scene: Scene) -> str:
        return f"{in_tenths(scene.score):.1f}"

    return ConditionCheck(key_of(Score), test, reached, value)


def signals(condition: Signals, *, loosens: bool) -> ConditionCheck:
    """Return whether any of these signals is live."""

    def live(scene: Scene) -> Iterator[tuple[SignalHeld, float]]:
        rating = scene.world.rating
        for raised in raised_signals(scene.state, scene.world.sources):
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

    names = " or ".join(sorted(condition.include))
    return ConditionCheck(key_of(Signals), test, f"{names}, at least {condition.at_least:g}", value)


def _clock(moment: int) -> str:
    seconds = dt.datetime.fromtimestamp(moment // MICROSECONDS, dt.UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{moment % MICROSECONDS:06d}Z"
