"""A session can be rewound to any moment, and is then what it was, with the score that it had."""

import pytest

from sidecar.domain.facts.signal import (
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.policy.conditional_access import Networks, RiskLevel, Score, Selection, UserRisk
from sidecar.domain.values.stamp import at
from sidecar.service.admin.inspection import InvalidQuery, Summary
from sidecar.service.console.rewind import Rewinder, RewindQuery, Rewound
from sidecar.wire.events.members import InvalidSignal
from tests.domain.scenes import AWAY, policy
from tests.service.memory import MemoryStore, Pod, Tokens

POLICIES = (
    policy(UserRisk(RiskLevel.HIGH), name="risky"),
    policy(Score(40.0), name="scored"),
    policy(Networks(Selection(frozenset({"restricted"}))), name="segment"),
)
MINE, OURS = Subject(session="s1"), Subject(user="u1")


def signals(begun: float) -> list[Signal]:
    """One a minute."""
    stamps = [at(begun + 60.0 * n, f"e{n}") for n in range(1, 9)]
    return [
        NetworkChange(stamp=stamps[0], subject=MINE, segment="restricted"),
        RiskSignal(stamp=stamps[1], subject=MINE, name="odd", weight=45.0, half_life=120.0),
        RiskLevelChange(stamp=stamps[2], subject=OURS, level=RiskLevel.HIGH),
        NetworkChange(stamp=stamps[3], subject=MINE, segment="office"),
        RiskLevelChange(stamp=stamps[4], subject=OURS, level=RiskLevel.LOW),
        SessionPresented(stamp=stamps[5], subject=MINE, ip=AWAY),
        RiskSignal(stamp=stamps[6], subject=OURS, name="odd", weight=10.0, half_life=60.0),
        SessionRevoked(stamp=stamps[7], subject=MINE, reason="stolen"),
    ]


def rewinder(pod: Pod) -> Rewinder:
    return Rewinder(
        finder=pod.inspector,
        records=pod.services.view.records,
        evaluator=lambda: pod.view.evaluator,
        happened=pod.services.admin.history.of_session,
        settings=lambda: pod.settings,
        clock=pod.clock,
        place_of=lambda ip: pod.places[ip],
    )


async def a_life() -> tuple[Pod, list[tuple[float, Summary]]]:
    """A pod after a session's life, and how the session stood after each signal, and between."""
    pod, seen = Pod(MemoryStore(), POLICIES, Tokens()), list[tuple[float, Summary]]()

    async def look() -> None:
        detail = await pod.inspector.session("s1")
        assert detail is not None
        seen.append((pod.now, detail.summary))

    await pod.check(pod.tokens.issue("t1", user="u1", session="s1"))
    await pod.settle()
    await look()
    for signal in signals(pod.now):
        pod.now = signal.stamp.seconds - 20.0
        await look()
        pod.now = signal.stamp.seconds
        await pod.intake.accept(signal)
        await look()
    pod.now += 3600.0
    return pod, seen


async def test_a_session_is_rewound_to_just_what_was_seen_then() -> None:
    pod, seen = await a_life()
    assert {one.standing for _, one in seen} == {"clear", "step_up", "revoked"}
    for then, summary in seen:
        found = await rewinder(pod).session(RewindQuery(session="s1", at=then))
        assert found is not None
        assert found.summary == summary
        assert found.explanation is not None
        assert found.explanation.time == then
        assert found.explanation.score.score == pytest.approx(summary.score, abs=0.11)


async def test_the_curve_goes_through_every_score_that_was_seen() -> None:
    pod, seen = await a_life()
    found = await rewinder(pod).session(RewindQuery(session="s1"))
    assert found is not None
    scores = dict(found.curve)
    assert [at for at, _ in found.curve] == sorted(scores)
    assert (found.curve[0].at, found.curve[-1].at) == (found.begins, found.now)
    after_signals = [each for each in seen if each[0] in scores]
    assert len(after_signals) >= len(signals(0.0))
    assert [scores[then] for then, _ in after_signals] == [one.score for _, one in after_signals]


async def test_all_sessions_of_a_user_are_rewound_together() -> None:
    pod, seen = await a_life()
    begun = pod.now
    await pod.check(pod.tokens.issue("t2", user="u1", session="s2"))
    await pod.settle()
    pod.now += 60.0
    now = await rewinder(pod).user(RewindQuery(user="u1"))
    assert now is not None
    assert [one.name for one in now.sessions] == ["s2", "s1"]
    before = await rewinder(pod).user(RewindQuery(user="u1", at=seen[3][0]))
    assert before is not None
    assert begun > before.at
    assert {one.name: one.summary and one.summary.standing for one in before.sessions} == {
        "s1": seen[3][1].standing,
        "s2": "clear",  # it can be rewound to its own begin
    }
    assert await rewinder(pod).user(RewindQuery(user="nobody")) is None


def verdict(found: Rewound | None) -> str:
    assert found is not None
    assert found.explanation is not None
    return found.explanation.verdict


async def test_a_what_if_of_a_moment_adds_to_what_was_so_then() -> None:
    pod, _ = await a_life()
    ask = rewinder(pod).session
    calm = RewindQuery(session="s1", at=1010.0, context="c1")
    assert verdict(await ask(calm)) == "allow"
    for then, value in (("user-risk", "high"), ("network", "restricted"), ("signal", "odd:50")):
        query = RewindQuery(session="s1", at=1010.0, context="c1", then=then, value=value)
        assert verdict(await ask(query)) == "step_up", then
    routine = RewindQuery(session="s1", at=1010.0, then="user-risk", value="high")
    assert verdict(await ask(routine)) == "allow"
    assert verdict(await ask(calm)) == "allow", "nothing was changed by asking"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (RewindQuery(session="s1", at=float("nan")), InvalidQuery),
        (RewindQuery(session="s1", context="c9"), InvalidQuery),
        (RewindQuery(session="s1", then="sunshine"), InvalidSignal),
    ],
    ids=lambda one: "" if isinstance(one, type) else repr(one),
)
async def test_a_question_that_makes_no_sense_is_refused(
    query: RewindQuery, error: type[Exception]
) -> None:
    pod, _ = await a_life()
    with pytest.raises(error):
        await rewinder(pod).session(query)


async def test_a_moment_outside_of_its_life_is_the_nearest_within() -> None:
    pod, _ = await a_life()
    for moment, of in ((-1e300, "begins"), (1.0, "begins"), (1e300, "now")):
        found = await rewinder(pod).session(RewindQuery(session="s1", at=moment))
        assert found is not None
        assert found.at == getattr(found, of)
