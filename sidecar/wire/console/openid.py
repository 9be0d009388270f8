"""Sign-in by an OpenID provider, without I/O: what is asked, what comes back, and who it is.

The authorization code flow (OpenID Connect Core 1.0, section 3.1) with PKCE (RFC 7636), `state`,
`nonce`, and the issuer in the response (RFC 9207). Whether an ID token is signed is not looked at
here.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.http.form_fields import UnreadableFields, fields_of
from sidecar.wire.names import InvalidName, name_of
from sidecar.wire.settings.admin import OpenIdSettings, Role
from sidecar.wire.settings.tokens import Issuer
from sidecar.wire.tokens.claim_paths import find
from sidecar.wire.tokens.claims import Flaw, InvalidToken, validity_of
from sidecar.wire.tokens.jws import Unverified
from sidecar.wire.tokens.registered_claims import check_registered

TYPES = frozenset({"jwt", ""})
"""What the `typ` header of an ID token may be, in lower case: no other kind of token has these."""

MAX_CODE = 4096
"""Characters of an authorization code."""

_PARAMETERS = 32
_ERROR = re.compile(r"[a-z_]{1,64}")


class InvalidProvider(Exception):  # noqa: N818 - named by who must act: the provider
    """The provider's metadata or answer does not have what a sign-in needs."""


class InvalidReturn(Exception):  # noqa: N818 - named by who must act: whoever sent it
    """A browser came back with what is no answer of a provider."""


class ProviderEndpoints(NamedTuple):
    """The provider's metadata, as far as a sign-in needs them."""

    authorization: str
    token: str
    says_issuer: bool
    secret_in_form: bool


class Attempt(NamedTuple):
    """The secrets of one sign-in: they bind the provider's answers to it."""

    state: str
    nonce: str
    verifier: str


class ProviderAnswer(NamedTuple):
    """The parameters with which a browser comes back; empty where there are none."""

    code: str
    state: str
    issuer: str
    error: str


class ProviderPerson(NamedTuple):
    """Somebody who has signed in at a provider. `values` are of the claim that says roles."""

    issuer: str
    subject: str
    name: str
    values: tuple[str, ...]

    @property
    def operator(self) -> str:
        """The name in logs and timelines. No configured operator can have it: it holds a `/`."""
        return f"{self.name}@{self.issuer}"


def endpoints_of(metadata: Mapping[str, object]) -> ProviderEndpoints:
    """Read a provider's metadata (OpenID Connect Discovery 1.0, section 3).

    Raises `InvalidProvider`.
    """
    methods = metadata.get("token_endpoint_auth_methods_supported")
    in_form = (
        isinstance(methods, list)
        and "client_secret_basic" not in methods
        and "client_secret_post" in methods
    )
    says_issuer = metadata.get("authorization_response_iss_parameter_supported") is True
    return ProviderEndpoints(
        authorization=_address(metadata, "authorization_endpoint"),
        token=_address(metadata, "token_endpoint"),
        says_issuer=says_issuer,
        secret_in_form=in_form,
    )


def _address(metadata: Mapping[str, object], member: str) -> str:
    address = metadata.get(member)
    if not isinstance(address, str) or not is_fetchable(address) or urlsplit(address).fragment:
        raise InvalidProvider(f"the metadata have no usable {member}")
    return address


def question_of(openid: OpenIdSettings, endpoints: ProviderEndpoints, attempt: Attempt) -> str:
    """Return the address to which a browser is sent to sign in."""
    digest = hashlib.sha256(attempt.verifier.encode()).digest()
    query = urlencode(
        {
            "response_type": "code",
            "client_id": openid.client_id,
            "redirect_uri": openid.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *openid.scopes))),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
    )
    joint = "&" if urlsplit(endpoints.authorization).query else "?"
    return f"{endpoints.authorization}{joint}{query}"


def answer_of(raw: bytes) -> ProviderAnswer:
    """Read the query with which a browser comes back (RFC 6749, section 4.1.2).

    Providers add parameters of their own; those that count come once. Raises `InvalidReturn`.
    """
    try:
        fields = fields_of(raw, _PARAMETERS, blank=False)
    except UnreadableFields as error:
        raise InvalidReturn(f"it {error.words}") from None
    found: dict[str, str] = {}
    for name, value in fields:
        if name in found and name in {"code", "state", "iss", "error"}:
            raise InvalidReturn(f"{name} is given twice")
        found[name] = value
    answer = ProviderAnswer(*(found.get(name, "") for name in ("code", "state", "iss", "error")))
    if bool(answer.code) is bool(answer.error) or len(answer.code) > MAX_CODE:
        raise InvalidReturn("it has neither a code nor an error, or both")
    return answer


def is_of(answer: ProviderAnswer, issuer: str, endpoints: ProviderEndpoints) -> bool:
    """Return whether an answer is this issuer's (RFC 9207, section 2.4)."""
    return answer.issuer == issuer or not (answer.issuer or endpoints.says_issuer)


def redemption_of(
    openid: OpenIdSettings, endpoints: ProviderEndpoints, code: str, verifier: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the form and the headers by which a code is redeemed (RFC 6749, 4.1.3 and 2.3.1)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": openid.redirect_uri,
        "code_verifier": verifier,
    }
    if openid.client_secret and not endpoints.secret_in_form:
        pair = f"{quote_plus(openid.client_id)}:{quote_plus(openid.client_secret)}"
        return form, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    form["client_id"] = openid.client_id
    if openid.client_secret:
        form["client_secret"] = openid.client_secret
    return form, {}


def error_word(error: object) -> str:
    """Return an error code as it may be shown; what is none is "other" (RFC 6749, 4.1.2.1)."""
    return error if isinstance(error, str) and _ERROR.fullmatch(error) else "other"


def believed_issuer(openid: OpenIdSettings) -> Issuer:
    """Return the provider as ID tokens are verified: for this client, and for nobody else."""
    return Issuer(
        issuer=openid.issuer,
        audiences=(openid.client_id,),
        algorithms=openid.algorithms,
        leeway=openid.leeway,
    )


def person_of(parts: Unverified, openid: OpenIdSettings, nonce: str, now: float) -> ProviderPerson:
    """Return whose ID token this is (OpenID Connect Core 1.0, section 3.1.3.7).

    Its signature was verified. Raises `InvalidToken`, in words that quote nothing of it.
    """
    issuer, claims = believed_issuer(openid), parts.claims
    if parts.type not in TYPES:
        raise InvalidToken(Flaw.TYPE_NOT_ALLOWED, "the token is no ID token")
    check_registered(claims, issuer)
    party, audience = claims.get("azp"), claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    if (several and party is None) or party not in {None, openid.client_id}:
        raise InvalidToken(Flaw.WRONG_AUDIENCE, "the token was issued to another client")
    if claims.get("iat") is None:
        raise InvalidToken(Flaw.MISSING_CLAIM, "the iat claim is missing")
    validity_of(claims, issuer).check(now)
    if claims.get("nonce") != nonce:
        raise InvalidToken(Flaw.WRONG_TYPE, "the token is of another sign-in: its nonce differs")
    named = find(claims, openid.name_claim)
    if not isinstance(named, str):
        raise InvalidToken(Flaw.MISSING_CLAIM, f"the {openid.name_claim} claim is missing")
    try:
        name, subject = name_of(named, 256), name_of(str(claims["sub"]))
    except InvalidName as error:
        raise InvalidToken(Flaw.WRONG_TYPE, f"a name of the token {error}") from None
    return ProviderPerson(openid.issuer, subject, name, _values(find(claims, openid.roles_claim)))


def role_of(person: ProviderPerson, openid: OpenIdSettings) -> Role | None:
    """Return the role of somebody as it is now configured; None: they have none."""
    if person.issuer != openid.issuer:
        return None
    own = set(person.values)
    return next((role for role, values in openid.values if own.intersection(values)), None)


def _values(claim: object) -> tuple[str, ...]:
    """Return the values of a claim: a text or a list of them. Of what is neither there are none."""
    listed = [claim] if isinstance(claim, str) else claim
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        return ()
    return tuple(listed)
