"""The store on trio, against a real server that is paused, restarted and filled up."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import redis
import trio
import trio.testing

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import (
    Append,
    Browse,
    Claim,
    Finish,
    Join,
    JoinResult,
    Length,
    Load,
    Loaded,
    QueueEntry,
)
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.redis.running import FAR, join, running
from tests.adapters.servers import Server, free_ports, impatient, serving


async def test_what_is_joined_can_be_loaded(valkey_url: str) -> None:
    async with running(StoreSettings(url=valkey_url)) as (store, watch):
        (joined,) = await store.join(join(b"k"))
        assert joined == JoinResult((b"a:1",), joined=True, record={b"a:1": b"x"}, began=True)
        assert await store.load(Load(b"k"), Load(b"none")) == [Loaded({b"a:1": b"x"}), Loaded({})]
        assert store.up
        assert watch.ups == [True]
        assert watch.operations["join"] == watch.operations["load"] == 1


async def test_nothing_asked_is_nothing_answered(valkey_url: str) -> None:
    async with running(StoreSettings(url=valkey_url)) as (store, _):
        assert await store.submit([]) == []


async def test_what_is_pending_goes_in_one_pipeline(valkey_url: str) -> None:
    async with running(StoreSettings(url=valkey_url, batch=512, threads=2)) as (store, watch):
        answers: dict[int, JoinResult] = {}

        async def one(n: int) -> None:
            (answers[n],) = await store.join(join(b"k%d" % n, b"%d" % n))

        async with trio.open_nursery() as nursery:
            for n in range(1000):
                nursery.start_soon(one, n)
        assert {n: joined.record for n, joined in answers.items()} == {
            n: {b"a:1": b"%d" % n} for n in range(1000)
        }
        assert watch.operations["join"] == 1000
        assert watch.operations["pipeline"] < 20


async def test_one_refused_command_fails_alone(valkey_url: str, valkey: redis.Redis) -> None:
    valkey.set("k1", "no hash")
    outcomes: dict[bytes, object] = {}
    async with running(StoreSettings(url=valkey_url, threads=1)) as (store, _):

        async def one(key: bytes) -> None:
            try:
                outcomes[key] = (await store.join(join(key)))[0].changed
            except Unavailable as error:
                outcomes[key] = str(error)

        async with trio.open_nursery() as nursery:
            for key in (b"k0", b"k1", b"k2"):
                nursery.start_soon(one, key)
        assert store.up
    assert outcomes[b"k0"] == outcomes[b"k2"] == (b"a:1",)
    assert "WRONGTYPE" in str(outcomes[b"k1"])


async def test_a_caller_who_leaves_does_not_disturb_the_others(valkey_url: str) -> None:
    async with running(StoreSettings(url=valkey_url, threads=1)) as (store, _):
        stayed: list[JoinResult] = []
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def leave() -> None:
                with scope:
                    await store.join(join(b"k1"))

            async def stay() -> None:
                stayed.extend(await store.join(join(b"k2")))

            nursery.start_soon(leave)
            nursery.start_soon(stay)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        assert [joined.changed for joined in stayed] == [(b"a:1",)]


async def test_a_full_queue_refuses_the_next() -> None:
    with serving() as server:
        settings = impatient(server.url, queue=4, threads=1, batch=1)
        async with running(settings) as (store, _):
            refused = 0

            async def one(n: int) -> None:
                nonlocal refused
                try:
                    await store.join(join(b"k%d" % n))
                except Overloaded:
                    refused += 1

            async with trio.open_nursery() as nursery:
                for n in range(50):
                    nursery.start_soon(one, n)
            assert 0 < refused < 50
            assert await store.join(join(b"k"))


async def test_a_dead_server_is_reported_after_as_many_tries_as_configured() -> None:
    with serving() as server:
        async with running(impatient(server.url, retries=2)) as (store, watch):
            await store.join(join(b"k"))
            begun = watch.operations["pipeline"]
            with server.paused():
                with pytest.raises(Unavailable):
                    await store.join(join(b"k", b"y"))
                assert watch.operations["pipeline"] - begun == 3
                assert not store.up
                with pytest.raises(Unavailable):
                    await store.load(Load(b"k"))
                assert watch.operations["pipeline"] - begun == 4
            await watch.until_up(True)
            assert (await store.join(join(b"k", b"z")))[0].record == {b"a:1": b"z"}
            assert watch.ups == [True, False, True]


async def test_a_restarted_server_is_taught_the_script_again() -> None:
    with serving() as server:
        async with running(impatient(server.url)) as (store, watch):
            await store.join(join(b"k"))
            server.stop()
            with pytest.raises(Unavailable):
                await store.join(join(b"k"))
            server.start()
            await watch.until_up(True)
            (joined,) = await store.join(join(b"k"))
            assert joined.changed == (b"a:1",)


async def test_a_store_that_is_away_at_the_start_may_come_later() -> None:
    with serving() as server:
        server.stop()
        async with running(impatient(server.url)) as (store, watch):
            assert not store.up
            assert watch.ups == [False]
            with pytest.raises(Unavailable):
                await store.load(Load(b"k"))
            server.start()
            await watch.until_up(True)
            assert await store.load(Load(b"k")) == [Loaded({})]


async def test_who_waits_when_the_store_closes_is_reported() -> None:
    with serving() as server:
        settings = impatient(server.url)
        store = RedisStore(links_of(settings), settings)
        refusals: list[str] = []

        async def wait() -> None:
            with pytest.raises(Unavailable) as caught:
                await store.load(Load(b"k"))
            refusals.append(str(caught.value))

        with ExitStack() as stack:
            async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
                await nursery.start(store.run)
                stack.enter_context(server.paused())
                callers.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert refusals
        with pytest.raises(Unavailable):
            await store.load(Load(b"k"))


async def test_keys_are_listed_in_batches(valkey_url: str, valkey: redis.Redis) -> None:
    names = {b"su:{u%d}:s:x" % n for n in range(3000)}
    valkey.mset(dict.fromkeys(names, "x"))
    valkey.set("other", "x")
    async with running(StoreSettings(url=valkey_url)) as (store, _):
        batches = [batch async for batch in store.keys("su:{u*}:s:*")]
    assert {key for batch in batches for key in batch} == names
    assert len(batches) > 1


async def test_a_connection_that_ended_while_it_was_idle_is_made_anew(valkey_url: str) -> None:
    settings = impatient(valkey_url, retries=0, threads=1)
    async with running(settings) as (store, watch):
        await store.join(join(b"k"))
        with redis.Redis.from_url(valkey_url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert (await store.join(join(b"k")))[0].record == {b"a:1": b"x"}
        assert watch.ups == [True]


async def test_lone_operations_share_one_connection(valkey_url: str, valkey: redis.Redis) -> None:
    before = len(valkey.client_list())
    async with running(StoreSettings(url=valkey_url, threads=4)) as (store, _):
        for n in range(20):
            await store.join(join(b"k%d" % n))
        assert len(valkey.client_list()) == before + 1


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(valkey_url: str) -> None:
    settings = impatient(valkey_url, retries=0, threads=1)
    async with running(settings) as (store, watch):
        await store.join(join(b"k"))
        with redis.Redis.from_url(valkey_url) as client:
            client.execute_command("CLIENT", "PAUSE", int(settings.timeout * 2000), "ALL")
            with pytest.raises(Unavailable, match="did not answer in time"):
                await store.join(join(b"late"))
        await watch.until_up(True)
        assert (await store.load(Load(b"none")))[0].record == {}
        (again,) = await store.join(join(b"late"))
        assert again.record == {b"a:1": b"x"}


CREDENTIALS: list[Callable[[str, str], StoreSettings]] = [
    lambda port, password: impatient(
        f"redis://127.0.0.1:{port}", username="sidecar", password=password
    ),
    lambda port, password: impatient(f"redis://sidecar:{password}@127.0.0.1:{port}/0"),
]


@pytest.mark.parametrize("settings_of", CREDENTIALS, ids=["settings", "address"])
async def test_a_user_with_the_documented_rights_is_enough(
    settings_of: Callable[[str, str], StoreSettings],
) -> None:
    (port,) = free_ports(1)
    with serving(port=port) as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "off")
        full = Join(
            b"su:{u}", {b"checkpoint:%d" % n: b"x" for n in range(3)}, FAR, 0, publish=b"su:{u}"
        )
        async with running(settings_of(str(port), "s3cret")) as (store, _):
            assert (await store.join(full))[0].changed == (b"checkpoint:2",)
            assert [batch async for batch in store.keys("*")] == [[b"su:{u}"]]
            queues = RedisQueues(store)
            appended, _ = await queues.append(Append(b"su:{w}", b"x", 9, b"g"))
            assert await queues.lengths(Length(b"su:{w}")) == [1]
            (claimed,) = await queues.claim(Claim(b"su:{w}", b"g", 0.0, 1))
            assert claimed.entries == (QueueEntry(appended.id, b"x", 2),)
            assert len((await queues.browse(Browse(b"su:{w}", b"", 1))).entries) == 1
            await queues.finish(Finish(b"su:{w}", (appended.id,), b"g"))
            with pytest.raises(Unavailable, match="refuses"):
                await store.join(join(b"another's"))
        async with running(settings_of(str(port), "wrong")) as (store, _):
            assert not store.up
            with pytest.raises(Unavailable) as caught:
                await store.load(Load(b"su:{u}"))
            assert "wrong" not in str(caught.value)


async def test_a_server_that_is_still_a_replica_is_asked_again(valkey_server: Server) -> None:
    with serving() as server:
        async with running(impatient(server.url, retries=1)) as (store, watch):
            with server.client() as client:
                client.replicaof("127.0.0.1", "1")
                with pytest.raises(Unavailable, match="refuses"):
                    await store.join(join(b"k"))
                client.replicaof("NO", "ONE")
            assert (await store.join(join(b"k")))[0].changed == (b"a:1",)
            assert watch.ups == [True]
