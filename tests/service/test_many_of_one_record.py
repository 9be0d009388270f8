"""A record that very many sessions depend on: none of them is folded late for a check."""

import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.ports.calls import StandingChange
from sidecar.service.view.view import AT_ONCE
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
MANY = 3 * AT_ONCE
RISE = RiskLevelChange(stamp=at(1005, "r"), subject=Subject(user="alice"), level=RiskLevel.HIGH)
FALL = RiskLevelChange(stamp=at(1006, "f"), subject=Subject(user="alice"), level=RiskLevel.LOW)
OVER = SessionRevoked(stamp=at(1007, "x"), subject=Subject(user="alice"))


async def crowd() -> tuple[Pod, list[str]]:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens)
    shown = [tokens.issue(f"t{n}", session=f"s{n}") for n in range(MANY)]
    for token in shown:
        assert (await pod.check(token)).verdict is Verdict.ALLOW
    return pod, shown


async def test_each_check_is_judged_by_what_is_known_of_its_user(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pod, shown = await crowd()
    for event, verdict in (
        (RISE, Verdict.STEP_UP),
        (FALL, Verdict.ALLOW),
        (RISE, Verdict.ALLOW),
        (OVER, Verdict.DENY),
    ):
        await pod.intake.accept(event)
        for token in shown:
            assert (await pod.check(token)).verdict is verdict


async def test_events_that_come_before_anything_is_folded_all_count(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pod, shown = await crowd()
    for event in (RISE, FALL, OVER):
        await pod.intake.accept(event)
    for token in shown:
        assert (await pod.check(token)).verdict is Verdict.DENY


async def test_every_watcher_is_notified_soon(autojump_clock: trio.testing.MockClock) -> None:
    pod, _ = await crowd()
    notified: set[str] = set()
    async with trio.open_nursery() as nursery:
        await nursery.start(pod.view.run)
        async with pod.watches.watch(None) as changes:
            await pod.intake.accept(OVER)
            while len(notified) < MANY:
                change: StandingChange = await changes.receive()
                assert change.standing == "revoked"
                notified.add(change.session)
        nursery.cancel_scope.cancel()
