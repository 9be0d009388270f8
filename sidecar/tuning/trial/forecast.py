"""Forecast for a report-only policy once it is enabled, from what was counted of it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from sidecar.tuning.trial.trial_log import Logged, Other, WouldDecide, WouldMark

DAY = 86400.0
_WIDTH = 1.96
"""Standard deviations to either side that hold nineteen of twenty."""

_MARKS = "sidecar_marks_total"
_CALLS = "sidecar_report_only_total"
_STARTED = "process_start_time_seconds"


class Sample(NamedTuple):
    """One value of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


class Change(msgspec.Struct, frozen=True):
    """So many calls were `answered` so, and would have been answered with `decision`."""

    answered: str
    decision: str
    calls: int


class Expectation(msgspec.Struct, frozen=True):
    """The counts between two moments (seconds), and how many of them come to a day.

    `sessions` and `users` are None where counts have no names (metrics), and at least so many where
    not `all_named`, since a log names the first sessions of an event alone; `changes` are the calls
    that the policy asked something of, greatest first: those whose answer it would have changed,
    and those that others challenged anyway. A call counts as often as it was made, since nobody
    answers what is not asked; once the policy is enabled, the first is challenged.
    """

    policy: str
    begins: float
    ends: float
    marks: int
    signals: Mapping[str, int]
    changes: tuple[Change, ...]
    sessions: int | None = None
    users: int | None = None
    all_named: bool = True

    @property
    def marks_a_day_between(self) -> tuple[float, float]:
        """Between which rates the true one lies, in nineteen of twenty trials such as this.

        Counts of rare things that come by themselves are Poisson's; Byar's approximation of their
        interval is right to a few percent from the first count on. What comes in bursts, or only
        once a week, is less certain than this says.
        """
        few, many = self.marks, self.marks + 1
        least = few * (1 - 1 / (9 * few) - _WIDTH / (3 * math.sqrt(few))) ** 3 if few else 0.0
        most = many * (1 - 1 / (9 * many) + _WIDTH / (3 * math.sqrt(many))) ** 3
        return max(least, 0.0) / self.days, most / self.days

    @property
    def known(self) -> bool:
        """Return whether anything at all is known of the policy."""
        return bool(self.marks or self.changes)

    @property
    def days(self) -> float:
        """Return how long that was.

        An hour at least, so that a minute's counts make no absurd rate.
        """
        return max(self.ends - self.begins, 3600.0) / DAY

    @property
    def marks_a_day(self) -> float:
        """Return how often a day a session will be marked."""
        return self.marks / self.days

    def calls_a_day(self, decision: str) -> float:
        """Return how many calls a day, at most, will newly be answered so."""
        return (
            sum(
                change.calls
                for change in self.changes
                if change.decision == decision and change.answered != decision
            )
            / self.days
        )


class ForecastCounts:
    """Counts for one policy. Feed it lines of the log, or scrapes, not both."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._signals: Counter[str] = Counter()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._sessions: set[str] = set()
        self._users: set[str] = set()
        self._named = False
        self._all_named = True
        self._begins = 0.0
        self._ends = 0.0

    def logged(self, line: Logged) -> None:
        """Count a line of a log."""
        self._named = True
        self._during(line.time)
        if isinstance(line, Other) or line.policy != self._policy:
            return
        self._sessions.add(line.session)
        self._users.add(line.subject)
        match line:
            case WouldMark():
                self._signals[line.signal] += line.marks
                self._all_named = self._all_named and line.marks == 1
            case WouldDecide():
                self._changes[line.answered, line.decision] += 1

    def scraped(self, samples: Iterable[Sample], now: float) -> None:
        """Count what one daemon has counted since it began, as of `now` (seconds)."""
        self._during(now)
        for name, labels, value in samples:
            if name == _STARTED:
                self._during(value)
            if labels.get("policy") != self._policy:
                continue
            if name == _MARKS and labels.get("state") == "report-only":
                self._signals[labels.get("signal", "")] += round(value)
            elif name == _CALLS:
                key = (labels.get("answered", "allow"), labels.get("decision", ""))
                self._changes[key] += round(value)

    def _during(self, moment: float) -> None:
        self._begins = min(self._begins or moment, moment)
        self._ends = max(self._ends, moment)

    def finish(self) -> Expectation:
        """Return what it comes to."""
        changes = sorted(self._changes.items(), key=lambda item: (-item[1], item[0]))
        return Expectation(
            policy=self._policy,
            begins=self._begins,
            ends=self._ends,
            marks=self._signals.total(),
            signals=dict(self._signals.most_common()),
            changes=tuple(Change(*key, calls) for key, calls in changes if calls),
            sessions=len(self._sessions) if self._named else None,
            users=len(self._users) if self._named else None,
            all_named=self._all_named,
        )
