"""The background works in short turns: others run between any two pieces that are long."""

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.audit import turns
from sidecar.service.audit.turns import TURN, Turns
from sidecar.service.view.view import AT_ONCE
from sidecar.wire.store.entries import UsedIn
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
MANY = 3 * AT_ONCE


@pytest.fixture
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each look at the timer find a turn to be over."""
    monkeypatch.setattr(turns, "perf_counter", itertools.count(0.0, TURN).__next__)


async def test_work_rests_by_its_share_once_a_turn_is_over(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    at_hand = iter([0.0, TURN / 2, 4 * TURN, 5 * TURN, 5.5 * TURN])
    monkeypatch.setattr(turns, "perf_counter", at_hand.__next__)
    begun = trio.current_time()
    some = Turns(share=0.2)
    await some.give_way()
    assert trio.current_time() == begun
    await some.give_way()
    assert trio.current_time() == pytest.approx(begun + 16 * TURN)
    await some.give_way()
    assert trio.current_time() == pytest.approx(begun + 16 * TURN)


async def _sweep(pod: Pod) -> None:
    await pod.sweeper.sweep()


async def _finish(pod: Pod) -> None:
    await pod.sweeper.finish()


async def _log(pod: Pod) -> None:
    await pod.auditor.rescore("a", [live.name for live in pod.view], at_hand=True)


async def _save(pod: Pod) -> None:
    for live in pod.view:
        pod.view.write((live.own, [UsedIn("x")]))
    await pod.write_back.save(await pod.view.take_unsaved())


async def _saved(pod: Pod) -> None:
    (users,) = {live.users for live in pod.view}
    await pod.auditor.saved(users)


async def _read_again(pod: Pod) -> None:
    await pod.view.revalidate()


@pytest.mark.usefixtures("everything_is_long")
@pytest.mark.parametrize("work", [_sweep, _finish, _log, _save, _saved, _read_again])
async def test_others_run_between_the_sessions_of_one_user(
    work: Callable[[Pod], Awaitable[None]],
) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    for n in range(MANY):
        await pod.check(tokens.issue(f"t{n}", session=f"s{n}"))
    await pod.settle()
    rise = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)
    await pod.intake.accept(rise)
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while True:
            await trio.lowlevel.checkpoint()
            turns_of_others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()  # they have begun before the work does
        await work(pod)
        nursery.cancel_scope.cancel()
    assert turns_of_others >= MANY - 1
