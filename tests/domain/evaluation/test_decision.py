"""A decision that is kept with a standing is the one that judging its demands gives."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.domain.evaluation.decision import (
    OUTCOMES_BOUND,
    AccessRequest,
    Outcomes,
    Verdict,
    covers,
    decide,
    judge,
    last_moments,
    needs_own_proof,
    prepare,
)
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.policy.conditional_access import ROUTINE, Changed, Circumstance, Selection
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.scene import ALWAYS
from sidecar.domain.session.single_use import EachCall
from sidecar.domain.session.standing import (
    FOR_GOOD,
    PREPARED_BOUND,
    AskedRequirement,
    Demand,
    Standing,
)
from sidecar.domain.session.state import Cause, Revocation, State
from sidecar.domain.values.assurance import Ladder, Requirement
from tests.domain.scenes import AWAY, LADDER, WORLD, established, network_of, policy, sighted

CAUSE = Cause("country", "PT", 5_000_000, "session-presented")
ASKED = (AskedRequirement(Requirement(2), -1),)
SECONDS = st.integers(0, 12)
UNTIL = st.one_of(SECONDS, st.just(FOR_GOOD))
REQUIREMENTS = st.sampled_from((Requirement(1), Requirement(2), Requirement(4)))
CONTEXTS = st.frozensets(st.sampled_from(("c1", "c2")))
SELECTIONS = st.builds(
    Selection,
    st.none() | st.frozensets(st.sampled_from(("c1", "c2", ROUTINE)), min_size=1),
    st.frozensets(st.just("c2")),
)
APPS = st.sampled_from((Selection(), Selection(frozenset({"payroll"}))))
EACH_CALL = EachCall(((Requirement(2),),), None, 60, 0, 0)


def marked(at: int) -> tuple[Cause, ...]:
    return (Cause("country", "PT", at * 1_000_000, "session-presented"),)


DEMANDS = st.builds(
    Demand,
    st.sampled_from(("one", "other")),
    SELECTIONS,
    APPS,
    st.just(False),
    st.builds(marked, SECONDS),
    since=st.none() | SECONDS.map(lambda second: second * 1_000_000),
    asks=st.lists(
        st.builds(AskedRequirement, REQUIREMENTS, st.sampled_from((-1, 3, 7, math.inf))),
        max_size=2,
    ).map(tuple),
    max_age=st.none() | SECONDS,
    block=st.booleans(),
    unsatisfiable=st.booleans(),
    valid_until=UNTIL,
    met_in=st.lists(st.tuples(st.sampled_from(("c1", "c2")), UNTIL), max_size=2).map(tuple),
    binds_from=SECONDS,
    each_call=st.none() | st.just(EACH_CALL),
)
MOMENTS = st.lists(
    st.one_of(
        SECONDS.map(float),
        st.floats(0, 14),
        SECONDS.map(lambda second: math.nextafter(second, -math.inf)),
        SECONDS.map(lambda second: math.nextafter(second, math.inf)),
    ),
    min_size=1,
    max_size=8,
)


def standing_of(*demands: Demand) -> Standing:
    each = tuple(demand for demand in demands if demand.each_call is not None)
    return Standing(None, demands, (), 1, 1, None, of_each_call=each)


@given(st.lists(DEMANDS, max_size=4), st.lists(st.tuples(CONTEXTS, MOMENTS), max_size=4))
@settings(max_examples=400, deadline=None)
def test_a_kept_decision_is_what_judging_gives_at_every_moment(
    demands: list[Demand], asked: list[tuple[frozenset[str], list[float]]]
) -> None:
    standing = standing_of(*demands)
    for contexts, moments in asked:
        for app in ("payroll", "ledger"):
            for now in moments:
                access = AccessRequest(app, contexts, now)
                judged = judge(standing.demands, access, LADDER)
                assert decide(standing, access, LADDER) == judged
                prepared = prepare(standing, access, LADDER)
                assert prepared.decision == judged
                assert prepared.holds(now)
                for other in moments:
                    if prepared.holds(other):
                        then = AccessRequest(app, contexts, other)
                        assert judge(standing.demands, then, LADDER) == judged


@given(st.lists(DEMANDS, max_size=4), CONTEXTS, SECONDS)
@settings(max_examples=150, deadline=None)
def test_a_call_that_no_policy_asks_for_its_own_proof_is_decided_without_one(
    demands: list[Demand], contexts: frozenset[str], now: int
) -> None:
    standing = standing_of(*demands)
    access = AccessRequest("payroll", contexts, now)
    if not needs_own_proof(standing, "payroll", contexts):
        without = [demand for demand in demands if demand.each_call is None]
        found, expected = (judge(tuple(each), access, LADDER) for each in (demands, without))
        assert (found.verdict, found.demands) == (expected.verdict, expected.demands)


def test_decisions_are_kept_by_app_and_contexts_and_no_more_than_the_bound() -> None:
    demand = Demand("one", Selection(frozenset({"c1"})), Selection(), False, (CAUSE,))
    standing = standing_of(demand)
    kept = [AccessRequest("payroll", frozenset({name}), 9.5) for name in ("c1", "c2")]
    first = [decide(standing, one, LADDER) for one in kept]
    assert [decide(standing, one, LADDER) for one in kept] == first
    assert all(
        decide(standing, one, LADDER) is known for one, known in zip(kept, first, strict=True)
    )
    assert [one.verdict for one in first] == [Verdict.STEP_UP, Verdict.ALLOW]
    for number in range(3 * PREPARED_BOUND):
        decide(standing, AccessRequest(f"app{number}", frozenset({"c1"}), 9.5), LADDER)
        assert standing.prepared is not None
        assert len(standing.prepared) <= PREPARED_BOUND


def test_what_was_decided_is_no_part_of_a_standings_value() -> None:
    demand = Demand("one", Selection(frozenset({"c1"})), Selection(), False, (CAUSE,))
    asked, unasked = standing_of(demand), standing_of(demand)
    decide(asked, AccessRequest("payroll", frozenset({"c1"}), 9.5), LADDER)
    assert asked == unasked
    assert asked != standing_of()


def test_a_revoked_session_is_refused_whatever_is_kept() -> None:
    revoked = Standing(Revocation("gone", 1), (), (), 0, 0, None)
    access = AccessRequest("payroll", frozenset({"c1"}), 9.5)
    assert decide(revoked, access, LADDER).revoked
    assert prepare(revoked, access, LADDER).until == math.inf
    assert covers(Selection(), access.contexts, block=False)


def test_a_demand_of_several_policies_is_that_of_each_in_their_order() -> None:
    def demand(policy: str, since: int, *alike: tuple[int, str]) -> Demand:
        contexts = Selection(frozenset({"c1"}))
        return Demand(policy, contexts, Selection(), False, (CAUSE,), since, alike=alike)

    own = demand("store-lost", 3)
    together = standing_of(
        demand("a", 1, (0, "a"), (2, "c")), demand("b", 2, (1, "b"), (3, "d")), own
    )
    apart = standing_of(demand("a", 1), demand("b", 2), demand("c", 1), demand("d", 2), own)
    assert [one.policy for one in together.demands] == ["a", "b", "c", "d", "store-lost"]
    access = AccessRequest("payroll", frozenset({"c1"}), 10)
    both = [(one, decide(one, access, LADDER)) for one in (together, apart)]
    (standing, decision), (other, same) = both
    assert (standing == other, standing != other) == (True, False)
    assert (decision == same, decision != same) == (True, False)
    assert decision.demands == apart.demands


def moved(evaluator: IncrementalEvaluator, second: int) -> Standing:
    """Return the standing of a session that was elsewhere from that second on."""
    state = evaluator.fold("", [*established(), sighted(second, AWAY)])
    return evaluator.standing(state, state.last.time)


def test_sessions_of_whom_the_same_is_asked_share_an_outcome_and_no_moment() -> None:
    rules = [policy(Changed((Circumstance.COUNTRY,))), policy(name="always")]
    kept = IncrementalEvaluator(rules, WORLD, Surroundings("", network_of))
    asked = []
    for second in (1010, 1020, 1030):
        standing = moved(kept, second)
        for now in (second + 5.0, second + 7.5):
            access = AccessRequest("app", frozenset({"c1"}), now)
            judged = judge(standing.enforced, access, LADDER)
            assert decide(standing, access, LADDER) == judged
            made = prepare(standing, access, LADDER)
            assert made.until == min(last_moments(standing.enforced, judged, access))
            asked.append((judged.max_age, judged.demands[0].causes[0].since))
    assert len(set(asked)) == 6
    assert isinstance(kept.standing(State(), 0).outcomes, Outcomes)


def test_what_is_always_required_waits_as_no_mark() -> None:
    # Of one policy: what it asks of all is nothing that waits, and a mark by its name is.
    kept = Outcomes({"p": ASKED}, LADDER)
    always = Demand("p", Selection(frozenset({"c1"})), Selection(), False, (ALWAYS,), asks=ASKED)
    for demand in (always, replace(always, causes=(CAUSE,)), always):
        standing = replace(standing_of(demand), outcomes=kept)
        access = AccessRequest("app", frozenset({"c2"}), 9.0)
        assert decide(standing, access, LADDER) == judge((demand,), access, LADDER)


def test_an_outcome_is_of_demands_alone_that_no_moment_bears_on() -> None:
    kept = Outcomes({"p": ASKED}, LADDER)
    asks = Demand("p", Selection(), Selection(), False, (CAUSE,), asks=ASKED)
    access = AccessRequest("app", frozenset({"c1"}), 9.0)
    for demand in (
        asks,
        replace(asks, valid_until=20),
        replace(asks, met_in=(("c1", 20),)),
        replace(asks, binds_from=20),
        replace(asks, asks=(AskedRequirement(Requirement(4), -1),)),
        replace(asks, asks=(), block=True),
        replace(asks, asks=(), unsatisfiable=True),
    ):
        standing = replace(standing_of(demand), outcomes=kept)
        assert decide(standing, access, LADDER) == judge((demand,), access, LADDER)


def test_another_ladder_has_outcomes_of_its_own() -> None:
    kept = Outcomes({"p": ASKED}, LADDER)
    other = Ladder(LADDER.levels[1:])
    asks = Demand("p", Selection(), Selection(), False, (CAUSE,), asks=ASKED)
    access = AccessRequest("app", frozenset({"c1"}), 9.0)
    for ladder in (LADDER, other):
        standing = replace(standing_of(asks), outcomes=kept)
        assert decide(standing, access, ladder) == judge((asks,), access, ladder)


def test_outcomes_are_bounded() -> None:
    kept = Outcomes({"p": ASKED}, LADDER)
    asks = Demand("p", Selection(), Selection(), False, (CAUSE,), asks=ASKED)
    for number in range(OUTCOMES_BOUND + 9):
        access = AccessRequest(f"app{number}", frozenset({"c1"}), 9.0)
        found = kept.of((asks,), access)
        assert found is not None
        assert found[0] == judge((asks,), access, LADDER)
        assert len(kept) <= OUTCOMES_BOUND
