"""The history: what happened to whom is there once, in order, with its cause."""

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    RiskLevelChange,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import Networks, RiskLevel, Selection, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import InvalidQuery
from sidecar.service.history.history import KNOWN
from sidecar.service.history.reader import HistoryLine, HistoryQuery
from sidecar.service.history.sentences import sentence_of
from sidecar.service.observations.observations import QueueRejected
from sidecar.service.ports.calls import Answer, Reason, Unavailable
from sidecar.service.ports.store import HistoryAppend, HistoryAppended
from sidecar.wire.history.entries import Entry, EntryKind
from sidecar.wire.settings.history import HistorySettings
from sidecar.wire.store.keys import digest
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RESTRICTED = policy(Networks(Selection(frozenset({"restricted"}))), name="segment")
RISKY = policy(UserRisk(RiskLevel.HIGH), name="risk")
ON = Subject(session="s1", user="alice")
ALICE = Subject(user="alice")


def segment(second: float, name: str, to: str = "restricted") -> NetworkChange:
    return NetworkChange(stamp=at(second, name), subject=ON, segment=to, source="edge-proxy")


class Fleet:
    """Two sidecars, of which the first has seen alice sign in."""

    def __init__(self, **history: object) -> None:
        self.store, self.tokens = MemoryStore(), Tokens()
        self.settings = msgspec.structs.replace(SETTINGS, history=HistorySettings(**history))  # type: ignore[arg-type]
        self.first, self.second = self.pod("a"), self.pod("b")
        self.shown = self.tokens.issue("t", device="d")
        self.tokens.issue("stronger", device="d", auth_time=1004, acr="mfa")

    def pod(self, name: str) -> Pod:
        return Pod(self.store, [RESTRICTED, RISKY], self.tokens, self.settings, name=name)

    async def begin(self) -> None:
        assert (await self.first.check(self.shown)).verdict is Verdict.ALLOW
        await self.first.settle()

    def wait(self, seconds: float) -> None:
        for pod in (self.first, self.second):
            pod.now += seconds
        self.store.now += seconds

    async def take(self, pod: Pod, *steps: Signal | str) -> None:
        """Have a sidecar take signals, and calls with tokens."""
        for signal in steps:
            if isinstance(signal, str):
                self.wait(1005 - pod.now)
                assert (await pod.check(signal)).verdict is Verdict.ALLOW
                await pod.write_back.save(await pod.view.take_unsaved())
                continue
            self.wait(max(0.0, signal.stamp.seconds - pod.now))
            await pod.intake.accept(signal)

    async def settle(self) -> None:
        for pod in (self.first, self.second):
            await pod.settle()
            await pod.services.view.history.flush()

    async def lines(self, **query: object) -> list[HistoryLine]:
        asked = HistoryQuery(**{"user": "alice", **query})  # type: ignore[arg-type]
        page = await self.second.services.admin.history.history(asked)
        return list(page.entries)

    async def kinds(self) -> list[str]:
        return [" ".join(filter(None, (x.kind, x.policy, x.what))) for x in await self.lines()]


STORY: tuple[Signal | str, ...] = (
    segment(1002, "e1"),
    "stronger",
    RiskLevelChange(stamp=at(1006, "e3"), subject=ALICE, level=RiskLevel.HIGH, source="siem"),
    RiskLevelChange(stamp=at(1008, "e4"), subject=ALICE, level=RiskLevel.LOW, source="siem"),
    segment(1010, "e5", "office"),
    segment(1012, "e6"),
    SessionRevoked(stamp=at(1014, "e7"), subject=ON, reason="stolen", source="siem"),
)

FOUND = [
    "proof",
    "signal network-change",
    "marked segment",
    "proof",
    "cleared segment proof",
    "signal risk-level-change",
    "marked risk",
    "signal risk-level-change",
    "cleared risk withdrawn",
    "signal network-change",
    "signal network-change",
    "signal session-revoked",
    "revoked",
]


@pytest.mark.parametrize("taker", ["first", "second"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_each_transition_is_there_once_and_in_order_whoever_took_the_events(
    taker: str, at_once: bool
) -> None:
    fleet = Fleet()
    await fleet.begin()
    for signal in STORY:
        await fleet.take(getattr(fleet, taker), signal)
        if not at_once:
            await fleet.settle()
    await fleet.settle()
    assert await fleet.kinds() == FOUND


async def test_it_says_why_with_the_source() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.take(fleet.first, STORY[0])
    await fleet.settle()
    said = [line.sentence for line in await fleet.lines(session="s1")]
    assert "network moved to restricted (source edge-proxy)" in said
    (marked,) = [one for one in said if one.startswith("marked")]
    assert marked == (
        "marked by policy segment for c1: network: restricted (source edge-proxy),"
        " since 1970-01-01T00:16:42Z"
    )


async def test_a_call_that_is_not_allowed_is_there_once_and_found_by_its_decision() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.take(fleet.first, STORY[0])
    first = await fleet.first.check(fleet.shown)
    assert first.verdict is Verdict.STEP_UP
    for pod in (fleet.first, fleet.second):
        await pod.check(fleet.shown)
    await fleet.settle()
    (line,) = [one for one in await fleet.lines() if one.kind == "challenged"]
    assert (line.decision, line.contexts) == (first.id, ("c1",))
    (found,) = await fleet.lines(user="", decision=first.id)
    assert (found.user, found.session) == ("alice", "s1")
    assert await fleet.lines(user="", decision="nothing") == []


async def test_an_operators_act_is_there_with_its_reason() -> None:
    fleet = Fleet()
    await fleet.begin()
    act = OperatorClear(
        stamp=at(1004, "e2"), subject=ON, source="operator:bob", reason="a false alarm"
    )
    await fleet.take(fleet.first, STORY[0], act)
    await fleet.settle()
    (line,) = [one for one in await fleet.lines() if one.kind == "act"]
    assert line.sentence == "marks cleared: a false alarm (source operator:bob)"
    (ended,) = [one for one in await fleet.lines() if one.kind == "cleared"]
    assert ended.what == "operator"


async def test_it_outlives_the_session_and_no_more_than_its_age() -> None:
    fleet = Fleet(age=10 * 86400.0)
    await fleet.begin()
    await fleet.take(fleet.first, *STORY)
    await fleet.settle()
    fleet.wait(8 * 86400)
    for key in [key for key in fleet.store.records if b":s:" in key]:
        del fleet.store.records[key]
    assert await fleet.kinds() == FOUND
    assert await fleet.lines(since="7d") == []
    fleet.wait(3 * 86400)
    assert await fleet.lines() == []


async def test_it_is_bounded_and_the_oldest_go() -> None:
    fleet = Fleet(entries=4)
    await fleet.begin()
    await fleet.take(fleet.first, *(segment(1002 + n, f"e{n}", "office") for n in range(10)))
    await fleet.settle()
    kept = await fleet.lines()
    assert [one.kind for one in kept] == ["proof", "signal", "signal", "signal"]
    assert min(one.time for one in kept[1:]) >= 1009


async def test_a_flood_of_one_sources_events_pushes_out_its_own_entries_alone() -> None:
    fleet = Fleet(entries=16)
    await fleet.begin()
    await fleet.take(fleet.first, *STORY)
    for n in range(60):
        to = ("restricted", "office")[n % 2]
        await fleet.take(fleet.first, segment(1016 + 2 * n, f"flood-{n}", to))
    await fleet.settle()
    kept = await fleet.lines()
    assert len(kept) == 16
    sources = [one.source for one in kept if one.kind == "signal"]
    assert sources.count("siem") == 3
    assert "revoked" in [one.kind for one in kept]


async def test_a_flood_of_calls_that_are_not_allowed_pushes_out_nothing_else() -> None:
    fleet = Fleet(entries=16)
    await fleet.begin()
    await fleet.take(fleet.first, *STORY[:1])
    await fleet.settle()
    before = await fleet.kinds()
    for n in range(60):
        fleet.first.services.view.history.refuse(refused(n, why=f"another {n}"))
    await fleet.settle()
    kinds = await fleet.kinds()
    assert len(kinds) == 16
    assert kinds[: len(before)] == before


def refused(number: int, *, why: str = "no", user: str = "alice") -> Answer:
    """A call of a session that was not allowed."""
    reasons = (Reason("segment", "network-change", why),)
    return Answer(Verdict.DENY, 403, session="s1", subject=user, reasons=reasons, id=f"d-{number}")


async def test_what_waits_is_bounded_while_the_store_is_away_and_is_written_then() -> None:
    fleet = Fleet()
    history = fleet.first.services.view.history
    fleet.store.away = True
    for batch in range(3):
        for n in range(KNOWN):
            history.refuse(refused(n, user=f"user-{batch}-{n}"))
        with pytest.raises(Unavailable):
            await history.flush()
    assert len(fleet.first.telemetry.of(QueueRejected)) == 2 * KNOWN
    fleet.store.away = False
    await history.flush()
    assert len([key for key in fleet.store.records if key.endswith(b":h")]) == KNOWN


async def test_who_flushes_waits_for_what_another_is_writing(nursery: trio.Nursery) -> None:
    fleet = Fleet()
    history, append = fleet.first.services.view.history, fleet.store.append_history
    begun, go = trio.Event(), trio.Event()

    async def slow(*appends: HistoryAppend) -> list[HistoryAppended]:
        begun.set()
        await go.wait()
        return await append(*appends)

    fleet.store.append_history = slow  # type: ignore[method-assign]
    history.refuse(refused(1))
    nursery.start_soon(history.flush)
    await begun.wait()
    nursery.start_soon(_release, go)
    await history.flush()
    assert [key for key in fleet.store.records if key.endswith(b":h")]


async def _release(go: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    go.set()


async def test_a_history_that_the_store_refuses_keeps_nobody_from_theirs() -> None:
    fleet = Fleet()
    await fleet.begin()
    key = fleet.first.names.user_history(digest("", "alice"))
    fleet.store.refused.add(key)
    history = fleet.first.services.view.history
    history.refuse(refused(1))
    history.refuse(refused(2, user="bob"))
    await history.flush()
    assert [one.decision for one in await fleet.lines(user="bob")] == ["d-2"]
    assert [one.decision for one in await fleet.lines(user="", decision="d-2")] == ["d-2"]
    await fleet.take(fleet.first, STORY[0])
    assert (await fleet.first.check(fleet.shown)).verdict is Verdict.STEP_UP


async def test_a_refusal_that_is_there_already_leaves_no_record_of_its_decision() -> None:
    fleet = Fleet()
    for number, pod in enumerate((fleet.first, fleet.second)):
        history = pod.services.view.history
        history.refuse(refused(number))
        await history.flush()
    led = [key for key in fleet.store.records if b":{c" in key]
    assert led == [fleet.first.names.decision_record("d-0")]


async def test_a_source_cannot_have_its_word_shown_as_anothers() -> None:
    fleet = Fleet()
    await fleet.begin()
    entry = Entry(
        kind=EntryKind.MARKED, policy="p", text="network: x (source ops)", by=(("siem", "e"),)
    )
    assert sentence_of(entry).endswith("network: x (source ops) (source siem)")
    assert sentence_of(msgspec.structs.replace(entry, text="x (said by siem)")).count("siem") == 1


async def test_what_is_said_of_a_device_is_there_from_when_the_user_was_seen_on_it() -> None:
    fleet = Fleet()
    await fleet.begin()
    on = Subject(device="d")
    for second, compliant in ((990, True), (1004, False)):
        stamp = at(second, f"c{second}")
        change = DeviceComplianceChange(stamp=stamp, subject=on, source="mdm", compliant=compliant)
        await fleet.take(fleet.first, change)
    await fleet.settle()
    said = [one.sentence for one in await fleet.lines() if one.kind == "signal"]
    assert said == ["device d: device is not compliant (source mdm)"]


async def test_without_it_nothing_is_written() -> None:
    fleet = Fleet(enabled=False)
    await fleet.begin()
    await fleet.take(fleet.first, *STORY)
    await fleet.first.check(fleet.shown)
    await fleet.settle()
    assert not [key for key in fleet.store.records if key.endswith(b":h")]


async def test_it_comes_in_pages_and_says_what_a_query_lacks() -> None:
    fleet = Fleet()
    await fleet.begin()
    await fleet.take(fleet.first, *STORY)
    await fleet.settle()
    reader = fleet.second.services.admin.history
    whole = [line.id for line in await fleet.lines()]
    paged, cursor = [], ""
    while True:
        page = await reader.history(HistoryQuery(user="alice", limit=4, cursor=cursor))
        paged += [line.id for line in page.entries]
        cursor = page.cursor
        if not cursor:
            break
    assert paged == whole
    for wrong in ({}, {"user": "a", "since": "soon"}, {"user": "a", "limit": 0}):
        with pytest.raises(InvalidQuery):
            await reader.history(HistoryQuery(**wrong))
