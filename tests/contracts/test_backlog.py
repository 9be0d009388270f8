"""The fake of shared work is held to the real one: both do the same, whatever is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.redis.backlog import RedisBacklogs
from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.audit.backlog import Backlogs, Outlook, TakenItem
from sidecar.wire.store.keys import StoreKeys
from tests.adapters.servers import Server, impatient
from tests.service.memory import MemoryBacklogs, MemoryStore
from tests.stories.running import unique

WHO = st.sampled_from(["a", "b", "c"])
BODIES = st.sampled_from([b"one", b"two", b"\0\xff"])
LIVES_LONG, AT_ONCE = 1000.0, 0.0
STEPS = st.one_of(
    st.tuples(st.just("begin"), BODIES),
    st.tuples(st.just("put"), BODIES, st.sampled_from(["", "", "x", "y"])),
    st.tuples(st.just("take"), WHO),
    st.tuples(st.just("keep"), WHO, st.integers(0, 5)),
    st.tuples(
        st.just("replace"),
        st.integers(0, 5),
        st.lists(BODIES, max_size=2),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    st.tuples(st.just("outlook")),
)


@asynccontextmanager
async def real(server: Server, stale: float) -> AsyncIterator[RedisBacklogs]:
    settings = impatient(server.url, retries=0)
    store = RedisStore(links_of(settings), settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield RedisBacklogs(store, StoreKeys("b"), stale=stale)
        nursery.cancel_scope.cancel()


async def play(backlogs: Backlogs, name: str, steps: list[Any]) -> list[object]:
    """What was answered, without the names of items."""
    taken: list[TakenItem] = []
    answers: list[object] = []
    for verb, *arguments in steps:
        match verb:
            case "begin":
                answers.append(await backlogs.begin(name, 17, *arguments))
            case "put":
                await backlogs.put(name, *arguments)
            case "take":
                item = await backlogs.take(name, *arguments)
                answers.append(item and item.body)
                taken += [item] if item else []
            case "keep" if taken:
                who, which = arguments
                answers.append(await backlogs.keep(name, who, taken[which % len(taken)]))
            case "replace" if taken:
                which, bodies, done, expected = arguments
                item = taken[which % len(taken)]
                answers.append(
                    await backlogs.replace(name, item, *bodies, done=done, expected=expected)
                )
            case "outlook":
                answers.append(await backlogs.outlook(name))
    return [*answers, await backlogs.outlook(name)]


@given(st.lists(STEPS, max_size=25), st.sampled_from([LIVES_LONG, AT_ONCE]))
@settings(deadline=None, max_examples=60)
def test_the_real_one_does_what_the_fake_does(
    valkey_server: Server, steps: list[Any], stale: float
) -> None:
    async def both() -> None:
        name = unique("b")
        fake = MemoryBacklogs(MemoryStore(), lambda: 0.0, stale)
        async with real(valkey_server, stale) as backlogs:
            assert await play(backlogs, name, steps) == await play(fake, name, steps)

    trio.run(both)


@pytest.fixture(params=["fake", "real"])
async def backlogs(
    request: pytest.FixtureRequest, valkey_server: Server
) -> AsyncIterator[Backlogs]:
    if request.param == "fake":
        yield MemoryBacklogs(MemoryStore(), lambda: 0.0, AT_ONCE)
        return
    async with real(valkey_server, AT_ONCE) as one:
        yield one


async def test_an_item_is_replaced_once_however_many_worked_on_it(backlogs: Backlogs) -> None:
    name = unique("b")
    await backlogs.put(name, b"walk")
    mine = await backlogs.take(name, "a")
    theirs = await backlogs.take(name, "b")
    assert mine is not None
    assert mine == theirs
    assert await backlogs.keep(name, "a", mine) is False
    assert await backlogs.keep(name, "b", theirs) is True
    assert await backlogs.replace(name, theirs, b"page", b"onward", done=3) is True
    assert await backlogs.replace(name, mine, b"page", b"onward", done=3) is False
    assert await backlogs.outlook(name) == Outlook(left=2, done=3)


async def test_what_is_finished_may_not_be_begun_again_and_may_be_put_to(
    backlogs: Backlogs,
) -> None:
    name = unique("b")
    assert await backlogs.begin(name, 5, b"first") is True
    assert await backlogs.begin(name, 6, b"again") is False
    item = await backlogs.take(name, "a")
    assert item is not None
    assert (await backlogs.outlook(name)).workers == ("a",)
    assert await backlogs.replace(name, item) is True
    assert (await backlogs.outlook(name)).finished
    assert await backlogs.take(name, "a") is None
    assert await backlogs.begin(name, 7, b"again") is False
    await backlogs.put(name, b"more")
    assert not (await backlogs.outlook(name)).finished
    assert await backlogs.take(name, "b") is not None


async def test_what_is_put_once_is_put_again_only_once_it_was_taken(backlogs: Backlogs) -> None:
    name = unique("b")
    for _ in range(3):
        await backlogs.put(name, b"walk", "it")
    await backlogs.put(name, b"walk", "another")
    assert (await backlogs.outlook(name)).left == 2
    item = await backlogs.take(name, "a")
    assert item is not None
    await backlogs.put(name, b"walk", "it")  # who has the first may have gone past it
    await backlogs.put(name, b"walk", "it")
    assert (await backlogs.outlook(name)).left == 3
    assert await backlogs.replace(name, item)
    await backlogs.put(name, b"walk", "it")
    assert (await backlogs.outlook(name)).left == 2


async def test_nothing_is_remembered_of_what_was_put_once_and_is_done(
    valkey_server: Server,
) -> None:
    name = unique("b")
    async with real(valkey_server, LIVES_LONG) as backlogs:
        for once in ("one", "two"):
            await backlogs.put(name, b"walk", once)
            item = await backlogs.take(name, "a")
            assert item is not None
            assert await backlogs.replace(name, item, done=1)
    with valkey_server.client() as client:
        assert client.hkeys(StoreKeys("b").backlog_counts(name)) == [b"done"]
