"""Sessions that a change of policies cannot concern: they would have been judged alike."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.evaluation.rules.policy_change import KnownKinds, PolicyChange
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact, RiskReported, SignalRaised
from sidecar.domain.policy.conditional_access import (
    Countries,
    Grant,
    Policy,
    PolicyState,
    RiskLevel,
    Selection,
    Signals,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.random_policies import lives, policies
from tests.domain.scenes import WORLD, established, network_of, policy, stamp

NAMES = tuple(f"p{number}" for number in range(4))
SETS = st.tuples(*(policies(name) for name in NAMES))
LATER = (0, 40, 4000)
CASES = 120


def kinds_of(facts: list[Fact]) -> frozenset[type[Fact]]:
    return frozenset(map(type, facts))


@settings(max_examples=CASES, deadline=None)
@given(SETS, SETS, st.sets(st.sampled_from(NAMES)), lives(), st.integers())
def test_whom_a_change_cannot_concern_is_judged_as_before(
    before: tuple[Policy, ...],
    others: tuple[Policy, ...],
    kept: set[str],
    pool: list[Fact],
    seed: int,
) -> None:
    after = [old if old.id in kept else new for old, new in zip(before, others, strict=True)]
    change = PolicyChange(before, after)
    around = Surroundings("", network_of)
    was, now = (IncrementalEvaluator(each, WORLD, around) for each in (before, after))
    chosen = random.Random(seed)
    for share in (0.2, 0.6, 1.0):
        some = [fact for fact in pool if chosen.random() < share]
        facts = [*established(), DeviceBound(stamp=stamp(1000), device="d1"), *some]
        if change.can_concern(KnownKinds(kinds_of(facts), frozenset())):
            continue
        old, new = was.fold("", facts), now.fold("", facts)
        for later in LATER:
            moment = old.last.time + later * MICROSECONDS
            one, other = was.standing(old, moment), now.standing(new, moment)
            assert (one.demands, one.tried) == (other.demands, other.tried)
            assert one.revoked == other.revoked


RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
NOTHING: frozenset[type[Fact]] = frozenset()


def test_equal_sets_concern_nobody_whatever_is_known() -> None:
    change = PolicyChange([RISKY], [RISKY])
    assert change.keeps("risky")
    assert not change.can_concern(KnownKinds(frozenset({RiskReported, SignalRaised})))


def test_words_for_readers_and_policies_that_are_off_concern_nobody() -> None:
    off = Policy(id="off", grant=Grant(), state=PolicyState.DISABLED)
    described = Policy(
        id="risky", grant=RISKY.grant, conditions=RISKY.conditions, description="for readers"
    )
    plain = Policy(id="risky", grant=RISKY.grant, conditions=RISKY.conditions)
    assert not PolicyChange([plain], [described, off]).can_concern(KnownKinds(NOTHING))


def test_only_users_of_whom_a_risk_was_said_are_concerned_by_a_policy_about_it() -> None:
    change = PolicyChange([], [RISKY])
    assert not change.keeps("risky")
    assert not change.can_concern(KnownKinds(NOTHING))
    assert change.can_concern(KnownKinds(frozenset({RiskReported})))


def test_what_may_hold_without_any_fact_concerns_everybody() -> None:
    everywhere = policy(Countries(Selection()), name="everywhere")
    assert PolicyChange([everywhere], []).can_concern(KnownKinds(NOTHING, NOTHING))


def test_records_that_were_not_read_may_hold_anything() -> None:
    change = PolicyChange([], [policy(Signals(include=frozenset({"odd"})), name="odd")])
    assert change.can_concern(KnownKinds(NOTHING))
    assert not change.can_concern(KnownKinds(NOTHING, NOTHING))
