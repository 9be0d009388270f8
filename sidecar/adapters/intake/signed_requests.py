"""Verification of what providers sign to end sessions: logout tokens, and their like."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sidecar.adapters.tokens.issuer_signatures import unsigned
from sidecar.adapters.tokens.keys import KeySource
from sidecar.wire.logout.logout_tokens import InvalidLogout
from sidecar.wire.settings.intake import IntakeIssuer
from sidecar.wire.tokens.claims import InvalidToken
from sidecar.wire.tokens.jws import read_jws

MAX_BYTES = 16384


class SignedClaims(NamedTuple):
    """Claims that are signed by this issuer."""

    claims: Mapping[str, object]
    issuer: IntakeIssuer


class RequestVerifier:
    """Verifies the JWTs of these issuers. `keys_of` gives an issuer's keys; None: it has none."""

    def __init__(
        self,
        issuers: Callable[[], tuple[IntakeIssuer, ...]],
        keys_of: Callable[[str], KeySource | None],
    ) -> None:
        self._issuers = issuers
        self._keys_of = keys_of

    async def verify(self, text: str, types: tuple[str, ...]) -> SignedClaims:
        """Verify a JWT whose `typ` is one of these, in lower case.

        Raises `InvalidLogout`; and `Unavailable` while the issuer's keys cannot be had.
        """
        if not text.isascii():
            raise InvalidLogout("a token is ASCII text")
        try:
            parts = read_jws(text, MAX_BYTES)
        except InvalidToken as error:
            raise InvalidLogout(error.description) from None
        named = parts.claims.get("iss")
        issuer = next((one for one in self._issuers() if one.issuer == named), None)
        source = self._keys_of(issuer.issuer) if issuer is not None else None
        if issuer is None or source is None:
            raise InvalidLogout("iss: the issuer is not known here (intake.issuers)")
        if parts.type not in types:
            raise InvalidLogout("the typ header is that of another kind of token")
        fault = await unsigned(text, parts, issuer.algorithms, source)
        if fault is not None:
            raise InvalidLogout(fault)
        return SignedClaims(parts.claims, issuer)
