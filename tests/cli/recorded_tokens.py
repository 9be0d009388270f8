"""Tokens in recordings, with the key that signed them."""

import json

import jwt

from tests.adapters.identity import Signer
from tests.cli.replayed import CASES

KEY, STRANGER = Signer(), Signer(number=1)
CLAIMS = [json.loads(line) for line in (CASES / "caep.ndjson").read_text().splitlines()]


def tokens(key: Signer = KEY) -> list[str]:
    return [
        jwt.encode(claims, key.private, key.algorithm, {"typ": "secevent+jwt", "kid": key.kid})
        for claims in CLAIMS
    ]
