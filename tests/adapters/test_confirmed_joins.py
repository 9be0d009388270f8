"""`store.wait_replicas` and `store.wait_aof`: what is acknowledged is where it was asked to be."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis
import trio
import trio.testing

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import Join, Load
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import Server, free_ports, impatient, serving

FAR = 4_000_000_000_000
GIVE_UP = 30.0


def event(key: bytes = b"k", *, confirm: bool = True, name: bytes = b"a:1") -> Join:
    return Join(key, {name: b"x"}, FAR, 0, unless=name, confirm=confirm)


@asynccontextmanager
async def running(url: str, **settings: object) -> AsyncIterator[RedisStore]:
    given = impatient(url, timeout=2.0, **{"wait_timeout": 0.2, **settings})
    store = RedisStore(links_of(given), given)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with trio.fail_after(GIVE_UP):
            yield store
        nursery.cancel_scope.cancel()


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A master and its replica, in touch."""
    (port,) = free_ports(1)
    with (
        serving("--repl-diskless-sync-delay", "0", port=port) as master,
        serving("--replicaof", "127.0.0.1", str(port)) as replica,
        replica.client() as asked,
    ):
        while asked.info("replication")["master_link_status"] != "up":
            pass
        yield master, replica


async def test_what_is_answered_is_on_the_replica(pair: tuple[Server, Server]) -> None:
    master, replica = pair
    async with running(master.url, wait_replicas=1) as store:
        (joined,) = await store.join(event())
        assert joined.joined
        with replica.client() as client:
            assert client.hget("k", "a:1") == b"x"


async def test_with_a_replica_that_hangs_events_are_refused_and_all_else_goes_on(
    pair: tuple[Server, Server],
) -> None:
    master, replica = pair
    async with (
        running(master.url, wait_replicas=1) as store,
        running(master.url, wait_replicas=1) as another,
    ):
        with replica.paused():
            with pytest.raises(Unavailable, match="0 of 1 replicas"):
                await store.join(event())
            # The sender tries again, elsewhere: that the master knows of it is not enough.
            with pytest.raises(Unavailable, match="0 of 1 replicas"):
                await another.join(event())
            assert (await store.load(Load(b"k")))[0].record == {b"a:1": b"x"}
            assert (await store.join(event(b"calm", confirm=False)))[0].joined
            assert store.up
        (again,) = await another.join(event())
        assert not again.joined
        with replica.client() as client:
            assert client.hget("k", "a:1") == b"x"


async def test_reads_do_not_wait_for_replicas(pair: tuple[Server, Server]) -> None:
    master, replica = pair
    async with running(master.url, wait_replicas=1, wait_timeout=1.5) as store:
        order: list[str] = []

        async def refused() -> None:
            with pytest.raises(Unavailable):
                await store.join(event())
            order.append("event")

        with replica.paused():
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(refused)
                await trio.testing.wait_all_tasks_blocked(0.1)
                for _ in range(10):
                    await store.load(Load(b"k"))
                order.append("loads")
        assert order == ["loads", *["event"] * 4]


async def test_what_needs_no_confirmation_is_answered_at_once_without_the_setting(
    pair: tuple[Server, Server],
) -> None:
    master, replica = pair
    async with running(master.url) as store:
        with replica.paused():
            assert (await store.join(event()))[0].joined


async def test_a_batch_that_teaches_the_script_is_confirmed_as_well(
    pair: tuple[Server, Server],
) -> None:
    master, replica = pair
    async with running(master.url, wait_replicas=1) as store:
        await store.join(event())
        with master.client() as client:
            client.script_flush()
        with replica.paused(), pytest.raises(Unavailable, match="replicas"):
            await store.join(event(name=b"a:2"))


async def test_what_is_answered_is_on_disk_where_that_is_asked_for() -> None:
    with serving("--appendonly", "yes", "--appendfsync", "everysec") as server:
        async with running(server.url, wait_aof=True, wait_timeout=1.9) as store:
            assert (await store.join(event()))[0].joined
        server.stop()
        server.path.unlink(missing_ok=True)
        server.start()
        with server.client() as client:
            assert eventually_loaded(client)


def eventually_loaded(client: redis.Redis) -> bool:
    while True:
        try:
            return bool(client.hget("k", "a:1") == b"x")
        except redis.exceptions.BusyLoadingError:
            continue


async def test_a_store_without_a_disk_acknowledges_nothing_that_must_be_on_it(
    valkey_url: str, valkey: redis.Redis
) -> None:
    async with running(valkey_url, wait_aof=True) as store:
        with pytest.raises(Unavailable, match="does not confirm"):
            await store.join(event())
        assert (await store.join(event(b"calm", confirm=False)))[0].joined


def test_the_settings_are_off_unless_asked_for() -> None:
    assert (StoreSettings().wait_replicas, StoreSettings().wait_aof) == (0, False)
