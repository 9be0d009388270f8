"""What watchers hear of sessions at which nobody has looked before."""

import pytest
import trio

from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from tests.domain.scenes import policy
from tests.service.memory import MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")


def risk(level: RiskLevel, second: float) -> RiskLevelChange:
    subject = Subject(user="alice")
    return RiskLevelChange(stamp=at(second, f"r{second}"), subject=subject, level=level)


async def known_pod(tokens: Tokens) -> Pod:
    """A sidecar that is yet to read a marked session, which another one has made."""
    store = MemoryStore()
    other = Pod(store, (RISKY,), tokens, name="other")
    await other.check(tokens.issue("t1"))
    await other.intake.accept(risk(RiskLevel.HIGH, 1005))
    await other.settle()
    pod = Pod(store, (RISKY,), tokens, name="pod")
    pod.now = 1010.0
    return pod


async def test_a_watcher_does_not_hear_of_what_was_there_before_the_session_came() -> None:
    tokens = Tokens()
    pod = await known_pod(tokens)
    async with pod.watches.watch(None) as changes:
        await pod.check("t1")
        await pod.settle()
        with pytest.raises(trio.WouldBlock):
            changes.receive_nowait()


async def test_a_watcher_who_comes_later_hears_of_the_first_change_to_come() -> None:
    tokens = Tokens()
    pod = await known_pod(tokens)
    live = await pod.view.open("", "alice", "s1")
    before = live.coarse
    async with pod.watches.watch(None) as changes:
        assert (before, live.coarse) == ("", "step_up")
        await pod.intake.accept(risk(RiskLevel.LOW, 1011))
        await pod.settle()
        assert changes.receive_nowait().standing == "clear"
