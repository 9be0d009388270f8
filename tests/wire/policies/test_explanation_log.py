"""An explanation is shortened from what matters least."""

import msgspec
import pytest

from sidecar.domain.explanation.explain import explain_call
from sidecar.domain.explanation.explanation import Explanation
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Countries,
    Policy,
    Principals,
    Selection,
)
from sidecar.wire.policies.explanation_log import MOST_NAMES, shortened
from tests.domain.scenes import established, evaluator, policy

HERE, THERE = (Countries(Selection(frozenset({name}))) for name in ("DE", "PT"))
ASKS = policy(HERE, name="asks")
QUIET = policy(THERE, name="quiet")
OTHERS = msgspec.structs.replace(
    policy(HERE, name="others"), users=Assignment(Principals(groups=frozenset({"nobody"})))
)


def explained(*policies: Policy) -> Explanation:
    rules = evaluator(*policies)
    return explain_call(rules, rules.fold("s", established()), "app", frozenset({"c1"}), 1100)


def sizes() -> list[int]:
    """Return how much room each stage takes."""
    explanation = explained(ASKS, QUIET, OTHERS)
    asks, quiet, _ = explanation.policies
    bare = [msgspec.structs.replace(each, conditions=None) for each in (asks, quiet)]
    stages = ((asks, quiet), (asks, bare[1]), (asks,), (bare[0],))
    return [len(msgspec.json.encode(stage)) for stage in stages]


@pytest.mark.parametrize(
    ("stage", "kept", "with_conditions"),
    [(0, ["asks", "quiet"], 2), (1, ["asks", "quiet"], 1), (2, ["asks"], 1), (3, ["asks"], 0)],
)
def test_the_less_room_there_is_the_less_is_reported(
    stage: int, kept: list[str], with_conditions: int
) -> None:
    plain = shortened(explained(ASKS, QUIET, OTHERS), sizes()[stage])
    assert [each["policy"] for each in plain["policies"]] == kept
    assert sum(each["conditions"] is not None for each in plain["policies"]) == with_conditions
    assert plain["left_out"] == 3 - len(kept)


def test_what_is_no_policy_is_always_reported() -> None:
    plain = shortened(explained(ASKS, QUIET), 0)
    assert (plain["verdict"], plain["policies"], plain["left_out"]) == ("step_up", (), 2)
    assert plain["why"].startswith("asks: ")


def test_a_user_in_very_many_groups_makes_no_endless_line() -> None:
    explanation = explained(ASKS)
    groups = tuple(f"g{number}" for number in range(1000))
    crowd = msgspec.structs.replace(
        explanation, session=msgspec.structs.replace(explanation.session, groups=groups)
    )
    assert shortened(crowd)["session"]["groups"] == groups[:MOST_NAMES]
