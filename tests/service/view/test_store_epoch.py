"""The store loses something: it is noticed at the next look, and no mark is lost unseen."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    NetworkChange,
    RiskLevelChange,
    SessionRevoked,
    Subject,
)
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.loss import ALL_SLOTS
from sidecar.domain.values.stamp import at
from sidecar.service.observations.observations import StoreEvicts, StoreLoss, StoreLost
from sidecar.service.ports.store import Join, JoinResult, Shard, Sign, Vitals
from sidecar.service.view.store_epoch import BEAT, Guard
from sidecar.wire.store.keys import digest
from sidecar.wire.store.losses import floors_in, slot_of
from tests.domain.scenes import AWAY, HOME, policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
RISE = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)
REVOKED = SessionRevoked(stamp=at(1005, "x"), subject=Subject(user="alice"))
WHOLE = Shard(((0, ALL_SLOTS - 1),))
HALVES = (Shard(((0, 8191),)), Shard(((8192, ALL_SLOTS - 1),)))


class Restoring(MemoryStore):
    """One that is set back to its backup just before a sidecar's sign of life is written."""

    def __init__(self) -> None:
        super().__init__()
        self.backup: dict[bytes, Record] = {}
        self.at_next_sign = False

    async def sign(self, sign: Sign) -> int:
        if self.at_next_sign:
            self.at_next_sign = False
            self.records = {key: dict(record) for key, record in self.backup.items()}
        return await super().sign(sign)


async def pair(*shards: Shard) -> tuple[Pod, Pod, Tokens]:
    store, tokens = MemoryStore(), Tokens()
    store.servers = shards or store.servers
    a, b = Pod(store, [RISKY], tokens, name="a"), Pod(store, [RISKY], tokens, name="b")
    for pod in (a, b):
        await pod.news.follow(pod.names.sidecars_channel())
        await pod.reconnect()
    return a, b, tokens


By: TypeAlias = Callable[[Guard], Awaitable[None]]
SIGNS = pytest.mark.parametrize("by", [Guard.beat, Guard.count], ids=["looks", "signs"])
"""Looking at all of a server each time, as where it may evict, or at what a sign comes to."""


async def beat(*pods: Pod, by: By = Guard.beat) -> None:
    """Let the time between two signs go by at each, and what was found is written back."""
    for pod in pods:
        pod.now += BEAT
        await by(pod.guard)
    for pod in pods:
        await pod.guard.mend()
        await pod.settle()


def losses(pod: Pod) -> list[StoreLoss]:
    return [one.loss for one in pod.telemetry.of(StoreLost) if isinstance(one, StoreLost)]


def policies_of(answer: object) -> list[str]:
    return [reason.policy for reason in answer.reasons]  # type: ignore[attr-defined]


def shard_of(pod: Pod, user: str = "alice") -> Shard:
    slot = slot_of(pod.names.user_record(digest("", user)))
    return next(one for one in pod.store.servers if one.has(slot))


def copy_of(store: MemoryStore) -> dict[bytes, Record]:
    return {key: dict(record) for key, record in store.records.items()}


def test_a_loss_is_looked_for_often_enough_to_be_noticed_within_two_seconds() -> None:
    assert BEAT <= 1.75  # the rest is left for the answer, which an embedded store gives in 0.001


@SIGNS
async def test_a_store_that_is_emptied_under_a_live_link_is_noticed_at_the_next_look(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    await beat(a, b, by=by)
    await a.intake.accept(RISE)
    a.store.lose(WHOLE)
    await beat(a, b, by=by)
    assert losses(a) == [StoreLoss.EMPTIED]
    assert losses(b) == [StoreLoss.REPORTED]
    for pod in (a, b):
        answer = await pod.check(token)
        assert answer.verdict is Verdict.STEP_UP
        assert policies_of(answer) == ["risky"]


@SIGNS
async def test_a_revocation_that_one_sidecar_holds_binds_at_all_after_the_store_is_emptied(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    await a.intake.accept(REVOKED)
    await beat(a, b, by=by)
    a.store.lose(WHOLE)
    await beat(a, b, by=by)
    assert (await b.check(token, "")).status == 401
    assert (await a.check(token, "")).status == 401


@SIGNS
async def test_a_session_that_nobody_remembers_must_sign_in_anew(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    a.store.lose(WHOLE)
    a.now = b.now = 1020
    await beat(a, b, by=by)
    for pod in (a, b):
        answer = await pod.check(token)
        assert answer.verdict is Verdict.STEP_UP
        assert policies_of(answer) == ["store-lost"]
        assert (await pod.check(token, "")).verdict is Verdict.ALLOW
        await pod.settle()
        pod.now += 10
    fresh = tokens.issue("t2", auth_time=1035)
    assert (await a.check(fresh)).verdict is Verdict.ALLOW
    await a.settle()
    assert (await b.check(fresh)).verdict is Verdict.ALLOW
    assert [r.policy for r in (await b.check(token)).reasons] == ["store-lost"], "it shows no more"


async def test_whoever_reads_a_session_from_a_store_that_lost_it_notices_before_it_answers() -> (
    None
):
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.intake.accept(RISE)
    a.store.lose(WHOLE)
    assert policies_of(await a.check(token)) == ["store-lost"]
    assert losses(a) == [StoreLoss.EMPTIED]
    await a.settle()
    await beat(a, b)
    assert policies_of(await b.check(token)) == ["store-lost"]
    assert losses(a) == [StoreLoss.EMPTIED]


async def test_whoever_finds_no_record_at_a_server_that_evicts_looks_whether_it_was_evicted() -> (
    None
):
    a, b, tokens = await pair()
    for pod in (a, b):
        pod.store.vital[0] = Vitals("run", "allkeys-lru", 0)
        await beat(pod)
    await a.intake.accept(RISE)
    del a.store.records[a.names.user_record(digest("", "alice"))]
    a.store.vital[0] = Vitals("run", "allkeys-lru", 1)
    assert policies_of(await b.check(tokens.issue("t1"))) == ["store-lost"]
    assert losses(b) == [StoreLoss.EVICTED]


async def test_a_session_that_was_read_after_a_loss_that_is_noticed_later_is_not_whole() -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.intake.accept(RISE)
    del a.store.records[a.names.user_record(digest("", "alice"))]
    assert (await a.check(token)).verdict is Verdict.ALLOW  # its servers are looked at in a second
    a.store.vital[0] = Vitals("run", "allkeys-lru", 1)
    await beat(a, b)
    assert policies_of(await a.check(token)) == ["store-lost"]
    assert policies_of(await b.check(token)) == ["store-lost"]


async def test_the_loop_notices_within_two_seconds_and_goes_on_after_an_outage(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, _, _ = await pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(a.guard.run)
        await trio.sleep(5)
        a.store.lose(WHOLE)
        await trio.sleep(2)
        assert losses(a) == [StoreLoss.EMPTIED]
        a.store.away = True
        await trio.sleep(60)
        assert a.guard.staleness() > 59
        a.store.away = False
        a.store.lose(WHOLE)
        await trio.sleep(2)
        assert losses(a) == [StoreLoss.EMPTIED, StoreLoss.EMPTIED]
        assert a.guard.staleness() <= 2
        nursery.cancel_scope.cancel()


@SIGNS
async def test_what_was_not_certain_before_one_loss_is_not_certain_after_the_next(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    a.store.lose(WHOLE)
    await beat(a, b, by=by)
    assert policies_of(await a.check(token)) == ["store-lost"]
    await beat(a, b, by=by)
    a.store.lose(WHOLE)
    await beat(a, b, by=by)
    assert losses(a) == [StoreLoss.EMPTIED, StoreLoss.EMPTIED]
    for pod in (a, b):
        assert policies_of(await pod.check(token)) == ["store-lost"]


@SIGNS
async def test_a_view_that_missed_news_vouches_for_nothing(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    await beat(a, b, by=by)
    a.store.lose(WHOLE)
    a.news.stale = 3600.0
    await beat(a, b, by=by)
    a.news.stale = 0.0
    assert policies_of(await a.check(token)) == ["store-lost"]
    assert policies_of(await b.check(token)) == ["store-lost"]


@pytest.mark.parametrize("lost", [0, 1])
async def test_each_server_s_loss_is_noticed_and_concerns_its_own_records_alone(lost: int) -> None:
    a, b, tokens = await pair(*HALVES)
    here = shard_of(a)
    users = [f"user{n}" for n in range(20)]
    same = next(user for user in users if shard_of(a, user) is HALVES[lost])
    other = next(user for user in users if shard_of(a, user) is not HALVES[lost])
    for user in (same, other):
        await a.intake.accept(
            RiskLevelChange(stamp=at(1005, user), subject=Subject(user=user), level=RiskLevel.HIGH)
        )
    a.store.lose(HALVES[lost])
    await beat(a, b)
    assert losses(a) == [StoreLoss.EMPTIED]
    assert here in HALVES
    token = tokens.issue("same", user=same, session="s-same")
    assert policies_of(await b.check(token)) == ["store-lost"]
    token = tokens.issue("other", user=other, session="s-other")
    found = policies_of(await b.check(token))
    assert found[0] == "risky"


@SIGNS
async def test_an_older_backup_is_noticed_though_its_epoch_is_the_same(
    by: By,
) -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await b.check(token)
    await b.settle()
    await beat(a, b, by=by)
    backup = copy_of(a.store)
    await beat(a, b, by=by)
    await a.intake.accept(REVOKED)
    a.store.records = backup
    late = Pod(a.store, [RISKY], tokens, name="late")
    late.now = a.now
    await late.reconnect()
    await beat(a, b, by=by)
    assert StoreLoss.RESTORED in losses(a)
    assert (await b.check(token, "")).status == 401
    assert (await a.check(token, "")).status == 401
    late.now = a.now
    await late.guard.beat()
    assert (await late.check(tokens.issue("t2", session="s2"))).verdict is not Verdict.ALLOW


class Slow(MemoryStore):
    """One where a write that raises a floor waits until `gate` is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.raising, self.gate = trio.Event(), trio.Event()

    async def join(self, *joins: Join) -> list[JoinResult]:
        if any(floors_in(one.fields) for one in joins):
            self.raising.set()
            await self.gate.wait()
        return await super().join(*joins)


async def test_nobody_is_let_in_while_the_floor_of_a_loss_is_being_written() -> None:
    store, tokens = Slow(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.reconnect()
    backup = copy_of(store)
    await beat(pod, pod)
    await pod.intake.accept(RISE)  # alice has no session yet: nothing but the store knows
    store.records = backup
    pod.now += BEAT
    answers: list[Verdict] = []

    async def check() -> None:
        answers.append((await pod.check(tokens.issue("t1"))).verdict)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pod.guard.beat)
        await store.raising.wait()
        nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        store.gate.set()
    assert losses(pod) == [StoreLoss.RESTORED]
    assert answers == [Verdict.STEP_UP]


async def test_a_backup_that_is_restored_between_a_look_and_its_sign_is_noticed_all_the_same() -> (
    None
):
    store = Restoring()
    pod = Pod(store, [RISKY], Tokens())
    await pod.reconnect()
    store.backup = copy_of(store)
    await beat(pod, pod)
    store.at_next_sign = True
    await beat(pod)
    assert losses(pod) == []
    await beat(pod)
    assert losses(pod) == [StoreLoss.RESTORED]


async def test_evicted_keys_are_noticed_by_their_count_and_ask_for_a_new_sign_in() -> None:
    a, b, tokens = await pair()
    await a.intake.accept(REVOKED)
    a.store.vital[0] = Vitals("run", "allkeys-lru", 1)
    del a.store.records[a.names.user_record(digest("", "alice"))]
    await beat(a, b)
    assert losses(a) == [StoreLoss.EVICTED]
    assert losses(b) == [StoreLoss.REPORTED]
    for pod in (a, b):
        assert policies_of(await pod.check(tokens.issue("t1"))) == ["store-lost"]
        await pod.settle()
    await beat(a, b)
    assert losses(a) == [StoreLoss.EVICTED]  # and not again, while nothing more is evicted


async def test_what_was_evicted_while_no_sidecar_looked_is_noticed_by_the_first_that_starts() -> (
    None
):
    a, _, tokens = await pair()
    a.store.vital[0] = Vitals("run", "allkeys-lru", 7)
    late = Pod(a.store, [RISKY], tokens, name="late")
    await late.reconnect()
    assert losses(late) == [StoreLoss.EVICTED]


async def test_keys_that_were_evicted_before_there_were_sidecars_are_nobody_s_loss() -> None:
    store = MemoryStore()
    store.vital[0] = Vitals("run", "allkeys-lru", 7)
    pod = Pod(store, [RISKY], Tokens())
    await pod.reconnect()
    await beat(pod)
    assert losses(pod) == []
    assert pod.telemetry.of(StoreEvicts) == [
        StoreEvicts(policy="allkeys-lru", slots=WHOLE.spans),
    ]


async def test_a_record_that_vanishes_is_noticed_in_its_turn_and_written_back() -> None:
    a, b, tokens = await pair()
    a.store.vital[0] = b.store.vital[0] = None  # the count of evictions may not be read
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    for _ in range(70):
        await beat(a, b)
    await a.intake.accept(RISE)
    key = a.names.user_record(digest("", "alice"))
    for _ in range(31):
        if not losses(a):
            a.store.records.pop(key, None)  # again, where its turn has not come: others write it
        await beat(a, b)
    assert losses(a) == [StoreLoss.VANISHED]
    assert policies_of(await a.check(token)) == ["risky"]
    await a.settle()
    assert policies_of(await b.check(token)) == ["risky"]
    assert policies_of(await b.check(tokens.issue("t2", user="bob", session="s2"))) == [
        "store-lost"
    ]


async def test_a_record_that_began_anew_under_its_key_has_vanished_before() -> None:
    a, b, tokens = await pair()
    await a.check(tokens.issue("t1"))
    await a.settle()
    for _ in range(70):
        await beat(a, b)
    key = a.names.user_record(digest("", "alice"))
    a.store.expiries_of[key] -= 5_000  # as it may where its slot moves to another server
    for _ in range(31):
        await beat(a, b)
    assert losses(a) == []
    a.store.expiries_of[key] -= 100_000
    for _ in range(31):
        await beat(a, b)
    assert losses(a) == [StoreLoss.VANISHED]


async def seen_from_abroad(pod: Pod, token: str) -> None:
    await pod.check(token, ip=AWAY)


async def moved_by_event(pod: Pod, token: str) -> None:
    del token
    event = NetworkChange(stamp=at(1130, "n"), subject=Subject(session="s1"), segment="office")
    await pod.intake.accept(event)


async def raised_elsewhere(pod: Pod, token: str) -> None:
    """Have a sidecar that does not hold the session take an event of its user."""
    del token
    other = Pod(pod.store, [RISKY], Tokens(), name="c")
    other.now = pod.now
    subject = Subject(user="alice")
    event = RiskLevelChange(stamp=at(1130, "l"), subject=subject, level=RiskLevel.MEDIUM)
    await other.intake.accept(event)


USERS, OWN, LOCATOR = "user", "session", "locator"


@pytest.mark.parametrize(
    ("record", "rewritten"),
    [
        (USERS, seen_from_abroad),
        (USERS, raised_elsewhere),
        (OWN, seen_from_abroad),
        (OWN, moved_by_event),
        (LOCATOR, moved_by_event),
    ],
)
async def test_a_record_that_vanishes_and_is_written_before_its_turn_is_noticed_at_once(
    record: str, rewritten: Callable[[Pod, str], Awaitable[None]]
) -> None:
    a, b, tokens = await pair()
    a.store.vital[0] = b.store.vital[0] = None
    token = tokens.issue("t1", device="d1")
    await a.check(token, ip=HOME)
    await a.intake.accept(RISE)
    await a.settle()
    for _ in range(70):
        await beat(a, b)
    (live,) = a.view
    key = {USERS: live.users.key, OWN: live.own.key, LOCATOR: live.locator.key}[record]
    held = dict(a.store.records.pop(key))
    await rewritten(a, token)
    await a.settle()
    await beat(a)
    assert losses(a) == [StoreLoss.VANISHED]
    stored = a.store.records[key]
    assert {field for field, value in held.items() if stored.get(field, b"") < value} == set()
    assert (await a.check(token, ip=HOME)).verdict is Verdict.STEP_UP
    assert policies_of(await b.check(tokens.issue("t2", user="bob", session="s2"))) == [
        "store-lost"
    ]
    for _ in range(40):
        await beat(a)
    assert losses(a) == [StoreLoss.VANISHED]


async def test_a_record_that_begins_as_a_session_comes_is_no_loss() -> None:
    a, b, tokens = await pair()
    for n in range(5):
        token = tokens.issue(f"t{n}", session=f"s{n}", device="d1")
        for pod in (b, a) if n % 2 else (a, b):
            await pod.check(token)
            await beat(a, b)
    for _ in range(40):
        await beat(a, b)
    assert losses(a) == losses(b) == []


async def test_a_record_that_expires_in_its_time_has_not_vanished() -> None:
    a, b, tokens = await pair()
    await a.check(tokens.issue("t1"))
    await a.settle()
    for _ in range(31):
        await beat(a)
    del a.store.records[a.names.user_record(digest("", "alice"))]
    a.now += 86400
    for _ in range(31):
        await beat(a)
    assert losses(a) == []
    del b


async def test_a_sidecar_that_starts_later_learns_of_the_floor() -> None:
    a, _, tokens = await pair()
    a.store.lose(WHOLE)
    a.now = 1020
    await beat(a)
    late = Pod(a.store, [RISKY], tokens, name="late")
    late.now = a.now + 1
    await late.reconnect()
    assert (await late.check(tokens.issue("t1"))).verdict is Verdict.STEP_UP
    assert (await late.check(tokens.issue("t2", session="s2", auth_time=1022))).verdict is (
        Verdict.ALLOW
    )


async def test_a_store_that_kept_its_records_loses_nothing_and_asks_nobody() -> None:
    a, b, tokens = await pair()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    for pod in (a, b):
        pod.now += 20
        await pod.reconnect()
    assert (await b.check(token)).verdict is Verdict.ALLOW
    assert not a.telemetry.of(StoreLost)
    assert (await b.check(tokens.issue("t2", session="s2"))).verdict is Verdict.ALLOW


async def test_a_long_outage_is_not_taken_for_an_emptied_store() -> None:
    a, b, _ = await pair()
    a.store.away = True
    a.now += 20 * 86400
    await a.guard.beat()
    a.store.away = False
    a.store.expire(a.now)
    await beat(a)
    assert losses(a) == []
    del b


async def test_an_epoch_lives_for_as_long_as_anybody_looks_at_it() -> None:
    a, _, _ = await pair()
    for _ in range(12):
        a.now += 10 * 86400
        a.store.expire(a.now)
        await a.guard.beat()
    assert losses(a) == []


async def test_a_new_store_under_new_sidecars_is_simply_new() -> None:
    a, b, tokens = await pair()
    assert (await a.check(tokens.issue("t1"))).verdict is Verdict.ALLOW
    assert (await b.check("t1")).verdict is Verdict.ALLOW


async def test_an_operator_who_looks_at_a_session_is_shown_that_its_history_is_lost() -> None:
    a, b, tokens = await pair()
    await a.check(tokens.issue("t1"))
    await a.settle()
    a.store.lose(WHOLE)
    await beat(a, b)
    found = await b.inspector.session("s1")
    assert found is not None
    assert [mark.policy for mark in found.summary.marks] == ["store-lost"]


class Hanging(MemoryStore):
    """One of whose servers the second does not answer."""

    async def vitals(self, shard: Shard) -> Vitals | None:
        if shard == HALVES[1]:
            await trio.sleep_forever()
        return await super().vitals(shard)


async def test_a_server_that_does_not_answer_holds_up_no_look_at_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = Hanging()
    store.servers = HALVES
    pod = Pod(store, [RISKY], Tokens())
    async with trio.open_nursery() as nursery:
        await nursery.start(pod.guard.run)
        await trio.sleep(5)
        store.lose(HALVES[0])
        await trio.sleep(2)
        assert losses(pod) == [StoreLoss.EMPTIED]
        assert pod.guard.staleness() > 60
        nursery.cancel_scope.cancel()
