"""Leaves of a tree: what is wrong with them is reported, as far as anybody reads it."""

from collections.abc import Iterator

from sidecar.wire.yaml.nodes import Leaves, Named
from sidecar.wire.yaml.tree import MAX_PROBLEMS, FilePosition, Problems


def test_nothing_near_an_unknown_name_is_looked_for_once_no_more_problems_are_kept() -> None:
    looked: list[str] = []

    def known() -> Iterator[str]:
        looked.append("once")
        yield "name"

    problems = Problems()
    leaves = Leaves(problems)
    for line in range(MAX_PROBLEMS + 50):
        leaves.unknown(Named("nam", "field", FilePosition("file", line)), known())
    assert len(problems) == len(looked) == MAX_PROBLEMS
