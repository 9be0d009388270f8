"""Checks the registered claims of a JWT whose signature fits (RFC 7519, section 4.1).

It refuses what `jwt.decode` would (a test holds the two together), of claims that were read already
and more strictly (`jws`). Times are `claims.validity_of`'s.
"""

from collections.abc import Mapping

from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import Flaw, InvalidToken

_REQUIRED = ("exp", "iss", "aud", "sub")


def check_registered(claims: Mapping[str, object], issuer: Issuer) -> None:
    """Raise `InvalidToken` unless this issuer wrote the claims for one of its audiences."""
    for name in _REQUIRED:
        if claims.get(name) is None:
            raise InvalidToken(Flaw.MISSING_CLAIM, f"the {name} claim is missing")
    if claims["iss"] != issuer.issuer:
        raise InvalidToken(Flaw.UNKNOWN_ISSUER, "the token's issuer is not known here")
    audience = claims["aud"]
    if not audience:
        raise InvalidToken(Flaw.MISSING_CLAIM, "the aud claim is missing")
    named = [audience] if isinstance(audience, str) else audience
    if not (isinstance(named, list) and all(isinstance(one, str) for one in named)) or (
        frozenset(named).isdisjoint(issuer.audiences)
    ):
        raise InvalidToken(Flaw.WRONG_AUDIENCE, "the token is for another audience")
    if not isinstance(claims["sub"], str) or not isinstance(claims.get("jti", ""), str):
        raise InvalidToken(Flaw.WRONG_TYPE, "the sub or jti claim is not text")
