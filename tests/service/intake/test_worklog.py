"""The outcome of an event is logged once, by somebody; events that fail are kept for a human."""

from collections.abc import Sequence

import msgspec
import pytest
import trio
import trio.testing

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.fact_kinds import Scope
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Device,
    Networks,
    Policy,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from sidecar.service.intake.dead_letters import Retried
from sidecar.service.intake.worklog import HELD_FOR, OVERDUE
from sidecar.service.observations.observations import (
    Buried,
    DeadReason,
    Marked,
    Observation,
    QueueRejected,
    WorkClaimed,
)
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.wire.settings.settings import Work as WorkSettings
from sidecar.wire.store.keys import digest
from sidecar.wire.store.worklog import Work, encode_entry
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risky"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(Device(compliant=False), name="broken"),
)
BY_ANYTHING = (
    RiskLevelChange(stamp=at(1001, "e"), subject=Subject("alice"), level=RiskLevel.HIGH),
    NetworkChange(stamp=at(1001, "e"), subject=Subject(session="s1"), segment="restricted"),
    DeviceComplianceChange(stamp=at(1001, "e"), subject=Subject(device="d1"), compliant=False),
)
RISK = BY_ANYTHING[0]


def pod_on(
    store: MemoryStore, tokens: Tokens, name: str = "a", policies: Sequence[Policy] = POLICIES
) -> Pod:
    return Pod(store, policies, tokens, name=name)


async def known_session(store: MemoryStore, tokens: Tokens) -> str:
    """Check a session once, which is in nobody's view any more."""
    token = tokens.issue("t1", device="d1")
    pod = pod_on(store, tokens, "first")
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    await pod.settle()
    store.pods.remove(pod.news)
    return token


def pass_time(store: MemoryStore, seconds: float = OVERDUE) -> None:
    store.now += seconds


def logged(*pods: Pod) -> list[Observation]:
    return [one for pod in pods for one in pod.telemetry.of(Marked)]


async def look(pod: Pod) -> None:
    await pod.worklog.look()
    await pod.worklog.strike_out()


@pytest.mark.parametrize("signal", BY_ANYTHING, ids=lambda one: type(one).__name__)
async def test_what_a_sidecar_took_and_left_is_logged_by_another_once(signal: Signal) -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    taker = pod_on(store, tokens, "taker")
    await taker.intake.accept(signal)  # and dies: nothing of it runs any more
    b, c = pod_on(store, tokens, "b"), pod_on(store, tokens, "c")
    await look(b)
    assert not logged(b)  # it is not overdue yet
    pass_time(store)
    for pod in (b, c, b):
        await look(pod)
    assert len(logged(b, c)) == 1
    assert b.telemetry.of(WorkClaimed) == [WorkClaimed(entries=1)]
    pass_time(store)
    await look(c)
    assert len(logged(b, c)) == 1
    assert c.worklog.waiting == 0


async def test_what_a_sidecar_has_not_come_to_yet_is_done_by_no_other(
    mock_clock: trio.testing.MockClock,
) -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    busy, idle = pod_on(store, tokens, "busy"), pod_on(store, tokens, "idle")
    await busy.intake.accept(RISK)
    for _ in range(8):
        pass_time(store, OVERDUE / 2)
        mock_clock.jump(OVERDUE / 2)
        await busy.worklog.hold()
        await look(idle)
        await look(busy)
    assert not logged(busy, idle)
    assert not idle.telemetry.of(WorkClaimed)
    assert not busy.telemetry.of(WorkClaimed), "nor by itself, a second time"
    await busy.settle()
    assert len(logged(busy)) == 1
    await busy.worklog.strike_out()
    await look(idle)
    assert (len(logged(busy, idle)), idle.worklog.waiting) == (1, 0)


async def test_what_is_in_hand_for_too_long_is_claimed_all_the_same(
    mock_clock: trio.testing.MockClock,
) -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    stuck, other = pod_on(store, tokens, "stuck"), pod_on(store, tokens, "other")
    await stuck.intake.accept(RISK)
    for _ in range(int(HELD_FOR / OVERDUE) + 2):
        pass_time(store)
        mock_clock.jump(OVERDUE)
        await stuck.worklog.hold()
    await look(other)
    assert len(logged(other)) == 1


async def test_an_event_whose_marks_are_logged_is_struck_out_and_claimed_by_nobody() -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    a, b = pod_on(store, tokens), pod_on(store, tokens, "b")
    await a.intake.accept(RISK)
    await a.settle()
    assert len(logged(a)) == 1
    pass_time(store)
    await look(b)
    assert b.worklog.waiting == 0
    assert not b.telemetry.of(WorkClaimed)


async def test_an_event_that_was_joined_and_not_entered_is_entered_when_it_is_sent_again() -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    a, b = pod_on(store, tokens), pod_on(store, tokens, "b")
    await a.intake.accept(RISK)
    for queue in store.queues.queues.values():
        queue.clear()  # the taker died between the two, and acknowledged nothing
    again = await b.intake.accept(RISK)
    assert again.duplicate
    await b.settle()
    assert len(logged(b)) == 1


async def test_a_full_log_is_counted_and_the_event_binds_all_the_same() -> None:
    settings = msgspec.structs.replace(SETTINGS, work=WorkSettings(log=1))
    store, tokens = MemoryStore(), Tokens()
    token = await known_session(store, tokens)
    pod = Pod(store, POLICIES, tokens, settings)
    for number in range(3):
        event = msgspec.structs.replace(RISK, stamp=at(1001 + number, f"e{number}"))
        await pod.intake.accept(event)
    assert pod.telemetry.of(QueueRejected) == [QueueRejected(queue="work-log")] * 2
    assert (await pod.check(token)).verdict is Verdict.STEP_UP


async def test_what_cannot_be_struck_out_now_is_later() -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    pod = pod_on(store, tokens)
    await pod.intake.accept(RISK)
    await pod.auditor.drain()
    store.queues.away = True
    with pytest.raises(Unavailable):
        await pod.worklog.strike_out()
    store.queues.away = False
    await pod.worklog.strike_out()
    await pod.worklog.look()
    assert pod.worklog.waiting == 0


class Failing:
    """Work that fails as it is set to."""

    def __init__(self, pod: Pod, error: Exception) -> None:
        self.error: Exception | None = error
        self.times = 0
        self._rescore = pod.auditor.rescore
        pod.worklog._work = self  # noqa: SLF001 - a fault where no fault can be had otherwise

    async def __call__(self, cause: str, names: Sequence[object], event: str) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error
        await self._rescore(cause, names, event)  # type: ignore[arg-type] # handed on


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("secret payload"), DeadReason.FAILED),
        (StoreRefused("WRONGTYPE of a key"), DeadReason.REFUSED),
    ],
)
async def test_work_that_fails_for_its_own_sake_becomes_a_dead_letter_after_its_tries(
    error: Exception, reason: DeadReason
) -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    taker, pod = pod_on(store, tokens, "taker"), pod_on(store, tokens)
    failing = Failing(pod, error)
    await taker.intake.accept(RISK)
    for _ in range(10):
        pass_time(store)
        await look(pod)
    assert failing.times == 4  # the taker's own try was the first of five
    (buried,) = pod.telemetry.of(Buried)
    assert isinstance(buried, Buried)
    assert (buried.reason, buried.event, buried.tries) == (reason, "e", 5)
    assert "secret" not in buried.error
    page = await pod.letters.page(10)
    (letter,) = page.letters
    assert (letter.event, letter.reason, letter.signal["level"]) == ("e", reason, "high")
    assert pod.letters.waiting == 1


async def test_a_store_that_is_away_is_no_try() -> None:
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    taker, pod = pod_on(store, tokens, "taker"), pod_on(store, tokens)
    failing = Failing(pod, Unavailable("away"))
    await taker.intake.accept(RISK)
    for _ in range(20):
        pass_time(store)
        await look(pod)
    assert not pod.telemetry.of(Buried)
    failing.error = None
    pass_time(store)
    await look(pod)
    assert len(logged(pod)) == 1


async def buried(store: MemoryStore, tokens: Tokens) -> tuple[Pod, str]:
    """Return a pod, and the id of the letter of an event whose work has failed too often."""
    await known_session(store, tokens)
    pod = pod_on(store, tokens)
    failing = Failing(pod, ValueError("a bug"))
    taker = pod_on(store, tokens, "taker")
    await taker.intake.accept(RISK)
    store.pods.remove(taker.news)
    for _ in range(5):
        pass_time(store)
        await look(pod)
    failing.error = None
    return pod, (await pod.letters.page(1)).letters[0].id


async def test_a_letter_that_is_put_back_takes_effect_once_however_often() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod, letter = await buried(store, tokens)
    outcome = await pod.letters.retry(letter)
    assert outcome is not None
    assert outcome.outcome is Retried.DONE
    await pod.settle()
    assert len(logged(pod)) == 1
    assert await pod.letters.retry(letter) is None
    assert await pod.letters.count() == 0
    await pod.intake.accept(RISK)
    await pod.settle()
    assert len(logged(pod)) == 1


async def test_a_letter_stays_where_it_cannot_be_put_back() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod, letter = await buried(store, tokens)
    record = pod.names.user_record(digest("", "alice"))
    store.refused.add(record)
    outcome = await pod.letters.retry(letter)
    assert outcome is not None
    assert (outcome.outcome, outcome.message) == (Retried.FAILED, "the store refuses this")
    assert await pod.letters.count() == 1
    assert await pod.letters.drop(letter)
    assert not await pod.letters.drop(letter)


async def test_no_letter_is_dropped_to_make_room_and_the_work_waits() -> None:
    settings = msgspec.structs.replace(SETTINGS, work=WorkSettings(dead_letters=1))
    store, tokens = MemoryStore(), Tokens()
    await known_session(store, tokens)
    pod = Pod(store, POLICIES, tokens, settings)
    Failing(pod, ValueError("a bug"))
    taker = pod_on(store, tokens, "taker")
    for number in range(2):
        await taker.intake.accept(
            msgspec.structs.replace(RISK, stamp=at(1001 + number, f"e{number}"))
        )
    for _ in range(8):
        pass_time(store)
        await look(pod)
    (letter,) = (await pod.letters.page(10)).letters
    assert QueueRejected(queue="dead-letters") in pod.telemetry.seen
    await pod.letters.drop(letter.id)
    pass_time(store)
    await look(pod)
    (other,) = (await pod.letters.page(10)).letters
    assert {letter.event, other.event} == {"e0", "e1"}


async def test_an_entry_that_cannot_be_read_is_a_letter_at_once() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = pod_on(store, tokens)
    key = pod.names.work_logs()[0]
    work = encode_entry(Work("x", "e", Scope.USER, "u", b"from tomorrow"))
    store.queues.queues[key] = {b"1-0": b"rubbish", b"2-0": work}
    store.queues.taken = {(key, b"1-0"): (0.0, 1), (key, b"2-0"): (0.0, 1)}
    pass_time(store)
    await look(pod)
    (letter,) = (await pod.letters.page(10)).letters
    assert (letter.reason, letter.signal) == (DeadReason.DAMAGED, {})
    outcome = await pod.letters.retry(letter.id)
    assert outcome is not None
    assert outcome.outcome is Retried.UNREADABLE
