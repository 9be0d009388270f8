"""A context that the provider has enforced: what it meets, and what it never does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Decision, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import AssuranceLowered, ContextsShown, Fact, Revoked, Scope
from sidecar.domain.policy.conditional_access import Changed, Circumstance, SessionControls
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import AWAY, LADDER, established, evaluator, policy, sighted
from tests.domain.scenes import stamp as at

MOVED = Changed((Circumstance.COUNTRY,))
MARKED = [*established(), sighted(1010.2, AWAY)]
BOTH = frozenset({"c1", "c2"})


def shown(second: float, *contexts: str, as_of: int | None = None) -> ContextsShown:
    return ContextsShown(
        stamp=at(second), contexts=contexts, second=int(second) if as_of is None else as_of
    )


def decision(
    rules: Evaluator, facts: list[Fact], now: float, contexts: frozenset[str] = frozenset({"c1"})
) -> Decision:
    state = rules.fold("s", facts)
    return decide(
        rules.standing(state, int(now * MICROSECONDS)), AccessRequest("app", contexts, now), LADDER
    )


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [(1009, Verdict.STEP_UP), (1010, Verdict.STEP_UP), (1011, Verdict.ALLOW)],
)
def test_it_meets_a_mark_of_its_context_that_is_older(as_of: int, expected: Verdict) -> None:
    facts = [*MARKED, shown(1012, "c1", as_of=as_of)]
    assert decision(evaluator(policy(MOVED, "phishing-resistant")), facts, 1013).verdict is expected


def test_a_later_mark_asks_again() -> None:
    facts = [*MARKED, shown(1012, "c1"), sighted(1020, "203.0.113.1")]
    assert decision(evaluator(policy(MOVED)), facts, 1021).verdict is Verdict.STEP_UP


def test_it_meets_nothing_in_another_context() -> None:
    rules = evaluator(policy(MOVED, contexts=BOTH))
    facts = [*MARKED, shown(1012, "c1")]
    assert decision(rules, facts, 1013).verdict is Verdict.ALLOW
    assert decision(rules, facts, 1013).pending
    assert decision(rules, facts, 1013, frozenset({"c2"})).verdict is Verdict.STEP_UP
    both = decision(rules, facts, 1013, BOTH)
    assert (both.verdict, both.contexts) == (Verdict.STEP_UP, frozenset({"c2"}))


def test_a_policy_of_all_contexts_waits_in_the_others() -> None:
    rules = evaluator(policy(MOVED, contexts=None))
    facts = [*MARKED, shown(1012, "c1")]
    assert decision(rules, facts, 1013).verdict is Verdict.ALLOW
    assert decision(rules, facts, 1013, frozenset({"c3"})).verdict is Verdict.STEP_UP


def test_once_every_context_is_shown_nothing_waits() -> None:
    rules = evaluator(policy(MOVED, contexts=BOTH))
    assert not decision(rules, [*MARKED, shown(1012, "c1", "c2")], 1013).pending


def test_where_sign_ins_must_be_fresh_it_counts_no_longer_than_they_would() -> None:
    fresh = msgspec.structs.replace(policy(), session=SessionControls(sign_in_frequency=60))
    facts = [*established(), shown(1012, "c1")]
    rules = evaluator(fresh)
    assert decision(rules, facts, 1072).verdict is Verdict.ALLOW
    assert decision(rules, facts, 1073).verdict is Verdict.STEP_UP


def test_a_block_stands() -> None:
    rules = evaluator(policy(MOVED, block=True))
    assert decision(rules, [*MARKED, shown(1012, "c1")], 1013).verdict is Verdict.DENY


def test_a_revocation_stands() -> None:
    facts = [*MARKED, Revoked(stamp=at(1011), scope=Scope.SESSION), shown(1013, "c1")]
    assert decision(evaluator(), facts, 1014).revoked


def test_it_is_no_assurance() -> None:
    rules = evaluator(policy(MOVED))
    state = rules.fold("s", [*MARKED, shown(1012, "c1")])
    assert rules.standing(state, 1013 * MICROSECONDS).rank == 1


def test_what_was_shown_before_the_assurance_was_lowered_counts_no_more() -> None:
    lowered = AssuranceLowered(stamp=at(1013), level="single-factor")
    rules = evaluator(policy(MOVED))
    facts = [*MARKED, shown(1012, "c1"), lowered]
    assert decision(rules, facts, 1014).verdict is Verdict.STEP_UP
    assert decision(rules, [*facts, shown(1015, "c1")], 1016).verdict is Verdict.ALLOW


def test_one_that_arrives_later_than_the_checkpoint_still_counts() -> None:
    rules = evaluator(policy(MOVED))
    checkpoint = rules.checkpoint("s", [*MARKED, sighted(1020, AWAY), sighted(1030, AWAY)], None, 1)
    assert checkpoint is not None
    late = shown(1012, "c1")
    state = rules.fold("s", [late], checkpoint)
    found = decide(
        rules.standing(state, 1031 * MICROSECONDS),
        AccessRequest("app", frozenset({"c1"}), 1031),
        LADDER,
    )
    assert found.verdict is Verdict.ALLOW


@given(st.lists(st.tuples(st.integers(1001, 1030), st.sampled_from(["c1", "c2"])), max_size=6))
def test_the_order_and_number_of_them_does_not_matter(seen: list[tuple[int, str]]) -> None:
    rules = evaluator(policy(MOVED, contexts=BOTH))
    more: list[Fact] = [
        ContextsShown(stamp=at(1012, f"e{i}"), contexts=(one,), second=second)
        for i, (second, one) in enumerate(seen)
    ]
    expected = any(one == "c1" and second > 1010 for second, one in seen)
    for facts in ([*MARKED, *more], [*reversed(more), *MARKED], [*MARKED, *more, *more]):
        assert (decision(rules, facts, 1031).verdict is Verdict.ALLOW) is expected
