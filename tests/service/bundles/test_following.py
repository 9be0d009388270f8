"""Sidecars that follow one record in memory, and an operator who orders bundles in force."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.bundles.activator import PolicyActivator
from sidecar.service.bundles.follower import BundleFollower
from sidecar.service.bundles.library import BundleLibrary
from sidecar.service.bundles.orders import ActivationRefused, PolicyActDone, PolicyOrder
from sidecar.service.bundles.prefetch import BundlePrefetch
from sidecar.service.bundles.turnover import Turnover
from sidecar.service.observations.bundles import (
    BundleAtHand,
    BundleInForce,
    BundlePolled,
    BundlePollFailed,
    BundleRefused,
)
from sidecar.service.observations.observations import Observation
from sidecar.service.records.generations import GenerationRecords
from sidecar.wire.bundles.archive import digest_of, pack
from sidecar.wire.bundles.bundle import Bundle, SignedBytes
from sidecar.wire.bundles.generations import ACTIVE, SEALED, Generation, PolicyAct, encode, field_of
from sidecar.wire.bundles.minisign import SecretKey, sign
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem
from tests.service.memory import MemoryStore

KEY, FOREIGN = SecretKey(bytes(8), bytes(32)), SecretKey(b"12345678", b"1" * 32)
NAMES = StoreKeys("sc")
POLL = 60.0


def signed(number: int, key: SecretKey | None = KEY) -> SignedBytes:
    archive = pack({"policies/a.yaml": b"%d" % number}, sequence=number, made_at=0, policy_set="")
    return SignedBytes(archive, "" if key is None else sign(key, archive, ""))


class Source:
    """A source that all sidecars share; it may be away."""

    def __init__(self) -> None:
        self.bundles: dict[int, SignedBytes] = {}
        self.away = False
        self.slow = 0.0
        self.fetched: list[int] = []

    async def newest(self) -> int:
        if self.away:
            raise InvalidBundle(BundleFlaw.UNAVAILABLE, "the source is away")
        return max(self.bundles, default=0)

    async def fetch(self, sequence: int) -> SignedBytes:
        if self.away or sequence not in self.bundles:
            raise InvalidBundle(BundleFlaw.UNAVAILABLE, "the source is away")
        self.fetched.append(sequence)
        await trio.sleep(self.slow)  # virtual time
        return self.bundles[sequence]


class Cache:
    """What one sidecar keeps."""

    def __init__(self) -> None:
        self.kept: dict[str, SignedBytes] = {}

    async def find(self, digest: str) -> SignedBytes | None:
        return self.kept.get(digest)

    async def keep(self, bundle: Bundle, given: SignedBytes) -> None:
        self.kept[bundle.digest] = given


class News:
    """No news at all: the looks alone must do."""

    async def follow(self, *channels: bytes) -> None:
        pass

    def unfollow(self, channel: bytes) -> None:
        pass

    def staleness(self) -> float:
        return 0.0


class Sidecar:
    """One of them; `judging` is the number of the bundle that judges."""

    def __init__(self, name: str, store: MemoryStore, source: Source, cache: Cache) -> None:
        self.seen: list[Observation] = []
        self.trouble = self.limps = ""
        self.judging = 0
        self.misfit = ""
        self.keys = (KEY.public,)
        records = GenerationRecords(store, NAMES, self.clock)
        library = BundleLibrary(source, cache, lambda: self.keys)
        self.turnover = Turnover(self, clock=self.clock)
        self.follower = BundleFollower(
            sidecar=name,
            records=records,
            news=News(),
            library=library,
            turnover=self.turnover,
            sets=self,
            telemetry=self,  # type: ignore[arg-type]
            clock=self.clock,
            max_staleness=lambda: 10.0,
            judge=self.judge,
            jitter=lambda: 0.5,
        )
        self.activator = PolicyActivator(
            records=records,
            library=library,
            sets=self,
            telemetry=self,  # type: ignore[arg-type]
            clock=self.clock,
            here=lambda: self.turnover.in_force,
        )
        self.prefetch = BundlePrefetch(
            library=library,
            in_force=lambda: self.turnover.in_force,
            interval=POLL,
            telemetry=self,  # type: ignore[arg-type]
            jitter=lambda: 0.5,
        )

    @staticmethod
    def clock() -> float:
        return 1_000_000 + trio.current_time()

    def judge(self, bad: str, limps: str) -> None:
        self.trouble, self.limps = bad, limps

    def record(self, seen: Observation) -> None:
        self.seen.append(seen)

    def flaws(self) -> list[BundleFlaw]:
        return [one.flaw for one in self.seen if isinstance(one, BundleRefused)]

    async def prepare(self, bundle: Bundle) -> int:
        if self.misfit:
            raise ConfigError((ConfigProblem("bundle/policies/a.yaml", 3, "x", self.misfit),))
        return bundle.sequence

    def is_current(self, prepared: Any) -> bool:
        return True

    def swap(self, prepared: Any) -> None:
        self.judging = prepared

    async def followed(self) -> None:
        pass

    def judges(self) -> int:
        return self.judging if self.turnover.passes(self.clock()) else 0


class Fleet:
    """Three of them upon one store and one source."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.store, self.source = MemoryStore(), Source()
        self.source.bundles = {number: signed(number) for number in (1, 2, 3)}
        self.nursery = nursery
        self.sidecars: list[Sidecar] = []

    def polls(self) -> list[tuple[str, int]]:
        """The outcome of the last look of each at what is published, and what is at hand since."""
        looks = [[o for o in one.seen if isinstance(o, BundlePolled)] for one in self.sidecars]
        return [(of_one[-1].outcome.value, of_one[-1].sequence) for of_one in looks]

    async def add(self, cache: Cache | None = None) -> Sidecar:
        name = f"sidecar-{len(self.sidecars)}"
        sidecar = Sidecar(name, self.store, self.source, cache or Cache())
        self.sidecars.append(sidecar)
        await self.nursery.start(sidecar.follower.run)
        await trio.sleep(1)  # the pace of looks, in virtual time
        return sidecar

    async def order(self, number: int, act: PolicyAct = PolicyAct.ACTIVATE, **more: Any) -> Any:
        """Order it at the first; returns what was done, or why not."""
        order = PolicyOrder(reason="why", sequence=number, **more)
        try:
            return await self.sidecars[0].activator.act(act, order, "ada")
        except ActivationRefused as error:
            return str(error)

    def misfit(self, number: int) -> None:
        self.sidecars[number].misfit = "no context c9"

    def judge(self) -> list[int]:
        return [one.judges() for one in self.sidecars]

    def write(self, one: Generation) -> None:
        """Write into the record as somebody who may write the store."""
        record = self.store.records.setdefault(NAMES.policies_record(), {})
        record[field_of(ACTIVE, one.term)] = encode(one, one.term)
        record[field_of(SEALED, one.term)] = encode(one.moment, one.term)

    def forged(self, number: int, **more: Any) -> Generation:
        moment = int(Sidecar.clock() * MICROSECONDS)
        given = self.source.bundles[number]
        values = {"term": 50, "act": PolicyAct.ACTIVATE, "digest": digest_of(given.archive), **more}
        return Generation(
            sequence=number, moment=moment, by="mallory", reason="", at=moment, **values
        )


@pytest.fixture
async def fleet(nursery: trio.Nursery, autojump_clock: MockClock) -> Fleet:
    made = Fleet(nursery)
    for _ in range(3):
        await made.add()
    return made


async def test_nothing_judges_before_an_activation_and_all_from_its_moment_on(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    assert fleet.judge() == [0, 0, 0]
    assert "activate" in fleet.sidecars[0].trouble
    done = await fleet.order(1)
    assert isinstance(done, PolicyActDone)
    assert (done.sidecars, done.ready, done.in_force) == (3, 3, 3)
    assert Sidecar.clock() >= done.moment
    assert fleet.judge() == [1, 1, 1]
    assert [one.trouble for one in fleet.sidecars] == ["", "", ""]
    in_force = [one for one in fleet.sidecars[2].seen if isinstance(one, BundleInForce)]
    assert [(one.sequence, one.by, one.reason) for one in in_force] == [(1, "ada", "why")]


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (lambda fleet: fleet.source.bundles.update({2: signed(2, None)}), "unsigned"),
        (lambda fleet: fleet.source.bundles.update({2: signed(2, FOREIGN)}), "foreign-key"),
        (lambda fleet: fleet.source.bundles.update({2: signed(3)}), "tampered"),
        (lambda fleet: fleet.source.bundles.pop(2), "unavailable"),
        (
            lambda fleet: fleet.misfit(0),
            "yaml:3: x: no",
        ),
        (
            lambda fleet: fleet.misfit(2),
            "unusable: bundle",
        ),
    ],
)
async def test_what_is_not_right_everywhere_changes_nothing(
    fleet: Fleet, autojump_clock: MockClock, plant: Callable[[Fleet], object], words: str
) -> None:
    await fleet.order(1)
    plant(fleet)
    assert words in await fleet.order(2)
    await trio.sleep(30)
    assert fleet.judge() == [1, 1, 1]
    fleet.sidecars[0].misfit = fleet.sidecars[2].misfit = ""
    fleet.source.bundles[2] = signed(2)
    done = await fleet.order(2)
    assert done.in_force == 3


async def test_an_older_one_needs_a_rollback_which_needs_no_source(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    assert "no bundle was in force" in await fleet.order(0, PolicyAct.ROLLBACK)
    await fleet.order(1)
    await fleet.order(2)
    assert "older" in await fleet.order(1)
    assert "in force already" in await fleet.order(2)
    assert "was not in force" in await fleet.order(3, PolicyAct.ROLLBACK)
    fleet.source.away = True
    done = await fleet.order(0, PolicyAct.ROLLBACK)
    assert (done.sequence, done.in_force) == (1, 3)
    assert fleet.judge() == [1, 1, 1]
    fleet.source.away = False
    assert (await fleet.order(2)).in_force == 3
    page = await fleet.sidecars[1].activator.page()
    assert [(one.act, one.sequence) for one in page.activations] == [
        (PolicyAct.ACTIVATE, 2),
        (PolicyAct.ROLLBACK, 1),
        (PolicyAct.ACTIVATE, 2),
        (PolicyAct.ACTIVATE, 1),
    ]


async def test_one_without_the_bundle_judges_nothing_where_it_goes_on_without(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    fleet.sidecars[2].misfit = "no context c9"
    done = await fleet.order(2, partial=True)
    assert (done.ready, done.in_force) == (2, 2)
    assert fleet.judge() == [2, 2, 0]
    assert "no context c9" in fleet.sidecars[2].trouble
    fleet.sidecars[2].misfit = ""
    await trio.sleep(60)
    assert fleet.judge() == [2, 2, 2]


@pytest.mark.parametrize(
    ("number", "key", "expected"),
    [
        (3, None, BundleFlaw.UNSIGNED),
        (3, FOREIGN, BundleFlaw.FOREIGN_KEY),
        (1, KEY, BundleFlaw.OLDER),
    ],
)
async def test_who_writes_the_store_alone_brings_no_policies_and_stops_no_sidecar(
    fleet: Fleet,
    autojump_clock: MockClock,
    number: int,
    key: SecretKey | None,
    expected: BundleFlaw,
) -> None:
    await fleet.order(1)
    await fleet.order(2)
    fleet.source.bundles[number] = signed(number, key)
    fleet.write(fleet.forged(number))
    await trio.sleep(10)
    assert fleet.judge() == [2, 2, 2]
    assert [one.flaws() for one in fleet.sidecars] == [[expected]] * 3
    assert all("is refused here" in one.limps for one in fleet.sidecars)
    fleet.source.bundles[3] = signed(3)
    assert (await fleet.order(3)).in_force == 3


async def test_one_that_starts_takes_the_source_or_else_its_cache_or_judges_nothing(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    kept = Cache()
    assert (await fleet.add(kept)).judges() == 1
    fleet.source.away = True
    assert (await fleet.add(kept)).judges() == 1
    changed = Cache()
    changed.kept = {digest: signed(2) for digest in kept.kept}
    assert (await fleet.add(changed)).judges() == 0
    none = await fleet.add()
    assert none.judges() == 0
    assert "the source is away" in none.trouble
    fleet.source.away = False
    await trio.sleep(60)
    assert set(fleet.judge()) == {1}


async def test_a_store_that_was_emptied_is_given_back_what_is_in_force(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    fleet.store.records.clear()
    await trio.sleep(3)
    assert (await fleet.add()).judges() == 1


async def test_during_a_turn_nothing_is_judged_while_the_store_is_away_and_before_it_all(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    fleet.store.away = True
    await trio.sleep(60)
    assert fleet.judge() == [1, 1, 1]
    fleet.store.away = False
    fleet.source.bundles.pop(2)
    records = GenerationRecords(fleet.store, NAMES, Sidecar.clock)
    until = int((Sidecar.clock() + 30) * MICROSECONDS)
    await records.propose(Generation(9, 2, "0" * 64, until, PolicyAct.ACTIVATE, "", "", 0))
    await trio.sleep(2)
    assert fleet.judge() == [1, 1, 1]
    fleet.store.away = True
    await trio.sleep(1)
    assert fleet.judge() == [0, 0, 0]
    fleet.store.away = False
    await trio.sleep(40)
    assert fleet.judge() == [1, 1, 1]


async def test_what_its_proposer_did_not_seal_is_sealed_by_another(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    generation = fleet.forged(2, term=9)
    record = fleet.store.records[NAMES.policies_record()]
    record[field_of(ACTIVE, 9)] = encode(generation, 9)
    await trio.sleep(2)
    assert fleet.judge() == [0, 0, 0]
    await trio.sleep(4)
    assert fleet.judge() == [2, 2, 2]


async def test_two_at_once_do_not_both_count(fleet: Fleet, autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []

    async def order(sidecar: Sidecar, number: int) -> None:
        try:
            outcomes.append(
                await sidecar.activator.act(
                    PolicyAct.ACTIVATE, PolicyOrder(reason="why", sequence=number), "ada"
                )
            )
        except ActivationRefused as error:
            outcomes.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(order, fleet.sidecars[0], 1)
        nursery.start_soon(order, fleet.sidecars[1], 2)
    (done,) = [one for one in outcomes if isinstance(one, PolicyActDone)]
    assert len(outcomes) == 2
    assert fleet.judge() == [done.sequence] * 3


@pytest.fixture
async def polling(fleet: Fleet) -> Fleet:
    """The fleet, each of which looks for what is published; bundle 1 is in force."""
    await fleet.order(1)
    fleet.source.bundles.pop(3)
    for one in fleet.sidecars:
        await fleet.nursery.start(one.prefetch.run)
    await trio.sleep(POLL)  # the pace of looks, in virtual time
    assert fleet.polls() == [("fetched", 2)] * 3
    return fleet


async def test_an_activation_does_not_wait_for_a_source_that_is_slow_or_away(
    polling: Fleet, autojump_clock: MockClock
) -> None:
    polling.source.slow, polling.source.fetched = 300.0, []
    asked = Sidecar.clock()
    assert (await polling.order(2)).in_force == 3
    assert Sidecar.clock() - asked < 1.0  # virtual time: nothing was waited for but the moment
    assert polling.source.fetched == []
    polling.source.slow = 0.0
    polling.source.bundles[3] = signed(3)
    await trio.sleep(2 * POLL)
    assert polling.polls() == [("unchanged", 3)] * 3
    polling.source.away = True
    await trio.sleep(2 * POLL)
    assert polling.polls() == [("unavailable", 3)] * 3
    assert (await polling.order(3)).in_force == 3
    failures = [one for one in polling.sidecars[0].seen if isinstance(one, BundlePollFailed)]
    assert len(failures) == 1  # and not one for each look


async def test_what_is_published_and_not_right_is_not_at_hand_and_changes_nothing(
    polling: Fleet, autojump_clock: MockClock
) -> None:
    page = SignedBytes(b"<html>", "<html>")
    for bundle in (signed(3, None), signed(3, FOREIGN), signed(2), page):
        polling.source.bundles[3] = bundle
        await trio.sleep(2 * POLL)
        assert polling.polls() == [("refused", 0)] * 3
    assert polling.judge() == [1, 1, 1]
    assert (await polling.order(2)).in_force == 3
    polling.source.bundles[3] = signed(3)
    await trio.sleep(2 * POLL)
    assert polling.polls() == [("unchanged", 3)] * 3
    at_hand = [one.sequence for one in polling.sidecars[0].seen if isinstance(one, BundleAtHand)]
    assert at_hand == [2, 3]


async def test_what_is_withdrawn_or_whose_key_counts_no_more_is_not_activated_from_memory(
    polling: Fleet, autojump_clock: MockClock
) -> None:
    polling.source.bundles.pop(2)
    await trio.sleep(2 * POLL)
    assert polling.polls() == [("nothing-newer", 0)] * 3
    assert "unavailable" in await polling.order(2)
    polling.source.bundles[2] = signed(2)
    await trio.sleep(2 * POLL)
    for one in polling.sidecars:
        one.keys = (FOREIGN.public,)
    assert "foreign-key" in await polling.order(2)
    assert polling.judge() == [1, 1, 1]


async def test_a_signature_that_was_not_there_for_a_moment_costs_no_sidecar_its_turn(
    fleet: Fleet, autojump_clock: MockClock
) -> None:
    await fleet.order(1)
    whole = fleet.source.bundles[2]
    for broken in (SignedBytes(whole.archive, ""), SignedBytes(whole.archive, "<html>")):
        fleet.source.bundles[2] = broken
        fleet.write(fleet.forged(2, term=9))
        await trio.sleep(5)
        assert fleet.judge() == [1, 1, 1]
    fleet.source.bundles[2] = whole
    await trio.sleep(60)
    assert fleet.judge() == [2, 2, 2]
    assert [one.limps for one in fleet.sidecars] == [""] * 3
