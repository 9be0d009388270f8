"""Events while the store is away: on a real disk, in force here, everywhere once it is back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from sidecar.adapters.files.spool import FileSpool
from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import (
    Changed,
    Circumstance,
    Device,
    Networks,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from sidecar.service.intake.dead_letters import Retried
from sidecar.service.intake.intake import Intake
from sidecar.service.intake.outcomes import CountedEvents
from sidecar.service.intake.spool_fallback import FRUITLESS, SpoolFallback
from sidecar.service.observations.observations import (
    DeadReason,
    EventOutcome,
    EventTaken,
    Marked,
    Observation,
    SpoolReplayed,
    WorkerFailed,
)
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.service.records.spooled_facts import Pending, key_of
from sidecar.wire.settings.settings import Issuer, Settings, SpoolSettings
from sidecar.wire.settings.settings import Tokens as TokenSettings
from sidecar.wire.settings.sources import SourceSettings
from sidecar.wire.store.event_keys import event_field
from sidecar.wire.store.keys import digest
from tests.domain.scenes import AWAY, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens
from tests.waiting import until

POLICIES = (
    policy(UserRisk(RiskLevel.MEDIUM), name="risky"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
    policy(Device(compliant=False), name="broken"),
    policy(Changed((Circumstance.COUNTRY,)), name="moved"),
)


class Spooled:
    """A pod whose events are spooled while the store is away."""

    def __init__(
        self, pod: Pod, spool: FileSpool, spool_fallback: SpoolFallback, pending: Pending
    ) -> None:
        self.pod = pod
        self.spool = spool
        self.spool_fallback = spool_fallback
        self.counted = CountedEvents(spool_fallback, pod.telemetry)
        self.pending = pending

    async def accept(self, signal: Signal) -> Accepted:
        return await self.counted.accept(signal)

    def outcomes(self) -> list[EventOutcome]:
        return [
            one.outcome for one in self.pod.telemetry.of(EventTaken) if isinstance(one, EventTaken)
        ]


@asynccontextmanager
async def spooled(
    directory: Path,
    store: MemoryStore,
    tokens: Tokens,
    *,
    settings: SpoolSettings | None = None,
    away: Callable[[], bool] | None = None,
    intake: Callable[[Intake], Intake] = lambda intake: intake,
    about: Settings = SETTINGS,
) -> AsyncIterator[Spooled]:
    """`away` is what the store's adapter knows: by default at once, and nothing of single keys."""
    made: list[FileSpool] = []

    def spool_of(on_incident: Callable[[Observation], None]) -> FileSpool:
        made.append(
            FileSpool(
                settings or SpoolSettings(dir=str(directory)),
                on_incident=on_incident,
                on_state=lambda _: None,
            )
        )
        return made[0]

    pod = Pod(store, POLICIES, tokens, about, spool_of=spool_of, away=away)
    intake(pod.intake)
    spool, spool_fallback = made[0], pod.services.intake.spool_fallback
    assert spool_fallback is not None
    async with trio.open_nursery() as nursery:
        await nursery.start(spool.run)
        await spool_fallback.recall()  # `run` would also replay, at times of its own
        yield Spooled(pod, spool, spool_fallback, pod.pending)
        nursery.cancel_scope.cancel()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


def risk(number: int = 1, user: str = "alice", level: RiskLevel = RiskLevel.HIGH) -> Signal:
    return RiskLevelChange(stamp=at(990 + number, f"r{number}"), subject=Subject(user), level=level)


BY_ANYTHING = (
    risk(),
    NetworkChange(stamp=at(1001, "n"), subject=Subject(session="s1"), segment="restricted"),
    DeviceComplianceChange(stamp=at(1001, "c"), subject=Subject(device="d1"), compliant=False),
    SessionPresented(stamp=at(1001, "p"), subject=Subject(session="s1"), ip=AWAY),
)


@pytest.mark.parametrize("signal", BY_ANYTHING, ids=lambda one: type(one).__name__)
async def test_a_spooled_event_binds_here_at_once_and_elsewhere_when_the_store_is_back(
    tmp_path: Path, store: MemoryStore, tokens: Tokens, signal: Signal
) -> None:
    token = tokens.issue("t1", device="d1")
    async with spooled(tmp_path, store, tokens) as a:
        b = Pod(store, POLICIES, tokens, name="b")
        for pod in (a.pod, b):
            assert (await pod.check(token)).verdict is Verdict.ALLOW
            await pod.settle()
        store.away = True
        assert await a.accept(signal) == Accepted(signal.stamp.id, spooled=True)
        assert (await a.pod.check(token, ip="")).verdict is Verdict.STEP_UP
        assert (await b.check(token, ip="")).verdict is Verdict.ALLOW
        assert not await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 1
        store.away = False
        assert await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 0
        for pod in (a.pod, b):
            assert (await pod.check(token, ip="")).verdict is Verdict.STEP_UP
        await a.pod.settle()
        assert len(a.pod.telemetry.of(Marked)) == 1
        assert a.pod.telemetry.of(SpoolReplayed) == [SpoolReplayed(events=1, duplicates=0, left=0)]


async def test_an_event_goes_to_the_store_while_it_answers_and_nothing_is_spooled(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        assert await a.accept(risk()) == Accepted("r1")
        assert await a.accept(risk()) == Accepted("r1", duplicate=True)
        assert a.spool_fallback.waiting == 0
        assert a.outcomes() == [EventOutcome.ACCEPTED, EventOutcome.DUPLICATE]


async def test_an_event_is_counted_once_as_spooled_and_not_again_when_replayed(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    # The adapter has not noticed yet that the store is away: the intake fails first.
    async with spooled(tmp_path, store, tokens, away=lambda: False) as a:
        store.away = True
        await a.accept(risk())
        store.away = False
        await a.spool_fallback.replay()
        assert a.outcomes() == [EventOutcome.SPOOLED]


async def test_a_store_that_is_known_to_be_away_is_not_asked(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        trips = store.round_trips
        for number in range(10):
            await a.accept(risk(number))
        assert not await a.spool_fallback.replay()
        assert store.round_trips == trips


async def test_an_event_that_is_sent_again_while_it_waits_is_kept_once(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        await a.accept(risk())
        again = await a.accept(risk())
        assert again == Accepted("r1", duplicate=True, spooled=True)
        assert a.spool_fallback.waiting == 1
        await a.accept(risk(user="bob"))
        assert a.spool_fallback.waiting == 2


async def test_once_replayed_an_event_is_the_stores_to_know(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        await a.accept(risk())
        store.away = False
        assert await a.spool_fallback.replay()
        assert key_of(risk()) not in a.pending
        assert await a.accept(risk()) == Accepted("r1", duplicate=True)


async def test_a_store_that_has_too_much_to_do_is_not_spared_by_the_disk(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens, intake=flawed) as a:
        assert isinstance(a.pod.intake, Flawed)
        a.pod.intake.overloaded = frozenset({"alice"})
        with pytest.raises(Overloaded):
            await a.accept(risk())
        assert a.spool_fallback.waiting == 0
        assert a.outcomes() == [EventOutcome.OVERLOADED]


async def test_a_revocation_is_kept_where_the_store_has_too_much_to_do(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens, intake=flawed) as a:
        assert isinstance(a.pod.intake, Flawed)
        a.pod.intake.overloaded = frozenset({"alice"})
        revocation = SessionRevoked(stamp=at(1001, "x1"), subject=Subject("alice"))
        assert (await a.accept(revocation)).spooled
        a.pod.intake.overloaded = frozenset()
        assert await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 0


async def test_a_full_spool_is_overloaded_and_what_it_refused_has_no_effect(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    settings = SpoolSettings(dir=str(tmp_path), max_events=2)
    token = tokens.issue("t1")
    async with spooled(tmp_path, store, tokens, settings=settings) as a:
        await a.pod.check(token)
        await a.pod.settle()
        store.away = True
        await a.accept(risk(1, "bob"))
        await a.accept(risk(2, "carol"))
        with pytest.raises(Overloaded):
            await a.accept(risk(3))
        assert (await a.pod.check(token)).verdict is Verdict.ALLOW
        assert a.outcomes()[-1] is EventOutcome.OVERLOADED
        store.away = False
        assert await a.spool_fallback.replay()
        await a.accept(risk(3))
        assert (await a.pod.check(token)).verdict is Verdict.STEP_UP


async def test_an_unusable_spool_acknowledges_nothing(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    token = tokens.issue("t1")
    await trio.Path(tmp_path / "file").touch()
    async with spooled(tmp_path / "file", store, tokens) as a:
        await a.pod.check(token)
        await a.pod.settle()
        store.away = True
        with pytest.raises(Unavailable):
            await a.accept(risk())
        assert (await a.pod.check(token)).verdict is Verdict.ALLOW
        assert a.outcomes() == [EventOutcome.FAILED]
        store.away = False
        await a.accept(risk())
        assert (await a.pod.check(token)).verdict is Verdict.STEP_UP


SESSIONS_EVENTS = (
    risk(),
    NetworkChange(stamp=at(1001, "n"), subject=Subject(session="s1"), segment="restricted"),
    DeviceComplianceChange(stamp=at(1001, "c"), subject=Subject(device="d1"), compliant=False),
)


@pytest.mark.parametrize("signal", SESSIONS_EVENTS, ids=lambda one: type(one).__name__)
async def test_a_session_that_comes_before_the_spool_is_replayed_is_judged_by_what_waits(
    tmp_path: Path, store: MemoryStore, tokens: Tokens, signal: Signal
) -> None:
    token = tokens.issue("t1", device="d1")
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        await a.accept(signal)
    store.away = False
    async with spooled(tmp_path, store, tokens) as later:
        assert later.spool_fallback.waiting == 1
        assert (await later.pod.check(token)).verdict is Verdict.STEP_UP
        b = Pod(store, POLICIES, tokens, name="b")
        assert (await b.check(token)).verdict is Verdict.ALLOW
        assert await later.spool_fallback.replay()
        assert (await later.pod.check(token)).verdict is Verdict.STEP_UP
        assert (await Pod(store, POLICIES, tokens, name="c").check(token)).verdict is (
            Verdict.STEP_UP
        )


async def test_what_waits_is_replayed_and_not_saved_as_if_the_store_had_lost_it(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    token = tokens.issue("t1")
    async with spooled(tmp_path, store, tokens) as a:
        await a.pod.check(token)
        await a.pod.settle()
        store.away = True
        await a.accept(risk())
        store.away = False
        await a.pod.view.revalidate()
        assert not a.pod.view.has_unsaved
        record = a.pod.names.user_record(digest("", "alice"))
        assert not [f for f in store.records.get(record, {}) if f.startswith(b"risk:")]
        await a.spool_fallback.replay()
        assert event_field("r1") in store.records[record]


async def test_a_spooled_sign_in_is_seen_across_the_users_sessions(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    established = SessionEstablished(
        stamp=at(1001, "e"), subject=Subject("alice", session="s9"), ip=AWAY, auth_time=1000
    )
    async with spooled(tmp_path, store, tokens) as a:
        await a.pod.check(tokens.issue("t1"))
        await a.pod.settle()
        store.away = True
        await a.accept(established)
        live = a.pod.view.find("", "alice", "s1")
        assert live is not None
        assert live.state.elsewhere is not None
        assert live.state.elsewhere.ip == AWAY
        store.away = False
        assert await a.spool_fallback.replay()
        assert (await a.pod.view.open("", "alice", "s9")).state.ip == AWAY


async def test_events_go_past_the_spool_once_the_store_is_back_and_the_newest_wins(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    token = tokens.issue("t1")
    async with spooled(tmp_path, store, tokens) as a:
        await a.pod.check(token)
        await a.pod.settle()
        store.away = True
        await a.accept(risk(1, level=RiskLevel.HIGH))
        assert (await a.pod.check(token)).verdict is Verdict.STEP_UP
        store.away = False
        assert await a.accept(risk(5, level=RiskLevel.LOW)) == Accepted("r5")
        for _ in range(2):
            for pod in (a.pod, Pod(store, POLICIES, tokens, name="b")):
                assert (await pod.check(token)).verdict is Verdict.ALLOW
            assert await a.spool_fallback.replay()


async def test_an_event_that_the_store_took_before_the_crash_counts_once(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        await a.accept(risk())
        store.away = False
        await a.pod.intake.accept(risk())
    async with spooled(tmp_path, store, tokens) as later:
        assert await later.spool_fallback.replay()
        (replayed,) = later.pod.telemetry.of(SpoolReplayed)
        assert replayed == SpoolReplayed(events=1, duplicates=1, left=0)


class Flawed(Intake):
    """Does not take events of some users: as if their part of the store were gone, or we wrong."""

    away: frozenset[str] = frozenset()
    crashing: frozenset[str] = frozenset()
    overloaded: frozenset[str] = frozenset()
    taken: list[str]

    async def accept(self, signal: Signal) -> Accepted:
        self.taken.append(signal.stamp.id)
        if signal.subject.user in self.away:
            raise Unavailable("this part of the store is gone")
        if signal.subject.user in self.overloaded:
            raise Overloaded
        if signal.subject.user in self.crashing:
            raise ZeroDivisionError
        return await super().accept(signal)


def flawed(intake: Intake) -> Intake:
    intake.__class__ = Flawed
    assert isinstance(intake, Flawed)
    intake.taken = []
    return intake


async def test_what_one_part_of_the_store_cannot_take_holds_up_no_other(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    settings = SpoolSettings(dir=str(tmp_path), segment_bytes=400)
    async with spooled(tmp_path, store, tokens, settings=settings, intake=flawed) as a:
        intake = a.pod.intake
        assert isinstance(intake, Flawed)
        intake.away, intake.crashing = frozenset({"bob"}), frozenset({"mallory"})
        store.away = True
        users = ["bob", "alice", "mallory", *(f"user{n}" for n in range(20))]
        for number, user in enumerate(users):
            await a.accept(risk(number, user))
        store.away = False
        assert not await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 2
        assert [type(one) for one in a.pod.telemetry.of(WorkerFailed)] == [WorkerFailed]
        intake.taken.clear()
        assert not await a.spool_fallback.replay()
        assert sorted(intake.taken) == ["r0", "r2"]
        intake.away = intake.crashing = frozenset()
        assert await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 0
        assert not [one async for one in segments(tmp_path)]


async def segments(directory: Path) -> AsyncIterator[trio.Path]:
    for file in await trio.Path(directory).iterdir():
        if file.suffix == ".spool":
            yield file


async def test_a_pass_ends_when_nothing_can_be_handed_in(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens, intake=flawed) as a:
        intake = a.pod.intake
        assert isinstance(intake, Flawed)
        intake.away = frozenset({"bob"})
        store.away = True
        for number in range(3 * FRUITLESS):
            await a.accept(risk(number, "bob"))
        store.away = False
        assert not await a.spool_fallback.replay()
        assert len(intake.taken) == FRUITLESS
        assert a.spool_fallback.waiting == 3 * FRUITLESS


async def test_the_worker_replays_when_the_store_is_back_and_waits_for_more(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a, trio.open_nursery() as nursery:
        await nursery.start(a.spool_fallback.run)
        for round_ in range(3):
            store.away = True
            await a.accept(risk(round_))
            assert a.spool_fallback.waiting == 1
            store.away = False
            await until(lambda: not a.spool_fallback.waiting)
            record = a.pod.names.user_record(digest("", "alice"))
            assert event_field(f"r{round_}") in store.records[record]
        nursery.cancel_scope.cancel()


async def test_a_spooled_revocation_stops_the_session_here_at_once(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    token = tokens.issue("t1")
    async with spooled(tmp_path, store, tokens) as a:
        await a.pod.check(token)
        await a.pod.settle()
        store.away = True
        await a.accept(SessionRevoked(stamp=at(1001, "x"), subject=Subject("alice")))
        a.pod.news.stale = 1e6
        answer = await a.pod.check(token)
        assert (answer.verdict, answer.status) == (Verdict.DENY, 401)
        assert (await a.pod.check(token, "")).verdict is Verdict.DENY


async def test_what_the_store_refuses_for_good_leaves_the_spool_as_a_dead_letter(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        store.away = True
        for number in (1, 2, 3):
            await a.accept(risk(number, user=f"u{number}"))
        store.away = False
        store.refused.add(a.pod.names.user_record(digest("", "u2")))
        for left in (1, 1, 1, 1, 0):
            assert await a.spool_fallback.replay() is (left == 0)
            assert a.spool_fallback.waiting == left
        assert await a.spool.segments() == []
        (letter,) = (await a.pod.letters.page(10)).letters
        assert (letter.event, letter.reason, letter.tries) == ("r2", DeadReason.REFUSED, 5)
        assert key_of(risk(2, user="u2")) not in a.pending
        store.refused.clear()
        retried = await a.pod.letters.retry(letter.id)
        assert retried is not None
        assert retried.outcome is Retried.DONE
        assert event_field("r2") in store.records[a.pod.names.user_record(digest("", "u2"))]


OURS, THEIRS = "https://i.example", "https://j.example"
TWO_ISSUERS = msgspec.structs.replace(
    SETTINGS,
    tokens=TokenSettings(
        issuers=tuple(Issuer(issuer=one, audiences=("app",)) for one in (OURS, THEIRS))
    ),
)


async def test_what_waits_means_the_users_for_whom_its_source_spoke_when_it_was_taken(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens, about=TWO_ISSUERS) as a:
        partner = SourceSettings(name="partner", issuers=(THEIRS,))
        a.pod.settings = msgspec.structs.replace(TWO_ISSUERS, sources=(partner,))
        store.away = True
        signals = (
            risk(1),
            risk(2, level=RiskLevel.LOW),
            SessionRevoked(stamp=at(1001, "x"), subject=Subject("alice")),
        )
        for signal in signals:
            event = msgspec.structs.replace(signal, source="partner")
            assert (await a.accept(event)).spooled
            assert (await a.accept(event)).duplicate
        assert a.spool_fallback.waiting == 3
        a.pod.settings = TWO_ISSUERS  # it is taken out of the configuration
        store.away = False
        assert await a.spool_fallback.replay()
        names = a.pod.names
        assert names.user_record(digest(OURS, "alice")) not in store.records
        assert event_field("partner/x") in store.records[names.user_record(digest(THEIRS, "alice"))]


async def test_what_concerns_nobody_in_particular_becomes_a_dead_letter_and_no_crash(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens, about=TWO_ISSUERS) as a:
        store.away = True
        await a.accept(risk(1, level=RiskLevel.LOW))
        store.away = False
        for left in (1, 1, 1, 1, 0):
            assert await a.spool_fallback.replay() is (left == 0)
        (letter,) = (await a.pod.letters.page(10)).letters
        assert (letter.event, letter.reason) == ("r1", DeadReason.REFUSED)
        assert "subject.issuer" in letter.error
        assert a.pod.telemetry.of(WorkerFailed) == []


async def test_it_waits_in_the_spool_while_there_is_no_room_for_a_letter(
    tmp_path: Path, store: MemoryStore, tokens: Tokens
) -> None:
    async with spooled(tmp_path, store, tokens) as a:
        a.pod.letters._bound = lambda: 0  # noqa: SLF001 - there is no room
        store.away = True
        await a.accept(risk())
        store.away = False
        store.refused.add(a.pod.names.user_record(digest("", "alice")))
        for _ in range(7):
            assert not await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 1
        a.pod.letters._bound = lambda: 10  # noqa: SLF001 - an operator has made some
        assert await a.spool_fallback.replay()
        assert a.spool_fallback.waiting == 0
