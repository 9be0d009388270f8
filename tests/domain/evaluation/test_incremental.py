import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.facts import (
    DeviceBound,
    Fact,
    PlaceProven,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    ShownWith,
    SignalRaised,
    SignedIn,
)
from sidecar.domain.policy.policy import (
    Assignment,
    Changed,
    Circumstance,
    Grant,
    Policy,
    Principals,
    RiskLevel,
    Score,
    SessionRisk,
    TimeOfDay,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.evaluation.stepped import POLICIES, steps
from tests.domain.random_policies import SECONDS, lives
from tests.domain.scenes import (
    AWAY,
    FAR,
    HOME,
    PLACES,
    WORLD,
    established,
    evaluator,
    network_of,
    sighted,
    signed_in,
    stamp,
)


def incremental(*of: Policy) -> IncrementalEvaluator:
    return IncrementalEvaluator(of, WORLD, Surroundings("", network_of))


@st.composite
def journeys(draw: st.DrawFn) -> list[Fact]:
    """What happens to a session and where else its user is seen meanwhile."""
    seen = draw(st.lists(st.tuples(SECONDS, st.sampled_from([HOME, AWAY, FAR])), max_size=4))
    others = [
        Seen(stamp=stamp(second, f"o{at}"), session="other", ip=ip, place=PLACES[ip])
        for at, (second, ip) in enumerate(seen)
    ]
    return [*established(), *draw(lives()), *others]


@given(POLICIES, journeys())
def test_stepping_in_place_gives_what_evaluating_everything_gives(
    of: tuple[Policy, ...], facts: list[Fact]
) -> None:
    whole, stepped = evaluator(*of), incremental(*of)
    first, *later = steps(facts)
    state = stepped.fold("", first)
    known = list(first)
    restless = None
    for step in later:
        known += step
        restless = stepped.step(state, step, stepped.surroundings(""), restless)
        folded = whole.fold("", known)
        assert state == folded
        now = step[0].stamp.time
        assert stepped.standing(state, now) == whole.standing(folded, now)


@given(POLICIES, journeys(), st.randoms(use_true_random=False), st.integers(0, 6))
def test_folding_by_steps_gives_what_evaluating_everything_gives(
    of: tuple[Policy, ...], facts: list[Fact], order: random.Random, keep: int
) -> None:
    """Also from a checkpoint, with facts that came late, and by policies it was not made with."""
    whole, stepped = evaluator(*of), incremental(*of)
    order.shuffle(facts)
    known = facts[: len(facts) // 2]
    cut = whole.checkpoint("", known, None, keep)
    assert stepped.checkpoint("", known, None, keep) == cut
    other = evaluator(*of[1:]).checkpoint("", known, None, keep)
    for checkpoint in (None, cut, other):
        folded = whole.fold("", facts, checkpoint)
        assert stepped.fold("", facts, checkpoint) == folded
        now = folded.last.time + 30 * 1_000_000
        assert stepped.standing(folded, now) == whole.standing(folded, now)


@pytest.mark.parametrize(
    "voiding",
    [
        Revoked(stamp=stamp(1020), scope=Scope.USER),
        SignalRaised(stamp=stamp(1020), scope=Scope.USER, name="credential-change"),
    ],
)
def test_no_policy_misses_that_a_remembered_proof_is_void(voiding: Fact) -> None:
    moved = policy(Changed((Circumstance.COUNTRY,)), name="moved")
    around = Surroundings("", network_of, remember=MICROSECONDS * 86400)
    whole, stepped = (
        Evaluator([moved], WORLD, around),
        IncrementalEvaluator([moved], WORLD, around),
    )
    proven = PlaceProven(
        stamp=stamp(900),
        device="id:d1",
        ip=AWAY,
        place=PLACES[AWAY],
        authentication=Authentication(900, "mfa"),
    )
    came = ShownWith(HOME, PLACES[HOME], "d1")
    begun: list[Fact] = [
        DeviceBound(stamp=stamp(1000), device="d1"),
        sighted(1000, HOME, "e1000"),
        SignedIn(stamp=stamp(1000), authentication=Authentication(999, "mfa"), shown_with=came),
    ]
    facts = [proven, *begun, sighted(1010, AWAY), voiding]
    state = stepped.fold("", [proven])
    for step in steps(facts)[1:]:
        stepped.step(state, step, stepped.surroundings(""))
    assert state == whole.fold("", facts)
    assert state.activations["moved"].holds


def test_a_calm_session_waits_for_facts_and_a_clock_does_not() -> None:
    stepped = incremental(policy(Score(40), "score"), policy(TimeOfDay(0, 60), "night"))
    state = stepped.fold("", established())
    around = stepped.surroundings("")
    calm = stepped.step(state, [sighted(1010)], around)
    assert [compiled.policy.id for compiled in calm] == ["night"]
    raised = SignalRaised(stamp=stamp(1020), scope=Scope.SESSION, name="odd", weight=50)
    assert len(stepped.step(state, [raised], around, calm)) == 2


def test_the_level_of_the_score_fades_also_where_no_policy_is_for_the_user() -> None:
    others = Assignment(exclude=Principals(groups=frozenset({"staff"})))
    risk = msgspec.structs.replace(policy(SessionRisk(RiskLevel.MEDIUM)), users=others)
    facts: list[Fact] = [
        *established(),
        SignalRaised(stamp=stamp(1001), scope=Scope.SESSION, name="odd", weight=50, half_life=40),
        Seen(stamp=stamp(1060), session="other", ip=HOME, place=PLACES[HOME]),
    ]
    stepped = incremental(risk)
    state, restless = stepped.fold("", facts[:3]), None
    assert state.score_level is RiskLevel.LOW
    levels = []
    for fact in facts[3:]:
        restless = stepped.step(state, [fact], stepped.surroundings(""), restless)
        levels.append(state.score_level)
    assert levels == [RiskLevel.MEDIUM, RiskLevel.LOW]


def policy(condition: object, name: str = "p") -> Policy:
    return Policy(name, Grant((frozenset({"mfa"}),)), conditions=condition)  # type: ignore[arg-type]


def test_a_policy_that_reads_nothing_of_a_change_is_not_concerned() -> None:
    reads = dependencies.reads(policy(Changed((Circumstance.COUNTRY,))))
    assert not reads & dependencies.RISK
    assert reads & dependencies.CIRCUMSTANCES["country"]
    assert not dependencies.reads(policy(UserRisk(RiskLevel.HIGH))) & dependencies.TRAVEL


def test_what_depends_on_time_or_is_not_understood_reads_everything() -> None:
    for condition in (Score(40), TimeOfDay(0, 60), object()):
        assert dependencies.reads(policy(condition)) == dependencies.EVERYTHING


def test_a_sighting_at_the_same_address_changes_nothing() -> None:
    stepped = incremental(policy(Changed((Circumstance.COUNTRY,))))
    state = stepped.fold("", established())
    was = dependencies.before(state)
    again = sighted(1010)
    stepped.step(state, [again], stepped.surroundings(""))
    assert dependencies.changes(was, state, [again]) == 0
    was = dependencies.before(state)
    away = sighted(1020, AWAY)
    stepped.step(state, [away], stepped.surroundings(""))
    assert dependencies.changes(was, state, [away]) & dependencies.CIRCUMSTANCES["country"]


def test_every_fact_that_conditions_read_is_named() -> None:
    stepped = incremental(policy(UserRisk(RiskLevel.HIGH)))
    state = stepped.fold("", established())
    was = dependencies.before(state)
    for fact, part in (
        (
            RiskReported(stamp=stamp(1010), scope=Scope.USER, level=RiskLevel.LOW),
            dependencies.RISK,
        ),
        (SignalRaised(stamp=stamp(1011), scope=Scope.USER, name="x"), dependencies.SIGNALS),
        (signed_in(1012, 1011), dependencies.SIGN_INS),
    ):
        assert dependencies.changes(was, state, [fact]) == part
