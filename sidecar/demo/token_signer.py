"""The provider's key, and the tokens it signs: RFC 9068 access tokens and OpenID ID tokens."""

import json
import secrets
from collections.abc import Callable
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sidecar.demo.people import Method, Person

ALGORITHM = "ES256"
LIFETIME = 600
"""Seconds for which a token counts."""


class ProviderSignIn(NamedTuple):
    """One act of signing in, within the provider's session `sid`. `auth_time` in whole seconds."""

    person: Person
    sid: str
    method: Method
    auth_time: int


class TokenSigner:
    """Signs with a key that is made anew for each provider."""

    def __init__(self, clock: Callable[[], float], lifetime: int = LIFETIME) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = secrets.token_hex(8)

    def key_set(self) -> bytes:
        """Return the public key as a JWK Set (RFC 7517, section 5)."""
        members = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        key = {**members, "kid": self._key_id, "use": "sig", "alg": ALGORITHM}
        return json.dumps({"keys": [key]}).encode()

    def access_token(self, issuer: str, audience: str, client: str, sign_in: ProviderSignIn) -> str:
        """Return an access token (RFC 9068, section 2.2).

        A token that is fetched again for the same sign-in has a new `iat` and `jti`, and the same
        `sid` and `auth_time`: fetching is not signing in.
        """
        claims: dict[str, object] = {
            "aud": audience,
            "client_id": client,
            "jti": secrets.token_urlsafe(16),
            "groups": list(sign_in.person.groups),
            "deviceid": sign_in.person.device,
        }
        return self._sign(issuer, client, sign_in, claims, "at+jwt")

    def id_token(self, issuer: str, client: str, nonce: str, sign_in: ProviderSignIn) -> str:
        """Return an ID token (OpenID Connect Core 1.0, section 2)."""
        claims: dict[str, object] = {"aud": client, **({"nonce": nonce} if nonce else {})}
        return self._sign(issuer, client, sign_in, claims, "JWT")

    def _sign(
        self,
        issuer: str,
        client: str,
        sign_in: ProviderSignIn,
        claims: dict[str, object],
        kind: str,
    ) -> str:
        issued = int(self._clock())
        common = {
            "iss": issuer,
            "sub": sign_in.person.name,
            "azp": client,
            "iat": issued,
            "exp": issued + self.lifetime,
            "sid": sign_in.sid,
            "auth_time": sign_in.auth_time,
            "acr": sign_in.method.acr,
            "amr": list(sign_in.method.amr),
        }
        headers = {"typ": kind, "kid": self._key_id}
        return jwt.encode({**common, **claims}, self._key, ALGORITHM, headers=headers)
