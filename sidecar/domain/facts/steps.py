"""Facts in steps: those of one stamp are folded together."""

import zlib
from collections.abc import Iterable

from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.values.stamp import Stamp


def steps_of(facts: Iterable[Fact]) -> list[list[Fact]]:
    """Return the facts by their stamps, in order. One that comes twice is one fact."""
    steps: dict[Stamp, list[Fact]] = {}
    for fact in facts:
        step = steps.setdefault(fact.stamp, [])
        if fact not in step:
            step.append(fact)
    return [steps[stamp] for stamp in sorted(steps)]


def digest(fact: Fact) -> int:
    """Return a short name for what a source said at a stamp: the same in every process (CRC-32).

    Two sources may give their events one time and one id, and neither has then said the other's.
    """
    return zlib.crc32(f"{fact.stamp.encode()}\0{fact.source}".encode())
