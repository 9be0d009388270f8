"""A proof is spent on a call that needs one of its own: the store says who is first.

This is the one thing that a check waits for: see `domain.session.single_use`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.domain.evaluation.decision import decide
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.facts import Spent
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.session.single_use import Proof, Purse
from sidecar.domain.session.state import SpentHeld
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.checks.assessment import Assessment
from sidecar.service.observations.observations import ProofSpent, Spending, Telemetry
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Join, Joined
from sidecar.service.view.live_session import Live
from sidecar.wire.store.keys import digest
from sidecar.wire.store.records import decode_facts, encode_spent
from sidecar.wire.tokens.claims import Token
from sidecar.wire.tokens.jws import parted


class Joiner(Protocol):
    """What it needs of the store."""

    async def join(self, *joins: Join) -> list[Joined]:
        """Join each; the answers are in order. Raises `Unavailable`, `Overloaded`."""


class Learner(Protocol):
    """What it needs of the view."""

    @property
    def evaluator(self) -> Evaluator:
        """The policies that judge."""

    def hear(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Join what the store says of a record."""


class Spender:
    """Spends proofs, each once among all sidecars."""

    def __init__(
        self,
        *,
        store: Joiner,
        view: Learner,
        telemetry: Telemetry,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._view = view
        self._telemetry = telemetry
        self._new_id = new_id

    def with_purse(self, assessment: Assessment) -> Assessment:
        """Return the assessment with what its call can pay with, where calls have to pay."""
        token, standing = assessment.token, assessment.standing
        if token is None or not standing.asks_each_call:
            return assessment
        state, authentication = assessment.live.state, token.authentication
        shown = self._view.evaluator.shown(state, counted(state, authentication))
        name = token_name(token, assessment.call.token)
        proof = Proof(shown, authentication.auth_time, name)
        return assessment._replace(purse=Purse(proof, standing.spent))

    def is_due(self, assessment: Assessment) -> bool:
        """Whether a proof is all that the call needs to pass, and it has one to spend."""
        if assessment.purse.proof is None:
            return False
        ladder = self._view.evaluator.world.ladder
        return decide(assessment.standing, assessment.access, ladder).spends

    async def spend(self, assessment: Assessment) -> Purse:
        """Spend the proof of a call for which `is_due`; return the purse after that.

        Raises `Unavailable`, `Overloaded`, where nobody can know whether its proof is spent now;
        it then buys nothing more.
        """
        purse = assessment.purse
        if purse.proof is None:
            return purse
        held = await self._spend(assessment.live, purse.proof, assessment.call.now)
        if held is None:
            return purse._replace(bought=True)
        return purse._replace(spent={**purse.spent, purse.proof.known_by: held})

    async def _spend(self, live: Live, proof: Proof, now: float) -> SpentHeld | None:
        """Spend a proof of this session; None: it is spent on this call, else who did it before."""
        stamp = Stamp(int(now * MICROSECONDS), self._new_id())
        fact = Spent(stamp=stamp, auth_time=proof.known_by, token=proof.token)
        field, value = encode_spent(fact)
        own = live.own
        join = Join(
            own.key,
            {field: value},
            max(own.expire_at, int((now + 86400) * 1000)),
            int(now * 1000),
            unless=field,
            publish=own.publish,
            confirm=True,
        )
        try:
            (joined,) = await self._store.join(join)
        except (Unavailable, Overloaded):
            self._telemetry.record(ProofSpent(outcome=Spending.UNAVAILABLE))
            raise
        self._view.hear(own.key, joined.record)
        # A join whose answer was lost is done again, and then finds what it wrote itself.
        if joined.joined or joined.record.get(field) == value:
            self._telemetry.record(ProofSpent(outcome=Spending.BOUGHT))
            return None
        self._telemetry.record(ProofSpent(outcome=Spending.SPENT_BEFORE))
        return _held(joined.record, field)


def _held(record: Mapping[bytes, bytes], field: bytes) -> SpentHeld:
    """By whom a proof was spent; one that cannot be read was spent by nobody who calls here."""
    facts, _ = decode_facts({field: record.get(field, b"")})
    for fact in facts:
        if isinstance(fact, Spent):
            return SpentHeld(fact.token, fact.stamp.time)
    return SpentHeld("-", 0)


def token_name(token: Token, text: str) -> str:
    """What a token is known by: its `jti`, else what is signed of it, digested."""
    if token.token_id:
        return digest(f"{token.issuer} {token.token_id}")
    return digest(parted(text)[0])
