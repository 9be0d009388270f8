"""Grace before a mark binds, and no second prompt soon after a proof."""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import (
    AccessRequest,
    Decision,
    Verdict,
    coarse,
    decide,
    explain,
)
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import CauseEffect, PolicyOutcome
from sidecar.domain.facts.fact_kinds import (
    ComplianceReported,
    DeviceBound,
    Fact,
    RiskReported,
    Scope,
)
from sidecar.domain.policy.conditional_access import (
    AnyOf,
    Changed,
    Circumstance,
    Device,
    Grant,
    Policy,
    RiskLevel,
    SessionControls,
    UserRisk,
)
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import (
    AWAY,
    FAR,
    HOME,
    LADDER,
    WORLD,
    established,
    evaluator,
    policy,
    sighted,
    signed_in,
    stamp,
)

ABROAD = Changed((Circumstance.COUNTRY,))
RISKY = UserRisk(RiskLevel.MEDIUM)


def kind(rule: Policy, **changes: object) -> Evaluator:
    return evaluator(msgspec.structs.replace(rule, **changes))


def risk(second: int, level: RiskLevel) -> RiskReported:
    return RiskReported(stamp=stamp(second), scope=Scope.USER, level=level)


def ask(rules: Evaluator, facts: list[Fact], now: int) -> Decision:
    state = rules.fold("s", facts)
    standing = rules.standing(state, now * MICROSECONDS)
    return decide(standing, AccessRequest("app", frozenset({"c1"}), now), LADDER)


def outcome_of(rules: Evaluator, facts: list[Fact], now: int) -> tuple[PolicyOutcome, float | None]:
    state = rules.fold("s", facts)
    explained = explain_call(rules, state, "app", frozenset({"c1"}), now)
    return explained.policies[0].outcome, explained.policies[0].binds_from


def test_a_mark_waits_for_its_grace_and_is_reported_as_pending_meanwhile() -> None:
    rules = kind(policy(ABROAD), grace=600)
    facts = [*established(), sighted(2000, AWAY)]
    before, after = ask(rules, facts, 2599), ask(rules, facts, 2600)
    assert (before.verdict, before.pending) == (Verdict.ALLOW, True)
    assert after.verdict is Verdict.STEP_UP
    assert outcome_of(rules, facts, 2599) == (PolicyOutcome.IN_GRACE, 2600)
    assert outcome_of(rules, facts, 2600) == (PolicyOutcome.STEP_UP, 2600)
    standing = rules.standing(rules.fold("s", facts), 2599 * MICROSECONDS)
    assert [coarse(standing, now) for now in (2599, 2600)] == ["clear", "step_up"]
    assert "binding from 1970-01-01T00:43:20Z" in explain(standing.demands[0])


def test_moving_on_from_place_to_place_wins_no_time() -> None:
    rules = kind(policy(ABROAD), grace=600)
    facts = [*established(), sighted(2000, AWAY), sighted(2500, FAR), sighted(2590, AWAY)]
    assert ask(rules, facts, 2600).verdict is Verdict.STEP_UP


def test_after_a_proof_the_next_cause_has_its_own_grace() -> None:
    rules = kind(policy(ABROAD), grace=600)
    facts = [*established(), sighted(2000, AWAY), signed_in(2100, 2100), sighted(2500, FAR)]
    assert ask(rules, facts, 3099).verdict is Verdict.ALLOW
    assert ask(rules, facts, 3100).verdict is Verdict.STEP_UP


def test_a_sign_in_too_weak_for_the_policy_wins_no_time() -> None:
    rules = kind(policy(ABROAD), grace=600)
    weak = signed_in(2100, 2100, "single-factor")
    facts = [*established(), sighted(2000, AWAY), weak, sighted(2500, FAR)]
    assert ask(rules, facts, 2600).verdict is Verdict.STEP_UP


def test_what_comes_with_the_session_is_counted_from_its_beginning() -> None:
    rules = kind(policy(None), grace=600)
    assert ask(rules, established(), 1599).verdict is Verdict.ALLOW
    assert ask(rules, established(), 1600).verdict is Verdict.STEP_UP


def test_a_device_has_its_grace_to_become_compliant() -> None:
    rules = kind(policy(Device(compliant=False), "compliant-device"), grace=600)
    facts = [
        *established(),
        DeviceBound(stamp=stamp(1000), device="d1"),
        ComplianceReported(stamp=stamp(2000), device="d1", compliant=False),
    ]
    assert ask(rules, facts, 2599).verdict is Verdict.ALLOW
    assert ask(rules, facts, 2600).verdict is Verdict.DENY


def test_a_cause_proven_on_a_compliant_device_wins_no_time_where_it_is_so_no_more() -> None:
    ways = (frozenset({"phishing-resistant"}), frozenset({"mfa", "compliant-device"}))
    rules = kind(policy(AnyOf((ABROAD, RISKY))), grace=600, grant=Grant(ways))
    before = [
        *established(),
        DeviceBound(stamp=stamp(1000), device="d1"),
        ComplianceReported(stamp=stamp(1001), device="d1", compliant=True),
        sighted(2000, AWAY),
        signed_in(2100, 2100),
    ]
    another = risk(2500, RiskLevel.HIGH)
    broken = ComplianceReported(stamp=stamp(2550), device="d1", compliant=False)
    assert ask(rules, [*before, broken], 2600).verdict is Verdict.STEP_UP
    assert ask(rules, [*before, another, broken], 2600).verdict is Verdict.STEP_UP
    assert ask(rules, [*before, another], 3099).verdict is Verdict.ALLOW  # its own grace
    assert ask(rules, [*before, another], 3100).verdict is Verdict.STEP_UP
    mended = ComplianceReported(stamp=stamp(2700), device="d1", compliant=True)
    assert ask(rules, [*before, another, broken, mended], 2700).verdict is Verdict.ALLOW


def test_a_sign_in_that_grows_too_old_has_no_grace() -> None:
    rules = kind(policy(RISKY), grace=600, session=SessionControls(sign_in_frequency=900))
    facts = [*established(), risk(2000, RiskLevel.MEDIUM), signed_in(2100, 2100)]
    assert ask(rules, facts, 3000).verdict is Verdict.ALLOW
    assert ask(rules, facts, 3001).verdict is Verdict.STEP_UP


def test_a_withdrawn_mark_that_comes_back_has_its_grace_anew_and_a_sticky_one_has_not() -> None:
    facts = [*established(), sighted(2000, AWAY), sighted(2300, HOME), sighted(2500, AWAY)]
    assert ask(kind(policy(ABROAD), grace=600), facts, 2600).verdict is Verdict.ALLOW
    assert ask(kind(policy(ABROAD, sticky=True), grace=600), facts, 2600).verdict is Verdict.STEP_UP


def test_a_block_never_waits() -> None:
    rules = kind(policy(ABROAD, block=True), grace=600)
    assert ask(rules, [*established(), sighted(2000, AWAY)], 2000).verdict is Verdict.DENY


def test_a_cause_that_was_just_proven_does_not_ask_again() -> None:
    once = [
        *established(),
        risk(2000, RiskLevel.MEDIUM),
        signed_in(2100, 2100),
        risk(2200, RiskLevel.LOW),
    ]
    rules = kind(policy(RISKY), min_interval=600)
    again = [*once, risk(2699, RiskLevel.MEDIUM)]
    assert ask(rules, again, 2700).verdict is Verdict.ALLOW
    assert ask(rules, [*once, risk(2700, RiskLevel.MEDIUM)], 2700).verdict is Verdict.STEP_UP
    assert ask(evaluator(policy(RISKY)), again, 2700).verdict is Verdict.STEP_UP
    explained = explain_call(rules, rules.fold("s", again), "app", frozenset({"c1"}), 2700)
    assert [cause.fate for cause in explained.policies[0].causes] == [CauseEffect.JUST_PROVEN]


def test_a_stronger_cause_asks_again_at_once() -> None:
    facts = [
        *established(),
        risk(2000, RiskLevel.MEDIUM),
        signed_in(2100, 2100),
        risk(2200, RiskLevel.HIGH),
    ]
    assert ask(kind(policy(RISKY), min_interval=600), facts, 2201).verdict is Verdict.STEP_UP


def test_a_proof_that_no_longer_suffices_spares_nobody() -> None:
    rule = msgspec.structs.replace(policy(RISKY, "phishing-resistant"), min_interval=600)
    weak = signed_in(2100, 2100)
    facts = [
        *established(),
        risk(2000, RiskLevel.MEDIUM),
        weak,
        risk(2200, RiskLevel.LOW),
        risk(2300, RiskLevel.MEDIUM),
    ]
    assert ask(evaluator(rule), facts, 2400).verdict is Verdict.STEP_UP


def test_a_prompt_that_nobody_answered_is_asked_again() -> None:
    facts = [
        *established(acr="mfa"),
        risk(1010, RiskLevel.MEDIUM),
        risk(1020, RiskLevel.LOW),
        risk(1030, RiskLevel.MEDIUM),
    ]
    assert ask(kind(policy(RISKY), min_interval=600), facts, 1040).verdict is Verdict.STEP_UP


@pytest.mark.parametrize(("own", "verdict"), [(None, Verdict.ALLOW), (0, Verdict.STEP_UP)])
def test_the_configured_interval_is_for_policies_that_name_none(
    own: int | None, verdict: Verdict
) -> None:
    rule = msgspec.structs.replace(policy(RISKY), min_interval=own)
    around = evaluator()._around  # noqa: SLF001 - the tests' own surroundings
    rules = Evaluator((rule,), WORLD._replace(min_interval=600), around)
    facts = [
        *established(),
        risk(2000, RiskLevel.MEDIUM),
        signed_in(2100, 2100),
        risk(2200, RiskLevel.LOW),
        risk(2300, RiskLevel.MEDIUM),
    ]
    assert ask(rules, facts, 2400).verdict is verdict


def test_a_sticky_mark_that_was_proven_asks_again_when_its_cause_comes_back() -> None:
    facts = [
        *established(),
        risk(2000, RiskLevel.MEDIUM),
        signed_in(2100, 2100),
        risk(2200, RiskLevel.LOW),
    ]
    rules = evaluator(policy(RISKY, sticky=True))
    assert ask(rules, facts, 2300).verdict is Verdict.ALLOW
    assert ask(rules, [*facts, risk(2400, RiskLevel.MEDIUM)], 2500).verdict is Verdict.STEP_UP
