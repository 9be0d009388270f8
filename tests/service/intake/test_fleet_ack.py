"""`wait: everywhere`: an answer only when every live sidecar has the event in its view."""

import msgspec
import pytest
import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.intake.fleet_ack import WAITS
from sidecar.service.ports.calls import FleetAcknowledgement, Unavailable
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
RISE = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)


async def pods(nursery: trio.Nursery, count: int = 3) -> tuple[list[Pod], Tokens]:
    store, tokens = MemoryStore(), Tokens()
    all_pods = [Pod(store, [RISKY], tokens, name=f"p{index}") for index in range(count)]
    for pod in all_pods:
        await nursery.start(pod.acknowledger.run)
        await nursery.start(pod.acknowledger.answer)
    return all_pods, tokens


async def test_all_live_sidecars_have_a_settled_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        (a, b, c), tokens = await pods(nursery)
        token = tokens.issue("t1")
        for pod in (b, c):
            await pod.check(token)
            await pod.settle()
        await a.intake.accept(RISE)
        acknowledgement = await a.acknowledger.acknowledged("r", 5)
        assert acknowledgement.is_everywhere
        assert acknowledgement == (3, 3)
        for pod in (b, c):
            pod.now += 10
            assert (await pod.check(token)).verdict is Verdict.STEP_UP
        nursery.cancel_scope.cancel()


async def test_a_sidecar_that_missed_the_news_reads_before_it_says_yes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        (a, b), tokens = await pods(nursery, 2)
        token = tokens.issue("t1")
        await b.check(token)
        await b.settle()
        b.news.deaf = True
        await a.intake.accept(RISE)
        b.news.deaf = False
        assert (await b.check(token)).verdict is Verdict.ALLOW
        assert (await a.acknowledger.acknowledged("r", 5)).is_everywhere
        b.now += 10
        assert (await b.check(token)).verdict is Verdict.STEP_UP
        nursery.cancel_scope.cancel()


async def test_one_that_cannot_be_heard_leaves_the_event_unsettled_while_it_is_enlisted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        (a, b, c), _ = await pods(nursery)
        c.news.deaf = True
        await a.intake.accept(RISE)
        acknowledgement = await a.acknowledger.acknowledged("r", 2)
        assert (acknowledgement.is_everywhere, acknowledgement.have, acknowledgement.live) == (
            False,
            2,
            3,
        )
        for pod in (a, b):
            pod.now += 60
        await trio.sleep(30)  # a and b enlist again meanwhile; c does so only by its old clock
        assert await a.acknowledger.acknowledged("r", 2) == (2, 2)
        nursery.cancel_scope.cancel()


async def test_one_that_took_leave_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        (a, _), _ = await pods(nursery, 2)
        store, tokens = a.store, Tokens()
        gone = Pod(store, [RISKY], tokens, name="gone")
        async with trio.open_nursery() as brief:
            await brief.start(gone.acknowledger.run)
            await trio.sleep(0.01)
            brief.cancel_scope.cancel()
        await a.intake.accept(RISE)
        assert await a.acknowledger.acknowledged("r", 5) == (2, 2)
        nursery.cancel_scope.cancel()


async def test_an_event_that_was_not_taken_here_cannot_be_settled_here() -> None:
    a = Pod(MemoryStore(), [RISKY], Tokens())
    with pytest.raises(Unavailable):
        await a.acknowledger.acknowledged("never", 1)


async def test_who_waits_for_much_keeps_nobody_else_from_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        (a, b), _ = await pods(nursery, 2)
        await a.intake.accept(RISE)
        b.news.deaf = True
        answers: list[FleetAcknowledgement] = []

        async def wait() -> None:
            answers.append(await a.acknowledger.acknowledged("r", 5, "flood"))

        for _ in range(WAITS + 3):
            nursery.start_soon(wait)
        await trio.sleep(1)
        assert answers == [(1, 0)] * 3
        assert a.acknowledger.waiting == WAITS
        b.news.deaf = False
        await a.intake.accept(msgspec.structs.replace(RISE, stamp=at(1006, "r2")))
        assert (await a.acknowledger.acknowledged("r2", 5, "app")).is_everywhere
        await trio.sleep(5)
        assert a.acknowledger.waiting == 0
        assert len(answers) == WAITS + 3
        nursery.cancel_scope.cancel()
