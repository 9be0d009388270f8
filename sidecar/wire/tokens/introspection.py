"""Token introspection (RFC 7662): what is asked, and what an answer makes of an opaque token.

The issuer's answer takes the place of a signature: its members are read as a JWT's claims are, by
the same settings. An answer that cannot be read says nothing of the token; one that says that it
is not active, or that it is for somebody else, does.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote_plus

import msgspec

from sidecar.wire.checks.reach import is_fetchable
from sidecar.wire.settings.settings import Introspection, Issuer
from sidecar.wire.tokens.claims import Flaw, InvalidToken, Token, Validity, token_of, validity_of
from sidecar.wire.tokens.expectations import names_of
from sidecar.wire.tokens.issuer_limits import limited
from sidecar.wire.tokens.jws import Unverified, bounded_object

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = 60
ANSWER_TYPES = ("token-introspection+jwt", "application/token-introspection+jwt")
ANSWER_LIFE = 60
"""Seconds that a signed answer may be old."""


class InvalidAnswer(Exception):  # noqa: N818 - named by who must act: whoever runs the endpoint
    """The answer is none that RFC 7662 knows. The message never repeats what it holds."""


class ActiveToken(NamedTuple):
    """A token that its issuer calls active, and when it counts."""

    token: Token
    validity: Validity


def introspection_problems(settings: Introspection) -> Iterator[tuple[str, str]]:
    """Yield what does not fit together: a key and a message each."""
    ways = {
        "client_secret": settings.client_secret or settings.client_secret_file,
        "bearer_token": settings.bearer_token or settings.bearer_token_file,
        "private_key_file": settings.private_key_file,
    }
    given = [name for name, value in ways.items() if value]
    if not settings.endpoint:
        if given or settings.only:
            yield "endpoint", "is required: nobody could be asked without it"
        return
    if len(given) > 1:
        yield given[1], f"is given, and so is {given[0]}; give one of them"
    if not given:
        yield "client_secret_file", "is required: an issuer answers only whom it knows"
    if given and given[0] != "bearer_token" and not settings.client_id:
        yield "client_id", "is required: whose secret or key would it be?"
    elif settings.signed and not settings.client_id:
        yield "client_id", "is required: a signed answer says whom it is for"
    if not is_fetchable(settings.endpoint):
        yield "endpoint", "must be https://, or http:// on this machine itself"


def is_opaque(token: str) -> bool:
    """Return whether a token is no compact JWS: it does not have three parts."""
    return token.count(".") != 2


def question(token: str, assertion: str = "") -> dict[str, str]:
    """Return the form that asks about a token, with the client's assertion (RFC 7523) if any."""
    asked = {"token": token, "token_type_hint": "access_token"}
    if assertion:
        asked["client_assertion_type"] = ASSERTION_TYPE
        asked["client_assertion"] = assertion
    return asked


def authorization(settings: Introspection) -> dict[str, str]:
    """Return the header by which the client shows who it is; none where it sends an assertion."""
    if settings.bearer_token:
        return {"Authorization": f"Bearer {settings.bearer_token}"}
    if settings.client_secret:  # RFC 6749, section 2.3.1
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def assertion_claims(issuer: Issuer, now: float, jti: str) -> dict[str, str | int]:
    """Return the claims of a client's assertion (RFC 7523, section 3), meant for the issuer."""
    client = issuer.introspection.client_id
    issued = int(now)
    return {
        "iss": client,
        "sub": client,
        "aud": issuer.issuer,
        "iat": issued,
        "exp": issued + ASSERTION_LIFE,
        "jti": jti,
    }


def plain_answer(raw: bytes) -> dict[str, object]:
    """Return the body of an answer that is not signed; raises `InvalidAnswer`."""
    try:
        return bounded_object(raw)
    except ValueError:
        raise InvalidAnswer("the answer is not a plain JSON object") from None


def signed_answer(parts: Unverified, issuer: Issuer, now: float) -> dict[str, object]:
    """Return what a signed answer says to us now (RFC 9701, section 5); raises `InvalidAnswer`.

    Its signature is for the caller to verify.
    """
    claims = parts.claims
    if parts.type not in ANSWER_TYPES:
        raise InvalidAnswer("the answer's type is not token-introspection+jwt")
    if claims.get("iss") != issuer.issuer:
        raise InvalidAnswer("the answer is another issuer's")
    audiences = claims.get("aud")
    if issuer.introspection.client_id not in (
        audiences if isinstance(audiences, list) else [audiences]
    ):
        raise InvalidAnswer("the answer is for somebody else")
    issued_at = claims.get("iat")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise InvalidAnswer("the answer does not say when it was given")
    if abs(now - issued_at) > ANSWER_LIFE + issuer.leeway:
        raise InvalidAnswer("the answer was not given just now")
    answer = claims.get("token_introspection")
    if not isinstance(answer, dict):
        raise InvalidAnswer("the answer has no token_introspection")
    return answer


def read_answer(
    response: Mapping[str, object], issuer: Issuer, now: float, wanted: frozenset[str] = frozenset()
) -> ActiveToken:
    """Return an answer of 200 (RFC 7662, section 2.2); policies ask for the `wanted` claims.

    Raises `InvalidAnswer`, and `InvalidToken` where the token is not to be believed. `iss`, `aud`
    and `exp` may be absent or `null`: then the issuer has checked them itself. If present, they
    must fit.
    """
    answer = {name: value for name, value in response.items() if value is not None}
    active = answer.pop("active", None)
    if not isinstance(active, bool):
        raise InvalidAnswer("the answer has no member active that is true or false")
    if not active:
        raise InvalidToken(Flaw.NOT_ACTIVE, "the token is not active")
    _check_parties(answer, issuer)
    settings = issuer.introspection
    longest = now + settings.cache_for + settings.max_staleness
    validity = validity_of({"exp": longest, **answer}, issuer)
    validity.check(now)
    # Its claims are as of now, whenever the token was issued.
    read = limited(token_of(answer, issuer, wanted), issuer)
    token = msgspec.structs.replace(read, issued_at=int(now), confirmed_at=now)
    return ActiveToken(token, validity)


def _check_parties(answer: Mapping[str, object], issuer: Issuer) -> None:
    if answer.get("iss", issuer.issuer) != issuer.issuer:
        raise InvalidToken(Flaw.UNKNOWN_ISSUER, "the token's issuer is not known here")
    audiences = answer.get("aud", [])
    named = audiences if isinstance(audiences, list) else [audiences]
    if named and not set(map(str, named)) & set(issuer.audiences):
        raise InvalidToken(
            Flaw.WRONG_AUDIENCE,
            "the token is for another audience",
            f"its aud is {names_of(map(str, named))}; expected is {names_of(issuer.audiences)}",
            issuer.issuer,
        )
