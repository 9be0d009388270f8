"""Sessions that nobody asks for lie packed, which changes no answer."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.session_memory import is_at_rest, parts_of
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.policy.conditional_access import Policy, RiskLevel, Score, UserRisk
from sidecar.domain.session.fold import Surroundings
from sidecar.service.compact.packing import Packing
from tests.domain.scenes import WORLD, network_of, policy
from tests.service.checks.call_histories import POLICIES, STEPS
from tests.service.checks.played_histories import Acted, Judging
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

RULES = st.lists(st.sampled_from(POLICIES), unique=True, min_size=1, max_size=5)
HISTORY = st.lists(STEPS, max_size=14)
PACKED_AT_ONCE = 0
"""How many are unpacked, so that each is packed as soon as it was looked at."""


@given(RULES, HISTORY)
@settings(max_examples=100, deadline=None)
def test_calls_are_answered_alike_whether_sessions_lie_packed(
    rules: list[Policy], steps: list[object]
) -> None:
    async def played() -> None:
        pods = [Judging(tuple(rules), at_once=True) for _ in range(3)]
        pods[1].pod.view.packing = Packing(PACKED_AT_ONCE)
        pods[2].pod.view.packing = Packing(PACKED_AT_ONCE, judged=0)
        for step in steps:
            for one in pods:
                await one.act(step)
        assert pods[0].answers == pods[1].answers == pods[2].answers
        plain, *packed = (sorted(one.pod.view, key=lambda live: live.session) for one in pods)
        for lives in packed:
            assert [live.state for live in lives] == [live.state for live in plain]
            assert [live.coarse for live in lives] == [live.coarse for live in plain]

    trio.run(played)


@given(RULES, HISTORY)
@settings(max_examples=50, deadline=None)
def test_what_is_answered_at_once_of_a_packed_session_is_what_judging_it_gives(
    rules: list[Policy], steps: list[object]
) -> None:
    async def played() -> None:
        acted = Acted(tuple(rules))
        acted.pod.view.packing = Packing(PACKED_AT_ONCE)
        for step in steps:
            await acted.act(step)

    trio.run(played)


async def crowd(sessions: int, packing: Packing) -> tuple[Pod, list[str]]:
    tokens = Tokens()
    rules = [policy(Score(60.0), name="scored"), policy(UserRisk(RiskLevel.HIGH), name="risky")]
    pod = Pod(MemoryStore(), rules, tokens, SETTINGS)
    pod.view.packing = packing
    shown = [
        tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}", device=f"d{n}")
        for n in range(sessions)
    ]
    for one in shown:
        await pod.check(one)
    await pod.settle()
    await pod.sweeper.sweep()
    return pod, shown


async def test_few_sessions_are_unpacked_however_many_there_are() -> None:
    pod, _ = await crowd(30, Packing(8, judged=4))
    lives = list(pod.view)
    assert sum(not live.is_packed for live in lives) == 8
    assert len(pod.view.packing.judged) == 4
    records = [tracked for live in lives for tracked in live.tracked]
    assert sum(not tracked.is_packed for tracked in records) == 8


async def test_a_call_like_the_one_before_leaves_its_session_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod, shown = await crowd(20, Packing(2))
    (live,) = pod.view.find_session("s3")
    await pod.check(shown[3])
    for other in shown[10:]:
        await pod.check(other)
    assert live.is_packed
    monkeypatch.delattr(type(pod.view.packing.packers), "unpack_state")
    answer = await pod.check(shown[3])
    assert answer.verdict == "allow"


async def test_a_session_that_has_left_the_view_is_held_by_nothing() -> None:
    packing = Packing(8, judged=8)
    pod, _ = await crowd(4, packing)
    for live in pod.view:
        pod.view.drop(live)
    await pod.sweeper.sweep()
    assert (len(packing.states), len(packing.records)) == (0, 0)


async def test_other_policies_judge_packed_sessions_anew() -> None:
    pod, shown = await crowd(10, Packing(1))
    everybody = [policy(None, "mfa", name="all")]
    pod.view.use(IncrementalEvaluator(everybody, WORLD, Surroundings("", network_of)))
    for one in shown[:2]:
        assert (await pod.check(one)).verdict == "step_up"


async def test_a_calm_session_that_nobody_asks_for_takes_little_memory() -> None:
    pod, shown = await crowd(40, Packing(4, judged=4))
    for one in shown[30:]:
        await pod.check(one)
    (live,) = pod.view.find_session("s20")  # the first few are what others are packed by
    assert is_at_rest(live)
    parts = parts_of(live, shared=pod.view.evaluator)
    assert parts["judged"] < 100
    assert parts["state"] < 600
    assert parts["records"] < 1700
    assert sum(parts.values()) < 2500, parts
