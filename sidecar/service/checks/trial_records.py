"""Makes the records of a check: its own, and one for each report-only policy that asks."""

from collections.abc import Iterable, Iterator

from sidecar.domain.evaluation.decision import Verdict, judge
from sidecar.domain.values.assurance import Ladder
from sidecar.service.checks.assessment import Assessment
from sidecar.service.observations.observations import Checked, ReportedOnly
from sidecar.service.ports.calls import Answer

SEVERITY = {Verdict.ALLOW: 0, Verdict.STEP_UP: 1, Verdict.DENY: 2}
"""The verdicts by how strict they are."""


def checked(answer: Answer, id_: str, seconds: float, trace: str) -> Checked:
    """Return the record of a check, whose decision and trace have these ids."""
    return Checked(
        verdict=answer.error or answer.verdict,
        context=answer.context,
        session=answer.session,
        subject=answer.subject,
        issuer=answer.issuer,
        status=answer.status,
        seconds=seconds,
        reasons=answer.reasons,
        explanation=answer.explanation,
        id=id_,
        trace=trace,
    )


def strictest(answers: Iterable[Answer]) -> Answer:
    """Return the strictest of the answers, the first of equal ones."""
    return max(answers, key=lambda answer: SEVERITY[answer.verdict])


def trial_records(
    assessment: Assessment, answered: Verdict, ladder: Ladder
) -> Iterator[ReportedOnly]:
    """Return a record for each report-only policy that asks something of a call.

    `answered` is what the call got; the others had no part in it.
    """
    live, access = assessment.live, assessment.access
    for demand in assessment.standing.tried:
        verdict = judge((demand,), access, ladder).verdict
        if verdict is Verdict.ALLOW:
            continue
        yield ReportedOnly(
            session=live.session,
            subject=live.user,
            issuer=live.namespace,
            policy=demand.policy,
            decision=max(verdict, answered, key=SEVERITY.__getitem__),
            answered=answered,
            context=assessment.call.label,
        )
