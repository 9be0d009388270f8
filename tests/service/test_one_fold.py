"""The change of a session by an event is folded once here, whoever asks for it then."""

from collections import Counter

import msgspec
import pytest

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.signal import (
    NetworkChange,
    RiskLevelChange,
    SessionPresented,
    Signal,
    Subject,
)
from sidecar.domain.policy.policy import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.observations.observations import Marked
from sidecar.service.ports.calls import Verdict
from sidecar.service.view.view import AT_ONCE
from tests.domain.scenes import AWAY, policy
from tests.service.memory import MemoryStore, Pod, Tokens

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
