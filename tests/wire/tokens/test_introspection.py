"""Claims of an opaque token, by its issuer's response (RFC 7662)."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.assurance import Authentication
from sidecar.wire.settings.settings import Introspection, Issuer
from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.introspection import (
    ActiveToken,
    InvalidAnswer,
    assertion_claims,
    authorization,
    introspection_problems,
    is_opaque,
    plain_answer,
    question,
    read_answer,
    signed_answer,
)
from sidecar.wire.tokens.jws import Unverified

NOW = 1000.0
ASKED = Introspection(endpoint="https://id.example/introspect", client_id="sidecar")
ISSUER = Issuer(issuer="https://id.example", audiences=("api",), introspection=ASKED)


def read(issuer: Issuer = ISSUER, now: float = NOW, **answer: Any) -> ActiveToken:
    return read_answer({"active": True, "sub": "alice", **answer}, issuer, now)


def flaw(**answer: Any) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        read(**answer)
    return caught.value.code


def test_an_answer_is_read_as_a_tokens_claims_are() -> None:
    token = read(
        iss="https://id.example",
        aud=["other", "api"],
        client_id="portal",
        sid="s-1",
        acr="mfa",
        amr=["pwd", "otp"],
        auth_time=900,
        exp=2000,
        scope="read pay",
    ).token
    assert (token.user, token.session, token.app) == ("alice", "s-1", "api")
    assert token.client == "portal"
    assert token.authentication == Authentication(900, "mfa", ("pwd", "otp"))
    assert (token.expires_at, token.confirmed_at, token.unconfirmed) == (2000, NOW, False)
    assert ("scope", ("read", "pay")) in token.claims
    assert not [name for name, _ in token.claims if name == "active"]


def test_its_claims_are_as_of_the_answer() -> None:
    assert read(iat=10).token.issued_at == NOW


def test_without_a_session_a_digest_of_user_client_and_sign_in_is_one() -> None:
    one = read(client_id="portal", auth_time=900).token.session
    assert one == read(client_id="portal", auth_time=900, exp=1900).token.session
    assert one != read(client_id="other", auth_time=900).token.session


def test_a_token_that_is_not_active_is_not_believed() -> None:
    assert flaw(active=False) is Flaw.NOT_ACTIVE


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"iss": "https://other.example"}, Flaw.UNKNOWN_ISSUER),
        ({"aud": "other"}, Flaw.WRONG_AUDIENCE),
        ({"aud": ["other"]}, Flaw.WRONG_AUDIENCE),
        ({"exp": 900}, Flaw.EXPIRED),
        ({"nbf": 1100}, Flaw.NOT_YET_VALID),
        ({"auth_time": 1100}, Flaw.NOT_YET_VALID),
        ({"sub": ""}, Flaw.MISSING_CLAIM),
        ({"exp": "soon"}, Flaw.WRONG_TYPE),
    ],
)
def test_one_that_is_active_but_not_for_us_is_not_believed(answer: Any, expected: Flaw) -> None:
    assert flaw(**answer) is expected


MEMBERS = ("iss", "aud", "exp", "nbf", "iat", "auth_time", "sid", "acr", "amr", "scope", "cnf")
MORE_MEMBERS = ("client_id", "azp", "groups", "roles", "jti", "deviceid", "token_type", "xms_cc")


@pytest.mark.parametrize("name", [*MEMBERS, *MORE_MEMBERS])
def test_a_member_that_is_null_is_one_that_is_left_out(name: str) -> None:
    assert read(**dict[str, Any]({name: None})) == read()


@pytest.mark.parametrize("name", ["sub", "active"])
def test_a_member_that_is_required_may_not_be_null(name: str) -> None:
    with pytest.raises((InvalidToken, InvalidAnswer)):
        read(**dict[str, Any]({name: None}))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"active":"true"}', b'{"active":1}', b"\xff"])
def test_an_answer_that_says_nothing_is_no_answer(raw: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        read_answer(plain_answer(raw), ISSUER, NOW)


@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["active", "sub", "exp", "aud", "iss", "amr", "acr", "sid"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers()),
    ).map(lambda answer: json.dumps(answer).encode())
)
def test_no_answer_raises_anything_but_its_two_errors(raw: bytes) -> None:
    with contextlib.suppress(InvalidAnswer, InvalidToken):
        read_answer(plain_answer(raw), ISSUER, NOW)


GOOD = {
    "iss": "https://id.example",
    "aud": "sidecar",
    "iat": NOW,
    "token_introspection": {"active": True},
}


def opened(kind: str = "token-introspection+jwt", **changes: Any) -> dict[str, object]:
    return signed_answer(Unverified("ES256", None, kind, {**GOOD, **changes}), ISSUER, NOW)


def test_a_signed_answer_is_for_us_and_of_now() -> None:
    assert opened() == {"active": True}
    assert opened(aud=["other", "sidecar"], iat=NOW - 90) == {"active": True}


@pytest.mark.parametrize(
    "changes",
    [
        *({"kind": "at+jwt"}, {"kind": ""}, {"iss": "https://other"}, {"aud": "other"}),
        *({"aud": None}, {"iat": NOW - 91}, {"iat": NOW + 91}, {"iat": "now"}, {"iat": True}),
        *({"token_introspection": None}, {"token_introspection": "active"}),
    ],
)
def test_any_other_signed_answer_is_none(changes: Any) -> None:
    with pytest.raises(InvalidAnswer):
        opened(**changes)


@pytest.mark.parametrize(("token", "opaque"), [("abc", True), ("a.b", True), ("a.b.c", False)])
def test_what_has_not_three_parts_is_opaque(token: str, opaque: bool) -> None:
    assert is_opaque(token) is opaque


def test_a_client_shows_itself_in_one_of_three_ways() -> None:
    assert authorization(ASKED) == {}
    secret = msgspec.structs.replace(ASKED, client_id="side car", client_secret="a:b")
    assert authorization(secret) == {"Authorization": "Basic c2lkZStjYXI6YSUzQWI="}
    bearer = msgspec.structs.replace(ASKED, bearer_token="t")
    assert authorization(bearer) == {"Authorization": "Bearer t"}
    asked = question("tok", "assertion")
    assert asked["client_assertion_type"].endswith(":jwt-bearer")
    claims = assertion_claims(ISSUER, NOW, "j1")
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("sidecar", "sidecar", ISSUER.issuer)
    assert claims["exp"] == NOW + 60


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, []),
        ({"endpoint": "https://i.example", "bearer_token": "t"}, []),
        ({"endpoint": "http://127.0.0.1:9/i", "client_id": "c", "client_secret_file": "f"}, []),
        ({"endpoint": "https://i.example"}, ["client_secret_file"]),
        ({"endpoint": "https://i.example", "client_secret": "s"}, ["client_id"]),
        ({"endpoint": "http://i.example", "bearer_token": "t"}, ["endpoint"]),
        ({"endpoint": "http://127.0.0.1.evil/", "bearer_token": "t"}, ["endpoint"]),
        ({"only": True}, ["endpoint"]),
        ({"endpoint": "https://i", "bearer_token": "t", "signed": True}, ["client_id"]),
        ({"bearer_token": "t"}, ["endpoint"]),
        (
            {"endpoint": "https://i", "client_id": "c", "client_secret": "s", "bearer_token": "t"},
            ["bearer_token"],
        ),
    ],
)
def test_what_does_not_fit_together_is_reported(settings: Any, keys: list[str]) -> None:
    assert [key for key, _ in introspection_problems(Introspection(**settings))] == keys
