"""Single-use proofs, as `sign_in_frequency: every_time` asks for: one proof buys one call.

Theory of operation. A *proof* is a sign-in, known within its session by its `auth_time`: a token
that was merely refreshed shows the same one. When a call passes on a proof, that it is *spent* is a
fact of the session, joined like all others: a set of spent proofs, which only grows, each with the
token that spent it and when. Sidecars may learn of it late, twice or in any order.

Only *which call* uses a proof depends on an order, and the store gives it: the fact is joined
unless the session's record has one for this proof already. This is the one thing that a check waits
for. A proof that may or may not be spent, as the store did not answer, buys nothing.

The set is bounded. A spent proof is forgotten only after `SPENT_BOUND` others were spent later, and
no proof is later than the moment it is spent at: so where the set is full, a proof from before the
earliest moment in it counts as spent.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from sidecar.domain.session.state import SPENT_BOUND, SpentHeld, State
from sidecar.domain.values.assurance import CountedSignIn, Requirement, is_later
from sidecar.domain.values.stamp import MICROSECONDS


class EachCall(NamedTuple):
    """The demand on every call: a sign-in that by itself goes one of these ways.

    It must be later than that second, no older than `within` seconds, and not spent; the token that
    spent it passes for another `grace` seconds.
    """

    ways: tuple[tuple[Requirement, ...], ...]
    second: int | None
    within: int
    grace: int
    skew: int


class Proof(NamedTuple):
    """The sign-in of a call's token. `token` names it; empty: whichever spent the proof.

    `known_by` is its `auth_time` as the token has it, by which it is known in its session; what
    it counts for is as of when it was `first_shown`.
    """

    shown: CountedSignIn
    known_by: int
    token: str = ""

    @property
    def auth_time(self) -> int:
        """Return the second from which it counts."""
        return self.shown.authentication.auth_time


class SingleUseProofs(NamedTuple):
    """The proof of a call, if any, and the proofs of its session that are spent.

    `bought`: this very call has spent its proof.
    """

    proof: Proof | None = None
    spent: Mapping[int, SpentHeld] = MappingProxyType({})
    bought: bool = False


EMPTY = SingleUseProofs()


class Due(Enum):
    """The outcome of a call that needs a sign-in of its own."""

    ASKED = "asked"
    """It must bring another sign-in."""
    SPENDABLE = "spendable"
    """It passes if it is the one to spend its proof."""
    PAID = "paid"
    """It passes: its proof has bought it, or its grace is not over."""


def due(each: EachCall, proofs: SingleUseProofs, now: float) -> Due:
    """Return the outcome of a call with these proofs at `now` (seconds)."""
    proof = proofs.proof
    if proof is None or not _suffices(each, proof.shown):
        return Due.ASKED
    if proofs.bought:
        return Due.PAID
    held = proofs.spent.get(proof.known_by)
    if held is None:
        fresh = now <= proof.auth_time + each.within and not _forgotten(proof, proofs.spent)
        return Due.SPENDABLE if fresh else Due.ASKED
    # Another sidecar's clock may be ahead, so that the moment lies after `now`: no grace is none.
    by_it = each.grace > 0 and proof.token in ("", held.token)
    return Due.PAID if by_it and now < held.moment / MICROSECONDS + each.grace else Due.ASKED


def _suffices(each: EachCall, shown: CountedSignIn) -> bool:
    auth_time = shown.authentication.auth_time
    return any(
        all(shown.meets(requirement) for requirement in way)
        and (way == (Requirement(),) or is_later(auth_time, each.second, each.skew))
        for way in each.ways
    )


def _forgotten(proof: Proof, spent: Mapping[int, SpentHeld]) -> bool:
    if len(spent) < SPENT_BOUND:
        return False
    # The full set has lost its earliest proofs: one that is older may have been among them.
    earliest = min(held.moment for held in spent.values())
    return proof.auth_time <= earliest // MICROSECONDS


def keep_spent(state: State, auth_time: int, held: SpentHeld) -> None:
    """Note in `state` that a proof is spent."""
    known = state.spent.get(auth_time)
    if known is None or (known.moment, known.token) < (held.moment, held.token):
        state.spent[auth_time] = held
    while len(state.spent) > SPENT_BOUND:
        del state.spent[min(state.spent, key=lambda one: (state.spent[one].moment, one))]
