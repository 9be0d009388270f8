"""How long the loop stops to ask when records expire, by how many it asks for at once.

Usage: python -m benchmarks.expiry_stops [RECORDS] [SIZE ...]

All of RECORDS (80,000) records of a view are asked for, on a store beside it, so many at once. The
table has the processor time of the longest step of a task in one round (the least of several, as a
busy machine makes all of them longer), and that of the whole round.
"""

import sys
import time

import trio
from rich.console import Console
from rich.table import Table

from sidecar.adapters import clock
from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.embedded import EmbeddedStore
from sidecar.service.compact.records import RecordTables
from sidecar.service.ports.store import Join
from sidecar.service.view.live_session import Tracked
from sidecar.service.view.upkeep import rereading
from sidecar.wire.settings.settings import StoreSettings

RECORDS = 80_000
SIZES = (256, 512, 1024, 2048, 4096)
ROUNDS = 7


class Steps(trio.abc.Instrument):
    """The longest step of a task since it was made."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._begun = time.thread_time()  # one is under way

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - of the port
        """Note when it begins."""
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - likewise
        """Note how long it took."""
        self.longest = max(self.longest, time.thread_time() - self._begun)


async def measured(count: int, sizes: list[int]) -> list[tuple[int, float, float]]:
    """Return the longest step and the whole round of each size, in seconds."""
    found: list[tuple[int, float, float]] = []
    async with trio.open_nursery() as nursery:
        settings = StoreSettings(url=await nursery.start(EmbeddedStore().run))
        store = RedisStore(links_of(settings), settings)
        await nursery.start(store.run)
        keys = [b"stepup:{u%022d}:s:%022d" % (n, n) for n in range(count)]
        now = int(clock.now() * 1000)
        for first in range(0, count, 1000):
            joins = [
                Join(one, {b"f": b"1"}, now + 3_600_000, now) for one in keys[first : first + 1000]
            ]
            await store.submit(joins)
        records = RecordTables()
        for key in keys:
            tracked = Tracked(key, 0)
            tracked.record = {b"f": b"1"}
            records.put(tracked)
        round_of = rereading.Rereading(
            store=store,
            records=records,
            clock=clock.now,
            hear=lambda _, __: False,
            keep=lambda _, __: None,
            refused=lambda _, __: None,
        )
        await round_of.vanished(store, 1.0)  # now it is known when they expire
        for size in sizes:
            rereading.ASKED_AT_ONCE = size
            rounds: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                steps, begun = Steps(), time.thread_time()
                trio.lowlevel.add_instrument(steps)
                await round_of.vanished(store, 1.0)
                trio.lowlevel.remove_instrument(steps)
                rounds.append((steps.longest, time.thread_time() - begun))
            longest, whole = zip(*rounds, strict=True)
            found.append((size, min(longest), min(whole)))
        nursery.cancel_scope.cancel()
    return found


def main() -> None:
    """Measure, and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    table = Table("asked at once", "longest step, ms", f"round of {count:,}, ms")
    for column in table.columns:
        column.justify = "right"
    for size, longest, whole in trio.run(measured, count, [*map(int, sys.argv[2:])] or [*SIZES]):
        table.add_row(f"{size:,}", f"{longest * 1e3:.2f}", f"{whole * 1e3:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
