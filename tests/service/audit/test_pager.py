"""A page of shared work stays with who works on it, however long its slices take."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock

from sidecar.service.audit.backlog import STALE, TakenItem
from sidecar.service.audit.pager import SLICE, Pager
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.store.keys import SessionName
from tests.service.memory import MemoryBacklogs, MemoryStore, Pod, Tokens

NAMES = [SessionName("user", f"s{number}") for number in range(3 * SLICE)]
BACKLOG = "pages"


class Sidecar:
    """One that works on pages; `judge` is what it does to a slice of them."""

    def __init__(self, name: str, store: MemoryStore, judge: Callable[[], object]) -> None:
        self.name = name
        self.backlogs = MemoryBacklogs(store, trio.current_time)
        self.judged: list[SessionName] = []
        self._judge = judge
        self._pager = Pager(
            sidecar=name,
            backlogs=self.backlogs,
            auditor=Pod(store, [], Tokens(), name=name).auditor,
            share=lambda: 1.0,
        )

    async def _judged(self, names: Sequence[SessionName]) -> None:
        self._judge()
        await trio.sleep(1.5 * STALE)  # as long as judging takes it; virtual time
        self.judged += names

    async def take(self) -> TakenItem | None:
        return await self.backlogs.take(BACKLOG, self.name)

    async def work(self, item: TakenItem) -> None:
        await self._pager.work(BACKLOG, item, NAMES, self._judged)

    async def run(self) -> None:
        while (await self.backlogs.outlook(BACKLOG)).left:
            item = await self.take()
            if item is not None:
                await self.work(item)
            else:
                await trio.sleep(STALE / 10)  # the pace of looking; virtual time


async def two(judge: Callable[[], object] = lambda: None) -> tuple[MemoryStore, Sidecar, Sidecar]:
    store = MemoryStore()
    a, b = (Sidecar(name, store, judge) for name in "ab")
    await a.backlogs.put(BACKLOG, b"page")
    return store, a, b


async def test_slices_that_take_longer_than_an_item_keeps_are_judged_once_each(
    autojump_clock: MockClock,
) -> None:
    _, a, b = await two()
    with trio.fail_after(60 * STALE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.run)
            nursery.start_soon(b.run)
    assert Counter(a.judged + b.judged) == Counter(NAMES)
    assert (await a.backlogs.outlook(BACKLOG)).done == len(NAMES)


async def test_what_another_took_meanwhile_is_left_to_it_after_the_slice(
    autojump_clock: MockClock,
) -> None:
    store, a, b = await two()
    item = await a.take()
    assert item is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.work, item)
        await trio.sleep(STALE / 10)
        store.away = True
        await trio.sleep(1.1 * STALE)
        store.away = False
        assert await b.take() == item
    assert a.judged == NAMES[:SLICE]
    await b.work(item)
    assert b.judged == NAMES


async def test_a_store_that_is_away_for_a_moment_takes_no_page_from_anybody(
    autojump_clock: MockClock,
) -> None:
    store, a, _ = await two()
    item = await a.take()
    assert item is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.work, item)
        await trio.sleep(STALE / 10)
        store.away = True
        await trio.sleep(STALE / 2)
        store.away = False
    assert a.judged == NAMES
    assert (await a.backlogs.outlook(BACKLOG)).left == 0


async def test_what_goes_wrong_is_raised_as_it_is_and_the_page_is_anothers_to_take(
    autojump_clock: MockClock,
) -> None:
    def fail() -> None:
        raise Unavailable("the store is away")

    _, a, b = await two(fail)
    item = await a.take()
    assert item is not None
    with pytest.raises(Unavailable, match="the store is away"):
        await a.work(item)
    await trio.sleep(STALE)
    assert await b.take() == item
