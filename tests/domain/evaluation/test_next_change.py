"""Nothing changes by time alone before the moment that is foreseen, and then something soon."""

import datetime as dt
import zoneinfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.domain.evaluation.announcement import Present, SessionOwner, news_of
from sidecar.domain.evaluation.decision import coarse
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.next_change import NextChange
from sidecar.domain.evaluation.rules.steadiness import window_ends
from sidecar.domain.facts.fact_kinds import Fact, RiskReported, Scope, SignalRaised
from sidecar.domain.policy.conditional_access import (
    Policy,
    RiskLevel,
    Score,
    SessionControls,
    TimeOfDay,
    UserRisk,
)
from sidecar.domain.session.state import State
from sidecar.domain.values.stamp import MICROSECONDS
from tests.domain.evaluation.stepped import POLICIES
from tests.domain.random_policies import lives
from tests.domain.scenes import established, evaluator, policy, signed_in, stamp

WHOM = SessionOwner("s1", "alice")


def as_seen(judge: Evaluator, state: State, now: int) -> tuple[object, ...]:
    """All that anybody goes by: the standing, what of it is met and binds, and announcements."""
    standing = judge.standing(state, now)
    seconds = now / MICROSECONDS
    demands = (*standing.demands, *standing.tried)
    news = news_of(WHOM, {}, Present(judge, state, standing, now))
    return (
        standing,
        coarse(standing, seconds),
        [(one.is_met(seconds), one.binds(seconds)) for one in demands],
        [(one.topic, one.announcement.change) for one in news],
    )


@given(
    POLICIES,
    lives(),
    st.integers(1000, 1400),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
def test_nothing_changes_before_the_moment_that_is_foreseen(
    of: tuple[Policy, ...], life: list[Fact], second: int, parts: list[float]
) -> None:
    judge = evaluator(*of)
    state = judge.fold("", [*established(), *life])
    now = second * MICROSECONDS
    foreseen = NextChange(judge, announces=True).of(state, judge.standing(state, now), now)
    end = (second + 10_000_000) * MICROSECONDS if foreseen is None else foreseen
    assert end > now
    before = as_seen(judge, state, now)
    for part in (*parts, 1.0):
        moment = min(now + int((end - now) * part), end - 1)
        assert as_seen(judge, state, moment) == before


def foreseen(judge: Evaluator, facts: list[Fact], second: float) -> float | None:
    state = judge.fold("", facts)
    now = int(second * MICROSECONDS)
    moment = NextChange(judge).of(state, judge.standing(state, now), now)
    return None if moment is None else moment / MICROSECONDS


def test_nothing_is_foreseen_of_a_calm_session() -> None:
    assert foreseen(evaluator(policy(Score(60.0))), established(), 1001) is None


def test_nothing_is_foreseen_where_time_changes_nothing() -> None:
    risen = RiskReported(stamp=stamp(1005), scope=Scope.USER, level=RiskLevel.HIGH)
    judge = evaluator(policy(UserRisk(RiskLevel.HIGH)))
    assert foreseen(judge, [*established(), risen], 1010) is None


def test_what_changes_within_the_next_second_is_foreseen_to_the_microsecond() -> None:
    raised = SignalRaised(
        stamp=stamp(1005), scope=Scope.SESSION, name="odd", weight=80, half_life=60
    )
    judge = evaluator(policy(Score(40.0)))
    state = judge.fold("", [*established(), raised])
    now = 1065 * MICROSECONDS - 300_000
    end = NextChange(judge).of(state, judge.standing(state, now), now)
    assert end is not None
    assert end - now <= 300_001
    assert judge.standing(state, end - 1) == judge.standing(state, now)
    assert judge.standing(state, end) != judge.standing(state, now)


def test_a_score_that_fades_is_looked_at_few_times_before_it_changes_anything() -> None:
    raised = SignalRaised(
        stamp=stamp(1005), scope=Scope.SESSION, name="odd", weight=80, half_life=86400
    )
    judge = evaluator(policy(Score(40.0)))
    state = judge.fold("", [*established(), raised])
    forecast, now, looks = NextChange(judge), 1006 * MICROSECONDS, 0
    while judge.standing(state, now).demands:
        looks += 1
        moment = forecast.of(state, judge.standing(state, now), now)
        assert moment is not None
        now = moment
    assert now == pytest.approx((1005 + 86400) * MICROSECONDS, abs=2 * MICROSECONDS)
    assert looks < 40


def test_a_frequency_ends_just_after_its_last_second() -> None:
    often = msgspec.structs.replace(policy(), session=SessionControls(sign_in_frequency=60))
    known = [*established(), signed_in(1010, 1010)]
    moment = foreseen(evaluator(often), known, 1011)
    assert moment is not None
    assert 1070 < moment < 1070.001


@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(1_700_000_000, 1_900_000_000),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
@example("Europe/Berlin", 120, 180, frozenset(range(7)), 1_774_740_000, [0.5])
def test_no_window_begins_or_ends_before_its_end_is_foreseen(  # noqa: PLR0917 - drawn
    zone: str, start: int, end: int, days: frozenset[int], second: int, parts: list[float]
) -> None:
    window = TimeOfDay(start, end, days, zone)
    judge = evaluator(policy(window))
    state = judge.fold("", established())
    now = second * MICROSECONDS + 1
    until = window_ends(window, now)
    assert now < until <= now + 25 * 3600 * MICROSECONDS
    before = judge.standing(state, now).demands
    for part in (*parts, 1.0):
        moment = min(now + int((until - now) * part), until - 1)
        assert judge.standing(state, moment).demands == before


def test_a_day_on_which_the_clock_is_changed_is_looked_at_more_often() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    evening = int(dt.datetime(2026, 3, 28, 20, tzinfo=berlin).timestamp()) * MICROSECONDS
    window = TimeOfDay(8 * 60, 18 * 60, timezone="Europe/Berlin")
    assert window_ends(window, evening) - evening == 900 * MICROSECONDS
