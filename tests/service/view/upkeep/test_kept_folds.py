"""Sessions that come back to the view as they left it are not folded again."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import Policy, RiskLevel, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.loss import ALL_SLOTS, Floor, Floors
from sidecar.domain.values.stamp import at
from sidecar.service.view.live_session import Live
from sidecar.service.view.upkeep.kept_folds import KeptFolds
from tests.domain.scenes import WORLD, network_of, policy
from tests.service.checks.call_histories import POLICIES, STEPS
from tests.service.checks.played_histories import Judging
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RISKY = policy(UserRisk(RiskLevel.HIGH), name="risky")
USERS = ("ada", "bob")
RAISED = RiskLevelChange(stamp=at(1001, "r1"), subject=Subject(user="ada"), level=RiskLevel.HIGH)


@given(
    st.lists(st.sampled_from(POLICIES), unique=True, min_size=1, max_size=5),
    st.lists(STEPS, max_size=14),
)
@settings(max_examples=100, deadline=None)
def test_calls_are_answered_alike_whether_folds_are_kept(
    rules: list[Policy], steps: list[object]
) -> None:
    async def played() -> None:
        pods = [Judging(tuple(rules), at_once=True) for _ in range(2)]
        pods[1].pod.view.kept_folds = KeptFolds(0)
        for one in pods:
            one.pod.view.limit = 1
        for step in steps:
            for one in pods:
                await one.act(step)
                await one.pod.settle()
        assert pods[0].answers == pods[1].answers
        kept, folded = ([(live.session, live.state) for live in one.pod.view] for one in pods)
        assert kept == folded

    trio.run(played)


async def returned() -> tuple[Pod, dict[str, str]]:
    """Return a pod with room for one session, to which two came back, each time as they left."""
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens, SETTINGS)
    pod.view.limit = 1
    shown = {user: tokens.issue(f"t-{user}", session=user, user=user) for user in USERS}
    for _ in range(2):
        for user in USERS:
            await come(pod, shown[user])
    assert pod.view.kept_folds.resumed == 0  # of none was anything known but what it wrote itself
    for user in USERS:
        await come(pod, shown[user])
    assert pod.view.kept_folds.resumed == 2
    return pod, shown


async def come(pod: Pod, token: str) -> Live:
    await pod.check(token)
    await pod.settle()
    (live,) = pod.view
    return live


async def test_one_that_comes_back_as_it_left_is_what_folding_it_gives() -> None:
    pod, shown = await returned()
    for user in USERS:
        live = await come(pod, shown[user])
        resumed = live.state
        live.refold(pod.view.evaluator)
        assert live.state == resumed
    assert pod.view.kept_folds.resumed == 4


async def test_one_of_which_something_was_said_meanwhile_is_folded() -> None:
    pod, shown = await returned()
    before = (await come(pod, shown["ada"])).state
    await come(pod, shown["bob"])
    other = Pod(pod.store, [RISKY], pod.tokens, SETTINGS, name="b")
    await other.intake.accept(RAISED)
    resumed = pod.view.kept_folds.resumed
    live = await come(pod, shown["ada"])
    assert pod.view.kept_folds.resumed == resumed
    assert live.state != before


async def test_other_policies_have_all_folded() -> None:
    pod, shown = await returned()
    around = Surroundings("", network_of)
    pod.view.use(
        IncrementalEvaluator((policy(UserRisk(RiskLevel.LOW), name="low"),), WORLD, around)
    )
    for user in USERS:
        live = await come(pod, shown[user])
        assert "low" in live.state.activations
    assert pod.view.kept_folds.resumed == 2


async def test_what_the_store_has_lost_has_all_folded() -> None:
    pod, shown = await returned()
    pod.view.lose(Floors((Floor(0, ALL_SLOTS - 1, 999_000_000),)), lambda _: False)
    for user in USERS:
        assert (await come(pod, shown[user])).state.lost
    assert pod.view.kept_folds.resumed == 2


@pytest.mark.parametrize("bound", [0, 1])
async def test_no_more_are_kept_than_its_bound(bound: int) -> None:
    tokens = Tokens()
    pod = Pod(MemoryStore(), [RISKY], tokens, SETTINGS)
    pod.view.limit, pod.view.kept_folds = 1, KeptFolds(bound)
    shown = [tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}") for n in range(4)]
    for token in shown * 3:
        await come(pod, token)
    assert len(pod.view.kept_folds) == bound
