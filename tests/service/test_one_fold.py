"""The change of a session by an event is folded once here, whoever asks for it then."""

import copy
from collections import Counter

import msgspec
import pytest

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.signal import (
    NetworkChange,
    RiskLevelChange,
    SessionPresented,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.observations.observations import Marked
from sidecar.service.ports.store import Load, Loaded
from sidecar.service.view.view import AT_ONCE
from sidecar.wire.store.keys import digest
from tests.domain.scenes import AWAY, policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
RISE = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)
SEEN = SessionPresented(stamp=at(1005, "p"), subject=Subject(session="s0"), ip=AWAY)
MOVE = NetworkChange(stamp=at(1005, "n"), subject=Subject(session="s0"), segment="restricted")


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each session was folded: a step more, or all of it."""
    counted = Counter[str]()
    advance, fold = Evaluator.advance, Evaluator.fold

    def counting_advance(self: Evaluator, session: str, *rest: object) -> object:
        after = advance(self, session, *rest)  # type: ignore[arg-type]
        counted[session] += after is not None
        return after

    def counting_fold(self: Evaluator, session: str, *rest: object, **named: object) -> object:
        counted[session] += 1
        return fold(self, session, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "advance", counting_advance)
    monkeypatch.setattr(Evaluator, "fold", counting_fold)
    return counted


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 4])
@pytest.mark.parametrize("signal", [RISE, MOVE, SEEN], ids=lambda one: one.kind)
async def test_one_fold_for_each_session_and_event(
    folds: Counter[str], signal: Signal, count: int
) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    names = [tokens.issue(f"t{n}", session=f"s{n}") for n in range(count)]
    for name in names:
        assert (await pod.check(name)).verdict is Verdict.ALLOW
    await pod.settle()
    touched = [live.name.session for live in pod.view if signal is not MOVE or live.session == "s0"]
    pod.news.deaf = True  # what is published comes when it is known here, and is no news then
    folds.clear()
    assert not (await pod.intake.accept(signal)).duplicate
    await pod.settle()
    assert all(live.state.established for live in pod.view)  # as their next calls would ask
    assert folds == Counter(touched)
    marked = len(pod.telemetry.of(Marked))
    assert marked == (count if signal is RISE else 0)
    again = msgspec.structs.replace(signal, stamp=at(1006, "again"))
    await pod.intake.accept(again)
    await pod.settle()
    assert all(live.state.established for live in pod.view)
    assert folds == Counter(touched * 2)
    assert len(pod.telemetry.of(Marked)) == marked


async def test_a_first_check_is_one_step_in_one_reading(
    folds: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    asked: list[str] = []
    follow, load = pod.news.follow, pod.store.load

    async def following(*channels: bytes) -> None:
        asked.append(f"follow {len(channels)}")
        await follow(*channels)

    async def loading(*loads: Load) -> list[Loaded]:
        asked.append("load")
        return await load(*loads)

    monkeypatch.setattr(pod.news, "follow", following)
    monkeypatch.setattr(pod.store, "load", loading)
    token = tokens.issue("t", device="laptop")
    answer = await pod.check(token, ip=AWAY)
    assert answer.verdict is Verdict.ALLOW
    # The channels of the user and the device, and then all records at once.
    assert asked == ["follow 2", "load"]
    live = pod.view.find("", "alice", "s1")
    assert live is not None
    # There was nothing to fold; so it is one step: sign-in, device, address and sighting.
    assert folds == Counter({live.name.session: 1})
    await pod.settle()  # it is saved, and comes back as news
    assert folds == Counter({live.name.session: 1})
    step = live.state
    live.refold(pod.view.evaluator)
    assert live.state == step


async def test_a_session_that_comes_back_is_read_and_folded_and_nothing_is_written(
    folds: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    names = [tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}", device="laptop") for n in (0, 1)]
    pod.view.limit = 1
    for name in names:
        assert (await pod.check(name, ip=AWAY)).verdict is Verdict.ALLOW
    await pod.settle()
    stored = copy.deepcopy(pod.store.records)
    folds.clear()
    for name in names:
        assert (await pod.check(name, ip=AWAY)).verdict is Verdict.ALLOW
        assert not pod.view.has_unsaved
    assert set(folds.values()) == {1}
    pod.now += SETTINGS.sessions.seen_interval
    assert (await pod.check(names[0], ip=AWAY)).verdict is Verdict.ALLOW
    await pod.settle()  # that it is in use is noted from time to time, all the same
    assert pod.store.records != stored


async def test_one_that_comes_back_says_anew_what_the_store_has_lost_of_it() -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    pod.view.limit = 1
    names = [tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}") for n in (0, 1)]
    for name in names:
        await pod.check(name)
    await pod.settle()
    locator = pod.names.locator(digest("", "s0"))
    known = pod.store.records.pop(locator)
    await pod.check(names[0])
    await pod.settle()
    assert pod.store.records[locator].keys() == known.keys()
