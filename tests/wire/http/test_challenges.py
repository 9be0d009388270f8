"""Challenges, read again by RFC 9110's grammar and as Microsoft's clients read them."""

import base64
import json
import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.http.challenges import (
    bearer,
    claims_challenge,
    context_claims,
    revocation_claims,
    step_up,
)

PARAMETER = re.compile(r'([A-Za-z0-9_]+)="((?:[^"\\]|\\.)*)"(?:, |$)')
DESCRIPTION = re.compile(r"[ !#-\[\]-~]*")  # RFC 6750, section 3
CONTEXTS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)
PRINTABLE = st.text("".join(map(chr, range(0x20, 0x7F))))


def read(challenge: str, scheme: str = "Bearer") -> dict[str, str]:
    """Read one challenge, strictly: its parameters by name."""
    assert challenge.isascii()
    assert challenge.isprintable()
    found, _, rest = challenge.partition(" ")
    assert found == scheme
    parameters: dict[str, str] = {}
    while rest:
        one = PARAMETER.match(rest)
        assert one, rest
        assert one[1] not in parameters
        parameters[one[1]] = re.sub(r"\\(.)", r"\1", one[2])
        rest = rest[one.end() :]
    return parameters


def test_without_credentials_the_scheme_stands_alone() -> None:
    assert bearer("") == "Bearer"
    assert bearer("payroll") == 'Bearer realm="payroll"'


def test_a_step_up_is_spelled_as_in_rfc_9470() -> None:
    assert step_up("", ("phr", "phrh"), 60, "more") == (
        'Bearer error="insufficient_user_authentication", error_description="more", '
        'acr_values="phr phrh", max_age="60"'
    )


@pytest.mark.parametrize(("acrs", "max_age"), [((), 0), (("phr",), None), ((), None)])
def test_what_is_not_asked_for_is_not_named(acrs: tuple[str, ...], max_age: Any) -> None:
    found = read(step_up("", acrs, max_age, "more"))
    assert ("acr_values" in found) is bool(acrs)
    assert ("max_age" in found) is (max_age is not None)


@given(st.text(), st.text(), st.lists(st.text()), st.none() | st.integers(0))
def test_no_value_breaks_out_of_its_quotes(
    realm: str, description: str, acrs: list[str], max_age: int | None
) -> None:
    found = read(step_up(realm, acrs, max_age, description))
    assert found["error"] == "insufficient_user_authentication"
    assert set(found) <= {"realm", "error", "error_description", "acr_values", "max_age"}
    assert DESCRIPTION.fullmatch(found.get("error_description", ""))
    assert found.get("max_age") == (None if max_age is None else str(max_age))


@given(PRINTABLE, PRINTABLE.filter(bool))
def test_what_is_printable_is_read_as_it_was_meant(realm: str, acr: str) -> None:
    found = read(step_up(realm, (acr,), None, ""))
    assert found.get("realm", "") == realm
    assert found["acr_values"] == acr


@given(CONTEXTS)
def test_a_claims_challenge_reads_alike_in_both_alphabets_of_base64(context: str) -> None:
    challenge = claims_challenge(
        "", "https://login.example/authorize", context_claims(context), "x", "authcontext"
    )
    found = read(challenge)
    assert list(found)[:3] == ["realm", "authorization_uri", "error"]
    assert (found["error"], found["cc_type"]) == ("insufficient_claims", "authcontext")
    wanted = {"access_token": {"acrs": {"essential": True, "value": context}}}
    for decode in (base64.b64decode, base64.urlsafe_b64decode):
        assert json.loads(decode(found["claims"])) == wanted


@given(st.integers(0, 2**40))
def test_a_revocation_asks_for_a_later_token_in_seconds_as_text(second: int) -> None:
    found = read(claims_challenge("", "", revocation_claims(second)))
    claims = json.loads(base64.b64decode(found["claims"]))
    assert claims == {"access_token": {"nbf": {"essential": True, "value": str(second)}}}
    assert "cc_type" not in found
