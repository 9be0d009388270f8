"""Whether who shows a token holds what it is bound to: a key (RFC 9449), a certificate (RFC 8705).

Proofs of a key count once, within a window around the time they were made. The ids of those that
came are remembered for as long, by a digest and up to a bound; the oldest leaves first.
"""

import hashlib
from collections import OrderedDict

from sidecar.service.answers import Call, Shown
from sidecar.wire.claims import Flaw, InvalidToken, Token
from sidecar.wire.dpop import Target, read_proof
from sidecar.wire.token_settings import Binding, Possession


class Possessions:
    """Checks calls against the bindings of their tokens, as configured."""

    def __init__(self, settings: Binding) -> None:
        self._settings = settings
        self._proofs: OrderedDict[bytes, float] = OrderedDict()

    def replace(self, settings: Binding) -> None:
        """Ask for what is configured now. Proofs that came before still count once."""
        self._settings = settings

    def check(self, token: Token, call: Call, now: float) -> None:
        """Raise `InvalidToken` where the caller does not show what the token is bound to.

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
            self._check_key(token, call, shown, now)

    def _check_key(self, token: Token, call: Call, shown: Shown, now: float) -> None:
        settings = self._settings
        if shown.dpop is None:
            raise InvalidToken(Flaw.PROOF_MISSING, "the token is bound to a key: send it with DPoP")
        target = Target(call.method, call.host, call.path, settings.origins)
        proof = read_proof(shown.dpop, settings.dpop_algorithms, call.token, target)
        if proof.thumbprint != token.binding.key:
            raise InvalidToken(Flaw.PROOF_INVALID, "the DPoP proof is by another key")
        if abs(now - proof.issued_at) > settings.dpop_window:
            raise InvalidToken(Flaw.PROOF_INVALID, "the DPoP proof is too old, or from the future")
        self._remember(f"{proof.thumbprint}.{proof.jti}", proof.issued_at, now)

    def _remember(self, name: str, issued_at: float, now: float) -> None:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        if self._proofs.get(digest, 0.0) >= now:
            raise InvalidToken(Flaw.PROOF_REPLAYED, "the DPoP proof has come before")
        self._proofs[digest] = issued_at + self._settings.dpop_window
        self._proofs.move_to_end(digest)
        while self._proofs and (
            len(self._proofs) > self._settings.dpop_replays
            or next(iter(self._proofs.values())) < now
        ):
            self._proofs.popitem(last=False)
