"""Servers behind an address: a Cluster of three masters, and a master that sentinels move."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
import redis
import trio
from redis.crc import key_slot

from sidecar.adapters.redis.links import Links, links_of
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import BEGAN, Join, Load
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.losses import slot_of
from tests.adapters.servers import Server, free_ports, impatient, serving
from tests.waiting import until

FAR = 4_000_000_000_000
GIVE_UP = 60.0
SLOTS = 16384


class Link:
    """A store and news behind one address, and what the news said."""

    def __init__(self, settings: StoreSettings) -> None:
        self.log: list[object] = []
        self.links: Links = links_of(settings)
        self.store = RedisStore(self.links, settings)
        self.news = RedisNews(
            links_of(settings),
            settings,
            deliver=self._deliver,
            lost=lambda _: self.log.append("lost"),
            restored=self._restored,
            ping=0.1,
        )

    def _deliver(self, key: bytes, fields: Record) -> None:
        fields.pop(BEGAN, None)
        self.log.append((key, fields))

    async def _restored(self) -> None:
        self.log.append("restored")

    async def join(self, key: bytes, value: bytes) -> None:
        """Join into a record that has the key's name for its channel, however long it takes."""
        while True:
            try:
                await self.store.join(Join(key, {b"a:1": value}, FAR, 0, publish=key))
            except Unavailable:
                await trio.sleep(0.05)  # the pace of trying
            else:
                return

    async def until(self, what: object, times: int = 1) -> None:
        await until(lambda: self.log.count(what) >= times)


@asynccontextmanager
async def linked(settings: StoreSettings) -> AsyncIterator[Link]:
    link = Link(settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.store.run)
        await nursery.start(link.news.run)
        with trio.fail_after(GIVE_UP):
            yield link
        nursery.cancel_scope.cancel()


def call(server: Server, *command: object) -> Any:
    with server.client() as client:
        return client.execute_command(*command)


async def until_it_says(server: Server, command: str, text: str) -> None:
    await until(lambda: str(call(server, *command.split())), lambda said: text in said)


@pytest.mark.parametrize(
    "key", [b"", b"a", b"a{b}c", b"a{}c{d}", b"a{b", b"}{b}{c}", b"\xff{\x80}"]
)
def test_a_key_has_the_slot_that_others_say_it_has(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


@contextmanager
def cluster() -> Iterator[list[Server]]:
    with ExitStack() as stack:
        ports = free_ports(6)
        servers = [
            stack.enter_context(
                serving(
                    *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                    *("--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no"),
                    port=port,
                )
            )
            for port, bus in zip(ports[:3], ports[3:], strict=True)
        ]
        edges = [0, 5461, 10923, SLOTS]
        for n, server in enumerate(servers):
            call(server, "CLUSTER", "ADDSLOTSRANGE", edges[n], edges[n + 1] - 1)
            call(server, "CLUSTER", "MEET", "127.0.0.1", ports[0], ports[3])
        yield servers


@pytest.fixture(scope="module")
def masters() -> Iterator[list[Server]]:
    with cluster() as servers:
        yield servers


@pytest.fixture
async def address(masters: list[Server]) -> str:
    for server in masters:
        await until_it_says(server, "CLUSTER INFO", "cluster_state:ok")
        await until_it_says(server, "CLUSTER INFO", "cluster_known_nodes:3")
    return f"redis+cluster://127.0.0.1:{masters[0].port}"


async def test_a_cluster_serves_records_of_all_slots_in_one_call(
    masters: list[Server], address: str
) -> None:
    async with linked(impatient(address)) as link:
        keys = [b"su:{u%d}:f" % n for n in range(300)]
        await link.store.join(*(Join(key, {b"a:1": key}, FAR, 0) for key in keys))
        loaded = await link.store.load(*(Load(key) for key in keys))
        assert [one.record for one in loaded] == [{b"a:1": key} for key in keys]
        of_one_slot = [b"su:{u0}:x", keys[0]]
        assert await link.store.expiries(*of_one_slot, *keys) == [0, FAR, *[FAR] * len(keys)]
        listed = [key async for batch in link.store.keys("su:*") for key in batch]
        assert sorted(listed) == sorted(keys)
        assert all(call(server, "DBSIZE") for server in masters)


async def test_news_come_from_all_nodes_of_a_cluster(address: str) -> None:
    async with linked(impatient(address)) as link:
        channels = [b"su:{c%d}" % n for n in range(100)]
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(link.news.follow, channel)
        for channel in channels:
            await link.join(channel, b"x")
        for channel in channels:
            await link.until((channel, {b"a:1": b"x"}))


def move_slot(slot: int, source: Server, target: Server, *, finish: bool) -> None:
    to, by = call(target, "CLUSTER", "MYID"), call(source, "CLUSTER", "MYID")
    call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", by)
    call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", to)
    if finish:
        for key in call(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            call(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        call(target, "CLUSTER", "SETSLOT", slot, "NODE", to)
        call(source, "CLUSTER", "SETSLOT", slot, "NODE", to)


async def test_a_slot_that_moves_takes_its_records_and_news_along(
    masters: list[Server], address: str
) -> None:
    key = b"su:{moving}"
    slot = slot_of(key)
    source, target = masters[slot * 3 // SLOTS], masters[(slot * 3 // SLOTS + 1) % 3]
    async with linked(impatient(address)) as link:
        await link.news.follow(key)
        await link.join(key, b"1")
        await link.until((key, {b"a:1": b"1"}))
        move_slot(slot, source, target, finish=False)
        await link.join(b"fresh{moving}", b"1")
        assert call(target, "CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        move_slot(slot, source, target, finish=True)
        await link.join(key, b"2")
        assert (await link.store.load(Load(key)))[0].record == {b"a:1": b"2"}
        await link.until("lost")
        await link.until("restored", times=2)
        await link.join(key, b"3")
        await link.until((key, {b"a:1": b"3"}))


async def test_a_dead_master_fails_its_own_slots_only(masters: list[Server], address: str) -> None:
    async with linked(impatient(address, retries=0)) as link:
        dead = masters[0]
        owned = next(b"{d%d}" % n for n in range(99) if slot_of(b"{d%d}" % n) < 5000)
        other = next(b"{d%d}" % n for n in range(99) if slot_of(b"{d%d}" % n) > 6000)
        with dead.paused():
            outcomes: dict[bytes, str] = {}

            async def load(key: bytes) -> None:
                try:
                    await link.store.load(Load(key))
                    outcomes[key] = "loaded"
                except Unavailable:
                    outcomes[key] = "unavailable"

            async with trio.open_nursery() as nursery:
                nursery.start_soon(load, owned)
                nursery.start_soon(load, other)
            assert outcomes == {owned: "unavailable", other: "loaded"}
            assert not link.store.up


def sentinel_of(master: int) -> str:
    return (
        f"sentinel monitor main 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
        "requirepass sentinels\n"
    )


async def test_store_and_news_follow_the_master_that_sentinels_name() -> None:
    first, second, port = free_ports(3)
    with (
        serving("--repl-diskless-sync-delay", "0", port=first) as old,
        serving("--replicaof", "127.0.0.1", str(first), port=second) as new,
        serving("--sentinel", port=port, config=sentinel_of(first)),
        redis.Redis(port=port, password="sentinels", protocol=2) as asked,
    ):
        await until_it_says(new, "INFO replication", "'master_link_status': 'up'")
        await until(lambda: asked.sentinel_slaves("main"))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main"
        async with linked(impatient(url, sentinel_password="sentinels")) as link:
            await link.news.follow(b"k")
            await link.join(b"k", b"1")
            await link.until((b"k", {b"a:1": b"1"}))
            old.stop()
            await link.join(b"k", b"2")
            assert call(new, "HGET", "k", "a:1") == b"2"
            await link.until("lost")
            await link.until("restored", times=2)
            await link.join(b"k", b"3")
            await link.until((b"k", {b"a:1": b"3"}))
