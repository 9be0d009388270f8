from typing import Any

import pytest

from sidecar.wire.logout.logout_tokens import (
    EVENT,
    MAX_AUDIENCES,
    MAX_ID,
    InvalidLogout,
    SignedRequest,
    check_logout,
    logout_of,
    of_user,
    signed_of,
)
from sidecar.wire.settings.tokens import Issuer

NOW = 1_700_000_000.0
CLAIMS = {
    "iss": "https://id.example",
    "aud": "app",
    "jti": "one",
    "iat": NOW - 1,
    "exp": NOW + 60,
}
ISSUER = Issuer(issuer="https://id.example", audiences=("app",))
SIGNED = SignedRequest(issuer="https://id.example", id="one", issued_at=NOW)


def signed(**claims: Any) -> SignedRequest:
    return signed_of(CLAIMS | claims, ("app", "also"), now=NOW, skew=5, age=120)


def test_a_signed_request_says_who_its_id_and_when() -> None:
    expected = SignedRequest(issuer="https://id.example", id="one", issued_at=NOW - 1)
    assert signed() == signed(aud=["other", "also"]) == signed(nbf=NOW + 4) == expected


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": None}, "aud must be"),
        ({"aud": []}, "aud must be"),
        ({"aud": ["app"] * (MAX_AUDIENCES + 1)}, "aud must be"),
        ({"aud": ["other", 1]}, "somebody else"),
        ({"iat": NOW + 6}, "iat lies in the future"),
        ({"exp": NOW - 5}, "it has expired"),
        ({"iat": NOW - 126}, "too long ago"),
        ({"nbf": NOW + 6}, "does not count yet"),
        ({"iat": True}, "iat must be a number"),
        ({"exp": "soon"}, "exp must be a number"),
        ({"jti": ""}, "jti must be a text"),
        ({"jti": "x" * (MAX_ID + 1)}, "jti must be a text"),
        ({"iss": 7}, "iss must be a text"),
    ],
)
def test_a_signed_request_that_does_not_count_is_refused(
    claims: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidLogout, match=words):
        signed(**claims)


def test_ids_of_two_issuers_are_two_events() -> None:
    other = SignedRequest(issuer="https://id.exampl", id="eone", issued_at=NOW)
    assert other.event_id != SIGNED.event_id
    assert SIGNED.event_id.startswith("logout:")


LOGOUT: dict[str, Any] = {"events": {EVENT: {}}, "sub": "ada"}


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "n"}, "nonce must not be present"),
        ({"events": None}, "events must be an object"),
        ({"events": {EVENT: 1}}, "events must be an object"),
        ({"sub": None}, "sub or sid is required"),
    ],
)
def test_what_is_no_logout_token_is_refused(claims: dict[str, Any], words: str) -> None:
    check_logout(LOGOUT)
    with pytest.raises(InvalidLogout, match=words):
        check_logout(LOGOUT | claims)


def test_a_logout_is_of_the_session_that_it_names_or_else_of_its_user() -> None:
    both = logout_of({"sub": "ada", "sid": "s1"}, SIGNED, ISSUER)
    assert (both.subject.user, both.subject.session) == ("ada", "s1")
    assert logout_of({"sub": "ada"}, SIGNED, ISSUER).subject.session == ""
    whole = of_user(both)
    assert (whole.subject.user, whole.subject.session) == ("ada", "")
    assert whole.stamp.id == f"{both.stamp.id}/user"
    assert whole.content != both.content


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({}, "names neither session nor user"),
        ({"sub": "ada", "sid": 7}, "sid must be a text"),
        ({"sub": "a\x00"}, "sub "),
        ({"sid": ""}, "sid "),
    ],
)
def test_a_logout_of_nobody_that_is_known_is_refused(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidLogout, match=words):
        logout_of(claims, SIGNED, ISSUER)
