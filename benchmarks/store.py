"""What gathering is worth: the store's pipelines against an exchange for each operation.

Usage: python -m benchmarks.store [OPERATIONS]

Each row is joins, or loads, of a small record over a unix socket to a server of its own, by as
many callers as the row says; the last rows are one connection that is always at work, for the
ceiling.
"""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import trio
from rich.console import Console
from rich.table import Table

from sidecar.adapters.redis.batch import Item, exchange
from sidecar.adapters.redis.commands import Operation
from sidecar.adapters.redis.connection import Connections
from sidecar.adapters.redis.links import ONLY, links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.embedded import EmbeddedStore
from sidecar.service.ports.store import Join, Load
from sidecar.wire.settings.settings import StoreSettings

FAR = 4_000_000_000_000
KEYS = 1000
PATIENCE = 5.0
VALUE = b"1700000000000000" + b"x" * 84


def join_of(n: int) -> Operation:
    return Join(b"su:{u%d}:f" % (n % KEYS), {b"place:%d" % (n % 8): VALUE}, FAR, 0)


def load_of(n: int) -> Operation:
    return Load(b"su:{u%d}:f" % (n % KEYS))


async def measure(
    operations: int, callers: int, use: Callable[[int], Awaitable[object]]
) -> tuple[float, float, float]:
    """Operations a second, and the median and 99th percentile of their latencies in ms."""
    latencies: list[float] = []
    each = max(1, operations // callers)

    async def caller(first: int) -> None:
        for n in range(first, first + each):
            begun = time.perf_counter()
            await use(n)
            latencies.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for n in range(callers):
            nursery.start_soon(caller, n * each)
    seconds = time.perf_counter() - begun
    cuts = statistics.quantiles(latencies, n=100)
    return len(latencies) / seconds, cuts[49], cuts[98]


async def run(connections: Connections, operations: Sequence[Operation]) -> object:
    """Run these in one pipeline."""
    items = list(map(Item, operations))
    return await connections.use(
        ONLY, lambda socket: exchange(lambda sent: socket.exchange(sent, PATIENCE), items)
    )


async def ceiling(
    connections: Connections,
    operations: int,
    operation_of: Callable[[int], Operation],
    size: int,
) -> float:
    """Operations a second of pipelines of one size, one after the other."""
    begun = time.perf_counter()
    for first in range(0, operations, size):
        await run(connections, [operation_of(n) for n in range(first, first + size)])
    return operations / (time.perf_counter() - begun)


async def main() -> None:
    operations = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    table = Table("what", "operation", "callers", "a second", "p50 ms", "p99 ms")
    for column in table.columns[2:]:
        column.justify = "right"
    async with trio.open_nursery() as nursery:
        settings = StoreSettings(url=await nursery.start(EmbeddedStore().run))
        links = links_of(settings)
        store = RedisStore(links, settings)
        await nursery.start(store.run)
        connections = Connections(links, settings.threads)
        for name, operation_of in (("join", join_of), ("load", load_of)):

            async def gathered(n: int, of: Callable[[int], Operation] = operation_of) -> object:
                return await store.submit([of(n)])

            async def alone(n: int, of: Callable[[int], Operation] = operation_of) -> object:
                return await run(connections, [of(n)])

            for callers in (1, 10, 100, 1000):
                for label, use in (("gathered", gathered), ("an exchange each", alone)):
                    share = operations // 4 if use is alone or callers == 1 else operations
                    rate, p50, p99 = await measure(share, callers, use)
                    table.add_row(
                        label, name, str(callers), f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}"
                    )
            for size in (1, 100, 1000):
                rate = await ceiling(connections, operations, operation_of, size)
                table.add_row(
                    f"one connection, pipelines of {size}", name, "", f"{rate:,.0f}", "", ""
                )
        connections.renew()
        nursery.cancel_scope.cancel()
    Console().print(table)


if __name__ == "__main__":
    trio.run(main)
