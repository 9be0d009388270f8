"""Claims of a sidecar that dies: another logs what it has not, and no mark is ever lost."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import NetworkChange, Subject
from sidecar.domain.policy.conditional_access import Networks, Selection
from sidecar.domain.values.stamp import at
from sidecar.service.audit.claims import STALE
from sidecar.service.audit.sweep import PENDING_PASSES
from sidecar.service.intake.worklog import OVERDUE
from sidecar.service.observations.observations import Cleared, Marked
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.ports.store import Join, JoinResult
from sidecar.wire.store.records import claim_field, claimed_at, last_logged_field
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens, assert_all_logged
from tests.waiting import until

RESTRICTED = policy(Networks(Selection(frozenset({"restricted"}))), name="segment")
EVENT = NetworkChange(stamp=at(1001, "e"), subject=Subject(device="d"), segment="restricted")
OFFICE = NetworkChange(stamp=at(1002, "f"), subject=Subject(device="d"), segment="office")
SESSIONS = [f"s{number}" for number in range(8)]


class Failing(MemoryStore):
    """Fails at the n-th round trip from now."""

    trips_left = 10**9

    def trip(self) -> None:
        self.trips_left -= 1
        if self.trips_left == 0:
            raise Unavailable("the store is away")
        super().trip()


class Scene:
    """A device with eight sessions of eight users, and two sidecars that have none in their view.

    One of them has taken an event of the device, and not logged it yet.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store, self.tokens = store, Tokens()
        self.shown = [
            self.tokens.issue(f"t-{one}", user=f"u-{one}", session=one, device="d")
            for one in SESSIONS
        ]

    async def begin(self) -> tuple[Pod, Pod]:
        first = self.pod("first")
        for shown in self.shown:
            assert (await first.check(shown)).verdict is Verdict.ALLOW
        await first.settle()
        self.store.pods.remove(first.news)
        self.names = [live.name for live in first.view]
        a, b = self.pod("a"), self.pod("b")
        await a.intake.accept(EVENT)
        return a, b

    def pod(self, name: str) -> Pod:
        pod = Pod(self.store, [RESTRICTED], self.tokens, name=name)
        pod.now += self.store.now
        return pod

    def wait(self, seconds: float, *pods: Pod) -> None:
        """Let so much time pass, for the store and these."""
        self.store.now += seconds
        for pod in pods:
            pod.now += seconds

    async def must_be_marked_at(self, pod: Pod) -> None:
        for shown in self.shown:
            assert (await pod.check(shown)).verdict is Verdict.STEP_UP


async def look(pod: Pod) -> None:
    """Claim what is overdue, as a sidecar does every two seconds."""
    await pod.worklog.look()
    await pod.worklog.strike_out()


@pytest.mark.parametrize("steps", range(1, 5))
async def test_whoever_dies_while_it_logs_leaves_no_mark_and_no_line_unlogged(
    steps: int, autojump_clock: MockClock
) -> None:
    scene = Scene(MemoryStore())
    store = scene.store
    a, b = await scene.begin()
    dies = store.round_trips + steps

    async def run() -> None:
        await a.settle()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lambda: store.round_trips >= dies, within=STALE / 2, every=0.0001)
        nursery.cancel_scope.cancel()
    store.pods.remove(a.news)
    # Nothing is lost of what is enforced, whoever logged it.
    await scene.must_be_marked_at(scene.pod("c"))
    scene.wait(max(OVERDUE, STALE), b)
    await look(b)
    assert_all_logged((a, b), SESSIONS, len(SESSIONS))
    # And it is logged once and for all.
    before = len(b.telemetry.of(Marked))
    scene.wait(10 * STALE, b)
    for pod in (b, scene.pod("d")):
        await look(pod)
        assert pod.worklog.waiting == 0
    assert len(b.telemetry.of(Marked)) == before


async def test_what_another_has_only_just_claimed_is_waited_for_and_not_logged_twice(
    autojump_clock: MockClock,
) -> None:
    scene = Scene(MemoryStore())
    a, b = await scene.begin()
    claimed, goes_on = trio.Event(), trio.Event()

    async def written() -> None:
        claimed.set()
        await goes_on.wait()

    a.auditor._claims._written = written  # noqa: SLF001 - where it stands still
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.settle)
        await claimed.wait()
        # All is claimed and logged, and not marked as logged; its entry comes to another meanwhile.
        begun = trio.current_time()
        nursery.start_soon(b.auditor.rescore, "event", scene.names, "e")
        await trio.sleep(STALE / 2)
        goes_on.set()
    assert trio.current_time() - begun < STALE
    assert_all_logged((a, b), SESSIONS, 0)


class Marking:
    """Two sidecars with a session, whose mark one of them has logged, and not marked as logged."""

    def __init__(self) -> None:
        store, tokens = MemoryStore(), Tokens()
        self.shown = tokens.issue("t", device="d")
        self.a, self.b = (Pod(store, [RESTRICTED], tokens, name=name) for name in ("a", "b"))
        self.logged, self.goes_on = trio.Event(), trio.Event()

    async def begin(self, nursery: trio.Nursery) -> None:
        for pod in (self.a, self.b):
            assert (await pod.check(self.shown)).verdict is Verdict.ALLOW
            await pod.settle()
        self.a.auditor._claims._written = self._written  # noqa: SLF001 - where it stands still
        await self.a.intake.accept(EVENT)
        nursery.start_soon(self.a.settle)
        await self.logged.wait()

    async def _written(self) -> None:
        self.logged.set()
        await self.goes_on.wait()

    def counts(self, kind: type) -> list[int]:
        return [len(pod.telemetry.of(kind)) for pod in (self.a, self.b)]


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_mark_that_ends_before_it_is_marked_as_logged_is_logged_as_cleared_soon(
    name: str, autojump_clock: MockClock
) -> None:
    marking = Marking()
    taker = marking.a if name == "a" else marking.b
    async with trio.open_nursery() as nursery:
        await marking.begin(nursery)
        await taker.intake.accept(OFFICE)
        nursery.start_soon(taker.settle)
        await trio.sleep(STALE / 2)
        marking.goes_on.set()
    assert (await marking.a.check(marking.shown)).verdict is Verdict.ALLOW
    assert (marking.counts(Marked), sum(marking.counts(Cleared))) == ([1, 0], 1)


async def test_where_its_sidecar_dies_then_another_finds_that_the_mark_has_ended(
    autojump_clock: MockClock,
) -> None:
    marking = Marking()
    a, b = marking.a, marking.b

    async def die(_: object) -> None:
        await trio.lowlevel.checkpoint()

    a.auditor._claims._on_marked = die  # noqa: SLF001 - after the last thing that it does
    async with trio.open_nursery() as nursery:
        await marking.begin(nursery)
        await a.intake.accept(OFFICE)
        nursery.start_soon(a.settle)
        await trio.testing.wait_all_tasks_blocked()  # it has found nothing to log
        await b.sweeper.sweep()
        marking.goes_on.set()
    assert marking.counts(Cleared) == [0, 0]
    for _ in range(PENDING_PASSES):
        await b.sweeper.sweep()
    await b.settle()
    assert (marking.counts(Marked), marking.counts(Cleared)) == ([1, 0], [0, 1])


@pytest.mark.parametrize("reads", [True, False])
async def test_who_lives_and_finds_the_store_away_logs_nothing_again(
    reads: bool, autojump_clock: MockClock
) -> None:
    store = Failing()
    scene = Scene(store)
    a, b = await scene.begin()
    a.auditor._claims._written = trio.lowlevel.checkpoint if reads else trio.sleep_forever  # noqa: SLF001
    tries = 0
    for trips in range(1, 12):
        store.trips_left = trips
        try:
            await a.settle()
        except Unavailable:
            tries += 1
        scene.wait(STALE + 1, a, b)
        store.trips_left = 10**9
        if tries:
            await look(a)
    await a.settle()
    await look(b)
    assert_all_logged((a, b), SESSIONS, 0)
    assert tries


class Refusing(MemoryStore):
    """Takes claims of all sessions, and of some not that they were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: set[bytes] = set()

    async def join(self, *joins: Join) -> list[JoinResult]:
        def takes(one: Join) -> bool:
            return one.key not in self.refuses or last_logged_field("segment") not in one.fields

        answers = await super().join(*filter(takes, joins))
        if len(answers) < len(joins):
            raise StoreRefused("the store refuses this")
        return answers


async def test_what_the_store_refuses_to_mark_holds_up_nothing_and_is_logged_once(
    autojump_clock: MockClock,
) -> None:
    store = Refusing()
    scene = Scene(store)
    a, b = await scene.begin()
    store.refuses = {a.names.session_record(scene.names[3])}
    async with trio.open_nursery() as nursery:
        await nursery.start(a.auditor.keep_marking)
        await a.settle()
        assert a.worklog.waiting == 0
        scene.wait(STALE, a, b)
        await look(b)
        assert_all_logged((a, b), SESSIONS, 0)
        for _ in range(3):
            scene.wait(STALE, a, b)
            await a.auditor.rescore("sweep", scene.names)
        assert_all_logged((a,), SESSIONS, 0)
        store.refuses.clear()
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    scene.wait(STALE, b)
    await b.auditor.rescore("sweep", scene.names)
    assert_all_logged((a, b), SESSIONS, 0)


def test_a_claim_says_when_it_was_made_or_is_nobodys() -> None:
    assert claimed_at(b"0000001700000000abc") == 1700000000
    for strange in (b"", b"1700000000", b"x" * 40, b"-000001700000000", b"\xff" * 16):
        assert claimed_at(strange) == 0
    fields = [claim_field("p", b"1a"), claim_field("p", b"1a", 2), claim_field("p", b"1a", 3)]
    assert len(set(fields)) == 3
