import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from sidecar.wire.tokens.jwks import key_set_of
from sidecar.wire.tokens.signing_keys import InvalidSigningKey, read_signing_key
from tests.adapters.identity import private_key
from tests.adapters.recipients import pem

ALGORITHMS = ("RS256", "ES256", "EdDSA")


def jwk(algorithm: str, **more: str) -> bytes:
    kinds = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    members = json.loads(kinds[algorithm].to_jwk(private_key(algorithm, 0)))  # type: ignore[attr-defined]
    members.pop("key_ops", None)
    return json.dumps(members | more).encode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_key_signs_its_public_half_verifies(algorithm: str) -> None:
    key = read_signing_key(pem(algorithm))
    assert key.algorithm == algorithm
    token = key.sign(b'{"iss":"me"}', "secevent+jwt")
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "kid": key.key_id, "typ": "secevent+jwt"}
    assert jwt.decode(token, jwt.PyJWK(key.public).key, algorithms=[algorithm]) == {"iss": "me"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_our_own_reader_of_key_sets_takes_the_public_half(algorithm: str) -> None:
    key = read_signing_key(pem(algorithm))
    (candidate,) = key_set_of(json.dumps({"keys": [key.public]}).encode()).candidates(
        key.key_id, algorithm
    )
    assert candidate.key_id == key.key_id


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_private_is_published_or_shown(algorithm: str) -> None:
    key = read_signing_key(pem(algorithm))
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key.public)
    assert repr(key) == f"SigningKey(<{algorithm}>)"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_jwk_is_the_same_key_as_its_pem(algorithm: str) -> None:
    assert read_signing_key(jwk(algorithm)).public == read_signing_key(pem(algorithm)).public


def test_a_jwk_may_name_itself() -> None:
    assert read_signing_key(jwk("ES256", kid="2026-11")).key_id == "2026-11"


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, secret: bytes = b"") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption(),
    )


PUBLIC = json.dumps({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}).encode()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "neither a PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither a PEM"),
        (_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "is encrypted"),
        (_pem(ec.generate_private_key(ec.SECP384R1())), "use P-256"),
        (_pem(rsa.generate_private_key(65537, 1024)), "is an RSA key of 1024 bits"),
        (b'{"kty":"EC"', "no plain JSON object"),
        (b'{"keys":[]}', "a set of keys"),
        (PUBLIC, "a public key"),
        (b'{"kty":"oct","k":"AAAA","d":"x"}', "use RSA, EC or OKP"),
        (b'{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}', "make no key"),
        (jwk("ES256", kid="k" * 257), "too long"),
    ],
)
def test_what_is_no_key_to_sign_with_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidSigningKey, match=reason):
        read_signing_key(raw)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: b"{" + t.encode())))
def test_no_bytes_make_the_reader_raise_anything_but_its_own_error(raw: bytes) -> None:
    with pytest.raises(InvalidSigningKey):
        read_signing_key(raw)
