"""Facts that cannot be read or folded are set aside: the rest counts, and that loosens nothing."""

from typing import Any

import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import Revoked, RiskReported, Scope
from sidecar.domain.facts.from_signal import facts_from
from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at
from sidecar.service.intake.worklog import OVERDUE
from sidecar.service.observations.observations import (
    Buried,
    Cleared,
    ClearReason,
    FactsSetAside,
    Marked,
    SetAsideReason,
)
from sidecar.service.view.fold_records import assemble
from sidecar.wire.facts.values import HEAD
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import encode_facts
from tests.domain.scenes import AWAY, HOME, WORLD, established, network_of, policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
USER = b"t:{u" + digest("", "alice").encode() + b"}:f"


def risk(second: float, event: str, level: RiskLevel = RiskLevel.LOW) -> RiskLevelChange:
    return RiskLevelChange(stamp=at(second, event), subject=Subject("alice"), level=level)


def damage(store: MemoryStore, group: bytes, key: bytes = USER) -> None:
    """Keep the field and its moment, and break what it holds."""
    record = store.records[key]
    (field,) = (field for field in record if field.startswith(group + b":"))
    record[field] = record[field][:HEAD] + b"\xc1 damaged"


async def session_with(store: MemoryStore, tokens: Tokens, *events: Any) -> str:
    token = tokens.issue("t1")
    pod = Pod(store, [RISKY], tokens, name="first")
    await pod.check(token)
    await pod.settle()
    for event in events:
        await pod.intake.accept(event)
    await pod.settle()
    store.pods.remove(pod.news)
    return token


def later(store: MemoryStore, tokens: Tokens, seconds: float = 100) -> Pod:
    pod = Pod(store, [RISKY], tokens, name="later")
    pod.now += seconds
    return pod


def set_aside(pod: Pod) -> list[tuple[SetAsideReason, int, str]]:
    seen = (one for one in pod.telemetry.seen if isinstance(one, FactsSetAside))
    return [(one.reason, one.facts, one.group) for one in seen]


def marks(pod: Pod) -> list[Marked]:
    return [one for one in pod.telemetry.seen if isinstance(one, Marked)]


async def test_a_damaged_fact_has_the_session_sign_in_anew_and_the_others_count() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens, risk(1001, "r1"))
    damage(store, b"risk")
    pod = later(store, tokens)
    answer = await pod.check(token)
    assert answer.verdict is Verdict.STEP_UP
    assert [reason.policy for reason in answer.reasons] == ["set-aside"]
    assert set_aside(pod) == [(SetAsideReason.DAMAGED, 1, "risk")]
    assert (await pod.check(token, "")).verdict is Verdict.ALLOW
    await pod.settle()
    assert [mark.policy for mark in marks(pod)] == ["set-aside"]
    fresh = tokens.issue("t2", auth_time=1050)
    assert (await pod.check(fresh)).verdict is Verdict.ALLOW
    await pod.intake.accept(risk(1090, "r2", RiskLevel.HIGH))
    answer = await pod.check(fresh)
    assert [reason.policy for reason in answer.reasons] == ["risky"]


async def test_a_damaged_revocation_ends_the_session() -> None:
    store, tokens = MemoryStore(), Tokens()
    revoked = SessionRevoked(stamp=at(1001, "r"), subject=Subject("alice"))
    token = await session_with(store, tokens, revoked)
    damage(store, b"ended")
    damage(store, b"revoked")
    pod = later(store, tokens)
    assert (await pod.check(token, "")).status == 401
    assert (await pod.check(tokens.issue("t2", auth_time=1050))).verdict is Verdict.ALLOW


async def test_a_damaged_sign_in_is_left_out_as_that_loosens_nothing() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens)
    pod = later(store, tokens)
    await pod.check(tokens.issue("t2", auth_time=1050))
    await pod.settle()
    store.pods.remove(pod.news)
    (own,) = (key for key in store.records if b":s:" in key)
    damage(store, b"auth", own)
    answer = await later(store, tokens).check(token)
    assert [reason.policy for reason in answer.reasons] == []


async def test_what_came_with_a_damaged_sign_in_is_not_left_out() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens)
    (own,) = (key for key in store.records if b":s:" in key)
    damage(store, b"place", own)
    answer = await later(store, tokens).check(token)
    assert [reason.policy for reason in answer.reasons] == ["set-aside"]


async def test_a_damaged_proof_of_a_place_is_left_out_as_that_loosens_nothing() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens)
    store.records[USER][b"proven:0"] = b"0000001000000000p\0\xc1 damaged"
    answer = await later(store, tokens).check(token)
    assert answer.verdict is Verdict.ALLOW


async def test_a_damaged_checkpoint_is_not_taken_for_none() -> None:
    store, tokens = MemoryStore(), Tokens()
    events = [risk(1001 + n, f"r{n}") for n in range(24)]
    token = await session_with(store, tokens, *events)
    (own,) = (key for key, record in store.records.items() if b"checkpoint:state" in record)
    damage(store, b"checkpoint", own)
    assert (await later(store, tokens).check(token)).status == 401


async def test_a_fact_of_another_version_is_set_aside_aloud() -> None:
    """Store a fact as the version before this one wrote it: it is not believed."""
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens, risk(1001, "r1"))
    record = store.records[USER]
    (field,) = (field for field in record if field.startswith(b"risk:"))
    record[field] = field.partition(b":")[2] + b"\0\x02" + record[field][HEAD:]
    pod = later(store, tokens)
    answer = await pod.check(token)
    assert [reason.policy for reason in answer.reasons] == ["set-aside"]
    assert set_aside(pod) == [(SetAsideReason.VERSION, 1, "risk")]
    await pod.settle()
    assert [mark.policy for mark in marks(pod)] == ["set-aside"]


async def test_news_of_another_version_are_set_aside_aloud() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    token = tokens.issue("t1")
    assert (await pod.check(token)).verdict is Verdict.ALLOW
    (field, value), *_ = encode_facts([Revoked(stamp=at(1001, "r"), scope=Scope.USER)]).items()
    pod.view.hear(USER, {field: b"\x84" + value[1:]})
    assert (await pod.check(token, "")).status == 401
    assert set_aside(pod) == [(SetAsideReason.VERSION, 1, "revoked")]


async def test_a_mark_whose_cause_cannot_be_read_is_not_logged_as_withdrawn() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens, risk(1001, "r1", RiskLevel.HIGH))
    damage(store, b"risk")
    pod = later(store, tokens)
    assert (await pod.check(token)).verdict is Verdict.STEP_UP
    await pod.settle()
    assert "set-aside" in {mark.policy for mark in marks(pod)}
    assert [one for one in pod.telemetry.seen if isinstance(one, Cleared)] == []
    await pod.check(tokens.issue("t2", auth_time=1050))
    await pod.settle()
    cleared = {one.policy: one.reason for one in pod.telemetry.seen if isinstance(one, Cleared)}
    assert cleared["risky"] is ClearReason.PROOF


class Choking(Evaluator):
    """Policies with a bug: they cannot fold a risk reported by one event."""

    __slots__ = ("poison",)

    poison: str

    def _advance(self, state: Any, facts: Any, around: Any) -> None:
        if any(isinstance(f, RiskReported) and f.stamp.id == self.poison for f in facts):
            raise ZeroDivisionError("in some policy")
        super()._advance(state, facts, around)


def choke(pod: Pod, poison: str) -> None:
    before = pod.view.evaluator
    bad = Choking([RISKY], before.world, before._around)  # noqa: SLF001 - of its own kind
    bad.poison = poison
    pod.view.evaluator = bad


@pytest.mark.parametrize("first", [True, False], ids=["in the view", "read anew"])
async def test_an_event_that_the_fold_chokes_on_does_not_disturb_its_session(first: bool) -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens, *(() if first else (risk(1001, "bad"),)))
    pod = later(store, tokens)
    choke(pod, "bad")
    if first:
        assert (await pod.check(token)).verdict is Verdict.ALLOW
        await pod.intake.accept(risk(1001, "bad"))
    answer = await pod.check(token)
    assert [reason.policy for reason in answer.reasons] == ["set-aside"]
    fresh = tokens.issue("t2", auth_time=1050)
    assert (await pod.check(fresh)).verdict is Verdict.ALLOW
    await pod.intake.accept(risk(1060, "good", RiskLevel.HIGH))
    answer = await pod.check(fresh)
    assert [reason.policy for reason in answer.reasons] == ["risky"]


class ChokingThere(Choking):
    """One with a bug that concerns the users of one issuer, or calls by an older token, alone."""

    __slots__ = ()

    def _advance(self, state: Any, facts: Any, around: Any) -> None:
        if state.issuer == "https://id.example" or around.until is not None:
            super()._advance(state, facts, around)
        else:
            Evaluator._advance(self, state, facts, around)  # noqa: SLF001 - of its own kind


@pytest.mark.parametrize(("issuer", "until"), [("https://id.example", None), ("", 999)])
def test_what_the_fold_chokes_on_is_found_as_it_is_folded(issuer: str, until: int | None) -> None:
    rules = ChokingThere([RISKY], WORLD, Surroundings("", network_of))
    rules.poison = "bad"
    record = encode_facts(established())
    user = encode_facts(facts_from(risk(1001, "bad"), lambda _: Place()).facts)
    folded = assemble(rules, "s", record, [user], until, issuer=issuer)
    assert [one.stamp.id for one in folded.culprits] == ["bad"]
    assert folded.state.aside


async def test_it_becomes_a_dead_letter_and_takes_effect_once_when_a_version_can_fold_it() -> None:
    store, tokens = MemoryStore(), Tokens()
    token = await session_with(store, tokens)
    pod = later(store, tokens)
    choke(pod, "bad")
    await pod.intake.accept(risk(1001, "bad", RiskLevel.HIGH))
    await pod.settle()
    for _ in range(5):
        store.now += OVERDUE
        await pod.worklog.look()
        await pod.settle()
    (letter,) = (await pod.letters.page(5)).letters
    assert (letter.event, letter.tries) == ("bad", 5)
    assert letter.error.startswith("ZeroDivisionError at _advance")
    assert len(pod.telemetry.of(Buried)) == 1
    store.pods.remove(pod.news)
    mended = later(store, tokens)
    await mended.letters.retry(letter.id)
    await mended.settle()
    assert [mark.policy for mark in marks(mended)] == ["risky"]
    assert (await mended.letters.page(5)).letters == ()
    assert [r.policy for r in (await mended.check(token)).reasons] == ["risky"]


class OneFails(Evaluator):
    """Policies with a bug: they cannot say how a session stands that was used from one address."""

    __slots__ = ()

    def standing(self, state: Any, now: int, call: Any = None, presented: Any = None) -> Any:
        if state.ip == AWAY:
            raise ZeroDivisionError("in some policy")
        return super().standing(state, now, call, presented)


async def test_the_other_sessions_of_a_batch_are_logged_although_one_fails() -> None:
    store, tokens = MemoryStore(), Tokens()
    pod = Pod(store, [RISKY], tokens)
    for number in range(3):
        ip = AWAY if number == 1 else HOME
        await pod.check(tokens.issue(f"t{number}", session=f"s{number}"), ip=ip)
    await pod.settle()
    before = pod.view.evaluator
    for live in pod.view:
        pod.view.drop(live)
    pod.view.evaluator = OneFails([RISKY], before.world, before._around)  # noqa: SLF001 - its kind
    await pod.intake.accept(risk(1001, "r", RiskLevel.HIGH))
    await pod.auditor.drain()
    assert {mark.session for mark in marks(pod)} == {"s0", "s2"}
