"""The explanation says what the evaluator decided, and says all of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide, judge
from sidecar.domain.explanation.explain import explain_call, proofs_of
from sidecar.domain.explanation.explanation import (
    CauseEffect,
    ConditionExplanation,
    Explanation,
    PolicyOutcome,
)
from sidecar.domain.facts.fact_kinds import (
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    RiskReported,
    Scope,
)
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Assignment,
    Changed,
    Circumstance,
    Countries,
    Networks,
    Not,
    Policy,
    PolicyState,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    UserRisk,
)
from sidecar.domain.session.risk import in_tenths
from sidecar.domain.session.standing import OPERATOR
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain import random_policies
from tests.domain.scenes import (
    AWAY,
    HOME,
    LADDER,
    established,
    evaluator,
    policy,
    sighted,
    signed_in,
)
from tests.domain.scenes import stamp as at

C1 = frozenset({"c1"})
MOVED = Changed((Circumstance.COUNTRY,))
START = [*established(), DeviceBound(stamp=at(1000), device="d1")]


def explained(
    *policies: Policy, facts: list[Fact], now: float = 1100, contexts: frozenset[str] = C1
) -> Explanation:
    rules = evaluator(*policies)
    return explain_call(rules, rules.fold("s", facts), "app", contexts, now)


@given(
    st.tuples(*(random_policies.policies(name) for name in ("p", "q"))),
    random_policies.lives(),
    st.sampled_from([frozenset(), C1, frozenset({"c1", "c2"})]),
    st.floats(1100, 1300),
)
@settings(deadline=None)
def test_every_outcome_is_the_evaluators(
    policies: tuple[Policy, ...], life: list[Fact], contexts: frozenset[str], now: float
) -> None:
    rules = evaluator(*policies)
    state = rules.fold("s", [*START, *life])
    standing = rules.standing(state, int(now * MICROSECONDS))
    explanation = explain_call(rules, state, "app", contexts, now)
    proofs = proofs_of(rules, state)
    decision = decide(standing, AccessRequest("app", contexts, now, proofs), LADDER)
    assert (explanation.verdict, explanation.pending) == (decision.verdict, decision.pending)
    assert (explanation.acr_values, explanation.max_age) == (decision.acr_values, decision.max_age)
    for each in explanation.policies:
        demands = [d for d in (*standing.demands, *standing.tried) if d.policy == each.policy]
        decided = judge(tuple(demands), AccessRequest("app", contexts, now, proofs), LADDER)
        expected = {
            Verdict.STEP_UP: PolicyOutcome.STEP_UP,
            Verdict.DENY: PolicyOutcome.DENY,
            Verdict.ALLOW: None,
        }[decided.verdict]
        assert (each.outcome if each.outcome.fires else None) == expected
        assert each.pending == decided.pending
    assert {p.policy for p in explanation.policies} - {OPERATOR} == {p.id for p in policies}


@given(random_policies.policies("p"), random_policies.lives(), st.floats(1100, 1300))
def test_a_condition_holds_in_the_explanation_where_the_policy_holds(
    rule: Policy, life: list[Fact], now: float
) -> None:
    rules = evaluator(rule)
    explanation = explain_call(rules, rules.fold("s", [*START, *life]), "app", C1, now)
    only = explanation.policies[0]
    if only.conditions is None or not only.users.matches:
        return
    assert only.conditions.holds == only.holds
    _is_sound(only.conditions)


def _is_sound(node: ConditionExplanation) -> None:
    held = [part.holds for part in node.parts]
    match node.kind:
        case "all":
            assert node.holds == all(held)
        case "any":
            assert node.holds == any(held)
        case "not":
            assert node.holds != held[0]
        case "changed" if held:
            assert node.holds == any(held)
    for part in node.parts:
        _is_sound(part)


@given(random_policies.policies("p"), random_policies.lives())
def test_an_explanation_survives_json(rule: Policy, life: list[Fact]) -> None:
    explanation = explained(rule, facts=[*START, *life])
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation


def test_what_is_cleared_is_said_to_be_where_a_life_is_not_over_too() -> None:
    rule = msgspec.structs.replace(
        policy(Networks(Selection())), session=SessionControls(max_lifetime=250)
    )
    cleared = MarksCleared(stamp=at(1001), scope=Scope.USER)
    for now, outcome in ((1100.0, PolicyOutcome.CLEARED), (1300.0, PolicyOutcome.STEP_UP)):
        assert explained(rule, facts=[*START, cleared], now=now).policies[0].outcome is outcome


@given(random_policies.policies("p"), random_policies.lives(), st.floats(1100, 1300))
def test_a_grant_is_satisfied_where_one_of_its_alternatives_is(
    rule: Policy, life: list[Fact], now: float
) -> None:
    explanation = explained(rule, facts=[*START, *life], now=now).policies[0]
    outlived = explanation.grant.life_ends is not None and now > explanation.grant.life_ends
    if explanation.outcome in (PolicyOutcome.STEP_UP, PolicyOutcome.DENY) and not (
        explanation.grant.block or outlived
    ):
        assert not any(alternative.satisfied for alternative in explanation.grant.alternatives)
    if explanation.outcome is PolicyOutcome.SATISFIED:
        assert any(alternative.satisfied for alternative in explanation.grant.alternatives)


def test_the_nesting_of_conditions_is_kept() -> None:
    nested = All((AnyOf((MOVED, UserRisk(RiskLevel.HIGH))), Not(Score(40))))
    (explanation,) = explained(policy(nested), facts=[*START, sighted(1010, AWAY)]).policies
    assert explanation.conditions is not None
    either, neither = explanation.conditions.parts
    assert (explanation.conditions.kind, either.kind, neither.kind) == ("all", "any", "not")
    assert [part.holds for part in either.parts] == [True, False]
    assert either.parts[0].value == "PT, at the start DE"
    assert either.parts[1].value == "not reported"
    assert neither.parts[0].asks == "at least 40"
    assert neither.parts[0].value == "29.4"


def fates(*facts: Fact, rule: Policy | None = None) -> list[CauseEffect | None]:
    (explanation,) = explained(rule or policy(MOVED), facts=[*START, *facts]).policies
    return [cause.fate for cause in explanation.causes]


def test_a_cause_that_asks_for_a_proof_is_reported_as_marked() -> None:
    assert fates(sighted(1010, AWAY)) == [CauseEffect.MARKED]


def test_a_cause_in_a_proven_place_is_reported_as_proven() -> None:
    abroad = policy(Countries(Selection(frozenset({"PT"}))))
    proof = signed_in(1020, 1019, ip=AWAY)
    known = (sighted(1010, AWAY), proof, sighted(1030, HOME), sighted(1040, AWAY))
    assert fates(*known, rule=abroad) == [CauseEffect.PROVEN]


def test_a_cause_that_time_brought_after_the_last_fact_is_fresh() -> None:
    rule = policy(Not(Score(1)))
    rules = evaluator(rule)
    faded = explain_call(
        rules, rules.fold("s", [*START, sighted(1010, AWAY)]), "app", C1, 1010 + 86400
    )
    assert [cause.fate for cause in faded.policies[0].causes] == [CauseEffect.FRESH]


def test_an_assignment_that_does_not_match_says_why() -> None:
    def why(**assigned: object) -> tuple[PolicyOutcome, str]:
        rule = msgspec.structs.replace(policy(MOVED), **assigned)
        (explanation,) = explained(rule, facts=[*START, sighted(1010, AWAY)]).policies
        return explanation.outcome, explanation.why

    staff = Principals(groups=frozenset({"staff"}))
    assert why(users=Assignment(Principals(users=frozenset({"bob"})))) == (
        PolicyOutcome.OTHER_USER,
        "not for this user: not among the included",
    )
    assert why(users=Assignment(None, staff)) == (
        PolicyOutcome.OTHER_USER,
        "not for this user: excluded as group staff",
    )
    assert why(apps=Selection(frozenset({"payroll"}))) == (
        PolicyOutcome.OTHER_APP,
        "not for this app: app is not one of payroll",
    )
    assert why(contexts=Selection(None, C1)) == (
        PolicyOutcome.OTHER_CONTEXT,
        "not for this context: c1 is excluded",
    )
    assert why(state=PolicyState.DISABLED)[0] is PolicyOutcome.DISABLED


def test_a_mark_in_another_context_is_pending() -> None:
    explanation = explained(
        policy(MOVED), facts=[*START, sighted(1010, AWAY)], contexts=frozenset()
    )
    assert (explanation.verdict, explanation.pending) == (Verdict.ALLOW, True)
    assert explanation.policies[0].pending


def test_alternatives_say_which_can_be_satisfied_and_which_are() -> None:
    rule = policy(MOVED, "compliant-device", "phishing-resistant", "mfa")
    facts: list[Fact] = [*START, sighted(1010, AWAY), signed_in(1020, 1015, "mfa")]
    (explanation,) = explained(rule, facts=facts).policies
    shown = {a.controls: (a.possible, a.satisfied) for a in explanation.grant.alternatives}
    assert shown == {
        ("compliant-device",): (False, False),
        ("mfa",): (True, True),
        ("phishing-resistant",): (True, False),
    }
    facts.append(ComplianceReported(stamp=at(1030), device="d1", compliant=True))
    (explanation,) = explained(rule, facts=facts).policies
    assert explanation.grant.alternatives[0].satisfied


@pytest.mark.parametrize(
    ("now", "outcome"),
    [(1059, PolicyOutcome.SATISFIED), (1060, PolicyOutcome.STEP_UP)],
    ids=["young", "old"],
)
def test_a_sign_in_frequency_is_reported_with_its_end(now: int, outcome: PolicyOutcome) -> None:
    rule = msgspec.structs.replace(policy(None), session=SessionControls(60))
    (explanation,) = explained(rule, facts=established(acr="mfa"), now=now).policies
    assert explanation.outcome is outcome
    assert explanation.grant.sign_in_frequency == 60
    assert explanation.grant.met_until == 1059


def test_the_scores_terms_are_reported_and_add_up() -> None:
    risk = RiskReported(stamp=at(1010), scope=Scope.USER, level=RiskLevel.HIGH)
    explanation = explained(policy(MOVED), facts=[*START, sighted(1020, AWAY), risk], now=1020)
    assert [term.name for term in explanation.score.terms] == ["user-risk-high", "country-changed"]
    assert explanation.score.score == 90
    assert explanation.score.level == "high"


def test_a_report_only_policy_is_reported_but_does_not_fire() -> None:
    tried = msgspec.structs.replace(policy(MOVED), state=PolicyState.REPORT_ONLY)
    explanation = explained(tried, facts=[*START, sighted(1010, AWAY)])
    assert explanation.verdict is Verdict.ALLOW
    assert explanation.policies[0].outcome is PolicyOutcome.STEP_UP
    assert explanation.firing == ()


@pytest.mark.parametrize(("reported", "holds"), [(False, True), (True, False)])
def test_a_score_is_no_reported_session_risk(*, reported: bool, holds: bool) -> None:
    rules = evaluator(policy(SessionRisk(RiskLevel.MEDIUM, reported=reported)))
    risky = RiskReported(stamp=at(1010), scope=Scope.USER, level=RiskLevel.HIGH)
    explanation = explain_call(rules, rules.fold("s", [*START, risky]), "app", C1, 1100)
    assert explanation.score.level == "medium"
    assert explanation.policies[0].holds is holds
    alone = RiskReported(stamp=at(1010), scope=Scope.SESSION, level=RiskLevel.MEDIUM)
    explanation = explain_call(rules, rules.fold("s", [*START, alone]), "app", C1, 1100)
    assert explanation.policies[0].holds


@pytest.mark.parametrize(
    ("score", "shown"), [(39.99, 39.9), (40.0, 40.0), (0.0, 0.0), (16.1, 16.1), (100.0, 100.0)]
)
def test_a_score_is_never_shown_as_one_that_reaches_a_threshold_above_it(
    score: float, shown: float
) -> None:
    assert in_tenths(score) == shown
