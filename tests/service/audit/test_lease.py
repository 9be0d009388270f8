"""A lease: one of many holds it, keeps it while it lives, and is followed when it dies."""

import pytest

from sidecar.service.audit.lease import TERM, Lease
from sidecar.service.ports.calls import Unavailable
from sidecar.service.records.fleet import FleetRecords
from sidecar.wire.store.keys import StoreKeys
from tests.service.memory import MemoryStore

WORK = "transmit"
KEY = StoreKeys("su").lease_record(WORK)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def leases(store: MemoryStore, clock: Clock, *names: str, work: str = WORK) -> list[Lease]:
    records = FleetRecords(store, StoreKeys("su"), clock)
    return [Lease(work=work, sidecar=name, records=records, clock=clock) for name in names]


async def test_one_of_many_holds_it_and_goes_on_holding_it() -> None:
    store, clock = MemoryStore(), Clock()
    a, b, c = leases(store, clock, "a", "b", "c")
    for _ in range(20):
        assert [await one.holds() for one in (a, b, c)] == [True, False, False]
        assert [one.held for one in (a, b, c)] == [True, False, False]
        clock.now += TERM / 2


async def test_within_two_terms_a_dead_holder_is_followed() -> None:
    store, clock = MemoryStore(), Clock()
    a, b = leases(store, clock, "a", "b")
    assert await a.holds()
    assert not await b.holds()
    clock.now += 2 * TERM
    assert await b.holds()
    assert not a.held
    assert not await a.holds()


async def test_whoever_does_not_hold_it_takes_no_term_ahead() -> None:
    store, clock = MemoryStore(), Clock()
    a, b = leases(store, clock, "a", "b")
    assert await a.holds()
    for _ in range(20):
        assert [await one.holds() for one in (b, a)] == [False, True]
        clock.now += TERM


async def test_a_holder_asks_the_store_once_a_term() -> None:
    store, clock = MemoryStore(), Clock()
    (a,) = leases(store, clock, "a")
    assert await a.holds()
    clock.now += TERM
    before = store.round_trips
    for _ in range(50):
        assert await a.holds()
    assert store.round_trips == before + 1


async def test_leases_for_different_work_know_nothing_of_each_other() -> None:
    store, clock = MemoryStore(), Clock()
    (a,) = leases(store, clock, "a")
    (b,) = leases(store, clock, "b", work="poll")
    assert await a.holds()
    assert await b.holds()


async def test_with_the_store_away_it_is_held_until_the_next_term_is_over_and_no_longer() -> None:
    store, clock = MemoryStore(), Clock()
    (a,) = leases(store, clock, "a")
    assert await a.holds()
    store.away = True
    clock.now += TERM
    with pytest.raises(Unavailable):
        await a.holds()
    assert a.held
    clock.now += TERM
    assert not a.held
