"""Verification of Security Event Tokens: from the text on the wire to one that is believed.

Form and claims are judged by `wire.tokens.jws` and `shared_signals.wire.security_event_tokens`, and
what is refused is refused in the words of RFC 8935, section 2.4.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.adapters.tokens.issuer_signatures import Unsigned, unsigned
from sidecar.adapters.tokens.keys import KeySource
from sidecar.shared_signals.wire.security_event_tokens import (
    InvalidSet,
    SecurityEventToken,
    decode_claims,
    origin_of,
)
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter
from sidecar.wire.tokens.claims import InvalidToken
from sidecar.wire.tokens.jws import Unverified, read_jws


class Verified(NamedTuple):
    """A SET that is believed, and whose it is."""

    token: SecurityEventToken
    transmitter: KnownTransmitter


class SetVerifier:
    """Verifies the SETs of the transmitters that it is given, each with its keys."""

    def __init__(self, known: Iterable[tuple[KnownTransmitter, KeySource]], max_bytes: int) -> None:
        self._known: dict[str, tuple[KnownTransmitter, KeySource]] = {}
        self._max_bytes = max_bytes
        self.replace(known)

    def replace(self, known: Iterable[tuple[KnownTransmitter, KeySource]]) -> None:
        """Believe these from now on, as they are configured now."""
        self._known = {one.issuer: (one, keys) for one, keys in known}

    async def verify(self, text: str, now: float) -> Verified:
        """Verify a SET at `now`, in seconds since the epoch.

        Raises `InvalidSet`; and `Unavailable` while its transmitter's keys cannot be had.
        """
        if not text.isascii():
            raise InvalidSet(Fault.INVALID_REQUEST, "a SET is ASCII text")
        try:
            parts = read_jws(text, self._max_bytes)
        except InvalidToken as error:
            raise InvalidSet(Fault.INVALID_REQUEST, error.description) from None
        transmitter, keys = self._issuer(parts)
        await self._check_signature(text, parts, transmitter, keys)
        try:
            token = _understood(parts.claims, transmitter, now)
        except InvalidSet as error:
            origin = origin_of(parts.claims, transmitter.name)
            raise InvalidSet(error.fault, error.description, origin) from None
        if self._known.get(transmitter.issuer) != (transmitter, keys):
            return await self.verify(text, now)  # meanwhile it is trusted otherwise, or not at all
        return Verified(token, transmitter)

    def _issuer(self, parts: Unverified) -> tuple[KnownTransmitter, KeySource]:
        """Return the transmitter that the SET names. Not yet believed."""
        issuer = parts.claims.get("iss")
        if isinstance(issuer, str):
            found = self._known.get(issuer)
            if found is not None:
                return found
        raise InvalidSet(Fault.INVALID_ISSUER, "the issuer is not known here")

    async def _check_signature(
        self, text: str, parts: Unverified, transmitter: KnownTransmitter, source: KeySource
    ) -> None:
        if parts.type not in {name.lower() for name in transmitter.types}:
            raise InvalidSet(Fault.INVALID_REQUEST, "the typ header is not that of a SET")
        fault = await unsigned(text, parts, transmitter.algorithms, source)
        if fault is Unsigned.SIGNATURE:
            raise InvalidSet(Fault.AUTHENTICATION_FAILED, fault)
        if fault is not None:
            raise InvalidSet(Fault.INVALID_KEY, fault)


def _understood(
    claims: Mapping[str, object], transmitter: KnownTransmitter, now: float
) -> SecurityEventToken:
    """Read what a transmitter has signed; raises `InvalidSet`."""
    token = decode_claims(claims)
    if not set(token.audiences) & set(transmitter.audiences):
        raise InvalidSet(Fault.INVALID_AUDIENCE, "the SET is for another audience")
    _check_age(token, transmitter, now)
    return token


def _check_age(token: SecurityEventToken, transmitter: KnownTransmitter, now: float) -> None:
    if token.issued_at > now + transmitter.skew:
        raise InvalidSet(Fault.INVALID_REQUEST, "iat lies in the future")
    if transmitter.max_age and token.issued_at < now - transmitter.max_age - transmitter.skew:
        raise InvalidSet(Fault.INVALID_REQUEST, "the SET was issued too long ago")
