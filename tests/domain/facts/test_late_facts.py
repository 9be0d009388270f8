"""A fact that comes behind a checkpoint leaves the registers as if it had come in time."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.facts import ComplianceReported, Fact, RiskReported, Scope, SignalRaised
from sidecar.domain.facts.late_facts import still_latest
from sidecar.domain.policy.policy import Device, RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.state import State
from sidecar.domain.values.stamp import Stamp, at
from tests.domain.scenes import WORLD, established, network_of, policy

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
