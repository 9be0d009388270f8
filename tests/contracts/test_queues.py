"""The queues' fake and the real ones, held to one suite."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import redis
import trio

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.calls import Refused, Unavailable
from sidecar.service.ports.store import Append, Browse, Claim, Finish, Join, Length, Queues
from sidecar.wire.settings.settings import Store as StoreSettings
from tests.adapters.servers import Server
from tests.service.memory import MemoryStore
from tests.service.queues import MemoryQueues

KEY, OTHER, GROUP = b"t:{w0}:q", b"t:{w1}:q", b"all"
FAR = 4_000_000_000_000


class Clocked:
    """Queues, and a way to let time pass for them."""

    def __init__(self, queues: Queues, pass_time: Callable[[float], Awaitable[None]]) -> None:
        self.queues = queues
        self.pass_time = pass_time

    async def add(self, payload: bytes, key: bytes = KEY, bound: int = 10) -> bytes:
        appended, _ = await self.queues.append(Append(key, payload, bound, GROUP))
        return appended.id

    async def claim(self, idle: float = 0.05, count: int = 10, key: bytes = KEY) -> object:
        (answer,) = await self.queues.claim(Claim(key, GROUP, idle, count))
        return [(entry.payload, entry.times) for entry in answer.entries]


@pytest.fixture(params=["memory", "real"])
async def clocked(
    request: pytest.FixtureRequest, valkey_server: Server, valkey: redis.Redis
) -> AsyncIterator[Clocked]:
    if request.param == "memory":
        store = MemoryStore()

        async def pass_time(seconds: float) -> None:
            store.now += seconds
            await trio.lowlevel.checkpoint()

        yield Clocked(MemoryQueues(store, lambda: store.now), pass_time)
        return
    settings = StoreSettings(url=valkey_server.url)
    real = RedisStore(links_of(settings), settings)
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(real.run)
        yield Clocked(RedisQueues(real), trio.sleep)
        nursery.cancel_scope.cancel()


async def test_an_entry_is_in_the_hands_of_whoever_appended_it(clocked: Clocked) -> None:
    await clocked.add(b"one")
    assert await clocked.claim(idle=60) == []
    assert await clocked.queues.lengths(Length(KEY), Length(OTHER)) == [1, 0]


async def test_what_lies_there_too_long_is_claimed_once_and_counted(clocked: Clocked) -> None:
    for payload in (b"one", b"two", b"three"):
        await clocked.add(payload)
    await clocked.pass_time(0.06)
    assert await clocked.claim(count=2) == [(b"one", 2), (b"two", 2)]
    assert await clocked.claim() == [(b"three", 2)]
    assert await clocked.claim() == []
    await clocked.pass_time(0.06)
    assert await clocked.claim(count=1) == [(b"one", 3)]


async def test_what_is_finished_is_gone_and_finishing_it_again_does_no_harm(
    clocked: Clocked,
) -> None:
    first, second = await clocked.add(b"one"), await clocked.add(b"two")
    finish = Finish(KEY, (first, b"1-1"), GROUP)
    assert [one.count for one in await clocked.queues.finish(finish)] == [1]
    assert [one.count for one in await clocked.queues.finish(finish)] == [0]
    await clocked.pass_time(0.06)
    assert await clocked.claim() == [(b"two", 2)]
    await clocked.queues.finish(Finish(KEY, (second,), GROUP))
    assert await clocked.queues.lengths(Length(KEY)) == [0]


async def test_a_full_queue_takes_no_more_and_the_joins_happen_all_the_same(
    clocked: Clocked,
) -> None:
    assert await clocked.add(b"one", bound=1)
    joined = Join(b"t:{u}:f", {b"a:1": b"x"}, FAR, 0)
    appended, answers = await clocked.queues.append(Append(KEY, b"two", 1, GROUP), joined)
    assert appended.id == b""
    assert [answer.joined for answer in answers] == [True]
    assert await clocked.queues.lengths(Length(KEY)) == [1]


async def test_entries_can_be_looked_at_a_page_at_a_time_without_being_taken(
    clocked: Clocked,
) -> None:
    ids = [(await clocked.queues.append(Append(KEY, b"%d" % n, 10)))[0].id for n in range(5)]
    page = (await clocked.queues.browse(Browse(KEY, b"", 2))).entries
    assert [entry.id for entry in page] == ids[:2]
    rest = (await clocked.queues.browse(Browse(KEY, b"(" + ids[1], 9))).entries
    assert [(entry.id, entry.payload) for entry in rest] == [
        (name, b"%d" % n) for n, name in enumerate(ids) if n > 1
    ]
    exactly = (await clocked.queues.browse(Browse(KEY, ids[3], 1))).entries
    assert [entry.id for entry in exactly] == [ids[3]]
    assert (await clocked.queues.browse(Browse(OTHER, b"", 2))).entries == ()


async def test_a_server_that_was_taught_nothing_appends_once(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    settings = StoreSettings(url=valkey_server.url)
    store = RedisStore(links_of(settings), settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        queues = RedisQueues(store)
        await queues.append(Append(KEY, b"first", 10, GROUP))
        valkey.script_flush()
        join = Join(b"t:{u}:f", {b"a:1": b"x"}, FAR, 0)
        _, (joined,) = await queues.append(Append(KEY, b"second", 10, GROUP), join)
        assert joined.joined
        assert valkey.xlen(KEY.decode()) == 2
        nursery.cancel_scope.cancel()


async def test_what_the_store_refuses_for_good_is_told_apart_from_what_it_cannot_do_now(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    settings = StoreSettings(url=valkey_server.url)
    store = RedisStore(links_of(settings), settings)
    valkey.set("t:{u}:f", "somebody else's")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with pytest.raises(Refused, match="WRONGTYPE"):
            await store.join(Join(b"t:{u}:f", {b"a:1": b"x"}, FAR, 0))
        valkey.config_set("maxmemory", "1")
        try:
            with pytest.raises(Unavailable) as caught:
                await store.join(Join(b"t:{v}:f", {b"a:1": b"x"}, FAR, 0))
        finally:
            valkey.config_set("maxmemory", "0")
        assert not isinstance(caught.value, Refused)
        nursery.cancel_scope.cancel()
