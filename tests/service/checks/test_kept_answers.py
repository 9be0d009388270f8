"""Calls are answered at once as the one before, and that is always what judging them gives."""

from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.conditional_access import (
    Policy,
)
from sidecar.service.checks import kept_answers
from sidecar.service.checks.kept_answers import KeptAnswer, KeptAnswers
from sidecar.service.ports.calls import Call
from tests.domain.scenes import AWAY, HOME
from tests.service.checks.call_histories import (
    CONTEXTS,
    EVENTS_BY_NAME,
    POLICIES,
    RISKY,
    STEPS,
    Asked,
    call_of,
    tokens_shown,
)
from tests.service.checks.played_histories import (
    Acted,
    Judging,
)


@given(
    st.lists(st.sampled_from(POLICIES), unique=True, min_size=1, max_size=5),
    st.lists(STEPS, max_size=14),
)
@settings(max_examples=150, deadline=None)
def test_a_call_that_is_answered_at_once_is_answered_as_if_it_were_judged(
    rules: list[Policy], steps: list[object]
) -> None:
    async def played() -> None:
        acted = Acted(tuple(rules))
        for step in steps:
            await acted.act(step)

    trio.run(played)


@given(
    st.lists(st.sampled_from(POLICIES), unique=True, min_size=1, max_size=5),
    st.lists(STEPS, max_size=14),
)
@settings(max_examples=150, deadline=None)
def test_a_call_that_is_judged_without_waiting_is_judged_alike(
    rules: list[Policy], steps: list[object]
) -> None:
    async def played() -> None:
        one, other = (Judging(tuple(rules), at_once=at_once) for at_once in (True, False))
        for step in steps:
            await one.act(step)
            await other.act(step)
        assert one.answers == other.answers

    trio.run(played)


async def test_a_call_of_a_session_at_hand_is_judged_without_waiting() -> None:
    acted = Judging((RISKY, *POLICIES[1:5]), at_once=True)
    await acted.act(CALL)
    await acted.act(CALL._replace(ip=AWAY))
    assert acted.outcomes == {"at once": 3}  # all but the first


CALL = Asked("plain", "c1", HOME, "Firefox", "", dpop=False)


@pytest.mark.parametrize("contexts", CONTEXTS)
async def test_the_second_of_two_calls_is_answered_at_once(contexts: str) -> None:
    acted = Acted((RISKY, *POLICIES[1:5]))
    await acted.act(CALL._replace(contexts=contexts))
    assert acted.outcomes == {"judged": 1, Verdict.ALLOW: 1}


async def test_a_challenge_is_repeated_within_its_second() -> None:
    acted = Acted((RISKY,))
    await acted.act(CALL)
    await acted.act(EVENTS_BY_NAME["risk"])
    acted.pod.now = 1100.0
    await acted.act(CALL)
    assert acted.outcomes[Verdict.STEP_UP] == 1
    answer = (await acted.pod.checker.check(call_of(CALL))).max_age
    acted.pod.now += 1
    assert (await acted.pod.checker.check(call_of(CALL))).max_age == (answer or 0) + 1


async def test_while_nothing_changes_the_answer_is_one_object() -> None:
    acted = Acted((RISKY,))
    await acted.act(CALL)
    repeated = [acted.pod.checker.check_at_once(call_of(CALL)) for _ in range(2)]
    first, second = (one for one in repeated if one is not None)
    assert first.answer is second.answer
    assert first.whole.id != second.whole.id


@pytest.mark.parametrize(
    "rule",
    [POLICIES[9], POLICIES[10], POLICIES[5]],
    ids=lambda rule: rule.id,
)
async def test_what_must_do_more_than_answer_is_judged(rule: Policy) -> None:
    acted = Acted((rule,))
    await acted.act(EVENTS_BY_NAME["risk"])
    elsewhere = CALL._replace(contexts="c1 c2", ip="")
    await acted.act(CALL)
    acted.outcomes.clear()
    await acted.act(elsewhere)
    assert acted.outcomes == {"judged": 2}


async def test_a_policy_for_each_call_costs_nothing_in_other_contexts() -> None:
    acted = Acted((POLICIES[9],))
    await acted.act(CALL)
    assert acted.outcomes == {"judged": 1, Verdict.ALLOW: 1}


async def test_no_more_answers_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "KEPT_BOUND", 2)
    acted = Acted((RISKY,))
    for contexts in (*CONTEXTS, *CONTEXTS):
        await acted.act(CALL._replace(contexts=contexts))
    assert acted.outcomes[Verdict.ALLOW] >= len(CONTEXTS)


def test_where_answers_are_too_many_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "KEPT_BOUND", 2)
    token, kept, nothing = tokens_shown().known["plain"], KeptAnswers(), cast("Any", None)

    def keep(label: str, version: int) -> list[str]:
        """Keep an answer, and return those that there are."""
        made_of = (token, version, nothing, nothing, nothing, "", "", nothing)
        kept.keep(KeptAnswer(*made_of), Call("plain", label=label))
        found = {name: kept.find(token, name, Call("plain")) for name in ("c1", "c2", "c3")}
        return [f"{name} {one.version}" for name, one in found.items() if one is not None]

    keep("c1", 1)
    assert keep("c2", 2) == ["c1 1", "c2 2"]
    assert keep("c1", 3) == ["c1 3", "c2 2"], "it has its place already"
    assert keep("c3", 4) == ["c1 3", "c3 4"]
    kept.limit = 1
    assert (len(kept), keep("c3", 5)) == (1, ["c3 5"])
    assert keep("c2", 6) == ["c2 6"]
