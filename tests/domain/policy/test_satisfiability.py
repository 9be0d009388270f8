"""The findings on conditions are never refuted by a life of a session."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.conditions import compile_condition
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact
from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.domain.policy.satisfiability import always_holds, can_hold, excludes, implies
from sidecar.domain.values.assurance import Requirement
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain import random_policies
from tests.domain.scenes import established, evaluator
from tests.domain.scenes import stamp as at

CONDITIONS = random_policies.CONDITIONS
START = [*established(), DeviceBound(stamp=at(1000), device="d1")]


def holds(condition: Condition, life: list[Fact]) -> bool:
    rules = evaluator()
    scene = rules.scene(rules.fold("s", [*START, *life]), 1200 * MICROSECONDS)
    return compile_condition(condition).test(scene, ((Requirement(2),),)).holds


@given(CONDITIONS, random_policies.lives())
def test_what_cannot_hold_never_does_and_what_always_holds_does(
    condition: Condition, life: list[Fact]
) -> None:
    if not can_hold(condition):
        assert not holds(condition, life)
    if always_holds(condition):
        assert holds(condition, life)


@given(CONDITIONS, CONDITIONS, random_policies.lives())
def test_an_implication_is_never_refuted(
    one: Condition, other: Condition, life: list[Fact]
) -> None:
    if implies(one, other):
        assert not holds(one, life) or holds(other, life)
    if excludes(one, other):
        assert not (holds(one, life) and holds(other, life))


@given(CONDITIONS, CONDITIONS)
def test_every_condition_implies_itself_and_what_it_is_part_of(
    one: Condition, other: Condition
) -> None:
    assert implies(one, one)
    assert implies(All((one, other)), one)
    assert implies(one, AnyOf((other, one)))
    assert excludes(one, Not(one))


def test_what_is_plain_is_certain_however_many_alternatives_there_are() -> None:
    many = AnyOf((Changed((Circumstance.IP, Circumstance.NETWORK)), UserRisk(RiskLevel.HIGH)))
    one = All((many,) * 12)
    assert not implies(one, AnyOf((Not(one), Not(Not(one))))), "too many to look at"
    assert implies(one, one)
    assert implies(All((one, many)), one)
    assert implies(one, AnyOf((many, one)))
    assert excludes(one, Not(one))
    assert excludes(Not(one), one)


@given(st.data())
def test_what_nothing_contradicts_can_hold(data: st.DataObject) -> None:
    leaf = data.draw(random_policies.LEAVES)
    if isinstance(leaf, Changed | UserRisk | TravelSpeed | Claims):
        assert can_hold(leaf)
        assert not always_holds(leaf)


def names(*included: str) -> Selection:
    return Selection(frozenset(included))


MORNING = TimeOfDay(6 * 60, 12 * 60, frozenset({0}), "Europe/Berlin")
NIGHT = TimeOfDay(22 * 60, 7 * 60, frozenset({6}), "Europe/Berlin")


def test_what_contradicts_itself_cannot_hold() -> None:
    for parts in (
        (Countries(names("DE")), Countries(names("PT"))),
        (Countries(names("DE")), Countries(Selection(None, frozenset({"DE"})))),
        (Networks(names("a")), Not(Networks(names("a", "b")))),
        (Locations(names("hq")), Not(Locations(names("hq", "home")))),
        (Device(compliant=True), Device(known=False)),
        (UserRisk(RiskLevel.HIGH), Not(UserRisk(RiskLevel.MEDIUM))),
        (Score(50), Not(Score(40))),
        (TravelSpeed(900), Not(TravelSpeed(100))),
        (SessionRisk(RiskLevel.HIGH, reported=True), Not(SessionRisk(RiskLevel.MEDIUM))),
        (Signals(frozenset({"a"}), 20), Not(Signals(frozenset({"a", "b"}), 10))),
        (Anonymizer(True, frozenset({"tor"})), Anonymizer(False)),
        (Claims((("c", frozenset({"x"})),)), Not(Claims((("c", frozenset({"x", "y"})),)))),
        (MORNING, TimeOfDay(12 * 60, 13 * 60, frozenset({0}), "Europe/Berlin")),
    ):
        assert not can_hold(All(parts)), parts


def test_what_only_looks_like_a_contradiction_can_hold() -> None:
    for parts in (
        (Locations(names("hq")), Locations(names("home"))),  # an address may lie in both
        (Claims((("c", frozenset({"x"})),)), Claims((("c", frozenset({"y"})),))),  # a list
        (MORNING, NIGHT),  # Sunday night lasts until Monday morning
        (MORNING, TimeOfDay(12 * 60, 13 * 60, frozenset({0}), "UTC")),
        (Score(50), Not(Score(60))),
        (SessionRisk(RiskLevel.HIGH), Not(SessionRisk(RiskLevel.HIGH, reported=True))),
        (Changed((Circumstance.IP,)), Not(Changed((Circumstance.COUNTRY,)))),
    ):
        assert can_hold(All(parts)), parts


def test_what_holds_whatever_is_the_case() -> None:
    assert always_holds(None)
    assert always_holds(SessionRisk(RiskLevel.LOW))
    assert always_holds(Score(0))
    assert always_holds(AnyOf((Device(known=True), Device(known=False))))
    assert not always_holds(SessionRisk(RiskLevel.LOW, reported=True))
    assert not always_holds(UserRisk(RiskLevel.LOW))  # it may not be reported at all
    assert not always_holds(AnyOf((Device(compliant=True), Device(compliant=False))))
