import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.fact_kinds import (
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
from sidecar.domain.policy.conditional_access import (
    AnyOf,
    Assignment,
    Changed,
    Circumstance,
    Condition,
    Countries,
    Grant,
    Policy,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    Signals,
    TimeOfDay,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.risk import FOR_EVER
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
    for step in later:
        known += step
        stepped.step(state, step, stepped.surroundings(""))
        folded = whole.fold("", known)
        assert state == folded
        now = step[0].stamp.time
        assert stepped.standing(state, now) == whole.standing(folded, now)


@given(POLICIES, POLICIES, journeys(), st.randoms(use_true_random=False), st.integers(0, 6))
def test_folding_by_steps_gives_what_evaluating_everything_gives(
    of: tuple[Policy, ...],
    others: tuple[Policy, ...],
    facts: list[Fact],
    order: random.Random,
    keep: int,
) -> None:
    """Also from a checkpoint, with facts that came late, and by policies it was not made with.

    Those may have been fewer, or others of the same names.
    """
    whole, stepped = evaluator(*of), incremental(*of)
    order.shuffle(facts)
    known = facts[: len(facts) // 2]
    cut = whole.checkpoint("", known, None, keep)
    assert stepped.checkpoint("", known, None, keep) == cut
    fewer = evaluator(*of[1:]).checkpoint("", known, None, keep)
    edited = evaluator(*others).checkpoint("", known, None, keep)
    for checkpoint in (None, cut, fewer, edited):
        folded = whole.fold("", facts, checkpoint)
        assert stepped.fold("", facts, checkpoint) == folded
        now = folded.last.time + 30 * 1_000_000
        assert stepped.standing(folded, now) == whole.standing(folded, now)


IN_PORTUGAL, IN_GERMANY = (Countries(Selection(frozenset({country}))) for country in ("PT", "DE"))


@pytest.mark.parametrize("condition", [IN_GERMANY, AnyOf((IN_GERMANY, Score(90)))])
@pytest.mark.parametrize("keep", [0, 4], ids=["nothing more has come", "more has come"])
def test_an_edited_policy_counts_at_once_for_a_session_with_a_checkpoint(
    condition: Condition, keep: int
) -> None:
    """Its name alone does not say that it is another policy."""
    before, after = policy(IN_PORTUGAL), policy(condition)
    facts = [*established(), *(sighted(second) for second in range(1001, 1008))]
    whole, stepped = evaluator(after), incremental(after)
    checkpoint = incremental(before).checkpoint("", facts, None, keep)
    assert checkpoint is not None
    assert not checkpoint.state.activations["p"].holds
    state = stepped.fold("", facts, checkpoint)
    assert state.activations["p"].holds
    assert state == whole.fold("", facts, checkpoint)


def test_a_policy_that_is_for_others_now_asks_nothing_of_a_session_with_a_checkpoint() -> None:
    others = msgspec.structs.replace(
        policy(None), users=Assignment(Principals(users=frozenset({"bob"})))
    )
    checkpoint = incremental(policy(None)).checkpoint("", established(), None, 0)
    for each in (evaluator(others), incremental(others)):
        state = each.fold("", established(), checkpoint)
        assert not each.standing(state, state.last.time).demands


def test_nothing_is_left_of_a_life_that_no_policy_caps_any_more() -> None:
    facts = [*established(), sighted(1010)]
    capped = msgspec.structs.replace(policy(IN_PORTUGAL), session=SessionControls(max_lifetime=60))
    checkpoint = incremental(capped).checkpoint("", facts, None, 0)
    assert checkpoint is not None
    assert checkpoint.state.activations["p"].life
    for each in (evaluator(policy(IN_PORTUGAL)), incremental(policy(IN_PORTUGAL))):
        assert each.fold("", facts, checkpoint).activations["p"].life is None


def test_what_comes_late_marks_no_session_that_had_not_begun() -> None:
    """Else its other policies would pass for evaluated when it begins."""
    sticky = msgspec.structs.replace(policy(IN_GERMANY), id="a", sticky=True)
    risk = RiskReported(stamp=stamp(1001, "r"), scope=Scope.USER, level=RiskLevel.LOW)
    facts: list[Fact] = [risk, sighted(1002)]
    for each in (evaluator(sticky, policy(None)), incremental(sticky, policy(None))):
        checkpoint = each.checkpoint("", facts, None, 1)
        assert checkpoint is not None
        assert not checkpoint.state.established
        state = each.fold("", [*established(), *facts], checkpoint)
        assert all(held.holds for held in state.activations.values())
        assert len(state.activations) == 2


def test_a_cap_counts_from_the_latest_life_where_it_is_set_later() -> None:
    """Nobody need sign in anew who did so after the life that the cap would have ended."""
    capped = Policy("cap", Grant(), session=SessionControls(max_lifetime=60))
    facts = [*established(), signed_in(1200, 1199), *(sighted(s) for s in range(1201, 1208))]
    checkpoint = incremental(policy(None)).checkpoint("", facts, None, 4)
    for each in (evaluator(capped), incremental(capped)):
        assert each.fold("", facts, checkpoint).activations["cap"].life == 1199


def test_each_cause_that_came_late_is_of_the_events_that_brought_it() -> None:
    either = policy(AnyOf((UserRisk(RiskLevel.HIGH), Signals(frozenset({"odd"})))))
    facts = [*established(), *(sighted(second) for second in range(1010, 1016))]
    checkpoint = incremental(either).checkpoint("", facts, None, 2)
    late: list[Fact] = [
        RiskReported(stamp=stamp(1005, "one"), scope=Scope.USER, level=RiskLevel.HIGH),
        SignalRaised(stamp=stamp(1006, "two"), scope=Scope.USER, name="odd", weight=50),
    ]
    state = incremental(either).fold("", [*facts, *late], checkpoint)
    assert state == evaluator(either).fold("", [*facts, *late], checkpoint)
    mark = state.activations["p"].mark
    assert len(mark) == 2
    assert all(cause.by for cause in mark)


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
    score, night = policy(Score(40), "score"), policy(TimeOfDay(0, 60), "night")
    raised = SignalRaised(stamp=stamp(1020), scope=Scope.SESSION, name="odd", weight=50)
    for of, facts, until in (
        ([score], established(), FOR_EVER),
        ([score, night], established(), 3600 * MICROSECONDS),  # the first hour is over
        ([score], [*established(), raised], 1020 * MICROSECONDS),
    ):
        stepped = incremental(*of)
        found = stepped.holds_until(stepped.fold("", facts))
        assert found == until or until < found < FOR_EVER


def test_terms_of_others_that_change_places_are_seen_to() -> None:
    """Each is a cause, the greatest first; and what fades slower is the greater in the end."""
    score = policy(Score(20))
    facts = [
        *established(),
        RiskReported(stamp=stamp(1001), source="edr", scope=Scope.USER, level=RiskLevel.HIGH),
        SignalRaised(
            stamp=stamp(1002), source="edr", scope=Scope.USER, name="a", weight=50, half_life=40
        ),
        SignalRaised(
            stamp=stamp(1003), source="edr", scope=Scope.USER, name="b", weight=40, half_life=900
        ),
    ]
    whole, stepped = evaluator(score), incremental(score)
    state = stepped.fold("", facts)
    until = stepped.holds_until(state)
    assert until < stamp(1020).time  # they change places after some thirteen seconds
    assert whole.at(state, until - 1) == state
    assert stepped.at(state, stamp(1100).time) == whole.at(state, stamp(1100).time)
    assert whole.at(state, stamp(1100).time).activations != state.activations


def test_a_mark_that_waits_for_a_stronger_proof_waits_no_longer_than_its_score() -> None:
    """It was set by a move that is proven since; nothing in its activation shows that it waits."""
    asked = Grant((frozenset({"phishing-resistant"}),))
    strong = msgspec.structs.replace(policy(SessionRisk(RiskLevel.MEDIUM)), grant=asked)
    facts = [
        *established(),
        SignalRaised(stamp=stamp(1002), scope=Scope.SESSION, name="odd", weight=40, half_life=40),
        sighted(1010, AWAY),
        signed_in(1020, 1015, ip=AWAY),
        Seen(stamp=stamp(1050), session="other", ip=AWAY, place=PLACES[AWAY]),
    ]
    whole, stepped = evaluator(strong), incremental(strong)
    state = stepped.fold("", facts)
    later = stamp(1100).time
    assert state.activations["p"].mark
    assert not whole.at(state, later).activations["p"].mark
    assert stepped.at(state, later) == whole.at(state, later)
    until = stepped.holds_until(state)
    assert state.last.time < until < later
    assert whole.at(state, until - 1) == state


def test_the_level_of_the_score_fades_also_where_no_policy_is_for_the_user() -> None:
    others = Assignment(exclude=Principals(groups=frozenset({"staff"})))
    risk = msgspec.structs.replace(policy(SessionRisk(RiskLevel.MEDIUM)), users=others)
    facts: list[Fact] = [
        *established(),
        SignalRaised(stamp=stamp(1001), scope=Scope.SESSION, name="odd", weight=50, half_life=40),
        Seen(stamp=stamp(1060), session="other", ip=HOME, place=PLACES[HOME]),
    ]
    stepped = incremental(risk)
    state = stepped.fold("", facts[:3])
    assert state.score_level is RiskLevel.LOW
    levels = []
    for fact in facts[3:]:
        stepped.step(state, [fact], stepped.surroundings(""))
        levels.append(state.score_level)
    assert levels == [RiskLevel.MEDIUM, RiskLevel.LOW]


def policy(condition: object, name: str = "p") -> Policy:
    return Policy(name, Grant((frozenset({"mfa"}),)), conditions=condition)  # type: ignore[arg-type]


def test_a_policy_that_reads_nothing_of_a_change_is_not_concerned() -> None:
    reads = dependencies.reads(policy(Changed((Circumstance.COUNTRY,))))
    assert not reads & dependencies.RISKS[Scope.USER]
    assert reads & dependencies.CIRCUMSTANCES["country"]
    assert not dependencies.reads(policy(UserRisk(RiskLevel.HIGH))) & dependencies.TRAVEL


def test_what_is_not_understood_reads_everything() -> None:
    assert dependencies.reads(policy(object())) == dependencies.EVERYTHING


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
            dependencies.RISKS[Scope.USER],
        ),
        (SignalRaised(stamp=stamp(1011), scope=Scope.USER, name="x"), dependencies.signal("x")),
        (signed_in(1012, 1011), dependencies.SIGN_INS),
    ):
        assert dependencies.changes(was, state, [fact]) == part
