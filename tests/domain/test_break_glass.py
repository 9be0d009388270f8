"""Accounts that no policy of any file is for."""

import msgspec
import pytest

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import PolicyOutcome
from sidecar.domain.facts.fact_kinds import ClaimsSeen, Fact, Revoked, Scope
from sidecar.domain.policy.conditional_access import Assignment, Policy, Principals, Selection
from sidecar.domain.session.standing import Standing
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import WORLD, established, evaluator, policy, stamp

C1 = frozenset({"c1"})
ALWAYS = policy(None, block=True)


def rules(exempt: Principals, rule: Policy = ALWAYS) -> Evaluator:
    around = evaluator()._around  # noqa: SLF001 - the tests' own surroundings
    return Evaluator((rule,), WORLD._replace(break_glass={"": exempt}), around)


def users(*names: str) -> Principals:
    return Principals(users=frozenset(names))


def standing(judge: Evaluator, facts: list[Fact]) -> Standing:
    return judge.standing(judge.fold("s", facts), 2000 * MICROSECONDS)


@pytest.mark.parametrize("exempt", [users("alice"), Principals(groups=frozenset({"staff"}))])
def test_no_policy_is_for_a_break_glass_account(exempt: Principals) -> None:
    judge = rules(exempt)
    assert standing(judge, established()).demands == ()
    assert judge.is_break_glass(judge.fold("s", established()))
    state = judge.fold("s", established())
    (explanation,) = explain_call(judge, state, "app", C1, 2000).policies
    assert explanation.outcome is PolicyOutcome.OTHER_USER
    assert "break-glass" in explanation.why


def test_even_a_policy_that_names_the_account() -> None:
    named = msgspec.structs.replace(ALWAYS, users=Assignment(users("alice")))
    assert standing(rules(users("alice"), named), established()).demands == ()


def test_every_policy_is_for_everybody_else() -> None:
    judge = rules(users("glass"))
    assert len(standing(judge, established()).demands) == 1
    assert not judge.is_break_glass(judge.fold("s", established()))


def test_a_user_of_that_name_at_another_issuer_is_not_exempt() -> None:
    around = evaluator()._around  # noqa: SLF001 - the tests' own surroundings
    world = WORLD._replace(break_glass={"i": users("alice")})
    judge = IncrementalEvaluator((ALWAYS,), world, around)
    ours, theirs = (judge.fold("s", established(), issuer=issuer) for issuer in ("i", "j"))
    assert judge.is_break_glass(ours)
    assert not judge.is_break_glass(theirs)
    assert not judge.standing(ours, 2000 * MICROSECONDS).demands
    assert judge.standing(theirs, 2000 * MICROSECONDS).demands


def test_a_policy_is_for_users_of_the_issuers_that_it_selects() -> None:
    around = evaluator()._around  # noqa: SLF001 - the tests' own surroundings
    rule = msgspec.structs.replace(ALWAYS, issuers=Selection(frozenset({"i"})))
    judge = IncrementalEvaluator((rule,), WORLD, around)
    ours, theirs = (judge.fold("s", established(), issuer=issuer) for issuer in ("i", "j"))
    assert judge.standing(ours, 2000 * MICROSECONDS).demands
    assert not judge.standing(theirs, 2000 * MICROSECONDS).demands
    (explanation,) = explain_call(judge, theirs, "app", C1, 2000).policies
    assert explanation.outcome is PolicyOutcome.OTHER_USER
    assert explanation.why == "not for this user: a user of j, which is not one of i"


def test_a_revocation_ends_the_session_of_a_break_glass_account_too() -> None:
    revoked = Revoked(stamp=stamp(1500), scope=Scope.USER, reason="stolen")
    assert standing(rules(users("alice")), [*established(), revoked]).revoked is not None


def test_who_leaves_the_emergency_group_is_judged_again_in_replay_as_in_life() -> None:
    judge = rules(Principals(groups=frozenset({"staff"})))
    left = ClaimsSeen(stamp=stamp(1500), scope=Scope.SESSION, claims=(("groups", ()),))
    assert len(standing(judge, [*established(), left]).demands) == 1
    incremental = IncrementalEvaluator.over(judge, judge.policies, judge.world)
    state = incremental.fold("s", established())
    incremental.step(state, [left], incremental.surroundings("s"))
    assert state.activations["p"].holds
