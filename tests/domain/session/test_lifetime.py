"""The cap on a session's life: absolute, whatever is proven meanwhile."""

import msgspec
import pytest

from sidecar.domain.evaluation.decision import AccessRequest, Decision, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.fact_kinds import Fact, RiskReported, Scope, SignedIn
from sidecar.domain.policy.conditional_access import (
    Grant,
    Policy,
    PolicyState,
    RiskLevel,
    SessionControls,
    UserRisk,
)
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import LADDER, established, evaluator, policy, signed_in, stamp

CAPPED = Policy("p", Grant(), session=SessionControls(max_lifetime=600))


def ask(rules: Evaluator, facts: list[Fact], now: int) -> Decision:
    standing = rules.standing(rules.fold("s", facts), now * MICROSECONDS)
    return decide(standing, AccessRequest("app", frozenset({"c1"}), now), LADDER)


@pytest.mark.parametrize(("now", "verdict"), [(1599, "allow"), (1600, "step_up")])
def test_a_life_lasts_from_its_sign_in_to_the_cap(now: int, verdict: str) -> None:
    # The session's sign-in was at 999.
    assert ask(evaluator(CAPPED), established(), now).verdict == verdict


def test_a_step_up_within_a_life_does_not_lengthen_it() -> None:
    facts = [*established(), signed_in(1500, 1500)]
    asked = ask(evaluator(CAPPED), facts, 1610)
    assert asked.verdict is Verdict.STEP_UP
    assert asked.max_age == 10  # later than the second in which the life ended


def test_a_sign_in_after_the_end_begins_a_new_life() -> None:
    facts = [*established(), signed_in(1700, 1700)]
    assert ask(evaluator(CAPPED), facts, 2300).verdict is Verdict.ALLOW
    assert ask(evaluator(CAPPED), facts, 2301).verdict is Verdict.STEP_UP


def test_a_new_life_begins_with_a_sign_in_that_suffices_for_the_policy() -> None:
    rules = evaluator(msgspec.structs.replace(CAPPED, grant=policy(None, "mfa").grant))
    facts = [*established(acr="mfa"), signed_in(1700, 1700, "single-factor")]
    assert ask(rules, facts, 1710).verdict is Verdict.STEP_UP
    assert ask(rules, [*facts, signed_in(1720, 1720)], 1730).verdict is Verdict.ALLOW


def test_the_cap_is_for_as_long_as_the_policy_holds_and_counts_from_the_sign_in_all_the_same() -> (
    None
):
    rules = evaluator(msgspec.structs.replace(CAPPED, conditions=UserRisk(RiskLevel.MEDIUM)))
    risky = RiskReported(stamp=stamp(1650), scope=Scope.USER, level=RiskLevel.MEDIUM)
    assert ask(rules, established(), 1660).verdict is Verdict.ALLOW
    assert ask(rules, [*established(), risky], 1660).verdict is Verdict.STEP_UP


def test_nobody_knows_that_a_life_is_not_over_whose_sign_in_has_no_time() -> None:
    untimed = [
        msgspec.structs.replace(fact, authentication=Authentication(0, "mfa"))
        if isinstance(fact, SignedIn)
        else fact
        for fact in established()
    ]
    asked = ask(evaluator(CAPPED), untimed, 1010)
    assert asked.verdict is Verdict.STEP_UP
    assert asked.demands[0].untimed
    assert ask(evaluator(CAPPED), [*untimed, signed_in(1020, 1020)], 1030).verdict is Verdict.ALLOW


def test_a_report_only_cap_asks_nobody() -> None:
    rules = evaluator(msgspec.structs.replace(CAPPED, state=PolicyState.REPORT_ONLY))
    assert ask(rules, established(), 5000).verdict is Verdict.ALLOW


def test_an_explanation_says_when_the_life_ends() -> None:
    rules = evaluator(CAPPED)
    state = rules.fold("s", established())
    explanation = explain_call(rules, state, "app", frozenset({"c1"}), 1700)
    assert explanation.policies[0].grant.life_ends == 1599
    assert explanation.why == "p: the session ends 600 s after its sign-in: 1970-01-01T00:26:39Z"
    assert explanation.reasons == ("p",)
