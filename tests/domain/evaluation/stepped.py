"""Policies of every kind, and sessions that are folded a step at a time."""

from hypothesis import strategies as st

from sidecar.domain.facts.fact_kinds import (
    Fact,
)
from tests.domain.random_policies import policies


def steps(facts: list[Fact]) -> list[list[Fact]]:
    by_stamp: dict[object, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.stamp):
        by_stamp.setdefault(fact.stamp, []).append(fact)
    return list(by_stamp.values())


POLICIES = st.tuples(policies("a"), policies("b"), policies("c"))
