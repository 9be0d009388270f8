"""Curves over a threshold are what a replay with each threshold would have counted."""

from itertools import islice

import pytest

from benchmarks.recordings import recording
from sidecar.tuning.report.report import SetFigures
from tests.service.replaying import SETTINGS, replay
from tests.tuning.replay.recordings import POLICIES

LINES = list(islice(recording(seed=13, users=15, carriers=False), 2500))
ENFORCED = POLICIES.replace("    state: report-only\n", "")


def alone(policies: str, settings: str = SETTINGS) -> SetFigures:
    return replay(LINES, policies, settings=settings).sets[0]


@pytest.mark.parametrize(
    ("policy", "present", "asked"),
    [
        ("travel", "at_least: 900", "travel=300..2000/3"),
        ("score", "at_least: 30", "score=15..75/4"),
        ("risky", "at_least: medium", "risky=low..high"),
    ],
)
def test_each_point_equals_a_replay_with_that_threshold(
    policy: str, present: str, asked: str
) -> None:
    figures = replay(LINES, ENFORCED, thresholds=[asked]).sets[0]
    (curve,) = figures.curves
    assert len(curve.points) >= 3
    assert figures.prompts.total == alone(ENFORCED).prompts.total
    changed = set()
    for point in curve.points:
        own = alone(ENFORCED.replace(present, f"at_least: {point.value}"))
        by_policy = next(p for p in own.policies if p.id == policy)
        assert point.prompts == own.prompts.total
        assert point.change == own.prompts.total - figures.prompts.total
        assert point.refusals == own.prompts.refusals
        assert point.triggers == by_policy.triggers
        assert (point.detected, point.false_sessions) == (
            by_policy.detected,
            by_policy.false_sessions,
        )
        assert point.is_current == (point.value == curve.current)
        changed.add(point.prompts)
    assert len(changed) > 1


def test_a_report_only_policys_curve_shows_what_it_would_have_asked() -> None:
    (curve,) = replay(LINES, POLICIES, thresholds=["score=15..75/3"]).sets[0].curves
    assert curve.report_only
    for point in curve.points:
        own = alone(POLICIES.replace("at_least: 30", f"at_least: {point.value}"))
        score = next(p for p in own.policies if p.id == "score")
        assert (point.prompts, point.triggers) == (score.prompts, score.triggers)


def test_the_risk_levels_own_thresholds_can_be_varied() -> None:
    policies = ENFORCED.replace("score: {at_least: 30}", "session_risk: {at_least: medium}")
    (curve,) = replay(LINES, policies, thresholds=["risk.medium=20..60/3"]).sets[0].curves
    assert (curve.policy, curve.kind, curve.current) == ("risk", "medium", 40)
    for point in curve.points:
        settings = SETTINGS + f"risk: {{thresholds: {{medium: {point.value}}}}}\n"
        assert point.prompts == alone(policies, settings).prompts.total


def test_several_curves_do_not_disturb_each_other() -> None:
    asked = ["travel=300..2000/3", "score=15..75/4"]
    together = replay(LINES, ENFORCED, thresholds=asked).sets[0].curves
    apart = [replay(LINES, ENFORCED, thresholds=[one]).sets[0].curves[0] for one in asked]
    assert list(together) == apart
