from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Grant,
    Not,
    Policy,
    PolicyState,
    RiskLevel,
    Score,
    SessionRisk,
)
from sidecar.tuning.replay.thresholds import Threshold, ThresholdKind, thresholds_of, with_threshold

NESTED = Policy(
    "p",
    Grant((frozenset({"mfa"}),)),
    state=PolicyState.REPORT_ONLY,
    conditions=All((Not(Score(40)), AnyOf((SessionRisk(RiskLevel.HIGH), Score(70))))),
)


def test_of_each_kind_the_first_threshold_is_found() -> None:
    assert thresholds_of(NESTED) == (
        Threshold("p", ThresholdKind.SCORE, 40),
        Threshold("p", ThresholdKind.SESSION_RISK, RiskLevel.HIGH),
    )
    assert thresholds_of(Policy("q", Grant(block=True))) == ()


def test_every_condition_of_the_kind_gets_the_new_threshold_and_nothing_else_changes() -> None:
    varied = with_threshold(NESTED, ThresholdKind.SCORE, 55.0, "other")
    assert varied.conditions == All(
        (Not(Score(55)), AnyOf((SessionRisk(RiskLevel.HIGH), Score(55))))
    )
    assert (varied.id, varied.state, varied.grant) == ("other", NESTED.state, NESTED.grant)
    assert with_threshold(NESTED, ThresholdKind.SCORE, 40.0).id == "p"
