"""Replay: a recording through policy sets in virtual time, with the daemon's own evaluator.

    recording --> order --> timeline (whom does it concern) --> each policy set: fold, look, call
                                                                        |
                                                              tally <---'     --> figures: report

Pure: occurrences go in, counts come out. Time is that of the recording.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sidecar.domain.facts.from_signal import Locate
from sidecar.domain.values.namespaces import NO_NAMESPACES, Namespaces
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.tuning.recording.repeated_lines import Recounted
from sidecar.tuning.replay.passage import Moment, PassageModel
from sidecar.tuning.replay.run import PolicySet, Run
from sidecar.tuning.replay.tally import Activity, Calendar, CurveTally, Silent, Tally
from sidecar.tuning.replay.timeline import Life, Timeline

_NEVER = 1 << 62


class CountOptions(NamedTuple):
    """Options of the counts: durations in seconds, `budget` in prompts a user and day."""

    timezone: str = "UTC"
    repeat_within: int = 1800
    budget: int = 3
    top: int = 20


class ReplayOutcome(NamedTuple):
    """The outcome of one policy set."""

    policies: PolicySet
    tally: Tally
    curves: tuple[CurveTally, ...]


class ReplayCounts:
    """The counts of a replay, or of one of its parts: those of some of the users.

    `tallies` and `curves` are by policy set, in order.
    """

    def __init__(self, sets: Sequence[PolicySet], counting: CountOptions) -> None:
        calendar = Calendar(counting.timezone)
        repeat = counting.repeat_within * MICROSECONDS
        self.activity = Activity(calendar)
        self.tallies = tuple(Tally(calendar, repeat) for _ in sets)
        self.curves = tuple(
            tuple(CurveTally(one.counted, report_only=one.report_only) for one in each.curves)
            for each in sets
        )
        self.occurrences = 0
        self.calls = 0
        self.labelled = 0
        self.begins = 0
        self.ends = 0
        self.sessions = 0
        self.users = 0
        self.ownerless = 0

    def add(self, other: "ReplayCounts") -> None:
        """Add a part, in which nothing happened to any of these users."""
        self.activity.add(other.activity)
        for tally, more in zip(self.tallies, other.tallies, strict=True):
            tally.add(more)
        for curves, others in zip(self.curves, other.curves, strict=True):
            for curve, another in zip(curves, others, strict=True):
                curve.add(another)
        self.begins = min(filter(None, (self.begins, other.begins)), default=0)
        self.ends = max(self.ends, other.ends)
        for name in ("occurrences", "calls", "labelled", "sessions", "users", "ownerless"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def outcomes(self, sets: Sequence[PolicySet]) -> tuple[ReplayOutcome, ...]:
        """Return the outcome of each policy set."""
        return tuple(map(ReplayOutcome, sets, self.tallies, self.curves))


class Replay:
    """A replay under way. Occurrences must come in the order of their stamps.

    What happens to a user depends on nothing that happens to others: so several may each have some
    of the users, and their counts are added. Time passes for each session by itself: it ends when
    it does, and not when somebody else's next occurrence shows that.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        sets: Sequence[PolicySet],
        locate: Locate,
        *,
        model: PassageModel,
        counting: CountOptions,
        min_ttl: float = 86400.0,
        namespaces: Namespaces = NO_NAMESPACES,
    ) -> None:
        sources = sets[0].evaluator.world.sources
        self._timeline = Timeline(locate, min_ttl, sources, namespaces)
        self.counts = ReplayCounts(sets, counting)
        self._outcomes = self.counts.outcomes(sets)
        silent = Silent()
        self._runs = tuple(
            Run(outcome.policies, index, model, outcome.tally, silent)
            for index, outcome in enumerate(self._outcomes)
        )
        self._at_mark = model.at_mark

    def take(self, recounted: Recounted) -> None:
        """Let something happen."""
        occurrence = recounted if isinstance(recounted, Occurrence) else recounted.occurrence()
        now = occurrence.signal.stamp.time
        counts = self.counts
        counts.occurrences += 1
        counts.begins = counts.begins or now
        counts.ends = max(counts.ends, now)
        self._pass_time(now)
        if occurrence.attack is not None:
            counts.labelled += 1
        attack = occurrence.attack is True
        session = occurrence.signal.subject.session
        for delivery in self._timeline.take(occurrence):
            life = delivery.life
            if not life.passages:
                life.passages = [None] * len(self._runs)
            for run in self._runs:
                app = run.policies.app or life.app
                run.deliver(delivery, Moment(now, app, attack and life.session == session))
        if session:
            self._of_session(occurrence, now)

    def _pass_time(self, now: int) -> None:
        """Let sessions end, and sign-ins come that are due, in the order of their moments."""
        if self._timeline.has_expired(now):
            for life in self._timeline.expired(now):
                for run in self._runs:
                    run.answers(life.expires_at)
                self._end(life)
        for run in self._runs:
            run.answers(now)

    def _of_session(self, occurrence: Occurrence, now: int) -> None:
        life = self._timeline.find(occurrence.signal.subject)
        if life is None:
            return
        self.counts.activity.seen(life.user or life.session, now)
        if occurrence.call is None:
            return
        self.counts.calls += 1
        if self._at_mark:
            return
        for run in self._runs:
            app = run.policies.app or life.app
            attack = occurrence.attack is True
            run.call(life, occurrence.call, Moment(now, app, attack, occurrence.authentication))

    def finish(self) -> ReplayCounts:
        """End the replay, and all sessions in their time; return what was counted."""
        self._pass_time(_NEVER)
        counts, timeline = self.counts, self._timeline
        counts.sessions, counts.users = timeline.sessions, len(timeline.users)
        counts.ownerless = timeline.ownerless
        return counts

    def _end(self, life: Life) -> None:
        for passage, outcome in zip(life.passages, self._outcomes, strict=False):
            if passage is None:
                continue
            outcome.tally.ended(life, passage)
            for curve in outcome.curves:
                curve.ended(life, passage)
            variants = outcome.policies.variants
            for at, twin in passage.forks.items():
                outcome.curves[variants[at].curve].parted(at, life, passage, twin)
