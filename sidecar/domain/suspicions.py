"""Conditions on risk: what was reported of user and session, detections, the score.

See `conditions`.
"""

import datetime as dt

from sidecar.domain.policy import RiskLevel, Signals
from sidecar.domain.risk import decayed, terms_of
from sidecar.domain.scene import Check, Finding, Needs, Scene
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import Cause, RiskHeld


def _reached(kind: str, held: RiskHeld | None, at_least: RiskLevel) -> Finding:
    """A cause for every level reached from `at_least` up, so that a rise is news and a fall not."""
    level = held.level if held else RiskLevel.LOW
    if held is None or level.height < at_least.height:
        since = None if held is None else held.medium_since
        return Finding(False, (Cause(kind, level, since, "risk-level-change"),))
    causes = []
    for reached, since in (
        (RiskLevel.LOW, None),
        (RiskLevel.MEDIUM, held.medium_since),
        (RiskLevel.HIGH, held.high_since),
    ):
        if at_least.height <= reached.height <= level.height:
            causes.append(Cause(kind, reached, since, "risk-level-change"))
    return Finding(True, tuple(causes))


def _reported(held: RiskHeld | None) -> str:
    return str(held.level) if held else "not reported"


def user_risk(at_least: RiskLevel) -> Check:
    """Whether the user's reported risk is at least this."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        return _reached("user_risk", scene.state.user_risk, at_least)

    def value(scene: Scene) -> str:
        return _reported(scene.state.user_risk)

    return Check("user_risk", test, f"at least {at_least}", value)


def session_risk(at_least: RiskLevel, *, reported_only: bool = False) -> Check:
    """Whether the session's risk, reported or by its score, is at least this."""
    if reported_only:
        return _reported_session_risk(at_least)

    def test(scene: Scene, _needs: Needs) -> Finding:
        reported = _reached("session_risk", scene.state.session_risk, at_least)
        if reported.holds or scene.level.height < at_least.height:
            return reported
        return Finding(True, (_score_cause(scene, "session_risk", f"score {scene.level}"),))

    def value(scene: Scene) -> str:
        return f"{_reported(scene.state.session_risk)}; by its score {scene.level}"

    return Check("session_risk", test, f"at least {at_least}", value)


def _reported_session_risk(at_least: RiskLevel) -> Check:
    def test(scene: Scene, _needs: Needs) -> Finding:
        return _reached("session_risk", scene.state.session_risk, at_least)

    def value(scene: Scene) -> str:
        return _reported(scene.state.session_risk)

    return Check("session_risk", test, f"at least {at_least}, as reported", value)


def _score_cause(scene: Scene, kind: str, value: str) -> Cause:
    terms = terms_of(scene.state, scene.now, scene.world.rating)
    latest = max(terms, key=lambda term: (term.since, term.name), default=None)
    if latest is None:
        return Cause(kind, value, None, "policy")
    since = round(latest.since * MICROSECONDS) or None
    return Cause(kind, value, since, latest.signal)


def score(at_least: float) -> Check:
    """Whether the session's score is at least this."""
    reached = f"at least {at_least:g}"

    def test(scene: Scene, _needs: Needs) -> Finding:
        holds = scene.score >= at_least
        shown = reached if holds else f"below {at_least:g}"
        return Finding(holds, (_score_cause(scene, "score", shown),))

    def value(scene: Scene) -> str:
        return f"{scene.score:.1f}"

    return Check("score", test, reached, value)


def signals(condition: Signals) -> Check:
    """Whether any of these signals is live."""

    def test(scene: Scene, _needs: Needs) -> Finding:
        found = []
        rating = scene.world.rating
        for held in scene.state.signals.values():
            if held.name not in condition.include or not scene.state.concerns(held.device):
                continue
            weight, half_life = rating.of_signal(held.name, held.weight, held.half_life)
            age = (scene.now - held.since) / MICROSECONDS
            if decayed(weight, half_life, age) >= condition.at_least:
                when = _clock(held.since)
                signal = held.name if held.name == "credential-change" else "risk-signal"
                found.append(Cause("signal", f"{held.name} at {when}", held.since, signal))
        return Finding(bool(found), tuple(found))

    def value(scene: Scene) -> str:
        shown = []
        for held in scene.state.signals.values():
            if held.name in condition.include and scene.state.concerns(held.device):
                rating = scene.world.rating
                weight, half_life = rating.of_signal(held.name, held.weight, held.half_life)
                age = (scene.now - held.since) / MICROSECONDS
                shown.append(f"{held.name} {decayed(weight, half_life, age):.1f}")
        return ", ".join(shown) or "none"

    names = " or ".join(sorted(condition.include))
    return Check("signals", test, f"{names}, at least {condition.at_least:g}", value)


def _clock(moment: int) -> str:
    seconds = dt.datetime.fromtimestamp(moment // MICROSECONDS, dt.UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{moment % MICROSECONDS:06d}Z"
