"""Which decisions are taken, what of them is written, and what is said of those that are lost."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.decisions.decision_log import DecisionLog, OutputFailed
from sidecar.service.decisions.record_builder import RecordBuilder
from sidecar.service.observations.decision_log import (
    DecisionOutputState,
    DecisionsDropped,
    DropCause,
)
from sidecar.service.ports.calls import Answer, Call, DecisionBasis, Reason, Via
from sidecar.wire.decision_log.masks import MASKABLE, Masks
from sidecar.wire.decision_log.records import LoggedAnswer
from sidecar.wire.decision_log.settings import DecisionLogSettings, Mask
from sidecar.wire.settings.privacy import Identifiers, Privacy
from tests.service.memory import Records

PLAIN = Privacy()
KEYED = Privacy(identifiers=Identifiers.KEYED, keys=("p" * 44,))


class Output:
    """Keeps the records; with `trouble` it takes none, and while `gate` is shut it waits."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.trouble = ""
        self.gate = trio.Event()
        self.gate.set()

    async def write(self, records: Sequence[bytes]) -> None:
        await self.gate.wait()
        if self.trouble:
            raise OutputFailed(self.trouble, len(records))
        self.records += map(json.loads, records)


class Taking:
    """A log, its output, and what it observed."""

    def __init__(self, share: float = 1.0, bound: int = 100, privacy: Privacy = PLAIN, **more: Any):
        self.output, self.telemetry = Output(), Records()
        settings = DecisionLogSettings(**more)
        builder = RecordBuilder(
            Masks(settings, privacy), "digest", lambda _m, _h, _p: "/pay/{id}", lambda _: "shop"
        )
        self.log = DecisionLog(
            output=self.output,
            builder=builder,
            share=share,
            bound=bound,
            telemetry=self.telemetry,
            clock=lambda: 1_800_000_000.0,
        )
        self.count = 0

    def take(self, answer: Answer, call: Call = Call(""), *, repeated: bool = False) -> str:  # noqa: B008
        self.count += 1
        id_ = f"d{self.count}"
        self.log.take(call, answer, id_, 1_800_000_000.25, 0.0002, repeated=repeated)
        return id_

    async def ids(self) -> list[str]:
        await self.log.flush()
        return [one["id"] for one in self.output.records if one["kind"] == "decision"]


def allowed(session: str = "s1", standing: str = "clear", **more: Any) -> Answer:
    basis = DecisionBasis("payroll", standing)
    return Answer(Verdict.ALLOW, 200, session, "ada", issuer="i", basis=basis, **more)


def without_knowing() -> Answer:
    return msgspec.structs.replace(allowed("s3"), basis=DecisionBasis("payroll", stale=True))


def asked(session: str = "s1", standing: str = "step_up") -> Answer:
    basis = DecisionBasis("payroll", standing)
    return Answer(Verdict.STEP_UP, 401, session, "ada", issuer="i", basis=basis)


async def test_a_share_of_the_sessions_is_there_with_all_their_decisions_or_none() -> None:
    here, there = (Taking(share=0.3, bound=10_000) for _ in range(2))
    sessions = [f"s{number}" for number in range(400)]
    for taking in (here, there):
        for turn in range(3):
            for session in sessions:
                taking.take(allowed(session), repeated=turn > 0)
    await here.log.flush()
    await there.log.flush()
    found = [one["session"] for one in here.output.records]
    assert found == [one["session"] for one in there.output.records]
    counts = {session: found.count(session) for session in set(found)}
    assert 80 < len(counts) < 160
    assert {one["share"] for one in here.output.records} == {0.3}


async def test_what_was_not_allowed_is_there_and_the_first_that_is_after_a_change() -> None:
    taking = Taking(share=0.0)
    taking.take(allowed())
    marked = taking.take(allowed(standing="step_up", pending=True))
    taking.take(allowed(standing="step_up", pending=True))
    challenged = taking.take(asked())
    again = taking.take(asked(), repeated=True)
    proven = taking.take(allowed())
    taking.take(allowed())
    taking.take(allowed(), repeated=True)
    taking.take(allowed("s2"))
    unknown = [taking.take(without_knowing()) for _ in range(2)]
    assert await taking.ids() == [marked, challenged, again, proven, *unknown]
    assert not any("share" in one for one in taking.output.records)


async def test_a_full_queue_drops_and_the_log_says_how_many() -> None:
    taking = Taking(bound=3)
    for _ in range(5):
        taking.take(allowed())
    assert await taking.ids() == ["d1", "d2", "d3"]
    notice = taking.output.records[0]
    assert (notice["kind"], notice["dropped"]) == ("dropped", {"queue-full": 2})
    (dropped,) = taking.telemetry.of(DecisionsDropped)
    assert isinstance(dropped, DecisionsDropped)
    assert (dropped.cause, dropped.records) == (DropCause.QUEUE, 2)


async def test_a_decision_that_cannot_be_put_down_costs_no_other() -> None:
    taking = Taking()
    for session in ("s1", "no text: \ud800", "s2"):
        taking.take(allowed(session))
    assert await taking.ids() == ["d1", "d3"]
    (dropped,) = taking.telemetry.of(DecisionsDropped)
    assert isinstance(dropped, DecisionsDropped)
    assert (dropped.cause, dropped.records) == (DropCause.RECORD, 1)
    taking.take(allowed())
    assert await taking.ids() == ["d1", "d3", "d4"]
    assert [one["dropped"] for one in taking.output.records if one["kind"] == "dropped"] == [
        {"record-failed": 1}
    ]


async def test_an_output_that_fails_is_reported_once_and_what_it_cost_when_it_is_back() -> None:
    taking = Taking()
    taking.output.trouble = "the disk is full"
    for _ in range(2):
        taking.take(allowed())
        await taking.log.flush()
    taking.output.trouble = ""
    assert taking.output.records == []
    taking.take(allowed())
    assert await taking.ids() == ["d3"]
    assert taking.output.records[0]["dropped"] == {"output-failed": 2}
    states = taking.telemetry.of(DecisionOutputState)
    assert [(one.up, one.detail) for one in states if isinstance(one, DecisionOutputState)] == [
        (False, "the disk is full"),
        (True, ""),
    ]


async def test_nobody_waits_for_a_reader_that_has_stalled(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    taking = Taking(bound=10)
    taking.output.gate = trio.Event()
    await nursery.start(taking.log.run)
    for _ in range(5):
        taking.take(allowed())
        await trio.sleep(1)
    for _ in range(100):
        taking.take(allowed())
    assert taking.log.waiting == 10
    taking.output.gate.set()
    await trio.sleep(1)
    assert taking.log.waiting == 0
    ids = [one["id"] for one in taking.output.records if one["kind"] == "decision"]
    assert (len(ids), len(set(ids))) == (11, 11)
    assert (
        sum(one["dropped"]["queue-full"] for one in taking.output.records if "dropped" in one) == 94
    )


CALL = Call("secret", frozenset(), "BREW", "h", "/pay/7", "192.0.2.1", via=Via("socket", uid=7))


async def record_of(taking: Taking, answer: Answer) -> Any:
    taking.take(answer, CALL)
    await taking.log.flush()
    return taking.output.records[-1]


def detailed() -> Answer:
    basis = DecisionBasis("payroll", "step_up", device="d1", networks=("lab",))
    why = (Reason("p", "network-change", "ada was seen in the lab"),)
    return msgspec.structs.replace(asked(), basis=basis, reasons=why)


async def test_names_are_kept_hashed_or_dropped_as_the_masks_say() -> None:
    plain = await record_of(Taking(), detailed())
    assert (plain["user"], plain["session"], plain["device"]) == ("ada", "s1", "d1")
    assert (plain["method"], plain["route"], plain["asker"]) == ("_OTHER", "/pay/{id}", "shop")
    assert "address" not in plain
    hashing = [name for name, one in MASKABLE.items() if one.can_hash]
    masks = dict.fromkeys(hashing, Mask.HASH)
    hashed = await record_of(Taking(masks=masks, mask_key="m" * 44), detailed())
    other = await record_of(Taking(masks=masks, mask_key="n" * 44), detailed())
    for name in ("user", "session", "device", "address", "issuer", "asker"):
        assert hashed[name] not in ("", plain.get(name))
        assert hashed[name] != other[name]
    assert hashed["networks"][0].startswith("h:")
    dropped = await record_of(Taking(masks=dict.fromkeys(MASKABLE, Mask.DROP)), detailed())
    assert not {*MASKABLE} & dropped.keys()
    assert dropped["reasons"] == [{"policy": "p", "signal": "network-change"}]


async def test_where_identifiers_are_keyed_no_name_is_written_and_no_words() -> None:
    keep = dict.fromkeys(MASKABLE, Mask.KEEP)
    record = await record_of(Taking(privacy=KEYED, masks=keep), detailed())
    assert [record[name][:2] for name in ("user", "session", "device", "address")] == [
        *("u:", "s:", "d:", "a:")
    ]
    assert "ada" not in json.dumps(record)
    assert record["reasons"] == [{"policy": "p", "signal": "network-change"}]


async def test_a_repeated_answer_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taking, answer = Taking(), allowed()
    encoded: list[Answer] = []
    real = RecordBuilder._answer  # noqa: SLF001 - counted

    def counted(self: RecordBuilder, one: Answer) -> LoggedAnswer:
        encoded.append(one)
        return real(self, one)

    monkeypatch.setattr(RecordBuilder, "_answer", counted)
    for _ in range(20):
        taking.take(answer, repeated=True)
    assert len(await taking.ids()) == 20
    assert len(encoded) == 1
