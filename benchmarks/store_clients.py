"""Clients of the store against each other, each with what is pending gathered into pipelines.

Usage: python -m benchmarks.store_clients [SECONDS [ROUNDS]]

A reply is asked for by 1, 16 and 100 callers in closed loops, over a unix socket to a Valkey that
runs for this alone: GET of 200 bytes, and the script that joins facts. The clients take turns in
each round, so that what else the machine does meets all of them:

- threads: redis-py in two threads, as the store used it before decision 37;
- store: the connections that the store uses, a batch on each of two at a time;
- coredis: its pipelines, on trio, from two workers;
- each: a request of coredis for each call;
- socket: the connection on which news arrives (`RedisSocket`), with batches in flight: redis-py
  makes it, hiredis reads and writes RESP, and trio waits.

Shown are medians of the rounds: calls a second, their latencies, the processor time of a call in
this process, and the rate as a share of what threads had in the same round.
"""

import statistics
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import coredis
import redis
import trio
from rich.console import Console
from rich.table import Table

from sidecar.adapters.redis.commands import SCRIPTS, Command, commands_of
from sidecar.adapters.redis.connection import Connections, RedisSocket, connected
from sidecar.adapters.redis.links import ONLY, links_of
from sidecar.adapters.redis_server.embedded import EmbeddedStore
from sidecar.service.ports.store import Join
from sidecar.wire.settings.settings import StoreSettings

CALLERS = (1, 16, 100)
WORKERS = 2
BATCH = 500
WARM_UP = 100
FAR = 4_000_000_000_000
KEYS = 1000
VALUE = b"1700000000000000" + b"x" * 84

Exchange = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]


def get_of(n: int) -> Command:
    return ("GET", b"value:%d" % (n % KEYS))


def join_of(n: int) -> Command:
    join = Join(b"su:{u%d}:f" % (n % KEYS), {b"place:%d" % (n % 8): VALUE}, FAR, 0)
    (command,) = commands_of(join)
    return command


class Client(Protocol):
    """What each of them can do."""

    async def ask(self, command: Command) -> Any:
        """Return the reply."""


class Call:
    """What one caller waits for."""

    __slots__ = ("command", "done", "reply")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.done = trio.Event()
        self.reply: Any = None


class Queue:
    """Calls that wait for their turn."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._idle = trio.lowlevel.ParkingLot()

    async def ask(self, command: Command) -> Any:
        """Return the reply."""
        call = Call(command)
        self._calls.append(call)
        self._idle.unpark()
        await call.done.wait()
        return call.reply

    async def gather(self) -> list[Call]:
        """Return what is pending, once there is anything."""
        while not self._calls:
            await self._idle.park()
        return [self._calls.popleft() for _ in range(min(BATCH, len(self._calls)))]


async def serve(queue: Queue, exchange: Exchange) -> None:
    """Exchange what is pending, for ever."""
    while True:
        calls = await queue.gather()
        replies = await exchange([call.command for call in calls])
        for call, reply in zip(calls, replies, strict=True):
            call.reply = reply
            call.done.set()


@asynccontextmanager
async def gathered(exchange: Exchange) -> AsyncIterator[Client]:
    queue = Queue()
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(serve, queue, exchange)
        yield queue
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def threads(settings: StoreSettings) -> AsyncIterator[Client]:
    links = links_of(settings)
    client = links.client(ONLY)
    limiter = trio.CapacityLimiter(WORKERS)

    def pipeline(commands: Sequence[Command]) -> list[Any]:
        pipe: Any  # redis-py does not type what it queues
        with client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies: list[Any] = pipe.execute(raise_on_error=False)
            return replies

    async def exchange(commands: Sequence[Command]) -> Sequence[Any]:
        return await trio.to_thread.run_sync(pipeline, commands, limiter=limiter)

    async with gathered(exchange) as queue:
        yield queue
    links.close()


@asynccontextmanager
async def store(settings: StoreSettings) -> AsyncIterator[Client]:
    links = links_of(settings)
    connections = Connections(links, WORKERS)

    async def exchange(commands: Sequence[Command]) -> Sequence[Any]:
        return await connections.use(ONLY, lambda one: one.exchange(commands, settings.timeout))

    async with gathered(exchange) as queue:
        yield queue
    connections.renew()
    links.close()


def as_it_is(reply: Any, **_: Any) -> Any:
    return reply


def request(client: Any, command: Command) -> Any:
    name, *arguments = command
    return client.create_request(str(name).encode(), *arguments, callback=as_it_is)


@asynccontextmanager
async def coredis_pipelines(settings: StoreSettings) -> AsyncIterator[Client]:
    async with coredis.Redis.from_url(settings.url) as client:

        async def exchange(commands: Sequence[Command]) -> Sequence[Any]:
            async with client.pipeline(transaction=False, raise_on_error=False) as pipe:
                for command in commands:
                    request(pipe, command)
            return pipe.results or ()

        async with gathered(exchange) as queue:
            yield queue


class Each:
    """A request for each call."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def ask(self, command: Command) -> Any:
        """Return the reply."""
        return await request(self._client, command)


@asynccontextmanager
async def coredis_each(settings: StoreSettings) -> AsyncIterator[Client]:
    async with coredis.Redis.from_url(settings.url) as client:
        yield Each(client)


class Pipelined(Queue):
    """Calls over one connection: batches are sent while replies to earlier ones are awaited."""

    def __init__(self, connection: RedisSocket) -> None:
        super().__init__()
        self._connection = connection
        self._sent: deque[Call] = deque()

    async def send(self) -> None:
        """Send what is pending, for ever."""
        while True:
            calls = await self.gather()
            self._sent.extend(calls)
            commands: list[Any] = [call.command for call in calls]
            await self._connection.send(*commands)

    async def receive(self) -> None:
        """Hand replies to those who wait for them, for ever."""
        while True:
            for reply in await self._connection.receive():
                call = self._sent.popleft()
                call.reply = reply
                call.done.set()


@asynccontextmanager
async def socket(settings: StoreSettings) -> AsyncIterator[Client]:
    links = links_of(settings)
    async with connected(links, ONLY) as connection, trio.open_nursery() as nursery:
        pipelined = Pipelined(connection)
        nursery.start_soon(pipelined.send)
        nursery.start_soon(pipelined.receive)
        yield pipelined
        nursery.cancel_scope.cancel()
    links.close()


CLIENTS = {
    "threads": threads,
    "store": store,
    "coredis": coredis_pipelines,
    "each": coredis_each,
    "socket": socket,
}


class Measured(NamedTuple):
    """What came of one client in one round; times in milliseconds, `cost` in microseconds."""

    rate: float
    p50: float
    p99: float
    cost: float


async def measure(
    client: Client, seconds: float, callers: int, command_of: Callable[[int], Command]
) -> Measured:
    latencies: list[float] = []
    ends = time.perf_counter() + seconds

    async def caller(n: int) -> None:
        while (begun := time.perf_counter()) < ends or len(latencies) < 2:
            await client.ask(command_of(n))
            latencies.append((time.perf_counter() - begun) * 1000)
            n += callers

    begun, worked = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for n in range(callers):
            nursery.start_soon(caller, n)
    took, work = time.perf_counter() - begun, time.process_time() - worked
    cuts = statistics.quantiles(latencies, n=100)
    return Measured(len(latencies) / took, cuts[49], cuts[98], work * 1e6 / len(latencies))


async def check_that_all_agree(settings: StoreSettings) -> None:
    """Raise AssertionError where a client reads another reply than the rest."""
    for command in (get_of(7), join_of(7)):
        replies = []
        for open_client in CLIENTS.values():
            async with open_client(settings) as client:
                await client.ask(command)  # a first join has another answer than the next
                replies.append(await client.ask(command))
        if any(reply != replies[0] for reply in replies):
            raise AssertionError(replies)


async def compare(
    settings: StoreSettings, seconds: float, rounds: int, callers: int, what: str
) -> list[tuple[str, ...]]:
    """Measure all clients in turn; return a row of each."""
    command_of = {"get": get_of, "join": join_of}[what]
    found: dict[str, list[Measured]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        for name, open_client in CLIENTS.items():
            async with open_client(settings) as client:
                for n in range(WARM_UP):
                    await client.ask(command_of(n))
                found[name].append(await measure(client, seconds, callers, command_of))
    rows: list[tuple[str, ...]] = []
    for name, measured in found.items():
        rate, p50, p99, cost = map(statistics.median, zip(*measured, strict=True))
        pairs = zip(measured, found["threads"], strict=True)
        share = statistics.median(one.rate / other.rate for one, other in pairs)
        times = f"{p50:.2f}", f"{p99:.2f}", f"{cost:.0f}"
        rows.append((what, str(callers), name, f"{rate:,.0f}", *times, f"{share:.2f}"))
    return rows


async def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    table = Table("what", "callers", "client", "a second", "p50 ms", "p99 ms", "us a call", "share")
    for column in (*table.columns[1:2], *table.columns[3:]):
        column.justify = "right"
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(EmbeddedStore().run)
        settings = StoreSettings(url=url)
        with redis.Redis.from_url(url) as plain:
            for n in range(KEYS):
                plain.set(b"value:%d" % n, b"v" * 200)
            for script in SCRIPTS:
                plain.script_load(script)
        await check_that_all_agree(settings)
        for what in ("get", "join"):
            for callers in CALLERS:
                for row in await compare(settings, seconds, rounds, callers, what):
                    table.add_row(*row)
        nursery.cancel_scope.cancel()
    Console().print(table)


if __name__ == "__main__":
    trio.run(main)
