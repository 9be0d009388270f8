"""The queues' fake and the real ones, held to one suite."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import redis
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.ports.store import (
    Append,
    Browse,
    Claim,
    Entries,
    Finish,
    Hold,
    Join,
    Length,
    Queues,
)
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import Server, free_ports, serving
from tests.contracts.forms import FORMS, opened
from tests.service.memory import MemoryStore
from tests.service.queues import MemoryQueues
from tests.stories.running import unique
from tests.waiting import until

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

    async def claim(
        self, idle: float = 0.05, count: int = 10, key: bytes = KEY
    ) -> list[tuple[bytes, int]]:
        (answer,) = await self.queues.claim(Claim(key, GROUP, idle, count))
        return [(entry.payload, entry.times) for entry in answer.entries]


@pytest.fixture(params=FORMS)
async def clocked(
    request: pytest.FixtureRequest, valkey_server: Server, valkey: redis.Redis
) -> AsyncIterator[Clocked]:
    async with opened(request.param, valkey_server) as form:
        yield Clocked(form.queues, form.pass_time)


# Any operations in any order

PAYLOADS = st.sampled_from([b"one", b"two", b"\0\xff"])
PLACES = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("append"), PAYLOADS, st.integers(0, 4)),
    st.tuples(st.just("claim"), st.sampled_from([0.0, 1000.0]), st.integers(1, 3)),
    st.tuples(st.just("finish"), st.lists(PLACES, min_size=1, max_size=3)),
    st.tuples(st.just("browse"), st.none() | st.tuples(PLACES, st.booleans()), st.integers(1, 3)),
    st.tuples(st.just("lengths")),
)


async def play(queues: Queues, key: bytes, group: bytes, steps: Sequence[Any]) -> list[object]:
    """Return what was answered; entries are named by the order in which they came."""
    ids: list[bytes] = []
    answers: list[object] = []

    def named(entries: Entries) -> list[object]:
        return [(ids.index(one.id), one.payload, one.times) for one in entries.entries]

    for verb, *arguments in steps:
        match verb:
            case "append":
                payload, bound = arguments
                appended, joined = await queues.append(Append(key, payload, bound, group))
                answers.append((bool(appended.id), joined))
                ids += [appended.id] if appended.id else []
            case "claim" if group:
                (claimed,) = await queues.claim(Claim(key, group, *arguments))
                answers.append(named(claimed))
            case "finish" if ids:
                (places,) = arguments
                gone = tuple(dict.fromkeys(ids[place % len(ids)] for place in places))
                answers += await queues.finish(Finish(key, gone, group))
            case "browse":
                first, count = arguments
                if first is not None and ids:
                    at, after = first
                    name = (b"(" if after else b"") + ids[at % len(ids)]
                    answers.append(named(await queues.browse(Browse(key, name, count))))
                else:
                    answers.append(named(await queues.browse(Browse(key, b"", count))))
            case "lengths":
                answers.append(await queues.lengths(Length(key), Length(OTHER)))
    return answers


@given(st.lists(STEPS, min_size=1, max_size=15), st.sampled_from([GROUP, b""]))
@settings(deadline=None, max_examples=60)
def test_whatever_is_asked_both_forms_answer_alike(
    valkey_server: Server, steps: list[Any], group: bytes
) -> None:
    async def both() -> None:
        key = b"t:{%s}:q" % unique("w").encode()
        async with opened("memory", valkey_server) as fake, opened("real", valkey_server) as real:
            expected = await play(fake.queues, key, group, steps)
            assert await play(real.queues, key, group, steps) == expected

    trio.run(both)


# What a caller may count on


async def test_what_is_held_counts_as_taken_just_now(clocked: Clocked) -> None:
    held, left = await clocked.add(b"held"), await clocked.add(b"left")
    await clocked.pass_time(0.06)
    hold = Hold(KEY, (held, b"1-1"), GROUP)
    assert [one.count for one in await clocked.queues.hold(hold)] == [1]
    assert left != held
    assert await clocked.claim() == [(b"left", 2)]
    await clocked.pass_time(0.06)
    claimed = await clocked.claim()
    assert (b"held", 2) in claimed, "it was taken as often as before"


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


async def test_appends_that_go_together_are_answered_in_order_and_each_fails_alone(
    clocked: Clocked, valkey: redis.Redis
) -> None:
    refused = b"t:{k}:f"
    valkey.set(refused, "somebody else's")
    if isinstance(clocked.queues, MemoryQueues):
        assert isinstance(clocked.queues.store, MemoryStore)
        clocked.queues.store.refused.add(refused)
    keys = [b"t:{u}:f", refused, b"t:{v}:f"]
    first, second, third = await clocked.queues.append_all(
        [
            (Append(KEY, payload, 10, GROUP), [Join(key, {b"a:1": payload}, FAR, 0)])
            for payload, key in zip((b"one", b"two", b"three"), keys, strict=True)
        ]
    )
    assert isinstance(second, StoreRefused)
    assert not isinstance(first, Unavailable)
    assert not isinstance(third, Unavailable)
    assert [one.joined for one in (*first[1], *third[1])] == [True, True]
    entries = (await clocked.queues.browse(Browse(KEY, b"", 9))).entries
    found = {entry.id: entry.payload for entry in entries}
    assert (found[first[0].id], found[third[0].id]) == (b"one", b"three")


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
    configured = StoreSettings(url=valkey_server.url)
    store = RedisStore(links_of(configured), configured)
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


async def test_what_the_store_refuses_for_good_is_distinguished_from_what_it_cannot_do_now(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    configured = StoreSettings(url=valkey_server.url)
    store = RedisStore(links_of(configured), configured)
    valkey.set("t:{u}:f", "somebody else's")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            await store.join(Join(b"t:{u}:f", {b"a:1": b"x"}, FAR, 0))
        valkey.config_set("maxmemory", "1")
        try:
            with pytest.raises(Unavailable) as caught:
                await store.join(Join(b"t:{v}:f", {b"a:1": b"x"}, FAR, 0))
        finally:
            valkey.config_set("maxmemory", "0")
        assert not isinstance(caught.value, StoreRefused)
        nursery.cancel_scope.cancel()


async def test_whether_any_of_many_queues_holds_anything_is_one_command(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    keys = [b"t:{w%d}:q" % number for number in range(17)]
    asked = [Length(key) for key in keys]
    async with opened("real", valkey_server) as form:
        appended, _ = await form.queues.append(Append(keys[3], b"one", 10, GROUP))
        assert await form.queues.lengths(*asked) == [int(key == keys[3]) for key in keys]
        await trio.sleep(0.002)  # in the millisecond of its last id an empty one stays
        await form.queues.finish(Finish(keys[3], (appended.id,), GROUP))
        valkey.config_resetstat()
        assert await form.queues.lengths(*asked) == [0] * len(keys)
        stats = valkey.info("commandstats")
        assert stats["cmdstat_exists"]["calls"] == 1
        assert "cmdstat_xlen" not in stats


async def test_a_server_that_is_a_whole_cluster_is_asked_about_each_queue() -> None:
    """It refuses one question about keys of several slots, though all of them are its own."""
    keys = [b"t:{w%d}:q" % number for number in range(3)]
    with serving("--cluster-enabled", "yes", port=free_ports(1)[0]) as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, ALL_SLOTS - 1)
            await until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        async with opened("real", server) as form:
            await form.queues.append(Append(keys[1], b"one", 10, GROUP))
            assert await form.queues.lengths(*map(Length, keys)) == [0, 1, 0]


async def test_what_is_done_is_taken_out_of_a_server_that_is_full(
    valkey_server: Server, valkey: redis.Redis
) -> None:
    async with opened("real", valkey_server) as form:
        appended, _ = await form.queues.append(Append(KEY, b"one", 10, GROUP))
        valkey.config_set("maxmemory", "1")
        try:
            with pytest.raises(Unavailable, match="maxmemory"):
                await form.queues.append(Append(KEY, b"two", 10, GROUP))
            (finished,) = await form.queues.finish(Finish(KEY, (appended.id,), GROUP))
        finally:
            valkey.config_set("maxmemory", "0")
        assert finished.count == 1
        assert await form.queues.lengths(Length(KEY)) == [0]


async def test_no_id_is_given_twice_though_queues_that_are_empty_go(valkey_server: Server) -> None:
    async with opened("real", valkey_server) as form:
        ids = []
        for _ in range(300):
            appended, _ = await form.queues.append(Append(KEY, b"one", 10, GROUP))
            await form.queues.finish(Finish(KEY, (appended.id,), GROUP))
            ids.append(appended.id)
        assert len(set(ids)) == len(ids)
