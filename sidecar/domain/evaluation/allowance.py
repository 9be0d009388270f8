"""The time for which a call passes without new facts: an app need not ask again until then."""

from typing import NamedTuple

from sidecar.domain.evaluation.decision import (
    AccessRequest,
    Verdict,
    judge,
    last_moments,
    needs_own_proof,
    prepare,
)
from sidecar.domain.session.standing import Standing
from sidecar.domain.values.assurance import Ladder

NEVER = 0.0


class Judged(NamedTuple):
    """The standing by which the calls of an app are judged; empty: it is not known which app's."""

    app: str
    standing: Standing


def allowed_until(judged: Judged, contexts: frozenset[str], now: float, ladder: Ladder) -> float:
    """Return before which moment (seconds) a call passes, where nothing new becomes known.

    `NEVER` where it does not pass, and where the answer is more than that it passes: a mark waits
    elsewhere, a single-use proof may be asked for, or a report-only policy has something to report.
    """
    app, standing = judged
    access = AccessRequest(app, contexts, now)
    decision, _, _, until = prepare(standing, access, ladder)
    if decision.verdict is not Verdict.ALLOW or decision.pending:
        return NEVER
    if needs_own_proof(standing, app, contexts):
        return NEVER
    for demand in standing.on_trial:
        alone = judge((demand,), access, ladder)
        if alone.verdict is not Verdict.ALLOW:
            return NEVER
        until = min((until, *last_moments((demand,), alone, access)))
    return until
