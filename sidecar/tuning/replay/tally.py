"""Counts of what happens in a replay; `figures` makes the report from them."""

import datetime as dt
import zoneinfo
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sidecar.domain.evaluation.decision import Decision, Verdict
from sidecar.domain.session.standing import Demand
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.tuning.replay.passage import Passage, Trigger
from sidecar.tuning.replay.timeline import Life

_QUARTER = 900 * MICROSECONDS
"""Every timezone's offset is a multiple of so much: days and hours are computed once for each."""


class Calendar:
    """Days (ordinals) and hours of a timezone."""

    def __init__(self, timezone: str) -> None:
        self._zone = zoneinfo.ZoneInfo(timezone)
        self._known: dict[int, tuple[int, int]] = {}

    def day_and_hour(self, now: int) -> tuple[int, int]:
        """Return the day and the hour of a moment (microseconds)."""
        quarter = now // _QUARTER
        known = self._known.get(quarter)
        if known is None:
            moment = dt.datetime.fromtimestamp(quarter * 900, self._zone)
            known = self._known[quarter] = (moment.toordinal(), moment.hour)
        return known


class Activity:
    """On which days users were seen: the same for all policy sets."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.days: dict[str, set[int]] = {}

    def add(self, other: "Activity") -> None:
        """Add what was counted of other sessions."""
        for user, days in other.days.items():
            self.days.setdefault(user, set()).update(days)

    def seen(self, user: str, now: int) -> None:
        """Count a user who was seen."""
        day = self._calendar.day_and_hour(now)[0]
        days = self.days.get(user)
        if days is None:
            self.days[user] = {day}
        elif day not in days:
            days.add(day)


_COUNTERS = (
    *(
        "triggers",
        "hours",
        "by_day",
        "flaps",
        "flapping",
        "prompts_by_policy",
        "refusals_by_policy",
    ),
    *("verdicts", "decisions", "detected", "false_by_policy"),
)
_NUMBERS = (
    *("prompts", "answered_prompts", "refusals", "repeated", "attacked", "legitimate"),
    *("false_sessions", "false_prompts"),
)


class Tally:
    """Counts for one policy set. `repeat` (microseconds): a prompt so soon is a repeated one."""

    def __init__(self, calendar: Calendar, repeat: int) -> None:
        self.triggers: Counter[tuple[str, str, bool]] = Counter()
        self.hours: Counter[tuple[str, bool, int]] = Counter()
        self.by_day: Counter[tuple[int, str, bool]] = Counter()
        self.marked: dict[str, int] = {}
        self.flaps: Counter[str] = Counter()
        self.flapping: Counter[tuple[str, str, str]] = Counter()
        self.prompts_by_policy: Counter[str] = Counter()
        self.refusals_by_policy: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.decisions: Counter[tuple[tuple[str, bool], ...]] = Counter()
        self.by_user: dict[str, Counter[int]] = {}
        self.by_hour = [0] * 24
        self.prompts = 0
        self.answered_prompts = 0
        self.refusals = 0
        self.repeated = 0
        self.attacked = 0
        self.legitimate = 0
        self.detected: Counter[str] = Counter()
        self.false_sessions = 0
        self.false_prompts = 0
        self.false_by_policy: Counter[str] = Counter()
        self._calendar = calendar
        self._repeat = repeat
        self._prompted_at: dict[str, int] = {}

    def add(self, other: "Tally") -> None:
        """Add what was counted of other users' sessions."""
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for policy, sessions in other.marked.items():
            self.marked[policy] = self.marked.get(policy, 0) + sessions
        for user, days in other.by_user.items():
            self.by_user.setdefault(user, Counter()).update(days)
        self.by_hour = [a + b for a, b in zip(self.by_hour, other.by_hour, strict=True)]

    def triggered(self, trigger: Trigger) -> None:
        """Count that a policy marked a session, or would have."""
        demand = trigger.demand
        tried = demand.report_only
        self.triggers[demand.policy, demand.signal, tried] += 1
        day, hour = self._calendar.day_and_hour(trigger.now)
        self.hours[demand.policy, tried, hour] += 1
        self.by_day[day, demand.policy, tried] += 1
        if trigger.first:
            self.marked[demand.policy] = self.marked.get(demand.policy, 0) + 1
        if trigger.soon:
            self.flaps[demand.policy] += 1
            life = trigger.life
            self.flapping[life.session, life.user, demand.policy] += 1

    def prompted(self, life: Life, demands: Sequence[Demand], now: int) -> None:
        """Count that the user was asked to sign in again."""
        self.prompts += 1
        user = life.user or life.session
        day, hour = self._calendar.day_and_hour(now)
        self.by_user.setdefault(user, Counter())[day] += 1
        self.by_hour[hour] += 1
        last = self._prompted_at.get(user)
        if last is not None and now - last <= self._repeat:
            self.repeated += 1
        self._prompted_at[user] = now
        self.prompts_by_policy.update({demand.policy for demand in demands})

    def answered(self) -> None:
        """Count that the user signed in again."""
        self.answered_prompts += 1

    def refused(self, demands: Sequence[Demand]) -> None:
        """Count that a session was refused."""
        self.refusals += 1
        self.refusals_by_policy.update({demand.policy for demand in demands})

    def judged(self, decision: Decision, asking: Sequence[Demand]) -> None:
        """Count a judged call, or a session that was judged at its mark."""
        self.verdicts[decision.verdict] += 1
        if decision.revoked:
            self.verdicts["revoked"] += 1
        if asking:
            combination = {(d.policy, d.block or d.unsatisfiable) for d in asking}
            self.decisions[tuple(sorted(combination))] += 1

    def would(self, verdict: Verdict, demand: Demand) -> None:
        """Count that a report-only policy would have asked or refused."""
        counter = self.refusals_by_policy if verdict is Verdict.DENY else self.prompts_by_policy
        counter[demand.policy] += 1

    def ended(self, life: Life, passage: Passage) -> None:
        """Count a session that is over."""
        if life.attacked:
            self.attacked += 1
            self.detected.update(passage.detected)
            return
        self.legitimate += 1
        if passage.prompts or passage.refusals:
            self.false_sessions += 1
            self.false_prompts += passage.prompts
        self.false_by_policy.update(passage.asked_by)


class Silent:
    """Counts nothing: of other thresholds, what is counted stands in their passages."""

    def triggered(self, trigger: Trigger) -> None:
        """Count nothing."""

    def prompted(self, life: Life, demands: Sequence[Demand], now: int) -> None:
        """Count nothing."""

    def answered(self) -> None:
        """Count nothing."""

    def refused(self, demands: Sequence[Demand]) -> None:
        """Count nothing."""

    def judged(self, decision: Decision, asking: Sequence[Demand]) -> None:
        """Count nothing."""

    def would(self, verdict: Verdict, demand: Demand) -> None:
        """Count nothing."""


class Share(NamedTuple):
    """The share of one session in a point of a curve."""

    prompts: int = 0
    refusals: int = 0
    triggers: int = 0
    detected: int = 0
    false_sessions: int = 0

    def plus(self, other: "Share", factor: int = 1) -> "Share":
        """Return the sum, or with `factor` -1 the difference."""
        return Share(*(a + factor * b for a, b in zip(self, other, strict=True)))


class CurveTally:
    """A threshold's figures: of sessions that ended, as they are and by how much they differ.

    `policy` is the one whose threshold it is, empty for one that all may depend on. Of a policy
    that is only reported, what it would have done counts.
    """

    def __init__(self, policy: str, *, report_only: bool) -> None:
        self.policy = policy
        self.report_only = report_only
        self.present = Share()
        self.differences: dict[int, Share] = {}

    def add(self, other: "CurveTally") -> None:
        """Add what was counted of other users' sessions."""
        self.present = self.present.plus(other.present)
        for variant, difference in other.differences.items():
            known = self.differences.get(variant, Share())
            self.differences[variant] = known.plus(difference)

    def ended(self, life: Life, passage: Passage) -> None:
        """Add a session that is over to the present figures."""
        self.present = self.present.plus(self._share(life, passage))

    def parted(self, variant: int, life: Life, passage: Passage, twin: Passage) -> None:
        """Add the difference of a session that is over, and went another way under a variant."""
        difference = self._share(life, twin).plus(self._share(life, passage), -1)
        self.differences[variant] = self.differences.get(variant, Share()).plus(difference)

    def at(self, variant: int) -> Share:
        """Return the figures under a variant."""
        return self.present.plus(self.differences.get(variant, Share()))

    def _share(self, life: Life, passage: Passage) -> Share:
        name = self.policy
        prompts, refusals = passage.prompts, passage.refusals
        if self.report_only:
            prompts = passage.would[name, Verdict.STEP_UP]
            refusals = passage.would[name, Verdict.DENY]
        triggers = passage.triggers[name] if name else passage.triggers.total()
        if life.attacked:
            return Share(prompts, refusals, triggers, detected=int(name in passage.detected))
        asked = name in passage.asked_by if name else bool(prompts or refusals)
        return Share(prompts, refusals, triggers, false_sessions=int(asked))
