"""Calls that stand as their session does (`test_compiled_against_plain` compares all others)."""

import pytest

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import ContextsShown, Fact, RiskReported, Scope
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.session.presented import Presented, is_of_session
from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.scenes import WORLD, established, network_of, policy, signed_in, stamp

EVALUATOR = Evaluator((policy(UserRisk(RiskLevel.MEDIUM)),), WORLD, Surroundings("", network_of))
FIRST = Authentication(999, "single-factor")
NOW = 1100 * MICROSECONDS
RISK = RiskReported(stamp=stamp(1005), scope=Scope.USER, level=RiskLevel.HIGH)


def folded(*more: Fact) -> State:
    return EVALUATOR.fold("s", [*established(), RISK, *more])


@pytest.mark.parametrize("alone", [True, False])
def test_a_call_with_the_only_sign_in_stands_as_its_session_with_all_marks(alone: bool) -> None:
    state, presented = folded(), Presented(FIRST, alone=alone)
    assert is_of_session(presented, state)
    standing = EVALUATOR.standing(state, NOW)
    assert standing.demands
    assert EVALUATOR.standing(state, NOW, presented=presented) == standing


def test_a_call_with_an_earlier_sign_in_does_not() -> None:
    state, presented = folded(signed_in(1010, 1009)), Presented(FIRST)
    assert not is_of_session(presented, state)
    until = EVALUATOR.until(state, presented)
    earlier = EVALUATOR.fold("s", [*established(), RISK], until=until)
    assert EVALUATOR.standing(earlier, NOW, presented=presented) != EVALUATOR.standing(state, NOW)


def test_a_call_in_whose_session_a_context_was_shown_does_not() -> None:
    state = folded(ContextsShown(stamp=stamp(1010), contexts=("c1",), second=1010))
    assert not is_of_session(Presented(FIRST), state)
    own = EVALUATOR.standing(state, NOW, presented=Presented(FIRST))
    assert own != EVALUATOR.standing(state, NOW)
