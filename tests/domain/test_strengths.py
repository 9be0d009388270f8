"""Authentication strengths: sets of what is allowed, beside the ladder of levels."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Decision, Verdict, decide
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.facts.fact_kinds import AssuranceLowered, Fact
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Grant,
    Policy,
    SessionControls,
)
from sidecar.domain.values.assurance import (
    DEFAULT_LEVELS,
    Authentication,
    Ladder,
    Requirement,
    Strength,
)
from sidecar.domain.values.stamp import MICROSECONDS
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

MOVED = Changed((Circumstance.COUNTRY,))
C1 = frozenset({"c1"})


def both(*controls: str, frequency: int | None = None) -> Policy:
    """All of these controls once the country changes; with a frequency always."""
    grant = Grant((frozenset(controls),))
    conditions = MOVED if frequency is None else None
    return Policy("both", grant, conditions=conditions, session=SessionControls(frequency))


def decision(rules: tuple[Policy, ...], facts: list[Fact], second: float) -> Decision:
    judge = evaluator(*rules)
    standing = judge.standing(judge.fold("s", facts), int(second * MICROSECONDS))
    return decide(standing, AccessRequest("app", C1, second), LADDER)


START = [*established(acr="phr"), sighted(1010, AWAY)]


@pytest.mark.parametrize(
    ("acr", "amr", "verdict"),
    [
        ("hardware", (), Verdict.ALLOW),
        ("phr", (), Verdict.ALLOW),
        ("", ("pop", "user", "hwk"), Verdict.ALLOW),
        ("phrh", (), Verdict.STEP_UP),  # a higher level, which the strength does not list
        ("", ("hwk", "user"), Verdict.STEP_UP),
        ("partner", (), Verdict.STEP_UP),
    ],
)
def test_a_strength_is_satisfied_by_what_it_lists_and_by_nothing_else(
    acr: str, amr: tuple[str, ...], verdict: Verdict
) -> None:
    facts = [*START, signed_in(1020, 1019, acr, amr=amr)]
    assert decision((policy(MOVED, "hardware"),), facts, 1021).verdict is verdict


def test_a_sign_in_of_before_the_mark_does_not_satisfy_a_strength() -> None:
    facts = [*START, signed_in(1020, 1010, "hardware")]
    assert decision((policy(MOVED, "hardware"),), facts, 1021).verdict is Verdict.STEP_UP


def test_two_strengths_may_be_shown_by_two_sign_ins_one_after_the_other() -> None:
    rules = (both("partner", "hardware"),)
    facts: list[Fact] = list(START)
    asked = decision(rules, facts, 1011)
    assert (asked.verdict, asked.acr_values) == (Verdict.STEP_UP, ("hardware", "phr"))
    facts.append(signed_in(1020, 1019, "hardware"))
    asked = decision(rules, facts, 1021)
    assert (asked.verdict, asked.acr_values) == (Verdict.STEP_UP, ("partner",))
    facts.append(signed_in(1030, 1029, "partner"))
    assert decision(rules, facts, 1031).verdict is Verdict.ALLOW


def test_with_a_frequency_each_of_two_strengths_must_stay_fresh() -> None:
    rules = (both("partner", "hardware", frequency=60),)
    facts: list[Fact] = [
        *START,
        signed_in(1020, 1020, "hardware"),
        signed_in(1050, 1050, "partner"),
    ]
    assert decision(rules, facts, 1080).verdict is Verdict.ALLOW
    stale = decision(rules, facts, 1081)
    assert (stale.verdict, stale.acr_values) == (Verdict.STEP_UP, ("hardware", "phr"))


def test_a_place_is_proven_by_the_sign_ins_that_satisfy_the_grant_there() -> None:
    rules = (both("partner", "hardware"),)
    back_and_forth = [sighted(1040, HOME), sighted(1050, AWAY)]
    half = [*START, signed_in(1020, 1019, "hardware", ip=AWAY), *back_and_forth]
    assert decision(rules, half, 1051).verdict is Verdict.STEP_UP
    whole = [*half, signed_in(1030, 1029, "partner", ip=AWAY)]
    assert decision(rules, whole, 1051).verdict is Verdict.ALLOW


def test_a_challenge_asks_for_what_satisfies_all_else_for_the_first() -> None:
    strength, level = policy(MOVED, "hardware"), policy(MOVED, "mfa", name="q")
    partner = policy(MOVED, "partner", name="r")
    facts = [*established(acr="single-factor"), sighted(1010, AWAY)]
    assert decision((strength,), facts, 1011).acr_values == ("hardware", "phr")
    # `phr` alone is both: `hardware` is no level, and `mfa` not the strength
    assert decision((level, strength), facts, 1011).acr_values == ("phr",)
    assert decision((partner, strength), facts, 1011).acr_values == ("partner",)
    assert decision((strength, partner), facts, 1011).acr_values == ("hardware", "phr")
    assert decision((partner, level), facts, 1011).acr_values == ("mfa",)


def test_where_any_will_do_a_level_is_asked_for_before_a_strength() -> None:
    rules = (policy(MOVED, "hardware", "passwordless"),)
    assert decision(rules, START, 1011).acr_values == ("passwordless",)
    facts = [*START, signed_in(1020, 1019, "hardware")]
    assert decision(rules, facts, 1021).verdict is Verdict.ALLOW


def test_a_lowered_sign_in_keeps_the_strengths_that_list_what_is_left() -> None:
    facts: list[Fact] = [*established(acr="hardware")]
    rules = (policy(None, "hardware"),)
    assert decision(rules, facts, 1010).verdict is Verdict.ALLOW
    left = [*facts, AssuranceLowered(stamp=at(1010), level="phr")]
    assert decision(rules, left, 1011).verdict is Verdict.ALLOW
    lost = [*facts, AssuranceLowered(stamp=at(1010), level="mfa")]
    assert decision(rules, lost, 1011).verdict is Verdict.STEP_UP


def test_an_explanation_says_which_of_several_controls_is_missing() -> None:
    rules = evaluator(both("partner", "hardware"))
    facts = [*START, signed_in(1020, 1019, "hardware")]
    explanation = explain_call(rules, rules.fold("s", facts), "app", C1, 1021)
    (alternative,) = explanation.policies[0].grant.alternatives
    assert (alternative.controls, alternative.missing) == (("hardware", "partner"), ("partner",))
    assert not alternative.satisfied
    assert [sign_in.strengths for sign_in in explanation.session.sign_ins] == [("hardware",)] * 2


METHODS = ("pwd", "otp", "hwk", "user", "pin", "swk")
ACRS = ("", "single-factor", "mfa", "phr", "phrh", "a", "b")
SETS = st.frozensets(st.sampled_from(METHODS), min_size=1, max_size=3)
STRENGTHS = st.builds(
    lambda acr, amr: Strength(acr=tuple(acr), amr=tuple(amr)),
    st.lists(st.sampled_from(ACRS[1:]), max_size=3, unique=True),
    st.lists(SETS, max_size=3),
)
REQUIREMENTS = st.integers(0, 4).map(Requirement) | st.sampled_from(
    [Requirement(strength="one"), Requirement(strength="other")]
)
EVERY_SIGN_IN = [
    Authentication(1, acr, methods)
    for acr in ACRS
    for count in range(len(METHODS) + 1)
    for methods in itertools.combinations(METHODS, count)
]


@given(STRENGTHS, STRENGTHS, REQUIREMENTS, REQUIREMENTS)
def test_where_one_requirement_implies_another_every_sign_in_agrees(
    one: Strength, other: Strength, stronger: Requirement, weaker: Requirement
) -> None:
    ladder = Ladder(DEFAULT_LEVELS, {"one": one, "other": other})
    shown = [ladder.shown(sign_in) for sign_in in EVERY_SIGN_IN]
    if ladder.implies(stronger, weaker):
        assert all(sign_in.meets(weaker) for sign_in in shown if sign_in.meets(stronger))


@given(STRENGTHS, STRENGTHS, st.lists(REQUIREMENTS, min_size=1, max_size=4))
def test_whoever_answers_a_challenge_as_it_asks_gets_on(
    one: Strength, other: Strength, requirements: list[Requirement]
) -> None:
    ladder = Ladder(DEFAULT_LEVELS, {"one": one, "other": other})
    values = ladder.acr_values(requirements)
    for acr in values:
        shown = ladder.shown(Authentication(1, acr))
        assert any(shown.meets(each) for each in requirements)
    alone = [
        acr
        for acr in values
        if all(ladder.shown(Authentication(1, acr)).meets(each) for each in requirements)
    ]
    assert alone in ([], list(values))
