"""Diagnosis of a set-up: each thing that was examined, right, doubtful or wrong, and its cure."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Soundness(StrEnum):
    """The state of one thing. `DOUBTFUL`: it works, and perhaps not as it is meant."""

    RIGHT = "right"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"


class Part(StrEnum):
    """The parts of a set-up, in the order in which they are reported."""

    CONFIGURATION = "configuration"
    ISSUERS = "issuers"
    TOKEN = "token"  # noqa: S105 - the name of a part
    STORE = "store"
    SOURCES = "sources"
    DATABASES = "databases"
    POLICIES = "policies"
    CONSOLE = "console"
    GATEWAY = "gateway"


class Diagnosis(msgspec.Struct, frozen=True):
    """One thing that was looked at: its name, how it stands, what was found and what helps."""

    part: Part
    name: str
    state: Soundness
    what: str
    cure: str = ""


def right(part: Part, name: str, what: str) -> Diagnosis:
    """Return that something is as it should be."""
    return Diagnosis(part, name, Soundness.RIGHT, what)


def doubtful(part: Part, name: str, what: str, cure: str) -> Diagnosis:
    """Return that something works, and perhaps not as it is meant."""
    return Diagnosis(part, name, Soundness.DOUBTFUL, what, cure)


def wrong(part: Part, name: str, what: str, cure: str) -> Diagnosis:
    """Return that something does not work, and what helps."""
    return Diagnosis(part, name, Soundness.WRONG, what, cure)


def in_order(found: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses part by part; within a part they stay in order."""
    order = {part: place for place, part in enumerate(Part)}
    return tuple(sorted(found, key=lambda one: order[one.part]))


def counts_of(found: Iterable[Diagnosis]) -> dict[Soundness, int]:
    """Return how many there are of each, the wrong ones first."""
    counted = Counter(one.state for one in found)
    return {state: counted[state] for state in reversed(Soundness)}
