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


class Replay:
    """A replay under way. Occurrences must come in the order of their stamps."""

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
        calendar = Calendar(counting.timezone)
        sources = sets[0].evaluator.world.sources
        self.timeline = Timeline(locate, min_ttl, sources, namespaces)
        self.activity = Activity(calendar)
        self.occurrences = 0
        self.calls = 0
        self.labelled = 0
        self.begins = 0
        self.ends = 0
        silent = Silent()
        self._outcomes = tuple(
            ReplayOutcome(
                policies,
                Tally(calendar, counting.repeat_within * MICROSECONDS),
                tuple(
                    CurveTally(curve.counted, report_only=curve.report_only)
                    for curve in policies.curves
                ),
            )
            for policies in sets
        )
        self._runs = tuple(
            Run(outcome.policies, index, model, outcome.tally, silent)
            for index, outcome in enumerate(self._outcomes)
        )
        self._at_mark = model.at_mark

    def take(self, occurrence: Occurrence) -> None:
        """Let something happen."""
        now = occurrence.signal.stamp.time
        self.occurrences += 1
        self.begins = self.begins or now
        self.ends = max(self.ends, now)
        for run in self._runs:
            run.answers(now)
        for life in self.timeline.expired(now):
            self._end(life)
        if occurrence.attack is not None:
            self.labelled += 1
        attack = occurrence.attack is True
        session = occurrence.signal.subject.session
        for delivery in self.timeline.take(occurrence):
            life = delivery.life
            if not life.passages:
                life.passages = [None] * len(self._runs)
            for run in self._runs:
                app = run.policies.app or life.app
                run.deliver(delivery, Moment(now, app, attack and life.session == session))
        if session:
            self._of_session(occurrence, now)

    def _of_session(self, occurrence: Occurrence, now: int) -> None:
        life = self.timeline.find(occurrence.signal.subject)
        if life is None:
            return
        self.activity.seen(life.user or life.session, now)
        if occurrence.call is None:
            return
        self.calls += 1
        if self._at_mark:
            return
        for run in self._runs:
            app = run.policies.app or life.app
            attack = occurrence.attack is True
            run.call(life, occurrence.call, Moment(now, app, attack, occurrence.authentication))

    def finish(self) -> tuple[ReplayOutcome, ...]:
        """End the replay; return the outcome of each policy set."""
        for run in self._runs:
            run.answers(_NEVER)
        for life in self.timeline.rest():
            self._end(life)
        return self._outcomes

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
