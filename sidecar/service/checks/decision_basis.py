"""Gathers what a decision was made of, for the log of decisions: references, and no text."""

from sidecar.domain.evaluation.decision import Decision, Verdict
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.segments import segments
from sidecar.domain.values.assurance import Ladder
from sidecar.service.checks.assessment import Assessment
from sidecar.service.checks.trial_records import trial_records
from sidecar.service.ports.calls import DecisionBasis


def basis_of(assessment: Assessment, decision: Decision, evaluator: Evaluator) -> DecisionBasis:
    """Return what a decision about a call was made of."""
    live, origin = assessment.live, assessment.origin
    state, ladder = live.state, evaluator.world.ladder
    found = segments(state, evaluator.world.sources)
    return DecisionBasis(
        assessment.app,
        live.word(evaluator, assessment.call.now),
        decision.demands,
        ladder,
        _tried(assessment, decision.verdict, ladder) if assessment.standing.tried else (),
        state.location if origin is None else origin.place,
        tuple(dict.fromkeys(said.value for _, said in found if said.value)),
        state.device,
        evaluator.is_break_glass(state),
    )


def _tried(
    assessment: Assessment, answered: Verdict, ladder: Ladder
) -> tuple[tuple[str, str], ...]:
    records = trial_records(assessment, answered, ladder)
    return tuple((one.policy, str(one.decision)) for one in records)
