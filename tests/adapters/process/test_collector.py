"""The collector never looks at all that a process holds, unless it is asked to."""

import gc
from collections.abc import Callable

import pytest

from sidecar.adapters.process import collector

MOST = 4 * (collector.MIDDLE + 1) * collector.YOUNG
"""Objects that a collection may look at: of two collections of the middle generation, and slack."""


class Knot:
    """An object in a cycle with itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def settled() -> None:
    """A process that has started; a fixture of all tests puts its collector back."""
    collector.settle()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("before", [lambda: None, collector.collect_everything])
def test_no_collection_looks_at_all_that_is_held(before: Callable[[], object]) -> None:
    many = [[[n]] for n in range(400_000)]
    gc.freeze()
    before()
    looked_at: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start" and about["generation"] == 2:
            looked_at.append(len(gc.get_objects()))

    gc.callbacks.append(note)
    held = [[[n]] for n in range(100_000)]
    assert len(looked_at) > 3
    assert max(looked_at) < MOST < len(held) < len(many)


@pytest.mark.usefixtures("settled")
def test_a_cycle_that_was_frozen_is_found_when_everything_is_looked_at() -> None:
    knots = [Knot() for _ in range(100)]
    gc.freeze()
    knots.clear()
    gc.collect()
    assert collector.collect_everything() >= 100
    assert not any(type(one) is Knot for one in gc.get_objects())


def test_no_test_leaves_the_collector_as_a_daemon_sets_it() -> None:
    assert not [one for one in gc.callbacks if one.__module__ == collector.__name__]
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()
