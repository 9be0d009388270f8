"""Uses up a proof for a call that needs one of its own; the store decides who is first.

This is the one thing that a check waits for: see `domain.session.single_use`.
"""

from collections.abc import Callable

from sidecar.domain.evaluation.decision import decide
from sidecar.domain.facts.fact_kinds import Spent
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.session.single_use import Proof, SingleUseProofs
from sidecar.domain.session.state import SpentHeld
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.checks.assessment import Assessment
from sidecar.service.observations.observations import ProofSpent, ProofUse, Telemetry
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fact_reader import SessionRecord
from sidecar.service.records.facts import FactRecords
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import spent_in
from sidecar.wire.tokens.claims import Token
from sidecar.wire.tokens.jws import parted

KEPT = 86_400
"""Seconds for which it is kept at least that a proof is spent."""


class ProofConsumer:
    """Uses up proofs, each once among all sidecars."""

    def __init__(
        self,
        *,
        records: FactRecords,
        view: View,
        telemetry: Telemetry,
        new_id: Callable[[], str],
    ) -> None:
        self._records = records
        self._view = view
        self._telemetry = telemetry
        self._new_id = new_id

    def with_proofs(self, assessment: Assessment) -> Assessment:
        """Return the assessment with the proofs of its call, if calls of the session need one."""
        token, standing = assessment.token, assessment.standing
        if token is None or not standing.asks_each_call:
            return assessment
        state, authentication = assessment.live.state, token.authentication
        shown = self._view.evaluator.shown(state, counted(state, authentication))
        name = token_name(token, assessment.call.token)
        proof = Proof(shown, authentication.auth_time, name)
        return assessment._replace(proofs=SingleUseProofs(proof, standing.spent))

    def is_due(self, assessment: Assessment) -> bool:
        """Return whether the call passes if its proof is used up by it, and only then."""
        if assessment.proofs.proof is None:
            return False
        ladder = self._view.evaluator.world.ladder
        return decide(assessment.standing, assessment.access, ladder).uses_proof

    async def spend(self, assessment: Assessment) -> SingleUseProofs:
        """Use up the proof of a call for which `is_due`; return the proofs after that.

        Raises `Unavailable`, `Overloaded`, where nobody can know whether its proof is spent now;
        it then buys nothing more.
        """
        proofs = assessment.proofs
        if proofs.proof is None:
            return proofs
        held = await self._spend(assessment.live, proofs.proof, assessment.call.now)
        if held is None:
            return proofs._replace(bought=True)
        return proofs._replace(spent={**proofs.spent, proofs.proof.known_by: held})

    async def _spend(self, live: Live, proof: Proof, now: float) -> SpentHeld | None:
        """Use up a proof of a session; return who used it before, or None: it was this call."""
        stamp = Stamp(int(now * MICROSECONDS), self._new_id())
        fact = Spent(stamp=stamp, auth_time=proof.known_by, token=proof.token)
        until = max(live.own.expire_at, int((now + KEPT) * 1000))
        write = self._records.spend(fact, of=SessionRecord(live.name), until=until)
        try:
            (answer,) = await self._records.join(write)
        except (Unavailable, Overloaded):
            self._telemetry.record(ProofSpent(outcome=ProofUse.UNAVAILABLE))
            raise
        if answer.joined:
            self._view.learn(write)
        self._view.hear(write.key, answer.record)
        held = spent_in(answer.record, proof.known_by)
        # A join whose answer was lost is done again, and then finds what it wrote itself.
        if answer.joined or held == fact:
            self._telemetry.record(ProofSpent(outcome=ProofUse.BOUGHT))
            return None
        self._telemetry.record(ProofSpent(outcome=ProofUse.SPENT_BEFORE))
        return _held(held)


def _held(spent: Spent | None) -> SpentHeld:
    """Return by whom a proof was spent; one that cannot be read, by nobody who calls here."""
    return SpentHeld("-", 0) if spent is None else SpentHeld(spent.token, spent.stamp.time)


def token_name(token: Token, text: str) -> str:
    """Return a digest that names a token: of its `jti`, else of its signed part."""
    if token.token_id:
        return digest(f"{token.issuer} {token.token_id}")
    return digest(parted(text)[0])
