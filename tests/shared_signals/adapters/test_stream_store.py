"""The transmitter's scripts on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import redis
import trio

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.evaluation.announcement import (
    RISK,
    Announcement,
    SessionOver,
    TopicAnnouncement,
)
from sidecar.service.audit.announcer import Shelved
from sidecar.shared_signals.adapters.stream_store import RedisStreams
from sidecar.shared_signals.service.stream_store import Handout
from sidecar.shared_signals.wire.stream_api import POLL
from sidecar.shared_signals.wire.stream_config import Outgoing
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.keys import StoreKeys

FRESH, KNOWN, BEHIND = Shelved.FRESH, Shelved.KNOWN, Shelved.BEHIND


def news(
    moment: int, name: str, session: str = "s", topic: str = "!x", after: int | None = None
) -> TopicAnnouncement:
    announcement = Announcement(
        id=name, cause="c", at=1, session=session, user="u", change=SessionOver()
    )
    before = b"" if after is None else f"{after:016d}x.".encode()
    return TopicAnnouncement(topic, before, f"{moment:016d}x.".encode(), announcement)


@asynccontextmanager
async def streams(
    url: str, *, max_recorded: int = 100, max_backlog: int = 100
) -> AsyncIterator[RedisStreams]:
    settings = StoreSettings(url=url)
    store = RedisStore(links_of(settings), settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield RedisStreams(
            store, StoreKeys("su"), max_recorded=max_recorded, max_backlog=max_backlog
        )
        nursery.cancel_scope.cancel()


def stream(name: str) -> Outgoing:
    return Outgoing(id=name, recipient="r", method=POLL)


async def ids(store: RedisStreams, name: str) -> list[str]:
    return [one.id for one in (await store.backlog(name, 100)).first]


async def test_what_is_recorded_is_read_in_order(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        assert (await store.record([news(1, "a"), news(1, "b", topic="!y")])).outcomes == (
            FRESH,
            FRESH,
        )
        assert (await store.record([news(2, "c")])).outcomes == (FRESH,)
        batch = await store.recorded(10)
        assert [one.id for one in batch.announcements if one] == ["a", "b", "c"]
        assert batch.cursor == "0-0"


async def test_what_another_recorded_already_is_not_recorded_again(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        await store.record([news(5, "a")])
        later, same = news(6, "a"), news(5, "b")
        assert (await store.record([later])).outcomes == (KNOWN,), "the same, found a moment later"
        assert (await store.record([same])).outcomes == (KNOWN,)
        assert (await store.record([news(4, "c")])).outcomes == (KNOWN,), "older than the last"
        assert (await store.record([news(6, "d")])).outcomes == (FRESH,)
        assert (await store.record([news(4, "a", session="t")])).outcomes == (FRESH,)


async def test_who_does_not_know_the_last_records_nothing_until_its_teller_counts_for_dead(
    valkey_url: str,
) -> None:
    second = 1_000_000
    async with streams(valkey_url) as store:
        first = news(100 * second, "a", topic=RISK)
        assert (await store.record([first])).outcomes == (FRESH,)
        other = news(101 * second, "b", topic=RISK)
        assert (await store.record([other])).outcomes == (BEHIND,)
        same = news(101 * second, "a", topic=RISK)
        assert (await store.record([same])).outcomes == (KNOWN,), "what a dead one recorded"
        knows = news(102 * second, "c", topic=RISK, after=100 * second)
        assert (await store.record([knows])).outcomes == (FRESH,)
        late = news(112 * second, "d", topic=RISK, after=100 * second)
        assert (await store.record([late])).outcomes == (FRESH,)


async def test_of_too_much_that_is_recorded_the_oldest_go_and_are_counted(valkey_url: str) -> None:
    async with streams(valkey_url, max_recorded=3) as store:
        recorded = await store.record([news(i, f"{i}") for i in range(1, 6)])
        assert recorded.dropped == 2
        batch = await store.recorded(10)
        assert [one.id for one in batch.announcements if one] == ["3", "4", "5"]


async def test_a_batch_is_handed_out_once_whoever_does_it(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        assert await store.replace(None, stream("s1"))
        await store.record([news(1, "a"), news(2, "b")])
        mine, others = await store.recorded(1), await store.recorded(10)
        assert await store.hand_out(mine, [Handout("s1", "a", b"A")]) == {"s1": 0}
        assert await store.hand_out(others, [Handout("s1", "b", b"B")]) is None
        assert await store.hand_out(mine, [Handout("s1", "a", b"A")]) is not None, "a lost answer"
        assert await ids(store, "s1") == ["a"]
        rest = await store.recorded(10)
        assert rest.cursor == mine.until
        assert [one.id for one in rest.announcements if one] == ["b"]


async def test_what_is_handed_out_is_forgotten_as_recorded(
    valkey_url: str, valkey: redis.Redis
) -> None:
    async with streams(valkey_url) as store:
        await store.record([news(1, "a")])
        await store.hand_out(await store.recorded(10), [])
        assert valkey.xlen("su:{transmitter}:recorded") == 0
        assert (await store.recorded(10)).announcements == ()
        await store.record([news(2, "b")])
        assert [one.id for one in (await store.recorded(10)).announcements if one] == ["b"]


async def test_what_nobody_can_read_is_passed_over(valkey_url: str, valkey: redis.Redis) -> None:
    async with streams(valkey_url) as store:
        valkey.xadd("su:{transmitter}:recorded", {"a": b"\xff not ours"})
        valkey.xadd("su:{transmitter}:recorded", {"other": b"x"})
        assert (await store.recorded(10)).announcements == (None, None)


async def test_of_a_full_backlog_the_oldest_go_and_are_counted(valkey_url: str) -> None:
    async with streams(valkey_url, max_backlog=2) as store:
        await store.replace(None, stream("s1"))
        await store.record([news(1, "x")])
        handouts = [Handout("s1", name, b"{}") for name in "abc"]
        assert await store.hand_out(await store.recorded(1), handouts) == {"s1": 1}
        assert await store.enqueue(Handout("s1", "d", b"{}")) == 1
        assert await ids(store, "s1") == ["c", "d"]


async def test_an_event_waits_once_in_a_stream(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        await store.enqueue(Handout("s1", "a", b"1"))
        await store.enqueue(Handout("s1", "b", b"2"))
        await store.enqueue(Handout("s1", "a", b"3"))
        backlog = await store.backlog("s1", 10)
        assert [(one.id, one.claims) for one in backlog.first] == [("a", b"1"), ("b", b"2")]
        assert (await store.backlog("s1", 1)).count == 2
        assert (await store.backlog("s1", 0)).first == ()
        assert (await store.backlog("s1", 0)).count == 2


async def test_what_is_done_no_longer_waits(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        for name in "abc":
            await store.enqueue(Handout("s1", name, b"{}"))
        assert await store.done("s1", ["b", "unknown"]) == ("b",)
        assert await store.done("s1", ["b"]) == ()
        assert await store.done("s1", []) == ()
        assert await ids(store, "s1") == ["a", "c"]
        await store.clear("s1")
        assert await ids(store, "s1") == []


async def test_nothing_is_handed_to_a_stream_that_is_gone(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        await store.replace(None, stream("s1"))
        await store.record([news(1, "a")])
        batch = await store.recorded(1)
        await store.delete(stream("s1"))
        assert await store.hand_out(batch, [Handout("s1", "a", b"{}")]) == {"s1": 0}
        assert (await store.backlog("s1", 1)).count == 0


async def test_a_stream_is_changed_from_what_it_was_or_not_at_all(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        first = stream("s1")
        second = msgspec.structs.replace(first, description="mine")
        third = msgspec.structs.replace(first, description="theirs")
        assert await store.replace(None, first)
        assert not await store.replace(None, second)
        before = (await store.recorded(1)).revision
        assert await store.replace(first, second)
        assert await store.replace(first, second), "done again after a lost answer"
        assert not await store.replace(first, third)
        assert await store.streams() == (second,)
        assert (await store.recorded(1)).revision == before + 1


async def test_subjects_are_bounded_and_change_the_revision(valkey_url: str) -> None:
    async with streams(valkey_url) as store:
        assert await store.put_subject("s1", "a", b"A", 2)
        assert await store.put_subject("s1", "b", b"B", 2)
        assert await store.put_subject("s1", "a", b"A", 2), "it is there already"
        assert not await store.put_subject("s1", "c", b"C", 2)
        assert sorted(await store.subjects("s1")) == [b"A", b"B"]
        before = (await store.recorded(1)).revision
        await store.drop_subject("s1", "a")
        assert await store.subjects("s1") == (b"B",)
        assert (await store.recorded(1)).revision > before
        await store.delete(stream("s1"))
        assert await store.subjects("s1") == ()
