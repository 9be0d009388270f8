"""Replay's triggers are the marks that the daemon logs and counts."""

from hypothesis import given

from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.fold import Surroundings
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.entries import RecordedEntries, Whose, pending_entries
from sidecar.service.observations.observations import Marked
from sidecar.tuning.replay.passage import Moment, Passage, PassageModel, Trigger, Walker
from sidecar.tuning.replay.tally import Silent
from sidecar.tuning.replay.timeline import Life
from tests.domain.evaluation.stepped import POLICIES, steps
from tests.domain.random_policies import lives
from tests.domain.scenes import WORLD, established, network_of


class Triggers(Silent):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bool]] = []

    def triggered(self, trigger: Trigger) -> None:
        demand = trigger.demand
        self.seen.append((demand.policy, demand.signal, demand.report_only))


@given(POLICIES, lives())
def test_a_policy_triggers_when_the_daemon_logs_its_mark(
    of: tuple[Policy, ...], facts: list[Fact]
) -> None:
    evaluator = IncrementalEvaluator(of, WORLD, Surroundings("", network_of))
    observer = Triggers()
    walker = Walker(evaluator, PassageModel(), observer)
    life = Life("s", "alice")
    logged: dict[str, bytes] = {}
    marks: list[tuple[str, str, bool]] = []
    passage: Passage | None = None
    for step in steps([*established(), *facts]):
        if passage is None:
            around = evaluator.surroundings("")
            passage = Passage(evaluator.fold("", step), around)
        else:
            evaluator.step(passage.state, step, passage.around)
        now = step[0].stamp.time
        standing = walker.look(life, passage, Moment(now, "app", attack=False))
        known = RecordedEntries(
            Whose("s", "alice"), logged, [policy.id for policy in evaluator.policies]
        )
        for entry in pending_entries(known, passage.state, standing, now / MICROSECONDS):
            logged[entry.policy] = entry.value
            if isinstance(entry.observation, Marked):
                mark = entry.observation
                marks.append((mark.policy, mark.signal, mark.report_only))
        assert observer.seen == marks
