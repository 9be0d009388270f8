"""A sweep looks at what has changed, and at what time may have changed, and at nothing else."""

import gc
import math

import msgspec
import pytest
import trio
from trio.testing import MockClock

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.signal import RiskSignal, Subject
from sidecar.domain.policy.conditional_access import Policy, Score, SessionControls, TimeOfDay
from sidecar.domain.session.standing import Standing
from sidecar.domain.session.state import State
from sidecar.domain.values.stamp import at
from sidecar.service.audit.sweep import LONGEST_REST, Agenda
from sidecar.service.observations.observations import WorkerFailed
from sidecar.service.ports.calls import StandingChange
from sidecar.service.view.live_session import Live
from tests.domain.scenes import policy
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

MANY = 40
SCORED = policy(Score(60.0), name="scored")
AT_NIGHT = policy(TimeOfDay(17, 60), name="at-night")
"""From 1020 s on."""
LIMITED = msgspec.structs.replace(
    policy(name="limited"), session=SessionControls(sign_in_frequency=100)
)


async def crowd(*policies: Policy) -> Pod:
    """A pod with many sessions of different users, all of which were looked at."""
    tokens = Tokens()
    pod = Pod(MemoryStore(), policies, tokens)
    for n in range(MANY):
        await pod.check(tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}", acr="mfa"))
    await pod.settle()
    await pod.sweeper.sweep()
    await pod.settle()
    await pod.sweeper.sweep()
    return pod


async def looks(pod: Pod) -> int:
    before = pod.sweeper.looks
    await pod.sweeper.sweep()
    return pod.sweeper.looks - before


def raise_signal(user: str, now: float) -> RiskSignal:
    return RiskSignal(
        stamp=at(now, "odd"), subject=Subject(user=user), name="odd", weight=80, half_life=20
    )


@pytest.mark.parametrize("policies", [(SCORED,), (AT_NIGHT,), (LIMITED,), ()])
async def test_sessions_that_nothing_changes_are_not_looked_at(
    policies: tuple[Policy, ...], autojump_clock: MockClock
) -> None:
    pod = await crowd(*policies)
    pod.now += 15
    assert await looks(pod) == 0


async def test_a_change_has_its_session_looked_at_and_no_other(autojump_clock: MockClock) -> None:
    pod = await crowd(SCORED)
    await pod.intake.accept(raise_signal("u7", pod.now))
    await pod.settle()
    assert await looks(pod) == 1


async def test_what_fades_is_found_without_any_event(autojump_clock: MockClock) -> None:
    pod = await crowd(SCORED)
    await pod.intake.accept(raise_signal("u7", pod.now))
    await pod.settle()
    (live,) = pod.view.find_session("s7")
    assert live.coarse == "step_up"
    async with pod.watches.watch(None) as changes:
        for _ in range(12):
            pod.now += 1
            await pod.sweeper.sweep()
        change: StandingChange = changes.receive_nowait()
    assert (change.session, change.standing) == ("s7", "clear")


async def test_when_its_hour_comes_every_session_is_looked_at_once(
    autojump_clock: MockClock,
) -> None:
    pod = await crowd(AT_NIGHT)
    pod.now = 1021
    assert await looks(pod) == MANY
    assert await looks(pod) <= MANY  # what is pending
    assert pod.sweeper.active_marks == MANY


async def test_a_frequency_marks_when_it_ends(autojump_clock: MockClock) -> None:
    pod = await crowd(LIMITED)
    pod.now = 1098
    assert await looks(pod) == 0
    pod.now = 1102
    assert await looks(pod) == MANY


def gone_sessions() -> list[Live]:
    """Return the sessions that are out of their views, and that something holds."""
    return [one for one in gc.get_objects() if type(one) is Live and one.gone]


async def test_what_has_expired_is_dropped_and_nothing_holds_it(autojump_clock: MockClock) -> None:
    others = set(map(id, before := gone_sessions()))  # which other tests still hold
    pod = await crowd(SCORED)
    for live in pod.view:
        live.expires_at = min(live.expires_at, 2000.0)
    pod.now = max(live.due for live in pod.view)
    await pod.sweeper.sweep()
    assert len(pod.view) == 0
    await pod.sweeper.sweep()
    del live
    assert not [one for one in gone_sessions() if id(one) not in others]
    del before


async def test_what_was_evicted_is_held_by_no_agenda(autojump_clock: MockClock) -> None:
    others = set(map(id, before := gone_sessions()))  # which other tests still hold
    tokens = Tokens()
    sessions = msgspec.structs.replace(SETTINGS.sessions, view=5)
    settings = msgspec.structs.replace(SETTINGS, sessions=sessions)
    pod = Pod(MemoryStore(), [AT_NIGHT], tokens, settings)
    for n in range(MANY):
        await pod.check(tokens.issue(f"t{n}", session=f"s{n}", user=f"u{n}"))
        await pod.settle()
        await pod.sweeper.sweep()
    await pod.sweeper.sweep()
    assert not [one for one in gone_sessions() if id(one) not in others]
    del before


async def test_an_agenda_keeps_no_seconds_of_sessions_that_have_gone(
    autojump_clock: MockClock,
) -> None:
    agenda, (live, other, *_) = Agenda(), list((await crowd()).view)
    other.due = math.inf
    agenda.put(other, 10.0)
    for n in range(10_000):
        live.due = math.inf
        agenda.put(live, 5000.0 + n % 50 * 60)
        agenda.put(live, math.inf)
    assert len(agenda._seconds) < 100  # noqa: SLF001 - no door counts them
    assert agenda.take(9.0) is None
    assert agenda.take(10.0) is other
    assert agenda.next == math.inf


async def test_what_comes_due_again_in_a_long_sweep_is_not_forgotten(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await crowd(SCORED)
    await pod.intake.accept(raise_signal("u7", pod.now))
    await pod.settle()
    (live,) = pod.view.find_session("s7")
    really = pod.sweeper._look  # noqa: SLF001 - to see each

    def look(one: Live, pending: dict[Live, int]) -> None:
        really(one, pending)
        pod.now += 30

    monkeypatch.setattr(pod.sweeper, "_look", look)
    pod.view.changes.add_all()
    await pod.sweeper.sweep()
    assert live.due < math.inf
    assert live.coarse == "step_up"
    for _ in range(3):
        await pod.sweeper.sweep()
    assert live.coarse == "clear"
    assert all(one.due < math.inf for one in pod.view)


async def test_one_session_whose_look_fails_keeps_no_other_from_being_looked_at(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await crowd(SCORED)
    (bad,) = pod.view.find_session("s3")
    state = bad.state

    def fails(judge: IncrementalEvaluator, judged: State, *rest: object) -> Standing:
        if judged is state:
            raise ZeroDivisionError
        return standing(judge, judged, *rest)  # type: ignore[arg-type]

    standing = IncrementalEvaluator.standing
    monkeypatch.setattr(IncrementalEvaluator, "standing", fails)
    bad._forget_standing()  # noqa: SLF001 - its state stays
    pod.view.changes.add_all()
    assert await looks(pod) == MANY
    assert len(pod.telemetry.of(WorkerFailed)) == 1
    assert bad.gone
    assert len(pod.view) == MANY - 1
    assert await looks(pod) == 1  # that it has gone
    assert bad.due == math.inf


async def test_a_clock_that_is_set_back_has_every_session_foreseen_anew(
    autojump_clock: MockClock,
) -> None:
    pod = await crowd(AT_NIGHT)
    pod.now = 4000  # the hour is over
    await pod.sweeper.sweep()
    await pod.sweeper.sweep()
    assert pod.sweeper.active_marks == 0
    async with trio.open_nursery() as nursery:
        await nursery.start(pod.sweeper.run)
        pod.now = 1000
        await trio.sleep(2 * LONGEST_REST)
        pod.now = 1021
        await trio.sleep(2 * LONGEST_REST)
        assert pod.sweeper.active_marks == MANY
        nursery.cancel_scope.cancel()


async def test_a_session_is_kept_in_its_last_moment_and_dropped_after_it(
    autojump_clock: MockClock,
) -> None:
    pod = await crowd(SCORED)
    for live in pod.view:
        live.expires_at = 2000.0
    pod.view.changes.add_all()
    pod.now = 2000.0
    await pod.sweeper.sweep()
    assert len(pod.view) == MANY
    pod.now = 2001.0
    await pod.sweeper.sweep()
    assert len(pod.view) == 0


async def test_other_policies_have_every_session_looked_at(autojump_clock: MockClock) -> None:
    pod = await crowd(SCORED)
    other = Pod(MemoryStore(), [AT_NIGHT], Tokens())
    pod.view.use(other.view.evaluator)
    assert await looks(pod) == MANY


async def test_a_sweeper_that_has_nothing_to_do_does_not_wake_up(
    autojump_clock: MockClock,
) -> None:
    pod = await crowd(AT_NIGHT)
    passes = pod.sweeper.passes
    async with trio.open_nursery() as nursery:
        await nursery.start(pod.sweeper.run)
        await trio.sleep(1000)  # of virtual time, in which the pod's own clock stands
        assert pod.sweeper.passes == passes
        pod.now = 1021
        pod.view.changes.add(next(iter(pod.view)))
        await trio.sleep(5)
        assert pod.sweeper.passes > passes
        nursery.cancel_scope.cancel()
