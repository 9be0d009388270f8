"""Somebody's browser, and the app's half of the code flow: how a person gets a token.

It finds the provider by discovery and goes to the authorization endpoint with PKCE, `state` and
`nonce`; after a challenge (RFC 9470, section 4) with exactly the `acr_values` and `max_age` that
the challenge names.
"""

import base64
import hashlib
import re
import secrets
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from sidecar.demo.people import Person
from sidecar.demo.requests import Client

INSUFFICIENT = "insufficient_user_authentication"

_PARAMETER = re.compile(r'([a-z_]+)=(?:"([^"]*)"|([^\s,"]+))')


class Astray(Exception):  # noqa: N818 - named by what happened
    """The story cannot go on: an answer lacks what the next step needs."""


class Challenge(NamedTuple):
    """A Bearer challenge: RFC 6750, section 3, and RFC 9470, section 3. `max_age` in seconds."""

    error: str = ""
    acr_values: str = ""
    max_age: int | None = None


class SignedInUser(NamedTuple):
    """An access token, and what the ID token beside it says of the sign-in."""

    access_token: str
    session: str
    auth_time: int
    acr: str
    amr: tuple[str, ...]


def parse_challenge(header: str) -> Challenge:
    """Read the value of `WWW-Authenticate`; raises `Astray` where it is no Bearer challenge."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Astray(f"no Bearer challenge, but {header[:80]!r}")
    found = {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    max_age = found.get("max_age", "")
    return Challenge(
        found.get("error", ""),
        found.get("acr_values", ""),
        int(max_age) if max_age.isdecimal() else None,
    )


class Browser:
    """A person's browser, with cookies, on its way between the app (`client`) and the provider.

    Methods raise `Astray` where the provider refuses.
    """

    def __init__(
        self, http: httpx.AsyncClient, issuer: str, client: Client, person: Person
    ) -> None:
        self.person = person
        self._http = http
        self._issuer = issuer
        self._client = client
        self._metadata: dict[str, Any] = {}

    def forget(self) -> None:
        """Lose the cookies: the next sign-in begins another session."""
        self._http.cookies.clear()

    async def sign_in(self, challenge: Challenge | None = None) -> SignedInUser:
        """Get a token: with a password, or, after a challenge, with what it asks for.

        Without a challenge and with a session at the provider it is a new token for the old
        sign-in: same `sid`, same `auth_time`.
        """
        metadata = await self._discover()
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        digest = hashlib.sha256(verifier.encode()).digest()
        query: dict[str, str] = {
            "response_type": "code",
            "client_id": self._client.name,
            "redirect_uri": self._client.redirect_uri,
            "scope": "openid",
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "login_hint": self.person.name,
        }
        if challenge is not None and challenge.acr_values:
            query["acr_values"] = challenge.acr_values
        if challenge is not None and challenge.max_age is not None:
            query["max_age"] = str(challenge.max_age)
        there = await self._http.get(metadata["authorization_endpoint"], params=query)
        code = self._code_of(there, state)
        answer = await self._http.post(
            metadata["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._client.redirect_uri,
                "client_id": self._client.name,
                "code_verifier": verifier,
            },
        )
        if answer.status_code != httpx.codes.OK:
            raise Astray(f"the provider gives no token: {answer.text[:200]}")
        return self._signed(answer.json(), nonce)

    async def _discover(self) -> dict[str, Any]:
        if not self._metadata:
            answer = await self._http.get(f"{self._issuer}/.well-known/openid-configuration")
            self._metadata = answer.raise_for_status().json()
        return self._metadata

    def _code_of(self, answer: httpx.Response, state: str) -> str:
        location: str = answer.headers.get("location", "")
        parameters = {
            name: values[0] for name, values in parse_qs(urlsplit(location).query).items()
        }
        # Whose answer this is, and to which question: RFC 9207; RFC 6749, section 10.12.
        if parameters.get("state") != state or parameters.get("iss") != self._issuer:
            raise Astray(f"the provider answers something else (status {answer.status_code})")
        if "code" not in parameters:
            raise Astray(
                f"the provider refuses: {parameters.get('error_description', 'no reason')}"
            )
        return parameters["code"]

    def _signed(self, tokens: dict[str, Any], nonce: str) -> SignedInUser:
        # It came straight from the token endpoint, so the connection vouches for it (OpenID
        # Connect Core 1.0, section 3.1.3.7). The access token is for others to read.
        claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
        if claims.get("nonce") != nonce or claims.get("sub") != self.person.name:
            raise Astray("the ID token is for another request")
        return SignedInUser(
            tokens["access_token"],
            claims["sid"],
            claims["auth_time"],
            claims["acr"],
            tuple(claims["amr"]),
        )
