"""The prompt budget: counted for a user over all sessions and sidecars, and logged once."""

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import RiskLevel, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import SessionQuery
from sidecar.service.observations.observations import PromptBudgetExceeded
from sidecar.wire.settings.settings import Friction
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.MEDIUM), name="risky")
TWICE = policy(UserRisk(RiskLevel.MEDIUM), name="risky-too")
FRICTION = Friction(prompts=3, per=3600.0)
SETTINGS_WITH_BUDGET = msgspec.structs.replace(SETTINGS, friction=FRICTION)


def pods() -> tuple[Pod, Pod, Tokens]:
    store, tokens = MemoryStore(), Tokens()
    one, other = (
        Pod(store, (RISKY, TWICE), tokens, name=name, settings=SETTINGS_WITH_BUDGET)
        for name in ("a", "b")
    )
    return one, other, tokens


async def prompt(pod: Pod, other: Pod) -> None:
    """Let the user's risk rise and fall again: each session that lives is marked once."""
    for level in (RiskLevel.MEDIUM, RiskLevel.LOW):
        for each in (pod, other):
            each.now += 10
        stamp = at(pod.now, f"{pod.now}")
        subject = Subject(user="alice")
        await pod.intake.accept(RiskLevelChange(stamp=stamp, subject=subject, level=level))
        await pod.settle()
        await other.settle()


async def test_a_user_over_budget_is_logged_once_and_asked_all_the_same() -> None:
    a, b, tokens = pods()
    token = tokens.issue("t1")
    await a.check(token)
    await a.settle()
    for _ in range(3):
        await prompt(a, b)
    assert a.telemetry.of(PromptBudgetExceeded) == []
    await prompt(b, a)
    await prompt(a, b)
    logged = [*a.telemetry.of(PromptBudgetExceeded), *b.telemetry.of(PromptBudgetExceeded)]
    assert logged == [PromptBudgetExceeded(subject="alice", prompts=4, budget=3, seconds=3600.0)]
    a.now += 10
    high = RiskLevelChange(
        stamp=at(a.now, "high"), subject=Subject(user="alice"), level=RiskLevel.HIGH
    )
    await a.intake.accept(high)
    assert (await a.check(token)).verdict is Verdict.STEP_UP


async def test_prompts_are_counted_over_all_of_a_users_sessions_and_shown() -> None:
    a, b, tokens = pods()
    await a.check(tokens.issue("t1"))
    await b.check(tokens.issue("t2", session="s2"))
    await b.check(tokens.issue("t3", session="s3", user="bob"))
    await a.settle()
    await b.settle()
    await prompt(a, b)
    page = await a.inspector.sessions(SessionQuery())
    assert {(each.session, each.prompts) for each in page.sessions} == {
        ("s1", 2),
        ("s2", 2),
        ("s3", 0),
    }


async def test_a_new_period_logs_anew() -> None:
    a, b, tokens = pods()
    await a.check(tokens.issue("t1"))
    await a.settle()
    for _ in range(5):
        await prompt(a, b)
    a.now = b.now = a.now + 3600
    for _ in range(4):
        await prompt(a, b)
    assert len(a.telemetry.of(PromptBudgetExceeded)) == 2
