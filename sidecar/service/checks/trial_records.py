"""What a check leaves behind for whoever looks at it later: its record, and what was only tried."""

from collections.abc import Iterator, Sequence

from sidecar.domain.evaluation.decision import AccessRequest, Verdict, judge
from sidecar.domain.session.single_use import EMPTY, Purse
from sidecar.domain.session.standing import Demand
from sidecar.domain.values.assurance import Ladder
from sidecar.service.observations.observations import Checked, ReportedOnly
from sidecar.service.ports.calls import Answer
from sidecar.service.view.live_session import Live

SEVERITY = {Verdict.ALLOW: 0, Verdict.STEP_UP: 1, Verdict.DENY: 2}
"""Verdicts by how much they keep from passing."""


def checked(answer: Answer, seconds: float) -> Checked:
    """The record of a check that took so long to answer."""
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
    )


class Tried:
    """What report-only policies would have made of a call that was answered with `answered`."""

    def __init__(
        self, live: Live, app: str, answered: Verdict, ladder: Ladder, purse: Purse = EMPTY
    ) -> None:
        self._purse = purse
        self._live = live
        self._app = app
        self._answered = answered
        self._ladder = ladder

    def records(
        self, demands: Sequence[Demand], contexts: frozenset[str], label: str, now: float
    ) -> Iterator[ReportedOnly]:
        """A record for each policy that asks something of the call; `label` is its contexts'."""
        for demand in demands:
            verdict = judge(
                (demand,), AccessRequest(self._app, contexts, now, self._purse), self._ladder
            ).verdict
            if verdict is Verdict.ALLOW:
                continue
            yield ReportedOnly(
                session=self._live.session,
                subject=self._live.user,
                issuer=self._live.namespace,
                policy=demand.policy,
                decision=max(verdict, self._answered, key=SEVERITY.__getitem__),
                answered=self._answered,
                context=label,
            )
