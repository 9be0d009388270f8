"""The whole language of policies: where each construct fires, and where it just does not.

What the language is, is taken from the code, so that nothing can be added to it untried.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from sidecar.domain.policy.conditional_access import (
    COMPLIANT_DEVICE,
    All,
    AnyOf,
    Changed,
    Circumstance,
    Condition,
    Device,
    Locations,
    Not,
    Policy,
    PolicyState,
    SessionControls,
)
from sidecar.tuning.scenario.files import Scenario, read_scenarios
from sidecar.tuning.scenario.play import Played, play
from sidecar.tuning.scenario.stage import read_stage

HERE = Path(__file__).parents[1] / "cases/language"
CONFIGURATION, STAGE = read_stage(HERE / "sidecar.yaml", {})
ONE_OF_EACH = read_scenarios([("scenarios.yaml", (HERE / "scenarios.yaml").read_text())])
FRICTION = read_scenarios([("friction.yaml", (HERE / "friction.yaml").read_text())])
NO_CONSTRUCTS = frozenset({"id", "description", "state", "conditions", "grant", "session"})
"""Fields of a policy that do nothing by themselves, or whose parts are listed one by one."""


def language() -> set[str]:
    """Return everything that a policy can be made of, as the code knows it."""
    ladder = CONFIGURATION.evaluator.world.ladder
    return {
        *(f"condition {kind.__name__}" for kind in get_args(Condition)),
        *(f"changed {circumstance}" for circumstance in Circumstance),
        *(f"device {field}" for field in Device.__struct_fields__),
        *(f"locations {field}" for field in Locations.__struct_fields__ if field != "selection"),
        *(f"control {level.name}" for level in ladder.levels),
        *("control a strength", f"control {COMPLIANT_DEVICE}", "block", "AND", "OR"),
        *(f"session {field}" for field in SessionControls.__struct_fields__),
        *(f"policy {field}" for field in Policy.__struct_fields__ if field not in NO_CONSTRUCTS),
    }


def constructs(policy: Policy) -> Iterator[str]:
    """Yield what a policy is made of."""
    if policy.conditions is not None:
        yield from in_condition(policy.conditions)
    ladder = CONFIGURATION.evaluator.world.ladder
    ways = policy.grant.alternatives
    for control in frozenset().union(*ways):
        yield "control a strength" if control in ladder.strengths else f"control {control}"
    if policy.grant.block:
        yield "block"
    if any(len(way) > 1 for way in ways):
        yield "AND"
    if len(ways) > 1:
        yield "OR"
    for field in SessionControls.__struct_fields__:
        if getattr(policy.session, field) is not None:
            yield f"session {field}"
    nothing = Policy(policy.id, policy.grant)
    for field in Policy.__struct_fields__:
        if field not in NO_CONSTRUCTS and getattr(policy, field) != getattr(nothing, field):
            yield f"policy {field}"


def in_condition(condition: Condition) -> Iterator[str]:
    yield f"condition {type(condition).__name__}"
    match condition:
        case All() | AnyOf():
            for each in condition.conditions:
                yield from in_condition(each)
        case Not():
            yield from in_condition(condition.condition)
        case Changed():
            yield from (f"changed {each}" for each in condition.circumstances)
        case Device():
            set_here = [f for f in Device.__struct_fields__ if getattr(condition, f) is not None]
            yield from (f"device {field}" for field in set_here)
        case Locations(strict=True):
            yield "locations strict"
        case _:
            pass


@pytest.mark.parametrize("scenario", [*ONE_OF_EACH, *FRICTION], ids=lambda each: each.name)
def test_the_language_means_what_its_scenarios_say(scenario: Scenario) -> None:
    played = play(scenario, STAGE)
    assert played.checks
    assert [checked.differences for checked in played.failed] == []


def ways(played: Played) -> dict[str, set[bool]]:
    """Return whether each policy fired, at the last call of a scenario that has its name."""
    (name, _, _) = played.scenario.name.partition(":")
    explained = {each.policy: each for each in played.checks[-1].explanation.policies}
    return {name: {explained[name].outcome.fires}} if name in explained else {}


def test_every_construct_has_a_scenario_where_it_fires_and_one_where_it_just_does_not() -> None:
    seen: dict[str, set[bool]] = {}
    for scenario in ONE_OF_EACH:
        for name, fired in ways(play(scenario, STAGE)).items():
            seen.setdefault(name, set()).update(fired)
    tried = {
        construct
        for policy in CONFIGURATION.policies
        if policy.state is PolicyState.ENABLED and seen.get(policy.id) == {True, False}
        for construct in constructs(policy)
    }
    assert language() - tried == set()


def test_a_policy_that_tries_a_condition_has_no_other() -> None:
    for policy in CONFIGURATION.policies:
        if policy.id in {"all", "any", "not", "new-network"} or policy.conditions is None:
            continue
        kinds = [each for each in constructs(policy) if each.startswith("condition ")]
        assert len(kinds) == 1, policy.id
