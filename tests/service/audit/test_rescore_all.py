"""The re-score of all sessions: once a generation, shared by sidecars, whichever of them die."""

from collections import Counter

import msgspec
import pytest
import trio

from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import Policy, RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.audit.pager import SLICE
from sidecar.service.audit.rescore_all import IDLE, ROLLOUT, TERM, JudgedBy
from sidecar.service.observations.observations import Cleared, DaemonEvent, Marked, Rescored
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.store.records import last_logged_field
from tests.domain.scenes import AWAY, BERLIN, HOME, LISBON, policy
from tests.service.memory import MemoryStore, Pod, Tokens, assert_all_logged, marked
from tests.waiting import until

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
LATER = policy(UserRisk(RiskLevel.HIGH), name="later")
SESSIONS = 75


async def crowd(store: MemoryStore, tokens: Tokens, calm: int = 0) -> None:
    """Sessions of as many users, each at high risk, that no view holds and nobody has logged.

    And as many more that are `calm`, of whom nobody reports a risk.
    """
    maker = Pod(store, [], tokens, name="maker")
    for number in range(SESSIONS + calm):
        user = f"user{number}"
        await maker.check(tokens.issue(f"t{number}", user=user, session=f"s{number}"))
        if number >= SESSIONS:
            continue
        rise = RiskLevelChange(
            stamp=at(1005, f"r{number}"), subject=Subject(user=user), level=RiskLevel.HIGH
        )
        await maker.intake.accept(rise)
    await maker.settle()


async def scene(*names: str) -> tuple[MemoryStore, list[Pod]]:
    store, tokens = MemoryStore(), Tokens()
    await crowd(store, tokens)
    pods = [Pod(store, [RISKY], tokens, name=name) for name in names]
    for pod in pods:
        pod.now = 2000.0
        pod.rescore_all.use("g1")
    return store, pods


def finished(pod: Pod) -> int:
    return sum(
        one.event == "all-sessions-rescored"
        for one in pod.telemetry.of(DaemonEvent)
        if isinstance(one, DaemonEvent)
    )


ALL = Counter({f"s{number}": 1 for number in range(SESSIONS)})


async def test_sessions_of_no_view_are_logged_after_a_reload() -> None:
    _, (a,) = await scene("a")
    await a.rescore_all.turn()
    assert marked(a) == ALL
    progress = await a.rescore_all.status()
    assert (progress.state, progress.done, progress.expected) == ("done", SESSIONS, SESSIONS)
    assert rescored(a) == SESSIONS
    assert {one.cause for one in a.telemetry.of(Rescored) if isinstance(one, Rescored)} == {
        "reload"
    }


async def test_the_time_since_an_old_event_is_not_that_from_signal_to_mark() -> None:
    _, (a,) = await scene("a")
    await a.rescore_all.turn()
    logged = [one for one in a.telemetry.of(Marked) if isinstance(one, Marked)]
    assert {one.signal_to_mark_seconds for one in logged} == {None}


async def test_many_sidecars_of_one_rollout_do_the_work_once() -> None:
    store, pods = await scene("a", "b", "c")
    for pod in pods:
        await pod.rescore_all.turn()
    before = store.round_trips
    late = Pod(store, [RISKY], Tokens(), name="late")
    late.now = 2100.0
    late.rescore_all.use("g1")
    assert await late.rescore_all.turn() == IDLE
    assert store.round_trips == before + 2  # what is asked for, and how far it is
    assert [finished(pod) for pod in pods] == [1, 0, 0]
    assert marked(*pods) == ALL


async def test_sidecars_share_the_work_and_each_session_is_looked_at_once() -> None:
    _, pods = await scene("a", "b", "c")
    async with trio.open_nursery() as nursery:
        for pod in pods:
            nursery.start_soon(pod.rescore_all.run)
        await until(lambda: sum(map(finished, pods)) == 1, every=0)
        nursery.cancel_scope.cancel()
    assert marked(*pods) == ALL
    looked = [rescored(pod) for pod in pods]
    assert min(looked) > 0
    assert sum(looked) == SESSIONS


async def test_all_see_how_far_it_is_and_who_works_on_it() -> None:
    _, (a, b) = await scene("a", "b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.rescore_all.turn)
        await until(lambda: bool(a.rescore_all.progress.done), every=0)
        a.now = b.now = 2010.0
        seen = await b.rescore_all.status()
        assert seen.state == "running"
        assert 0 < seen.done < seen.expected == SESSIONS
        assert seen.sidecars == ("a",)
        assert seen.begun == 2000.0
        assert seen.rate == seen.done / 10
        assert seen.seconds_left == round((SESSIONS - seen.done) / seen.rate, 1)
    assert marked(a) == ALL
    seen = await b.rescore_all.status()
    assert (seen.state, seen.sidecars, seen.seconds_left) == ("done", (), 0.0)


def rescored(pod: Pod) -> int:
    counted = [one for one in pod.telemetry.of(Rescored) if isinstance(one, Rescored)]
    return sum(one.sessions for one in counted)


# At each of these it has an item in its hands, which is not between two of them.
@pytest.mark.parametrize("steps", range(4, 100, 13))
async def test_what_one_that_died_had_taken_is_done_by_another(steps: int) -> None:
    """Die at any of its round trips: while it counts, reads on, or looks at a page."""
    store, (a, b) = await scene("a", "b")
    dies = store.round_trips + steps
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.rescore_all.turn)
        await until(lambda: store.round_trips >= dies, every=0)
        nursery.cancel_scope.cancel()
    assert not finished(a)
    assert await b.rescore_all.turn() < TERM
    assert (await b.rescore_all.status()).state == "running"  # until what a has is stale
    b.now += TERM
    await b.rescore_all.turn()
    assert_all_logged((a, b), ALL, SLICE)
    status = await b.rescore_all.status()
    assert (status.state, status.done) == ("done", SESSIONS)


async def test_the_store_may_be_away_for_a_while() -> None:
    store, (a, _) = await scene("a", "b")
    store.away = True
    with pytest.raises(Unavailable):
        await a.rescore_all.turn()
    store.away = False
    await a.rescore_all.turn()
    assert marked(a) == ALL


class Failing(MemoryStore):
    """Fails at the n-th round trip from now."""

    trips_left = 10**9

    def trip(self) -> None:
        self.trips_left -= 1
        if self.trips_left == 0:
            raise Unavailable("the store is away")
        super().trip()


@pytest.mark.parametrize("trips", range(1, 100, 9))
async def test_a_store_that_fails_at_any_time_delays_and_loses_nothing(trips: int) -> None:
    store, tokens = Failing(), Tokens()
    await crowd(store, tokens)
    a = Pod(store, [RISKY], tokens, name="a")
    a.now = 2000.0
    a.rescore_all.use("g1")
    store.trips_left = trips
    with pytest.raises(Unavailable):
        await a.rescore_all.turn()
    a.now += TERM
    await a.rescore_all.turn()
    assert marked(a) == ALL
    status = await a.rescore_all.status()
    assert (status.state, status.done) == ("done", SESSIONS)


async def test_a_fresh_signal_is_logged_while_the_work_goes_on() -> None:
    _, (a,) = await scene("a")
    async with trio.open_nursery() as nursery:
        await nursery.start(a.auditor.run)
        nursery.start_soon(a.rescore_all.turn)
        await until(lambda: a.rescore_all.progress.done >= 10, every=0)
        fresh = RiskLevelChange(
            stamp=at(1999, "fresh"), subject=Subject(user="user74"), level=RiskLevel.MEDIUM
        )
        await a.intake.accept(fresh)
        before = a.rescore_all.progress.done
        await until(lambda: "s74" in marked(a), every=0)
        assert a.rescore_all.progress.done <= before + 10  # a page: the work gave way
        await until(lambda: bool(a.rescore_all.progress.finished), every=0)
        nursery.cancel_scope.cancel()
    assert marked(a) == ALL


async def test_another_generation_begins_anew_and_only_those_who_judge_by_it_work() -> None:
    store, (a, b) = await scene("a", "b")
    await a.rescore_all.turn()
    b.view.use(Pod(store, [LATER], Tokens()).view.evaluator)
    b.now = a.now = 2100.0
    b.rescore_all.use("g2")
    await b.rescore_all.turn()
    assert {one.policy for one in b.telemetry.of(Marked) if isinstance(one, Marked)} == {"later"}
    assert finished(b) == 1
    assert await a.rescore_all.turn() == IDLE
    assert finished(a) == 1


CALM = 20


async def changed(pod: Pod, after: list[Policy], world: str = "as it was") -> None:
    """Have a sidecar judge by other policies, as a reload does."""
    pod.view.use(Pod(pod.store, after, Tokens()).view.evaluator)
    pod.now += 100.0
    pod.rescore_all.use("g2", JudgedBy(tuple(after), world))


async def judged_before(*policies: Policy) -> Pod:
    """A sidecar that has judged everybody by these, and counts from now on."""
    store, tokens = MemoryStore(), Tokens()
    await crowd(store, tokens, CALM)
    pod = Pod(store, list(policies), tokens, name="a")
    pod.now = 2000.0
    pod.rescore_all.use("g1", JudgedBy(policies, "as it was"))
    await pod.rescore_all.turn()
    pod.telemetry.seen.clear()
    return pod


async def test_those_are_passed_over_whom_a_change_cannot_concern() -> None:
    a = await judged_before(RISKY)
    await changed(a, [RISKY, LATER])
    await a.rescore_all.turn()
    assert rescored(a) == SESSIONS
    assert marked(a) == ALL
    status = await a.rescore_all.status()
    assert (status.state, status.done) == ("done", SESSIONS + CALM)


async def test_a_policy_that_goes_is_cleared_where_it_had_set_a_mark() -> None:
    a = await judged_before(RISKY, LATER)
    await changed(a, [RISKY])
    await a.rescore_all.turn()
    cleared = [one for one in a.telemetry.of(Cleared) if isinstance(one, Cleared)]
    assert Counter(one.session for one in cleared) == ALL
    assert {one.policy for one in cleared} == {"later"}


async def test_equal_rules_concern_nobody() -> None:
    a = await judged_before(RISKY)
    described = msgspec.structs.replace(RISKY, description="said better")
    await changed(a, [described])
    await a.rescore_all.turn()
    assert rescored(a) == 0
    assert (await a.rescore_all.status()).state == "done"


async def test_all_are_judged_where_more_than_policies_has_changed() -> None:
    a = await judged_before(RISKY)
    await changed(a, [RISKY, LATER], "other places")
    await a.rescore_all.turn()
    assert rescored(a) == SESSIONS + CALM


async def test_all_are_judged_where_not_all_were_judged_before() -> None:
    store, tokens = MemoryStore(), Tokens()
    await crowd(store, tokens, CALM)
    a = Pod(store, [RISKY], tokens, name="a")
    a.now = 2000.0
    a.rescore_all.use("g1", JudgedBy((RISKY,), "as it was"))
    dies = store.round_trips + 12
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.rescore_all.turn)
        await until(lambda: store.round_trips >= dies, every=0)
        nursery.cancel_scope.cancel()
    assert not finished(a)
    before = rescored(a)
    await changed(a, [RISKY, LATER])
    await a.rescore_all.turn()
    assert rescored(a) - before == SESSIONS + CALM


async def test_all_are_judged_by_a_sidecar_that_did_not_judge_by_the_policies_before() -> None:
    a = await judged_before(RISKY)
    b = Pod(a.store, [RISKY, LATER], Tokens(), name="b")
    b.now = 2100.0 + ROLLOUT
    b.rescore_all.use("g2", JudgedBy((RISKY, LATER), "as it was"))
    await b.rescore_all.turn()
    assert rescored(b) == SESSIONS + CALM


async def test_a_straggler_of_a_rollout_does_not_bring_back_what_it_left_behind() -> None:
    _, (a, b) = await scene("a", "b")
    await a.rescore_all.turn()
    for pod in (a, b):
        pod.now += 1
        pod.rescore_all.use("g2")
        await pod.rescore_all.turn()
    a.now = b.now = 2100.0
    a.rescore_all.use("g3")
    await a.rescore_all.turn()
    straggler = Pod(a.store, [RISKY], Tokens(), name="straggler")
    straggler.now = 2100.0 + ROLLOUT / 2
    straggler.rescore_all.use("g2")
    await straggler.rescore_all.turn()
    assert (await a.rescore_all.status()).generation == "g3"
    # Much later it is no straggler: somebody went back.
    rolled_back = Pod(a.store, [RISKY], Tokens(), name="rolled-back")
    rolled_back.now = 2101.0 + ROLLOUT
    rolled_back.rescore_all.use("g2")
    await rolled_back.rescore_all.turn()
    status = await a.rescore_all.status()
    assert (status.generation, status.state) == ("g2", "done")


async def test_who_goes_back_to_an_earlier_generation_has_all_judged_by_it_again() -> None:
    _, (a,) = await scene("a")
    for generation in ("g1", "g2", "g1"):
        a.now += 1
        a.rescore_all.use(generation)
        await a.rescore_all.turn()
    assert finished(a) == 3
    assert (await a.rescore_all.status()).generation == "g1"


async def test_an_address_that_is_elsewhere_by_new_data_moves_its_session() -> None:
    _, (a,) = await scene("a")
    a.places = {HOME: LISBON, AWAY: BERLIN}
    await a.rescore_all.turn()
    read = await a.auditor.read([live.name for live in [await a.view.open("", "user7", "s7")]])
    assert len(read) == 1
    live = a.view.find("", "user7", "s7")
    assert live is not None
    assert live.state.location == LISBON


async def test_a_sidecar_without_location_data_moves_nobody() -> None:
    store, (a,) = await scene("a")
    before = {key: dict(record) for key, record in store.records.items()}
    a.places = {}
    await a.rescore_all.turn()
    grown = {
        field.partition(b":")[0]
        for key, record in store.records.items()
        for field in record
        if field not in before.get(key, {})
    }
    assert grown == {last_logged_field("")[:-1], b"claim", b"want", b"swept", b"h"}


async def test_it_runs_by_itself_and_takes_up_what_is_asked_for_meanwhile() -> None:
    _, (a,) = await scene("a")
    async with trio.open_nursery() as nursery:
        await nursery.start(a.rescore_all.run)
        await until(lambda: finished(a) == 1, every=0)
        a.now += 1
        a.rescore_all.use("g2")
        await until(lambda: finished(a) == 2, every=0)
        nursery.cancel_scope.cancel()
