"""Announcements are recorded before they are claimed, whoever dies in between (decision 19)."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from sidecar.domain.evaluation.announcement import (
    AssuranceChanged,
    RiskChanged,
    SessionOver,
    TopicAnnouncement,
)
from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.audit.announcer import Recorded, Shelved
from sidecar.service.observations.observations import (
    Cleared,
    Marked,
    RevokedSession,
)
from sidecar.service.observations.transmitter import TransmissionOutcome, Transmitted
from sidecar.service.ports.calls import Unavailable
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")


class Shelf:
    """The place where announcements lie, whoever of the pods brings them; `away`: it takes none.

    `then` happens when something was recorded.
    """

    def __init__(self) -> None:
        self.news: list[TopicAnnouncement] = []
        self.away = False
        self.then: Callable[[], None] = lambda: None
        self.behind = False

    async def record(self, news: Sequence[TopicAnnouncement]) -> Recorded:
        if self.away:
            raise Unavailable("the store is away")
        if self.behind:
            return Recorded(tuple(Shelved.BEHIND for _ in news))
        self.news += news
        self.then()
        return Recorded(tuple(Shelved.FRESH for _ in news))

    @property
    def ids(self) -> list[str]:
        return [one.announcement.id for one in self.news]

    @property
    def changes(self) -> list[object]:
        return [one.announcement.change for one in self.news]


def pods(count: int = 2) -> tuple[list[Pod], Tokens, Shelf]:
    store, tokens, shelf = MemoryStore(), Tokens(), Shelf()
    names = "abc"[:count]
    return [Pod(store, [RISKY], tokens, name=n, outbox=shelf) for n in names], tokens, shelf


def risk(time: float, level: RiskLevel = RiskLevel.HIGH) -> RiskLevelChange:
    return RiskLevelChange(stamp=at(time, f"r{time}"), subject=Subject(user="alice"), level=level)


async def sweeps(*these: Pod, count: int = 4) -> None:
    for _ in range(count):
        for pod in these:
            pod.now += 2
            pod.store.now = pod.now
            await pod.sweeper.sweep()
            await pod.settle()


async def test_a_mark_its_proof_and_a_revocation_are_recorded_once_of_all() -> None:
    (a, b), tokens, shelf = pods()
    await a.check(tokens.issue("t1"))
    await b.check("t1")
    await a.settle()
    await a.intake.accept(risk(1005))
    await sweeps(a, b)
    fell = AssuranceChanged(previous="single-factor", current="none", rose=False)
    rose_risk = RiskChanged(previous=RiskLevel.LOW, current=RiskLevel.MEDIUM)
    assert shelf.changes == [fell, rose_risk]
    await b.check(tokens.issue("t2", auth_time=1012, acr="mfa"))
    await sweeps(a, b)
    assert shelf.changes[2:] == [AssuranceChanged(previous="none", current="mfa", rose=True)]
    revoked = SessionRevoked(stamp=at(1030, "x"), subject=Subject(user="alice"), reason="left")
    a.now = b.now = max(a.now, b.now, 1031.0)
    await a.intake.accept(revoked)
    await sweeps(a, b)
    assert shelf.changes[3:] == [SessionOver()]
    assert len(set(shelf.ids)) == 4
    recorded = [
        one
        for pod in (a, b)
        for one in pod.telemetry.of(Transmitted)
        if isinstance(one, Transmitted) and one.outcome is TransmissionOutcome.RECORDED
    ]
    assert len(recorded) == 4


async def test_while_nothing_can_be_recorded_nothing_is_claimed_or_logged() -> None:
    (a,), tokens, shelf = pods(1)
    await a.check(tokens.issue("t1"))
    await a.settle()
    shelf.away = True
    await a.intake.accept(risk(1005))
    for _ in range(3):
        with suppress(Unavailable):
            await sweeps(a)
    assert a.telemetry.of(Marked) == []
    shelf.away = False
    await sweeps(a)
    assert len(a.telemetry.of(Marked)) == 1
    assert len(shelf.news) == 2


async def test_one_that_dies_between_record_and_claim_leaves_the_same_to_another() -> None:
    (a, b), tokens, shelf = pods()
    await a.check(tokens.issue("t1"))
    await b.check("t1")
    await a.settle()
    await b.settle()
    store = a.store

    def die() -> None:
        store.away = True

    shelf.then = die
    await a.intake.accept(risk(1005))
    with suppress(Unavailable):
        await a.settle()
    assert len(shelf.ids) == 2
    assert a.telemetry.of(Marked) == []
    store.away, shelf.then = False, lambda: None
    await sweeps(b)
    assert len(b.telemetry.of(Marked)) == 1
    assert sorted(shelf.ids[2:]) == sorted(shelf.ids[:2])


async def test_news_that_are_behind_are_claimed_when_nobody_else_has_claimed_them() -> None:
    (a,), tokens, shelf = pods(1)
    await a.check(tokens.issue("t1"))
    await a.settle()
    shelf.behind = True
    await a.intake.accept(risk(1005))
    await sweeps(a)
    assert len(a.telemetry.of(Marked)) == 1, "a line of the log waits for nobody"
    assert shelf.news == []
    shelf.behind = False
    await sweeps(a)
    assert len(shelf.news) == 2
    assert len(a.telemetry.of(Marked)) == 1


async def test_without_recipients_nothing_is_recorded_and_all_is_logged_as_before() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    await pod.check(tokens.issue("t1"))
    await pod.settle()
    await pod.intake.accept(risk(1005))
    await sweeps(pod)
    assert len(pod.telemetry.of(Marked)) == 1
    assert pod.telemetry.of(Transmitted) == []


async def test_what_is_announced_disturbs_no_line_of_the_log() -> None:
    (a,), tokens, _ = pods(1)
    await a.check(tokens.issue("t1"))
    await a.intake.accept(risk(1005))
    await sweeps(a)
    await a.intake.accept(risk(1012, RiskLevel.LOW))
    await sweeps(a)
    assert len(a.telemetry.of(Marked)) == 1
    assert len(a.telemetry.of(Cleared)) == 1, "the policy's mark, and none of the topics"
    assert a.telemetry.of(RevokedSession) == []
