"""One event for very many sessions: logged once each, whoever dies, and small events go first."""

from collections import Counter

import pytest
import trio

from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.audit.backlog import STALE
from sidecar.service.audit.fan_out import BACKLOG
from sidecar.service.audit.pager import SLICE
from sidecar.service.observations.observations import (
    Cleared,
    FactsSetAside,
    Rescored,
    SetAsideReason,
)
from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import MEMBERS_BOUND, Load, Loaded
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens, assert_all_logged, marked
from tests.waiting import until

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
SESSIONS = MEMBERS_BOUND + 43
ALL = Counter({f"s{number}": 1 for number in range(SESSIONS)})
RISE = RiskLevelChange(stamp=at(1005, "rise"), subject=Subject(user="bot"), level=RiskLevel.HIGH)

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def crowd(store: MemoryStore, sessions: int = SESSIONS, user: str = "bot") -> None:
    """Sessions of one user that no view of the tests' pods holds."""
    tokens = Tokens()
    maker = Pod(store, [], tokens, name="maker")
    for number in range(sessions):
        await maker.check(tokens.issue(f"t{number}", user=user, session=f"s{number}"))
    await maker.settle()


async def scene(*names: str, store: MemoryStore | None = None) -> tuple[MemoryStore, list[Pod]]:
    store = store or MemoryStore()
    await crowd(store)
    pods = [Pod(store, [RISKY], Tokens(), name=name) for name in names]
    for pod in pods:
        pod.now = 1010.0
    return store, pods


async def work(pod: Pod) -> None:
    while await pod.fan_out.turn() == 0:
        pass


async def test_an_event_that_touches_few_needs_no_backlog() -> None:
    store = MemoryStore()
    await crowd(store, MEMBERS_BOUND - 1)
    pod = Pod(store, [RISKY], Tokens())
    pod.now = 1010.0
    await pod.intake.accept(RISE)
    assert not (await pod.fan_out.status()).left
    await pod.settle()
    assert len(marked(pod)) == MEMBERS_BOUND - 1


async def test_events_of_one_user_leave_one_walk_to_begin_and_all_of_them_are_logged() -> None:
    _, (a, b) = await scene("a", "b")
    for n in range(10):
        level = RiskLevel.LOW if n % 2 else RiskLevel.HIGH
        event = RiskLevelChange(stamp=at(1005 + n, f"{n}"), subject=RISE.subject, level=level)
        await (a, b)[n % 2].intake.accept(event)
    assert (await a.fan_out.status()).left == 1
    assert await a.fan_out.turn() == 0  # the walk is begun: what comes now is not in it for sure
    last = RiskLevelChange(stamp=at(1020, "last"), subject=RISE.subject, level=RiskLevel.HIGH)
    await b.intake.accept(last)
    await b.intake.accept(last)
    await work(a)
    assert marked(a, b) == ALL
    assert (await a.fan_out.status()).left == 0


async def test_all_are_logged_once_and_counted_by_whichever_sidecars_have_time() -> None:
    _, (a, b) = await scene("a", "b")
    await a.intake.accept(RISE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.fan_out.run)
        nursery.start_soon(b.fan_out.run)
        await until(lambda: len(marked(a, b)) == SESSIONS, within=60, every=0.0001)
        await until(lambda: a.fan_out.outlook.done == SESSIONS, within=60, every=0.0001)
        nursery.cancel_scope.cancel()
    assert marked(a, b) == ALL
    assert marked(a)
    assert marked(b)
    seen = await b.fan_out.status()
    assert (seen.left, seen.done, seen.expected) == (0, SESSIONS, SESSIONS)
    counted = [
        one for pod in (a, b) for one in pod.telemetry.of(Rescored) if isinstance(one, Rescored)
    ]
    assert {one.cause for one in counted} == {"risk-level-change"}


@pytest.mark.parametrize("steps", range(1, 120, 17))
async def test_what_one_that_died_left_is_logged_by_another(steps: int) -> None:
    store, (a, b) = await scene("a", "b")
    await a.intake.accept(RISE)
    dies = store.round_trips + steps
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, a)
        await until(lambda: store.round_trips >= dies, within=60, every=0.0001)
        nursery.cancel_scope.cancel()
    assert marked(a) != ALL
    b.now += STALE
    await work(b)
    assert_all_logged((a, b), ALL, SLICE)
    assert (await b.fan_out.status()).done == SESSIONS


class Failing(MemoryStore):
    """Fails at the n-th round trip from now."""

    trips_left = 10**9

    def trip(self) -> None:
        self.trips_left -= 1
        if self.trips_left == 0:
            raise Unavailable("the store is away")
        super().trip()


@pytest.mark.parametrize("trips", [1, 2, 3])
async def test_an_event_is_acknowledged_only_once_its_many_sessions_are_sure_to_be_logged(
    trips: int,
) -> None:
    store = Failing()
    _, (a, b) = await scene("a", "b", store=store)
    store.trips_left = trips
    with pytest.raises(Unavailable):
        await a.intake.accept(RISE)
    # The sender, who heard nothing of it, asks another.
    await b.intake.accept(RISE)
    await work(b)
    assert marked(b) == ALL


async def test_an_event_that_comes_again_is_not_gone_through_again() -> None:
    _, (a, b) = await scene("a", "b")
    await a.intake.accept(RISE)
    assert (await b.intake.accept(RISE)).duplicate
    assert (await b.fan_out.status()).left == 1


async def test_a_fresh_signal_is_logged_before_the_rest_of_the_many() -> None:
    store, (a,) = await scene("a")
    tokens = Tokens()
    maker = Pod(store, [], tokens, name="maker")
    await maker.check(tokens.issue("alone", user="alice", session="alone"))
    await maker.settle()
    await a.intake.accept(RISE)
    fresh = RiskLevelChange(stamp=at(1006, "f"), subject=Subject(user="alice"), level=RISE.level)
    async with trio.open_nursery() as nursery:
        await nursery.start(a.auditor.run)
        nursery.start_soon(work, a)
        await until(lambda: len(marked(a)) >= 20, within=60, every=0.0001)
        await a.intake.accept(fresh)
        before = len(marked(a))
        await until(lambda: "alone" in marked(a), within=60, every=0.0001)
        assert len(marked(a)) <= before + 11  # a page: the work gave way
        nursery.cancel_scope.cancel()


async def test_an_item_that_cannot_be_read_is_dropped_aloud_and_holds_up_nothing() -> None:
    _, (a,) = await scene("a")
    await a.intake.accept(RISE)
    await a.fan_out._backlogs.put(BACKLOG, b"\xff")  # noqa: SLF001 - of another version
    await work(a)
    assert marked(a) == ALL
    assert not (await a.fan_out.status()).left
    said = [one for one in a.telemetry.seen if isinstance(one, FactsSetAside)]
    assert [(one.reason, one.group) for one in said] == [(SetAsideReason.VERSION, "backlog")]


class Counting(MemoryStore):
    """Counts the records that are read."""

    read = 0

    async def load(self, *loads: Load) -> list[Loaded]:
        self.read += len(loads)
        return await super().load(*loads)


async def test_what_the_view_holds_is_logged_without_being_read() -> None:
    store, tokens = Counting(), Tokens()
    here, there = (Pod(store, [RISKY], tokens, name=name) for name in "ab")
    token = tokens.issue("t", user="bot", session="s")
    await here.check(token)
    await here.settle()
    before = store.read
    await here.intake.accept(RISE)
    await here.auditor.drain()
    assert marked(here) == Counter(["s"])
    assert store.read == before
    # Elsewhere it is read.
    fall = RiskLevelChange(stamp=at(1006, "fall"), subject=Subject(user="bot"), level=RiskLevel.LOW)
    await there.intake.accept(fall)
    await there.auditor.drain()
    assert store.read > before
    assert there.telemetry.of(Cleared)


async def test_what_is_not_saved_yet_is_not_logged() -> None:
    store, tokens = Counting(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.check(tokens.issue("t", user="bot", session="s"))
    await pod.intake.accept(RISE)
    await pod.auditor.drain()
    assert not marked(pod)
    await pod.settle()
    assert marked(pod) == Counter(["s"])
