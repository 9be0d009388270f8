"""DPoP proofs (RFC 9449): a client shows with each call that it holds the key of its token.

Everything is checked that can be seen from a proof and its call (section 4.3). That a proof comes
only once is for whoever remembers them (`service.checks.proof_of_possession`); nonces of the server
are not used.
"""

import base64
import hashlib
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.jwks import key_of_client, signed_by, thumbprint_of_client
from sidecar.wire.tokens.jws import read_jws

MAX_BYTES = 8192
MAX_JTI = 512
TYPE = "dpop+jwt"


class ProofTarget(NamedTuple):
    """The call that a proof has to be for. `origins` empty: any with this host."""

    method: str
    host: str
    path: str
    origins: Collection[str] = ()


class Proof(NamedTuple):
    """A proof that is whole in itself: whose key it shows, its id, and when it was made."""

    thumbprint: str
    jti: str
    issued_at: float


def read_proof(text: str, algorithms: Collection[str], token: str, target: ProofTarget) -> Proof:
    """Read a proof for this call with this token; raises `InvalidToken`.

    How old it is is not looked at.
    """
    if not text:
        raise InvalidToken(Flaw.PROOF_MISSING, "the DPoP proof is missing")
    try:
        parts = read_jws(text, MAX_BYTES)
    except InvalidToken:
        raise _invalid("it is no JWT of a usable size") from None
    if parts.type != TYPE:
        raise _invalid("its type is not dpop+jwt")
    if parts.algorithm not in algorithms:
        raise _invalid("its algorithm is not allowed")
    key = key_of_client(parts.key, parts.algorithm)
    if key is None:
        raise _invalid("it brings no public key that fits its algorithm")
    if not signed_by(text, parts.algorithm, key):
        raise _invalid("its signature does not fit")
    claims = parts.claims
    jti, issued_at = claims.get("jti"), claims.get("iat")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise _invalid("it has no usable jti")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise _invalid("it has no iat")
    if claims.get("ath") != token_hash(token):
        raise _invalid("it is for another token")
    _check_target(claims.get("htm"), claims.get("htu"), target)
    return Proof(thumbprint_of_client(parts.key), jti, float(issued_at))


def token_hash(token: str) -> str:
    """`ath`: SHA-256 over the token, in base64url without padding."""
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _check_target(method: object, address: object, target: ProofTarget) -> None:
    if not (target.method and target.host and target.path):
        raise _invalid("the gateway does not say what was called")
    if method != target.method:
        raise _invalid("it is for another method")
    if not isinstance(address, str) or len(address) > MAX_BYTES:
        raise _invalid("it has no htu")
    try:
        parts = urlsplit(address)
        host, port, path = parts.hostname or "", parts.port, normalise(parts.path or "/")
    except (ValueError, PathInvalid):
        raise _invalid("its htu is no address") from None
    if parts.scheme not in ("https", "http") or path != target.path:
        raise _invalid("it is for another address")
    if target.origins:
        if _origin(parts.scheme, host, port) not in set(map(_origin_of, target.origins)):
            raise _invalid("it is for another address")
    elif host != target.host.strip("[]"):
        raise _invalid("it is for another address")


def _origin_of(address: str) -> tuple[str, str, int]:
    parts = urlsplit(address)
    return _origin(parts.scheme, parts.hostname or "", parts.port)


def _origin(scheme: str, host: str, port: int | None) -> tuple[str, str, int]:
    return scheme, host, port or (443 if scheme == "https" else 80)


def _invalid(why: str) -> InvalidToken:
    return InvalidToken(Flaw.PROOF_INVALID, f"the DPoP proof is refused: {why}")
