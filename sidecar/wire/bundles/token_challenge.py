"""The challenges by which registries ask who calls (RFC 9110, section 11.6.1).

    Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull"
    Basic realm="registry"

Of the first kind is the token flow of the distribution specification: a token for `scope` is asked
for at `realm`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

MAX_CHALLENGE = 4096
"""Characters of a challenge that is read."""

SHORTEST_LIFE, LONGEST_LIFE = 60.0, 3600.0
"""Seconds for which a token is taken to be good: the specification's default, and at most."""

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s+")
_PARAMETER = re.compile(
    r"\s*([A-Za-z_]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))\s*(?:,|\Z)", re.DOTALL
)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenChallenge(NamedTuple):
    """A registry's word at which address, for which service and scope a token is given."""

    realm: str
    service: str
    scope: str


class GrantedToken(NamedTuple):
    """A token, and for how many seconds it is good."""

    token: str
    seconds: float


class InvalidGrant(ValueError):  # noqa: N818 - named by who must act: the server
    """An answer of a token server that holds no token."""


class _Grant(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float = SHORTEST_LIFE


def read_challenges(texts: Sequence[str]) -> TokenChallenge | str:
    """Return what is asked for: a token, `basic`, or empty: nothing that is known here."""
    found = ""
    for text in texts:
        scheme = _SCHEME.match(text) if len(text) <= MAX_CHALLENGE else None
        if scheme is None:
            continue
        kind = scheme.group(1).lower()
        if kind == "basic":
            found = kind
        if kind == "bearer":
            parameters = _parameters(text[scheme.end() :])
            if parameters.get("realm"):
                return TokenChallenge(
                    parameters["realm"],
                    parameters.get("service", ""),
                    parameters.get("scope", ""),
                )
    return found


def _parameters(text: str) -> dict[str, str]:
    """Return the parameters of a challenge; none where it does not follow the grammar."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        one = _PARAMETER.match(text, at)
        if one is None or one.group(1).lower() in found:
            return {}
        quoted, plain = one.group(2), one.group(3)
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        if not value.isprintable():
            return {}
        found[one.group(1).lower()] = value
        at = one.end()
    return found


def read_grant(body: bytes) -> GrantedToken:
    """Return the token of a token server's answer. Raises `InvalidGrant`."""
    try:
        grant = msgspec.json.decode(body, type=_Grant)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidGrant("it is no JSON object with a token") from None
    token = grant.token or grant.access_token
    if not _TOKEN.fullmatch(token):
        raise InvalidGrant("it has no token that could be shown")
    seconds = max(grant.expires_in, SHORTEST_LIFE)
    return GrantedToken(token, min(seconds, LONGEST_LIFE))
