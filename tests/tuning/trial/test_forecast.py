"""Counts of a report-only policy, from a log and from metrics."""

import json

import pytest

from sidecar.tuning.trial.forecast import DAY, Change, Expectation, ForecastCounts
from sidecar.tuning.trial.trial_log import Other, WouldDecide, WouldMark, read_logged
from tests.tuning.trial.trial_log import Daemon

COUNTED = Expectation(
    policy="p",
    begins=1000.0,
    ends=1000.0 + 2 * DAY,
    marks=3,
    signals={"network-change": 2, "risk-signal": 1},
    changes=(
        Change("allow", "step_up", 2),
        Change("allow", "deny", 1),
        Change("step_up", "step_up", 1),
    ),
)


def test_a_log_is_counted_with_sessions_and_users() -> None:
    expecting = ForecastCounts("p")
    for line in Daemon().log:
        said = read_logged(line)
        assert said is not None
        expecting.logged(said)
    found = expecting.finish()
    assert (found.sessions, found.users) == (2, 3)
    assert found.marks_a_day == pytest.approx(1.5)
    assert (found.calls_a_day("step_up"), found.calls_a_day("deny")) == (1.0, 0.5)
    assert found.known
    without_names = Expectation(**{f: getattr(found, f) for f in FIELDS})
    assert without_names == COUNTED


FIELDS = ("policy", "begins", "ends", "marks", "signals", "changes")


def test_metrics_count_the_same() -> None:
    expecting = ForecastCounts("p")
    expecting.scraped(Daemon().samples, 1000.0 + 2 * DAY)
    assert expecting.finish() == COUNTED


def test_several_pods_add_up() -> None:
    expecting = ForecastCounts("p")
    for _ in range(2):
        expecting.scraped(Daemon().samples, 1000.0 + 2 * DAY)
    assert expecting.finish().marks == 2 * COUNTED.marks


def test_of_a_policy_that_was_never_there_nothing_is_known() -> None:
    expecting = ForecastCounts("unheard-of")
    expecting.scraped(Daemon().samples, 2000.0)
    for line in Daemon().log:
        said = read_logged(line)
        assert said is not None
        expecting.logged(said)
    found = expecting.finish()
    assert not found.known
    assert (found.sessions, found.users) == (0, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Nov 24 10:00:00 pod kernel: hello",
        b"{}",
        b'{"time":"soon","level":"info","event":"checked"}',
        b'{"time":7,"level":"info","event":"checked"}',
        b"\xff\xfe",
        b'{"x":' + b"[" * 5_000,
    ],
)
def test_lines_of_others_are_passed_over(line: bytes) -> None:
    assert read_logged(line) is None


def test_a_line_says_what_it_says() -> None:
    head = {"time": "1970-01-01T00:00:01Z", "level": "info", "policy": "p", "session": "s"}
    marked = {**head, "event": "session-would-be-marked", "signal": "x", "subject": "u"}
    decided = {**head, "event": "would-have-decided", "decision": "deny", "answered": "step_up"}
    other = {**head, "event": "session-marked"}
    lines = [read_logged(json.dumps(line).encode()) for line in (marked, decided, other)]
    assert lines == [
        WouldMark(1.0, "p", "s", "u", "x"),
        WouldDecide(1.0, "p", "s", "", "step_up", "deny"),
        Other(1.0),
    ]


@pytest.mark.parametrize(
    ("marks", "least", "most"),
    # The exact interval of Poisson's counts, by the quantiles of chi-squared.
    [(0, 0.0, 3.69), (1, 0.025, 5.57), (3, 0.62, 8.77), (10, 4.80, 18.39), (100, 81.4, 121.6)],
)
def test_it_is_said_between_which_rates_the_true_one_lies(
    marks: int, least: float, most: float
) -> None:
    said = Expectation("p", 0.0, DAY, marks, {}, ())
    below, above = said.marks_a_day_between
    assert below == pytest.approx(least, rel=0.06, abs=0.02)
    assert above == pytest.approx(most, rel=0.06)
    assert below <= said.marks_a_day <= above


def test_a_line_that_stands_for_several_marks_counts_them_all() -> None:
    expecting = ForecastCounts("p")
    for more in ("", ', "and": 41'):
        line = (
            '{"time": "2026-11-30T00:00:00Z", "level": "info", "event": "session-would-be-marked",'
            f' "policy": "p", "session": "s", "subject": "u", "signal": "x"{more}}}'
        )
        logged = read_logged(line.encode())
        assert logged is not None
        expecting.logged(logged)
    said = expecting.finish()
    assert (said.marks, said.sessions, said.all_named) == (43, 1, False)
