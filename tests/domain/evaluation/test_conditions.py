"""What conditions are made of, and what they come to."""

from collections.abc import Iterator

from hypothesis import given

from sidecar.domain.evaluation.compiled import compile_policy
from sidecar.domain.facts.fact_kinds import DeviceBound, Fact
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.scene import ConditionCheck, Needs, Scene
from tests.domain.evaluation.stepped import POLICIES
from tests.domain.random_policies import lives
from tests.domain.scenes import WORLD, established, evaluator, stamp


def _joined(check: ConditionCheck) -> Iterator[ConditionCheck]:
    if check.joined is not None:
        yield check
    for part in check.parts:
        yield from _joined(part)


@given(POLICIES, lives())
def test_a_condition_holds_as_its_parts_say_by_which_it_is_explained(
    of: tuple[Policy, ...], facts: list[Fact]
) -> None:
    lived = [*established(), DeviceBound(stamp=stamp(1000), device="d1"), *facts]
    state = evaluator(*of).fold("", lived)
    scene = Scene(state, state.last.time, WORLD)
    for compiled in [compile_policy(each, WORLD) for each in of]:
        needs: Needs = compiled.needs(state)
        for check in () if compiled.check is None else _joined(compiled.check):
            parts = [part.test(scene, needs).holds for part in check.parts]
            assert check.joined is not None
            assert check.joined(parts) is check.test(scene, needs).holds
