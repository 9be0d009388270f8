"""What is imported as enabled decides as Graph's documentation says: see `graph_meaning`."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.entra.ledger import Effect
from sidecar.entra.names import read_names
from sidecar.entra.report import reasons_of
from tests.entra.graph_clauses import each_clause
from tests.entra.graph_meaning import GUESTS
from tests.entra.graph_policies import LOCATIONS, STRENGTHS, policies
from tests.entra.graph_worlds import (
    RECIPE,
    RECIPE_SIZE,
    Held,
    asked_of,
    compared,
    differences_of,
    held,
    objects_in,
    switched_on,
    together,
)

CASES = Path(__file__).parents[1] / "cases" / "entra"


FILES = sorted(CASES.glob("*.json"))
WORLD = held(
    switched_on([each for file in FILES for each in objects_in(json.loads(file.read_bytes()))])
)


@given(st.integers(0, 2**16), RECIPE, RECIPE)
@settings(max_examples=250)
def test_a_case_that_arrives_enabled_means_what_it_meant(
    number: int, world: list[int], shown: list[int]
) -> None:
    hold(WORLD, number, world, shown)


def hold(world: Held, number: int, recipe: list[int], ways: list[int]) -> None:
    """What two judges say of one sign-in is the same."""
    one = world.enabled[number % len(world.enabled)]
    assert list(compared(one, world, recipe, ways)) == []


@given(policies(), st.lists(st.tuples(RECIPE, RECIPE), min_size=4, max_size=4))
@settings(max_examples=100)
def test_whatever_arrives_enabled_means_what_it_meant(
    policy: dict[str, Any], recipes: list[tuple[list[int], list[int]]]
) -> None:
    world = held([*LOCATIONS, *STRENGTHS, policy])
    for recipe, ways in recipes if world.enabled else ():
        hold(world, 0, recipe, ways)


CLAUSES = held([*LOCATIONS, *STRENGTHS, *each_clause()])


def test_each_clause_by_itself_that_arrives_enabled_means_what_it_meant() -> None:
    assert len(CLAUSES.enabled) > 100
    assert list(differences_of(CLAUSES, sign_ins=12)) == []


def test_a_policy_that_does_not_arrive_enabled_has_a_reason_that_is_counted() -> None:
    for number, one in enumerate(CLAUSES.result.imported):
        if number not in CLAUSES.enabled:
            assert one.why
            assert reasons_of(one)


def test_policies_together_ask_for_all_that_each_asks_for() -> None:
    chance = random.Random(5)
    plain = [
        number
        for number in CLAUSES.enabled
        if not asked_of(CLAUSES, number) & set(CLAUSES.strengths)
        and Effect.STRICTER not in CLAUSES.result.imported[number].ledger.effects()
    ]
    for _ in range(60):
        chosen = chance.sample(plain, 3)
        recipe, ways = ([chance.randrange(720) for _ in range(RECIPE_SIZE)] for _ in "ab")
        assert list(together(chosen, CLAUSES, recipe, ways)) == []


@pytest.mark.parametrize(
    "groups",
    [
        {"GuestsOrExternalUsers": "guests"},
        {kind: kind.lower() for kind in GUESTS},
        {"b2bCollaborationGuest": "partners", "serviceProvider": "providers"},
    ],
    ids=["one", "each", "some"],
)
def test_guests_that_a_names_file_names_are_those_that_were_meant(groups: dict[str, str]) -> None:
    names = read_names(yaml.safe_dump({"groups": groups}), "names.yaml")
    guests = [each for each in each_clause() if "GuestsOrExternalUsers" in json.dumps(each)]
    world = held(guests, names)
    assert len(world.enabled) > len(held(guests).enabled)
    assert list(differences_of(world, sign_ins=25)) == []
