"""What is imported as enabled decides as Graph's documentation says: see `graph_meaning`."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.graph_policies import LOCATIONS, STRENGTHS, policies
from tests.wire.graph_worlds import RECIPE, Held, differences, held, shown_of, sign_in_of

CASES = Path(__file__).parents[1] / "cases" / "entra"


def objects_of(raw: Any) -> list[dict[str, Any]]:
    if isinstance(raw, list):
        return [each for item in raw for each in objects_of(item)]
    if isinstance(raw.get("value"), list):
        return objects_of(raw["value"])
    return [raw]


def enabled_copies(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "state": "enabled"} if "conditions" in each else each for each in objects]


EVERYTHING = enabled_copies(
    [
        each
        for file in sorted(CASES.glob("*.json"))
        for each in objects_of(json.loads(file.read_bytes()))
    ]
)
WORLD = held(EVERYTHING)


@given(st.integers(0, 2**16), RECIPE, RECIPE)
@settings(max_examples=500)
def test_a_case_that_arrives_enabled_means_what_it_meant(
    number: int, world: list[int], shown: list[int]
) -> None:
    hold(WORLD, number, world, shown)


def hold(world: Held, number: int, recipe: list[int], ways: list[int]) -> None:
    """What two judges say of one sign-in is the same."""
    one = world.enabled[number % len(world.enabled)]
    policy = world.policies[one]
    sign_in = sign_in_of(policy, world.tenant, recipe)
    assert list(differences(one, world, sign_in, shown_of(policy, world, ways))) == []


@given(policies(), st.lists(st.tuples(RECIPE, RECIPE), min_size=4, max_size=4))
@settings(max_examples=150)
def test_whatever_arrives_enabled_means_what_it_meant(
    policy: dict[str, Any], recipes: list[tuple[list[int], list[int]]]
) -> None:
    world = held([*LOCATIONS, *STRENGTHS, policy])
    for recipe, ways in recipes if world.enabled else ():
        hold(world, 0, recipe, ways)
