import json
import math
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.tokens.jwks import (
    ALGORITHMS,
    MAX_CANDIDATES,
    MAX_KEYS,
    InvalidKeySet,
    key_of_client,
    key_set_of,
)
from tests.adapters.identity import ALGORITHMS as SIGNED
from tests.adapters.identity import Signer, encode, key_set

RSA = Signer("RS256", "r")
EC = Signer("ES256", "e")
ED = Signer("EdDSA", "d")


def fitting(*keys: Any) -> set[str]:
    """Return which algorithms the keys of a set may verify."""
    keys_held = key_set_of(key_set(*keys))
    return {name for name in ALGORITHMS if keys_held.candidates(None, name)}


@pytest.mark.parametrize("algorithm", SIGNED)
def test_a_key_of_every_algorithm_is_found_by_its_kid(algorithm: str) -> None:
    keys = key_set_of(key_set(Signer(algorithm, "k")))
    assert len(keys.candidates("k", algorithm)) == 1
    assert keys.candidates("other", algorithm) == ()


@pytest.mark.parametrize(
    ("signer", "algorithms"),
    [
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (EC, {"ES256"}),
        (Signer("ES384"), {"ES384"}),
        (ED, {"EdDSA", "Ed25519"}),
    ],
    ids=lambda value: getattr(value, "algorithm", ""),
)
def test_a_key_fits_only_the_algorithms_of_its_kind_and_curve(
    signer: Signer, algorithms: Any
) -> None:
    assert fitting(signer) == algorithms


def test_the_alg_of_a_key_restricts_it() -> None:
    assert fitting(RSA.jwk(alg="PS256")) == {"PS256"}
    assert fitting(ED.jwk(alg="Ed25519")) == {"Ed25519"}
    assert fitting(ED.jwk(alg="EdDSA")) == {"EdDSA"}


@pytest.mark.parametrize(
    "jwk",
    [
        EC.jwk(use="enc"),
        EC.jwk(use=7),
        EC.jwk(key_ops=["sign"]),
        EC.jwk(key_ops="verify"),
        EC.jwk(alg="ES384"),
        EC.jwk(alg="HS256"),
        EC.jwk(alg=1),
        EC.jwk(kid=1),
        EC.jwk(kty="RSA"),
        EC.jwk(crv="secp256k1"),
        EC.jwk(crv="P-384"),
        EC.jwk(x=None),
        EC.jwk(y=EC.jwk()["x"]),
        EC.leaked_jwk(),
        ED.leaked_jwk(),
        RSA.leaked_jwk(key_ops=["verify"]),
        EC.jwk(x=5),
        ED.jwk(crv="X25519"),
        ED.jwk(x="AA"),
        RSA.jwk(e="AA"),
        RSA.jwk(e="AQAAAAAAAAE"),
        RSA.jwk(n="!"),
        Signer("RS256", "weak", bits=1024).jwk(),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "RS256"},
        {"kty": ["EC"]},
        {},
        [],
        "key",
        None,
    ],
    ids=map(str, count()),  # the keys are new in each run, and names of tests are not
)
def test_a_key_that_must_not_verify_is_left_out_and_the_others_stay(jwk: Any) -> None:
    keys = key_set_of(json.dumps({"keys": [jwk, ED.jwk()]}).encode())
    assert [key.key_id for key in keys.candidates(None, "EdDSA")] == ["d"]
    assert len(keys.ids) == 1


def of_a_weak_chip(power: int) -> dict[str, Any]:
    """Return an RSA key with a modulus as CVE-2017-15361 makes them."""
    primes = [n for n in range(2, 702) if all(n % m for m in range(2, n))]
    product = math.prod(primes)
    modulus = pow(65537, power, product) + product * (2**2047 // product + 1)
    assert modulus.bit_length() == 2048
    return RSA.jwk(n=encode(modulus.to_bytes(256, "big")), kid="chip")


@pytest.mark.parametrize("power", [1, 12345, 2**200 + 1])
def test_a_key_of_a_chip_whose_keys_can_be_factored_is_left_out(power: int) -> None:
    keys = key_set_of(key_set(of_a_weak_chip(power), RSA))
    assert [key.key_id for key in keys.candidates(None, "RS256")] == ["r"]
    with pytest.raises(InvalidKeySet):
        key_set_of(key_set(of_a_weak_chip(power)))
    assert key_of_client(of_a_weak_chip(power), "RS256") is None


@pytest.mark.parametrize(
    "jwk",
    [EC.jwk(use="sig"), EC.jwk(key_ops=["verify", "sign"]), EC.jwk(alg="ES256")],
    ids=["use", "key_ops", "alg"],
)
def test_a_key_that_says_it_verifies_is_used(jwk: Any) -> None:
    assert fitting(jwk) == {"ES256"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AAAA"}]}',
        b'{"keys":[],"keys":[]}',
        json.dumps({"keys": [EC.jwk()] * (MAX_KEYS + 1)}).encode(),
    ],
    ids=lambda document: repr(document[:30]),
)
def test_a_document_without_a_usable_key_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        key_set_of(document)


def test_keys_that_share_a_kid_are_all_candidates_within_bounds() -> None:
    two = key_set_of(key_set(Signer(kid="k", number=0), Signer(kid="k", number=1)))
    assert len(two.candidates("k", "ES256")) == 2
    many = key_set_of(key_set(*(Signer(kid="k", number=number) for number in range(9))))
    assert len(many.candidates("k", "ES256")) == MAX_CANDIDATES
    assert len(many.candidates(None, "ES256")) == MAX_CANDIDATES


def test_a_key_without_kid_serves_tokens_without_kid_only() -> None:
    keys = key_set_of(key_set(Signer(kid=None)))
    assert len(keys.candidates(None, "ES256")) == 1
    assert keys.candidates("k", "ES256") == ()


def test_the_same_key_read_twice_is_the_same_and_another_is_not() -> None:
    again = key_set_of(key_set(EC.jwk(use="sig"))).ids
    assert key_set_of(key_set(EC)).ids == again
    assert key_set_of(key_set(Signer("ES256", "e", number=1))).ids != again
    assert key_set_of(key_set(Signer("ES256", "other"))).ids != again


members = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"])
values = st.none() | st.integers() | st.text() | st.sampled_from(["EC", "RSA", "P-256", "AQAB"])


@given(st.lists(st.dictionaries(members, values | st.lists(values))))
def test_no_key_set_raises_anything_but_invalid_key_set(keys: Any) -> None:
    document = json.dumps({"keys": [*keys, EC.jwk()]}).encode()
    assert key_set_of(document).candidates("e", "ES256")


@given(st.binary())
def test_no_bytes_are_taken_for_a_key_set(raw: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        key_set_of(raw)
