"""Checks that a caller holds the key (RFC 9449) or certificate (RFC 8705) of its token.

Proofs of a key count once, within a window around the time they were made. The ids of those that
came are remembered for as long, by a digest, and none is forgotten before: it could be shown again.
So the memory can be full. Then a proof is turned away, and no other is forgotten for it; and shares
see to it that one key, or some, cannot fill the memory for all.
"""

import hashlib
import heapq
from typing import NamedTuple

from sidecar.service.ports.calls import Call, Overloaded, TokenPresentation
from sidecar.wire.settings.tokens import Binding, Possession
from sidecar.wire.tokens.claims import Flaw, InvalidToken, Token
from sidecar.wire.tokens.dpop import ProofTarget, read_proof

SHARE = 4
"""The part of the memory that one key may fill: with the defaults 400 proofs a second."""
FEW = 16
"""A key with fewer proofs than this finds room where others do not."""


class Possessions:
    """Checks calls against the bindings of their tokens, as configured."""

    def __init__(self, settings: Binding) -> None:
        self._settings = settings
        self._proofs = Proofs()

    def replace(self, settings: Binding) -> None:
        """Use this configuration from now on. Proofs that came before still count once."""
        self._settings = settings

    def check(self, token: Token, call: Call) -> None:
        """Raise `InvalidToken` if the caller does not show what the token is bound to.

        And `Overloaded` where there is no room for another proof by its key.
        A door that cannot see how a token was shown leaves that to whoever asks there.
        """
        settings = self._settings
        shown = call.shown
        if settings.possession is Possession.ACCEPT or shown is None:
            return
        bound = token.binding
        if bound.other:
            raise InvalidToken(Flaw.NOT_BOUND, "the token is bound in a way that is not known here")
        if not bound:
            if settings.possession is Possession.REQUIRE or shown.dpop is not None:
                raise InvalidToken(Flaw.NOT_BOUND, "the token is not bound to a key")
            return
        if bound.certificate and shown.certificate != bound.certificate:
            raise InvalidToken(
                Flaw.WRONG_CERTIFICATE, "the client's certificate is not the one of the token"
            )
        if bound.key:
            self._check_key(token, call, shown)

    def asks_nothing(self, token: Token, call: Call) -> bool:
        """Return whether `check` would do nothing, and neither raise nor remember a proof."""
        shown = call.shown
        if shown is None or self._settings.possession is Possession.ACCEPT:
            return True
        unbound = not token.binding and shown.dpop is None
        return unbound and self._settings.possession is not Possession.REQUIRE

    def _check_key(self, token: Token, call: Call, shown: TokenPresentation) -> None:
        settings = self._settings
        if shown.dpop is None:
            raise InvalidToken(Flaw.PROOF_MISSING, "the token is bound to a key: send it with DPoP")
        target = ProofTarget(call.method, call.host, call.path, settings.origins)
        proof = read_proof(shown.dpop, settings.dpop_algorithms, call.token, target)
        if proof.thumbprint != token.binding.key:
            raise InvalidToken(Flaw.PROOF_INVALID, "the DPoP proof is by another key")
        if abs(call.now - proof.issued_at) > settings.dpop_window:
            raise InvalidToken(Flaw.PROOF_INVALID, "the DPoP proof is too old, or from the future")
        until = proof.issued_at + settings.dpop_window
        self._proofs.remember(
            ShownProof(until, proof.thumbprint, _digest(proof.jti)), call.now, settings
        )


class ShownProof(NamedTuple):
    """A proof that came: it could be shown again up to second `until`."""

    until: float
    key: str
    digest: bytes


class Proofs:
    """The proofs that came, by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[bytes]] = {}
        self._by_end: list[ShownProof] = []  # a heap: proofs come in another order than they end

    def remember(self, proof: ShownProof, now: float, settings: Binding) -> None:
        """Remember a proof; raises `InvalidToken` if it came before, `Overloaded` if none fits.

        A key that has few proofs here finds room in the last quarter, which is kept for such.
        """
        while self._by_end and self._by_end[0].until < now:
            self._forget(heapq.heappop(self._by_end))
        known = self._by_key.get(proof.key, ())
        if proof.digest in known:
            raise InvalidToken(Flaw.PROOF_REPLAYED, "the DPoP proof has come before")
        bound = settings.dpop_replays
        room = bound if len(known) < FEW else bound - bound // 4
        if len(self._by_end) >= room or len(known) >= max(1, bound // SHARE):
            raise Overloaded
        self._by_key.setdefault(proof.key, set()).add(proof.digest)
        heapq.heappush(self._by_end, proof)

    def _forget(self, proof: ShownProof) -> None:
        proofs = self._by_key[proof.key]
        proofs.discard(proof.digest)
        if not proofs:
            del self._by_key[proof.key]


def _digest(jti: str) -> bytes:
    return hashlib.blake2b(jti.encode(), digest_size=16).digest()
