"""Checks, events and evictions leave nothing to the garbage collector.

What they let go of is in no cycle, so that its reference count frees it: a process in which that
holds may leave its collector out of everything it holds (`adapters.process.collector`).
"""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import trio.testing

from sidecar.domain.facts.signal import RiskLevelChange, SessionRevoked, Subject
from sidecar.domain.policy.conditional_access import Not, RiskLevel, Score, SessionRisk, UserRisk
from sidecar.domain.values.stamp import at
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

POLICIES = [
    policy(UserRisk(RiskLevel.HIGH), name="risky"),
    policy(Score(60.0), name="scored"),
    policy(Not(SessionRisk(RiskLevel.MEDIUM)), name="calm"),
]
TIMES = 350
VIEW = 50
"""So most of the sessions are evicted."""


@contextmanager
def what_is_left_to_the_collector() -> Iterator[Counter[str]]:
    """Count, by type, the objects that nobody uses and a cycle keeps alive.

    Only of those that come: what other tests made may be given up at any time, by a full cache.
    """
    left: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left.update(type(one).__qualname__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


def small_pod() -> tuple[Pod, Tokens]:
    sessions = msgspec.structs.replace(SETTINGS.sessions, view=VIEW)
    tokens = Tokens()
    settings = msgspec.structs.replace(SETTINGS, sessions=sessions)
    return Pod(MemoryStore(), POLICIES, tokens, settings), tokens


async def be_busy(pod: Pod, tokens: Tokens, first: int, times: int) -> None:
    """Check calls of new sessions, from two places; put them at risk; revoke some."""
    for n in range(first, first + times):
        names = {"session": f"s{n}", "user": f"u{n}", "device": f"d{n}"}
        token = tokens.issue(f"t{n}", **names)
        await pod.check(token)
        await pod.check(token, ip=f"198.51.100.{n % 250}")
        subject = Subject(user=f"u{n}")
        risen = RiskLevelChange(stamp=at(1005, f"r{n}"), subject=subject, level=RiskLevel.HIGH)
        await pod.intake.accept(risen)
        await pod.check(token)
        if n % 10 == 0:
            await pod.intake.accept(SessionRevoked(stamp=at(1006, f"x{n}"), subject=subject))
            await pod.check(token)
        await pod.settle()
    await pod.sweeper.sweep()


async def test_a_thousand_checks_leave_nothing_to_the_collector(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pod, tokens = small_pod()
    await be_busy(pod, tokens, 0, 10)
    with what_is_left_to_the_collector() as left:
        await be_busy(pod, tokens, 10, TIMES)
    assert len(pod.view) == VIEW
    # What is made once, however many calls there are, is none of theirs.
    assert all(count < TIMES / 10 for count in left.values()), left
