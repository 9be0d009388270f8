"""Whether the view's records are in the store still: what is asked, and what is made of it."""

from collections.abc import Mapping

import pytest

from sidecar.service.compact.records import RecordTables
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.ports.store import Load, Loaded
from sidecar.service.view.live_session import Tracked
from sidecar.service.view.upkeep.rereading import ASKED_AT_ONCE, CLOCKS_DIFFER, Rereading
from tests.service.memory import MemoryStore

NOW = 1_000_000.0
UNTIL = int(NOW + 86400) * 1000


class Asked(MemoryStore):
    """Notes of which keys it is asked; `meanwhile` goes from the view before it answers."""

    def __init__(self, records: RecordTables) -> None:
        super().__init__()
        self.of_view = records
        self.asked: list[tuple[bytes, ...]] = []
        self.meanwhile: bytes | None = None
        self.loads_fail = False
        self.let_go: list[bytes] = []

    async def load(self, *loads: Load) -> list[Loaded]:
        if self.loads_fail:
            raise Unavailable("it is away")
        return await super().load(*loads)

    async def expiries(self, *keys: bytes) -> list[int]:
        self.asked.append(keys)
        if self.meanwhile is not None:
            self.of_view.discard(self.meanwhile)
        return await super().expiries(*keys)


def view_of(count: int) -> tuple[Rereading, Asked, list[bytes], list[bytes]]:
    """The keys of some records in a view and in the store, and of what is saved anew."""
    records, keys = RecordTables(), [b"%d" % n for n in range(count)]
    store, saved = Asked(records), list[bytes]()
    for key in keys:
        tracked = Tracked(key, 0)
        tracked.record = {b"a:1": b"x"}
        records.put(tracked)
        store.records[key], store.expiries_of[key] = {b"a:1": b"x"}, UNTIL

    def keep(tracked: Tracked, _: Mapping[bytes, bytes]) -> None:
        saved.append(tracked.key)

    def refused(tracked: Tracked, _: StoreRefused) -> None:
        store.let_go.append(tracked.key)

    rereading = Rereading(
        store=store,
        records=records,
        clock=lambda: NOW,
        hear=lambda _, __: False,
        keep=keep,
        refused=refused,
    )
    return rereading, store, keys, saved


async def test_all_records_have_their_turn_and_each_question_is_of_many() -> None:
    rereading, store, keys, saved = view_of(3 * ASKED_AT_ONCE)
    for _ in range(4):
        assert await rereading.vanished(store, 0.25) == []
    assert sorted(key for asked in store.asked for key in asked) == sorted(keys)
    assert max(map(len, store.asked)) <= ASKED_AT_ONCE
    assert len(store.asked) == 4
    assert saved == []


async def test_what_was_never_there_is_asked_for_once_something_is_known_of_it() -> None:
    rereading, store, keys, saved = view_of(3)
    nothing = Tracked(b"new", 0)
    store.of_view.put(nothing)
    assert await rereading.vanished(store, 1.0) == []
    nothing.record = {b"a:1": b"x"}
    assert await rereading.vanished(store, 1.0) == []
    assert [sorted(asked) for asked in store.asked] == [keys, [*keys, b"new"]]
    store.records[b"new"], store.expiries_of[b"new"] = {b"a:1": b"x"}, UNTIL
    assert await rereading.vanished(store, 1.0) == []
    del store.records[b"new"]
    nothing.record = {}
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"new"]
    assert saved == [b"new"]


async def test_of_a_record_that_began_anew_what_the_store_lacks_is_lost() -> None:
    rereading, store, _, saved = view_of(3)
    assert await rereading.vanished(store, 1.0) == []
    for key in (b"0", b"1", b"2"):
        held = store.of_view.get(key)
        assert held is not None
        held.record = {b"a:1": b"x", b"a:2": b"y", b"a:3": b"z"}
        held.unsaved = {b"a:3": b"z"}
        store.records[key] = {b"a:1": b"x"}
    rereading.began(b"0", {b"a:1": b"x"})
    rereading.began(b"1", {b"a:1": b"x"})
    rereading.began(b"2", {b"a:1": b"x", b"a:2": b"y"})  # whoever began it has written all back
    rereading.began(b"unknown", {b"a:1": b"x"})
    store.records[b"1"][b"a:2"] = b"y"  # it was on its way
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"0"]
    assert saved == [b"0"]
    assert await rereading.vanished(store, 1.0) == []


async def test_what_was_written_just_before_a_failover_is_saved_and_is_no_loss() -> None:
    rereading, store, _, saved = view_of(1)
    held = store.of_view.get(b"0")
    assert held is not None
    held.record = {b"a:1": b"x", b"a:2": b"y"}
    rereading.began(b"0", {b"a:1": b"x"})  # and no look has seen it before
    assert await rereading.vanished(store, 1.0) == []
    assert saved == [b"0"]


async def test_a_record_that_began_anew_is_looked_into_once_the_store_answers() -> None:
    rereading, store, _, saved = view_of(1)
    held = store.of_view.get(b"0")
    assert held is not None
    held.record = {b"a:1": b"x", b"a:2": b"y"}
    assert await rereading.vanished(store, 1.0) == []
    rereading.began(b"0", {b"a:1": b"x"})
    store.away = True
    with pytest.raises(Unavailable):
        await rereading.vanished(store, 1.0)
    store.away = False
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"0"]
    assert saved == [b"0"]


async def test_what_has_vanished_counts_though_what_began_cannot_be_looked_into() -> None:
    rereading, store, _, saved = view_of(2)
    held = store.of_view.get(b"0")
    assert held is not None
    held.record = {b"a:1": b"x", b"a:2": b"y"}
    assert await rereading.vanished(store, 1.0) == []
    rereading.began(b"0", {b"a:1": b"x"})
    del store.records[b"1"]
    store.loads_fail = True
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"1"]
    store.loads_fail = False
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"0"]
    assert saved == [b"1", b"0"]


async def test_a_record_that_began_and_that_the_store_refuses_is_let_go() -> None:
    rereading, store, _, saved = view_of(2)
    for key in (b"0", b"1"):
        held = store.of_view.get(key)
        assert held is not None
        held.record = {b"a:1": b"x", b"a:2": b"y"}
    assert await rereading.vanished(store, 1.0) == []
    for key in (b"0", b"1"):
        rereading.began(key, {b"a:1": b"x"})
    store.refused.add(b"0")
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"1"]
    assert store.let_go == [b"0"]
    assert saved == [b"1"]


async def test_a_record_that_had_expired_by_itself_has_lost_nothing_when_it_begins_anew() -> None:
    rereading, store, _, saved = view_of(1)
    held = store.of_view.get(b"0")
    assert held is not None
    held.record = {b"a:1": b"x", b"a:2": b"y"}
    store.expiries_of[b"0"] = int(NOW) * 1000
    assert await rereading.vanished(store, 1.0) == []
    rereading.began(b"0", {b"a:1": b"x"})
    store.records[b"0"] = {b"a:1": b"x"}
    assert await rereading.vanished(store, 1.0) == []
    assert saved == []


async def test_of_two_that_are_gone_or_began_anew_both_are_written_back() -> None:
    rereading, store, _, saved = view_of(5)
    assert await rereading.vanished(store, 1.0) == []
    del store.records[b"1"]
    store.expiries_of[b"3"] -= int(CLOCKS_DIFFER * 1000) + 1
    assert {one.key for one in await rereading.vanished(store, 1.0)} == {b"1", b"3"}
    assert sorted(saved) == [b"1", b"3"]
    assert await rereading.vanished(store, 1.0) == []


async def test_what_leaves_the_view_while_the_store_is_asked_is_nobodys_loss() -> None:
    rereading, store, _, saved = view_of(3)
    assert await rereading.vanished(store, 1.0) == []
    del store.records[b"1"], store.records[b"2"]
    store.meanwhile = b"1"
    assert [one.key for one in await rereading.vanished(store, 1.0)] == [b"2"]
    assert saved == [b"2"]
