"""The value of `WWW-Authenticate`: RFC 6750, RFC 9470 and Microsoft's claims challenge."""

import base64
from collections.abc import Iterable

import msgspec


def bearer(
    realm: str, error: str = "", description: str = "", extra: Iterable[tuple[str, str]] = ()
) -> str:
    """A Bearer challenge (RFC 6750, section 3). Without `error`: no credentials were sent."""
    parameters = [("realm", realm)] if realm else []
    if error:
        parameters.append(("error", error))
    if description:
        parameters.append(("error_description", description))
    parameters.extend(extra)
    if not parameters:
        return "Bearer"
    return "Bearer " + ", ".join(f"{name}={_quoted(value)}" for name, value in parameters)


def step_up(realm: str, acr_values: Iterable[str], max_age: int | None, description: str) -> str:
    """A step-up challenge (RFC 9470, section 3). `max_age` is in seconds."""
    extra = []
    acrs = " ".join(acr_values)
    if acrs:
        extra.append(("acr_values", acrs))
    if max_age is not None:
        extra.append(("max_age", str(max_age)))
    return bearer(realm, "insufficient_user_authentication", description, extra)


def claims_challenge(
    realm: str, authorization_uri: str, claims: object, description: str = "", kind: str = ""
) -> str:
    """Microsoft's claims challenge: `claims` as base64 of JSON; `kind` is its `cc_type`."""
    encoded = base64.b64encode(msgspec.json.encode(claims)).decode()
    extra = [("error", "insufficient_claims")]
    if description:
        extra.append(("error_description", description))
    extra.append(("claims", encoded))
    if kind:
        extra.append(("cc_type", kind))
    parameters = [("realm", realm), ("authorization_uri", authorization_uri), *extra]
    return "Bearer " + ", ".join(f"{name}={_quoted(value)}" for name, value in parameters)


def context_claims(context: str) -> object:
    """The claims that ask for an authentication context."""
    return {"access_token": {"acrs": {"essential": True, "value": context}}}


def revocation_claims(not_before: int) -> object:
    """The claims that ask for a token issued after a revocation (`not_before`, unix seconds)."""
    return {"access_token": {"nbf": {"essential": True, "value": str(not_before)}}}


def _quoted(value: str) -> str:
    r"""A quoted string (RFC 9110, 5.6.4) of what RFC 6750 allows: printable ASCII, no `"`, `\\`."""
    kept = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in value)
    return f'"{kept}"'
