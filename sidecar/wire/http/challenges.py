"""The value of `WWW-Authenticate`: RFC 6750, RFC 9470 and Microsoft's claims challenge.

One challenge, its parameters all quoted: Microsoft's clients parse no other form. A value that may
have any character is escaped (RFC 9110, section 5.6.4); one that RFC 6750, section 3, keeps to
printable ASCII without quote and backslash has `?` in place of all else.
"""

import base64
from collections.abc import Iterable

import msgspec

_PLAIN_ONLY = frozenset({"error", "error_description", "authorization_uri", "claims", "cc_type"})


def challenge(parameters: Iterable[tuple[str, str]], scheme: str = "Bearer") -> str:
    """Return a challenge (RFC 9110, section 11.6.1).

    The scheme alone where there are no parameters.
    """
    shown = ", ".join(
        f"{name}={_plain(value) if name in _PLAIN_ONLY else _quoted(value)}"
        for name, value in parameters
    )
    return f"{scheme} {shown}" if shown else scheme


def bearer(
    realm: str,
    error: str = "",
    description: str = "",
    extra: Iterable[tuple[str, str]] = (),
    scheme: str = "Bearer",
) -> str:
    """Return a Bearer challenge (RFC 6750, section 3), or a DPoP one, which is written alike.

    Without `error`: no credentials were sent.
    """
    parameters = [("realm", realm)] if realm else []
    if error:
        parameters.append(("error", error))
    if description:
        parameters.append(("error_description", description))
    return challenge((*parameters, *extra), scheme)


def step_up(
    realm: str,
    acr_values: Iterable[str],
    max_age: int | None,
    description: str,
    scheme: str = "Bearer",
) -> str:
    """Return a step-up challenge (RFC 9470, section 3). `max_age` is in seconds."""
    extra = []
    acrs = " ".join(acr_values)
    if acrs:
        extra.append(("acr_values", acrs))
    if max_age is not None:
        extra.append(("max_age", str(max_age)))
    return bearer(realm, "insufficient_user_authentication", description, extra, scheme)


def claims_challenge(
    realm: str, authorization_uri: str, claims: object, description: str = "", kind: str = ""
) -> str:
    """Microsoft's claims challenge: `claims` as base64 of JSON; `kind` is its `cc_type`.

    The base64 is the standard one, with padding, as Microsoft's own services send it; clients that
    read the other alphabet get along with it, since JSON of ours has no byte that differs.
    """
    encoded = base64.b64encode(msgspec.json.encode(claims)).decode()
    parameters = [("realm", realm), ("authorization_uri", authorization_uri)]
    parameters.append(("error", "insufficient_claims"))
    if description:
        parameters.append(("error_description", description))
    parameters.append(("claims", encoded))
    if kind:
        parameters.append(("cc_type", kind))
    return challenge(parameters)


def context_claims(context: str) -> object:
    """Return the claims that ask for an authentication context."""
    return {"access_token": {"acrs": {"essential": True, "value": context}}}


def revocation_claims(not_before: int) -> object:
    """Return the claims that ask for a token issued after a revocation (`not_before`, seconds)."""
    return {"access_token": {"nbf": {"essential": True, "value": str(not_before)}}}


def _quoted(value: str) -> str:
    """Return a quoted string (RFC 9110, section 5.6.4)."""
    escaped = _printable(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(value: str) -> str:
    """Return a quoted string in which nothing has to be escaped (RFC 6750, section 3)."""
    kept = "".join("?" if character in '"\\' else character for character in _printable(value))
    return f'"{kept}"'


def _printable(value: str) -> str:
    return "".join(character if " " <= character <= "~" else "?" for character in value)
