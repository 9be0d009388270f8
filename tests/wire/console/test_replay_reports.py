"""What the console reads of a replay's report is what `sidecar replay` writes, and no more."""

import datetime as dt
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.tuning.report.report import encode
from sidecar.wire.console.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from sidecar.wire.console.replay_reports import (
    MOST_DAYS,
    InvalidReport,
    ReplayedDay,
    ReplayedPoint,
    ReplayedThreshold,
    over_days,
    over_threshold,
    read_report,
)
from tests.service.replaying import replay
from tests.tuning.replay.recordings import BOTH, TINY


def day(date: str, count: int, *, tried: bool = False, policy: str = "p") -> ReplayedDay:
    when = dt.date.fromisoformat(date)
    return ReplayedDay(day=when, policy=policy, report_only=tried, triggers=count)


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.e+-]+),([\d.e+-]+)", path)]


def test_what_a_replay_writes_is_read_and_names_no_user_and_no_session() -> None:
    report = replay(TINY, BOTH)
    found = read_report(encode(report))
    (written,), (read,) = report.sets, found.sets
    assert [(one.id, one.triggers, one.prompts) for one in read.policies] == [
        (one.id, one.triggers, one.prompts) for one in written.policies
    ]
    assert read.days is not None
    assert sum(one.triggers for one in read.days) == sum(one.triggers for one in written.policies)
    assert found.recording.users == report.recording.users
    assert "ada" in encode(report).decode()
    assert "ada" not in repr(found)


def test_a_report_of_before_there_were_days_is_read_without_them() -> None:
    members: dict[str, Any] = msgspec.json.decode(encode(replay(TINY, BOTH)))
    for one in members["sets"]:
        del one["days"]
    (read,) = read_report(msgspec.json.encode(members)).sets
    assert read.days is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"schema":"sidecar-replay/2"}',
        b'{"schema":"sidecar-replay/1"}',
        b'{"schema":"sidecar-replay/1","sets":"' + b"x" * 100,
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(8),
)
def test_what_is_no_report_is_refused_without_a_word_of_it(raw: bytes) -> None:
    with pytest.raises(InvalidReport) as refusal:
        read_report(raw)
    assert "xxx" not in str(refusal.value)


@pytest.mark.parametrize(
    ("member", "value"),
    [("triggers", -1), ("triggers", 2**60), ("id", "x" * 600), ("sessions", "many")],
)
def test_a_figure_that_is_none_is_refused(member: str, value: object) -> None:
    members: dict[str, Any] = msgspec.json.decode(encode(replay(TINY, BOTH)))
    members["sets"][0]["policies"][0][member] = value
    with pytest.raises(InvalidReport):
        read_report(msgspec.json.encode(members))


def test_each_day_is_a_step_as_high_as_its_marks_and_report_only_ones_have_their_own() -> None:
    plot = over_days(
        [day("2026-09-01", 2), day("2026-09-02", 3, tried=True), day("2026-09-02", 4, policy="q")]
    )
    assert plot is not None
    enforced, tried = plot.curves
    assert (enforced.name, tried.name) == ("enforced", "report-only")
    floor, middle = HEIGHT - BOTTOM, LEFT + (WIDTH - LEFT - RIGHT) / 2
    unit = (floor - TOP) / 5
    wanted = [(LEFT, 2), (middle, 2), (middle, 4), (WIDTH - RIGHT, 4)]
    expected = [(x, round(floor - count * unit, 1)) for x, count in wanted]
    assert corners(enforced.path) == expected
    assert corners(tried.path)[0] == (LEFT, floor)
    assert [one.text for one in plot.levels] == ["0", "5"]
    assert (plot.ticks[0].text, plot.ticks[-1].text) == ("2026-09-01", "2026-09-02")


def test_a_policys_days_are_drawn_among_those_of_all() -> None:
    own, all_days = day("2026-09-03", 1), (day("2026-09-01", 1), day("2026-09-04", 1))
    plot = over_days([own], 4, all_days)
    assert plot is not None
    xs = [x for x, y in corners(plot.curves[0].path) if y == TOP]
    assert xs == [LEFT + 330, LEFT + 495]  # the third quarter
    assert plot.ticks[0].text == "2026-09-01"


def test_where_nothing_fired_nothing_is_drawn() -> None:
    assert over_days([]) is None


@given(
    st.lists(
        st.builds(
            ReplayedDay,
            day=st.dates(),
            policy=st.just("p"),
            report_only=st.booleans(),
            triggers=st.integers(0, 2**53),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, MOST_DAYS),
)
def test_no_days_are_drawn_outside_of_the_picture_or_in_more_steps(
    days: list[ReplayedDay], most: int
) -> None:
    plot = over_days(days, most)
    assert plot is not None
    for curve in plot.curves:
        found = corners(curve.path)
        assert len(found) <= 2 * most
        for x, y in found:
            assert LEFT <= x <= WIDTH - RIGHT
            assert TOP <= y <= HEIGHT - BOTTOM


@pytest.mark.parametrize(
    "values", [(600.0, 900.0, 1500.0), ("low", "medium", "high"), (1.0, 1.0, 1.0)]
)
def test_a_threshold_is_drawn_over_its_values_with_the_one_of_now(values: tuple[Any, ...]) -> None:
    points = tuple(
        ReplayedPoint(value=one, is_current=place == 1, prompts=10 * place, triggers=place)
        for place, one in enumerate(values)
    )
    plot = over_threshold(ReplayedThreshold(policy="p", kind="k", report_only=False, points=points))
    assert plot is not None
    assert [one.name for one in plot.curves] == ["prompts", "marks"]
    prompts = corners(plot.curves[0].path)
    assert prompts[-1] == (WIDTH - RIGHT, TOP)
    assert plot.at is not None
    assert plot.at.x1 == prompts[1][0]
    assert len(plot.ticks) == 3


def test_of_one_value_there_is_no_curve() -> None:
    point = ReplayedPoint(value=1.0, is_current=True, prompts=1, triggers=1)
    curve = ReplayedThreshold(policy="", kind="risk", report_only=True, points=(point,))
    assert over_threshold(curve) is None
