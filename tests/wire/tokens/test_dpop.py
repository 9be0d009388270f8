"""Proofs of a key (RFC 9449, section 4.3): what is wrong with one, and what is not."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.dpop import MAX_BYTES, Proof, ProofTarget, read_proof, token_hash
from sidecar.wire.tokens.jwks import thumbprint_of_client
from tests.adapters.identity import Signer
from tests.wire.tokens.proofs import CLIENT, TOKEN, proof

TARGET = ProofTarget("POST", "app.example", "/pay/7")
ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "RS256")


def read(text: str, target: ProofTarget = TARGET) -> Proof:
    return read_proof(text, ALGORITHMS, TOKEN, target)


def flaw(text: str, target: ProofTarget = TARGET) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        read(text, target)
    return caught.value.code


def test_the_token_hash_and_the_thumbprint_are_those_of_the_rfc() -> None:
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"  # section 7.1
    assert token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    key = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }
    expected = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"  # section 6.1
    assert thumbprint_of_client(key) == expected
    assert thumbprint_of_client({**key, "n": "x", "e": "y", "kid": "z"}) == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_proof_shows_whose_key_it_is(algorithm: str) -> None:
    found = read(proof(Signer(algorithm)))
    assert (found.jti, found.issued_at) == ("j1", 1000)
    assert len(found.thumbprint) == 43


@pytest.mark.parametrize(
    "address",
    [
        "https://app.example/pay/7",
        "https://APP.example:443/pay/7",
        "https://app.example/pay/7?x=1#y",
        "https://app.example/%70ay/7",
        "http://app.example:8080/pay/7",
    ],
)
def test_its_address_may_be_spelled_in_other_ways(address: str) -> None:
    read(proof(htu=address))


ORIGINS = TARGET._replace(origins=("https://app.example", "https://other.example:8443"))


@pytest.mark.parametrize("address", ["https://app.example/pay/7", "https://app.example:443/pay/7"])
def test_with_origins_named_it_must_be_for_one_of_them(address: str) -> None:
    read(proof(htu=address), ORIGINS)
    read(proof(htu="https://other.example:8443/pay/7"), ORIGINS)
    assert flaw(proof(htu="http://app.example/pay/7"), ORIGINS) is Flaw.PROOF_INVALID
    assert flaw(proof(htu="https://app.example:8443/pay/7"), ORIGINS) is Flaw.PROOF_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        *({"htm": "GET"}, {"htm": "post"}, {"htm": None}, {"htm": 1}),
        *({"htu": None}, {"htu": 1}, {"htu": "/pay/7"}, {"htu": "https://app.example/pay/8"}),
        *({"htu": "https://evil.example/pay/7"}, {"htu": "https://[::1"}, {"htu": "https://a:b/"}),
        *({"htu": "ftp://app.example/pay/7"}, {"htu": "https://app.example/pay%2f7"}),
        *({"jti": None}, {"jti": ""}, {"jti": 7}, {"jti": "j" * 600}),
        *({"iat": None}, {"iat": "1000"}, {"iat": True}),
        *({"ath": None}, {"ath": token_hash("another")}),
    ],
)
def test_a_proof_for_something_else_is_refused(changes: Any) -> None:
    assert flaw(proof(**changes)) is Flaw.PROOF_INVALID


@pytest.mark.parametrize(
    "header",
    [
        *({"typ": "JWT"}, {"typ": None}, {"jwk": None}, {"jwk": "k"}, {"jwk": {}}),
        {"jwk": CLIENT.leaked_jwk(kid=None)},
        {"jwk": Signer("ES256", number=1).jwk(kid=None)},
        {"jwk": Signer("EdDSA").jwk(kid=None)},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"crit": ["x"], "x": 1},
    ],
)
def test_a_proof_with_a_wrong_header_is_refused(header: Any) -> None:
    assert flaw(proof(header=header)) is Flaw.PROOF_INVALID


def test_an_algorithm_that_is_not_allowed_is_refused() -> None:
    assert flaw(proof(Signer("ES384"))) is Flaw.PROOF_INVALID


@pytest.mark.parametrize("iat", [int("9" * 400), -int("9" * 400), 10**308])
def test_no_number_is_too_large_to_be_refused(iat: int) -> None:
    with contextlib.suppress(InvalidToken):
        assert read(proof(iat=iat)).issued_at == float(iat)
    assert flaw(proof(iat=int("9" * 400))) is Flaw.PROOF_INVALID


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_proof_with_any_part_from_another_is_refused(part: int) -> None:
    mine, other = proof().split("."), proof(Signer("ES256", number=1), jti="j2").split(".")
    mine[part] = other[part]
    assert flaw(".".join(mine)) is Flaw.PROOF_INVALID


def test_a_missing_proof_is_distinguished_from_a_bad_one() -> None:
    assert flaw("") is Flaw.PROOF_MISSING
    assert flaw("x" * (MAX_BYTES + 1)) is Flaw.PROOF_INVALID


@pytest.mark.parametrize("member", ["method", "host", "path"])
def test_where_the_gateway_does_not_name_the_call_nothing_is_proven(member: str) -> None:
    assert flaw(proof(), TARGET._replace(**{member: ""})) is Flaw.PROOF_INVALID


@given(st.text(max_size=80) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_no_text_raises_anything_but_its_own_error(text: str) -> None:
    with contextlib.suppress(InvalidToken):
        read(text)


@given(
    st.dictionaries(
        st.sampled_from(["jti", "htm", "htu", "iat", "ath"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        min_size=1,
    )
)
def test_no_claims_raise_anything_but_their_own_error(changes: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        json.dumps(changes, allow_nan=False)
        with contextlib.suppress(InvalidToken):
            read(proof(**changes))
