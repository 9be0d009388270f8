"""A fact that comes behind a checkpoint leaves the registers as if it had come in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import (
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    RiskReported,
    Scope,
    SignalRaised,
)
from sidecar.domain.facts.late_facts import still_latest
from sidecar.domain.policy.conditional_access import (
    Claims,
    Device,
    Networks,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.stamp import MICROSECONDS, Stamp, at
from tests.domain.scenes import LADDER, WORLD, established, network_of, policy, signed_in

POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risky"),
    policy(Device(compliant=False), name="broken"),
)
EVALUATOR = Evaluator(POLICIES, WORLD, Surroundings("", network_of))


def facts_at(stamp: Stamp) -> st.SearchStrategy[Fact]:
    return st.one_of(
        st.builds(
            RiskReported,
            stamp=st.just(stamp),
            scope=st.sampled_from([Scope.USER, Scope.SESSION]),
            level=st.sampled_from(RiskLevel),
        ),
        st.builds(
            ComplianceReported,
            stamp=st.just(stamp),
            device=st.sampled_from(["laptop", "phone"]),
            compliant=st.booleans(),
        ),
        st.builds(
            SignalRaised,
            stamp=st.just(stamp),
            scope=st.just(Scope.USER),
            name=st.sampled_from(["leak", "noise"]),
            weight=st.sampled_from([10.0, 60.0]),
        ),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    count = draw(st.integers(2, 12))
    return [draw(facts_at(at(1100 + number, f"f{number}"))) for number in range(count)]


def registers(state: State) -> dict[str, object]:
    return {
        "user": {source: held.level for source, held in state.user_risk.items()},
        "session": {source: held.level for source, held in state.session_risk.items()},
        "compliance": {
            (device, source): said.value
            for device, words in state.compliance.items()
            for source, said in words.items()
        },
        "signals": {key: (one.since, one.weight) for key, one in state.signals.items()},
    }


@given(facts=histories(), data=st.data())
def test_what_is_known_does_not_depend_on_what_came_late(
    facts: list[Fact], data: st.DataObject
) -> None:
    late = data.draw(st.sets(st.integers(0, len(facts) - 1)))
    everything = [*established(), *facts]
    in_time = [*established(), *(f for n, f in enumerate(facts) if n not in late)]
    checkpoint = EVALUATOR.checkpoint("s", in_time, None, keep=data.draw(st.integers(1, 3)))
    found = EVALUATOR.fold("s", everything, checkpoint)
    assert registers(found) == registers(EVALUATOR.fold("s", everything))


def test_what_is_superseded_is_not_the_latest() -> None:
    old = RiskReported(stamp=at(1, "a"), scope=Scope.USER, level=RiskLevel.HIGH)
    new = RiskReported(stamp=at(2, "b"), scope=Scope.USER, level=RiskLevel.LOW)
    other = RiskReported(stamp=at(3, "c"), scope=Scope.SESSION, level=RiskLevel.LOW)
    assert still_latest([[old]], [[old], [new], [other]]) == []
    assert still_latest([[old]], [[old], [other]]) == [[old]]
    assert still_latest([], [[old]]) == []


JUDGE = Evaluator(
    (
        policy(UserRisk(RiskLevel.MEDIUM), name="risky"),
        policy(Device(compliant=False), name="broken"),
        policy(Networks(Selection(frozenset({"lab"}))), name="lab"),
        policy(Claims((("tier", frozenset({"gold"})),)), name="gold"),
    ),
    WORLD,
    Surroundings("", network_of),
)
LAPTOP = "laptop"


def risk(second: int, level: RiskLevel, scope: Scope = Scope.USER) -> Fact:
    stamp = at(second, f"f{second}")
    return RiskReported(stamp=stamp, source="idp", scope=scope, level=level)


def word(kind: str, second: int, *, bad: bool) -> Fact:
    """What a source says in one second: for policies to mark for, or that all is well."""
    stamp, source = at(second, f"f{second}"), "edr"
    match kind:
        case "risk":
            return risk(second, RiskLevel.HIGH if bad else RiskLevel.LOW)
        case "compliance":
            return ComplianceReported(stamp=stamp, source=source, device=LAPTOP, compliant=not bad)
        case "network":
            return NetworkReported(stamp=stamp, source=source, network="lab" if bad else "desk")
        case "network of the device":
            segment = "lab" if bad else "desk"
            return NetworkReported(stamp=stamp, source=source, network=segment, device=LAPTOP)
        case _:
            claims = (("tier", ("gold" if bad else "iron",)),)
            return ClaimsSeen(stamp=stamp, source=source, scope=Scope.USER, claims=claims)


KINDS = ("risk", "compliance", "network", "network of the device", "claims")


def is_asked(facts: list[Fact], checkpoint: Checkpoint | None = None) -> bool:
    state = JUDGE.fold("s", facts, checkpoint)
    standing = JUDGE.standing(state, 1200 * MICROSECONDS)
    access = AccessRequest("app", frozenset({"c1"}), 1200)
    return decide(standing, access, LADDER).verdict is not Verdict.ALLOW


def begun() -> list[Fact]:
    return [*established(), DeviceBound(stamp=at(1000, "e1000"), device=LAPTOP)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [1, 2])
def test_what_began_anew_asks_anew_though_its_interruption_came_late(kind: str, keep: int) -> None:
    """Bad, well for a while, bad again; who has signed in while it was well has answered less."""
    sign_in = signed_in(1103, 1103, name="f1103")
    late = word(kind, 1102, bad=False)
    last = [signed_in(second, 1050, name=f"f{second}") for second in (1105, 1106)]
    in_time = [*begun(), word(kind, 1101, bad=True), sign_in, word(kind, 1104, bad=True), *last]
    assert not is_asked(in_time)
    assert is_asked([*in_time, late])
    checkpoint = JUDGE.checkpoint("s", in_time, None, keep=keep)
    assert is_asked([*in_time, late], checkpoint)
    early = [fact for fact in in_time if fact.stamp.second < 1104]
    checkpoint = JUDGE.checkpoint("s", early, None, keep=1)
    assert is_asked([*in_time, late], checkpoint)


def behind_checkpoint(in_time: list[Fact], late: list[Fact], keep: int) -> bool:
    """Whether a session is asked for more once these facts have come late."""
    last = [signed_in(second, 1050, name=f"f{second}") for second in (1111, 1112)]
    checkpoint = JUDGE.checkpoint("s", [*in_time, *last], None, keep=keep)
    assert checkpoint is not None
    return is_asked([*in_time, *last, *late], checkpoint)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [1, 2])
def test_what_began_later_is_not_interrupted_by_what_was_before(kind: str, keep: int) -> None:
    """Who has signed in after it began has answered it, whatever the source had said before."""
    began, again = (word(kind, second, bad=True) for second in (1103, 1106))
    in_time = [*begun(), began, signed_in(1104, 1104, name="f1104"), again]
    late = word(kind, 1101, bad=False)
    assert not is_asked([*in_time, late])
    assert not behind_checkpoint(in_time, [late], keep)


def test_a_risk_that_grew_later_is_as_old_as_it_grew() -> None:
    """A risk was medium, and high later: that it was low before that makes neither newer."""
    grown = ((1101, RiskLevel.MEDIUM), (1104, RiskLevel.HIGH), (1106, RiskLevel.HIGH))
    in_time = [*begun(), *(risk(*one) for one in grown), signed_in(1107, 1050)]
    everything = [*in_time, risk(1102, RiskLevel.LOW)]
    checkpoint = JUDGE.checkpoint("s", in_time, None, keep=1)
    assert checkpoint is not None
    found = JUDGE.fold("s", everything, checkpoint).user_risk
    assert found == JUDGE.fold("s", everything).user_risk


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize(
    ("in_time", "late"),
    [
        (((1101, True), (1103, True)), ((1102, False),)),
        (((1101, True),), ((1102, False), (1103, True))),
    ],
    ids=["interrupted", "anew"],
)
def test_what_an_operator_cleared_stays_cleared_though_it_proves_to_be_newer(
    kind: str, keep: int, in_time: tuple[tuple[int, bool], ...], late: tuple[tuple[int, bool], ...]
) -> None:
    """It began anew before the clear, as the late words show: the clear was of that as well."""
    cleared = MarksCleared(stamp=at(1105, "f1105"), scope=Scope.SESSION)
    known = [*begun(), *(word(kind, second, bad=bad) for second, bad in in_time), cleared]
    came = [word(kind, second, bad=bad) for second, bad in late]
    assert not is_asked([*known, *came])
    assert not behind_checkpoint(known, came, keep)


@given(
    words=st.lists(st.tuples(st.sampled_from(KINDS), st.booleans(), st.booleans()), min_size=2),
    sign_ins=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=3),
    keep=st.integers(1, 4),
)
def test_what_came_late_is_asked_for_wherever_it_would_be_in_time(
    words: list[tuple[str, bool, bool]], sign_ins: list[tuple[int, int]], keep: int
) -> None:
    said = [word(kind, 1101 + n, bad=bad) for n, (kind, bad, _) in enumerate(words)]
    shown: list[Fact] = [
        signed_in(1101 + n, 1101 + n - back, name=f"s{n}{back}") for n, back in sign_ins
    ]
    late = [fact for fact, (_, _, is_late) in zip(said, words, strict=True) if is_late]
    in_time = [*begun(), *(fact for fact in said if fact not in late), *dict.fromkeys(shown)]
    checkpoint = JUDGE.checkpoint("s", in_time, None, keep=keep)
    everything = [*in_time, *late]
    assert is_asked(everything, checkpoint) or not is_asked(everything)
