"""Proofs of possession (RFC 9449) as a client makes them."""

from typing import Any

import jwt

from sidecar.wire.tokens.dpop import token_hash
from tests.adapters.identity import Signer

TOKEN = "the-token"
CLIENT = Signer("ES256")


def proof(signer: Signer = CLIENT, header: Any = None, **changes: Any) -> str:
    """Return a good proof for `TARGET`; a change to None leaves the claim out."""
    claims = {
        "jti": "j1",
        "htm": "POST",
        "htu": "https://app.example/pay/7",
        "iat": 1000,
        "ath": token_hash(TOKEN),
        **changes,
    }
    shown = {"typ": "dpop+jwt", "jwk": signer.jwk(kid=None), **(header or {})}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        signer.private,
        signer.algorithm,
        headers={name: value for name, value in shown.items() if value is not None},
    )
