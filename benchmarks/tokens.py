"""What a token costs: verified for the first time, by algorithm; found in the cache; refused.

Usage: python -m benchmarks.tokens [TOKENS]
"""

import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.adapters.tokens.keys import KeySource
from sidecar.adapters.tokens.verifier import TokenVerifier
from sidecar.wire.settings.settings import Issuer, Tokens
from sidecar.wire.tokens.claims import InvalidToken

NOW = 1_800_000_000.0
ISSUER = "https://id.example"
RSA, EC, ED = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
)
KEYS: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey] = {
    "RS256": RSA,
    "PS256": RSA,
    "ES256": EC,
    "EdDSA": ED,
}
JWKS = [
    {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "RSA"},
    {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ES256"},
    {**OKPAlgorithm.to_jwk(ED.public_key(), as_dict=True), "kid": "EdDSA"},
]


def token(algorithm: str, number: int) -> str:
    claims = {
        "iss": ISSUER,
        "sub": f"user-{number}",
        "aud": "api",
        "exp": int(NOW) + 3600,
        "iat": int(NOW),
        "auth_time": int(NOW),
        "sid": f"session-{number}",
        "azp": "portal",
        "acr": "mfa",
        "amr": ["pwd", "otp"],
        "groups": [f"group-{group}" for group in range(20)],
    }
    kid = algorithm if algorithm in {"ES256", "EdDSA"} else "RSA"
    return jwt.encode(claims, KEYS[algorithm], algorithm, headers={"kid": kid})


async def timed(name: str, work: Callable[[str], Awaitable[None]], tokens: list[str]) -> None:
    started = time.perf_counter()
    for each in tokens:
        await work(each)
    spent = time.perf_counter() - started
    print(f"{name:24} {spent / len(tokens) * 1e6:8.1f} us {len(tokens) / spent:12,.0f} /s")


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jwks.json")
        await trio.Path(path).write_text(json.dumps({"keys": JWKS}))
        settings = Tokens(cache=count * 8)
        issuer = Issuer(issuer=ISSUER, audiences=("api",), jwks_file=str(path))
        verifier = TokenVerifier([KeySource(issuer, settings)], settings)

        async def verify(each: str) -> None:
            await verifier.verify(each, NOW)

        async def refuse(each: str) -> None:
            try:
                await verifier.verify(each, NOW)
            except InvalidToken:
                return
            raise AssertionError("a bad token was believed")

        await verify(token("ES256", -1))  # fetches the keys
        for algorithm in KEYS:
            tokens = [token(algorithm, number) for number in range(count)]
            bad = [each.rpartition(".")[0] + "." + "A" * 86 for each in tokens]
            await timed(f"{algorithm} verified", verify, tokens)
            await timed(f"{algorithm} bad signature", refuse, bad)
            await timed(f"{algorithm} refused again", refuse, bad)
        started = time.perf_counter()
        rounds = 20
        for _ in range(rounds):
            for each in tokens:
                if verifier.cached(each, NOW) is None:
                    raise AssertionError("the cache forgot a token")
        spent = time.perf_counter() - started
        print(
            f"{'cached':24} {spent / len(tokens) / rounds * 1e6:8.1f} us"
            f" {len(tokens) * rounds / spent:12,.0f} /s"
        )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
