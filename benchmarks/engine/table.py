"""Rows of the decision without a call: a look-up in the shared table, in the app's own process."""

from collections.abc import Iterator

from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.stage import Stage
from benchmarks.shared_table import KEPT, VERIFIED, costs

FEW, MANY = 1000, 100_000
LOOKS = 1000


def looked_up(stage: Stage) -> Iterator[Figure]:
    """Measure look-ups of calls that are there, in a small table and in a large one."""
    many = 4 * FEW if stage.quick else MANY
    few = costs(FEW, LOOKS, stage.sizes.rounds)
    large = costs(many, LOOKS, stage.sizes.rounds)
    hash_alone = "the keyed hash alone"
    for name, way in (("token kept", KEPT), ("token just verified", VERIFIED)):
        yield Figure(
            f"decision without a call, {name}",
            "us",
            few[way],
            {hash_alone: few[hash_alone]},
            (Goal(2),),
        )
    yield Figure(
        f"decision without a call, {many:,} calls in the table",
        "us",
        large[KEPT],
        {f"{FEW:,}": few[KEPT]},
        (Goal(1.25, f"{FEW:,}"),),
        note="the table is then larger than the processor's nearest caches",
    )
