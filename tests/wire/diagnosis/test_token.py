from typing import Any

import pytest

from sidecar.domain.explanation.diagnosis import Soundness
from sidecar.domain.values.assurance import Ladder
from sidecar.wire.diagnosis.token import (
    NOT_SIGNED,
    Examined,
    diagnose_confirmed,
    diagnose_token,
    diagnose_unconfirmed,
    diagnose_unread,
    issuer_of,
)
from sidecar.wire.providers.known import KEYCLOAK
from sidecar.wire.settings.settings import Assurance, Issuer, Tokens
from sidecar.wire.settings.tokens import SessionNaming
from sidecar.wire.tokens.claims import Flaw, InvalidToken, token_of
from sidecar.wire.tokens.jws import Unverified

R, D, W = Soundness.RIGHT, Soundness.DOUBTFUL, Soundness.WRONG
NOW = 1_700_000_000
URL = "https://id.example"
CLAIMS = {
    "iss": URL,
    "aud": "app",
    "sub": "ada",
    "sid": "s1",
    "iat": NOW - 60,
    "exp": NOW + 600,
    "auth_time": NOW - 60,
    "acr": "mfa",
    "amr": ["pwd", "otp"],
}


def examined(
    change: dict[str, Any] | None = None,
    *,
    algorithm: str = "RS256",
    key_id: str | None = "k1",
    kind: str = "",
    keys: tuple[str | None, ...] | None = ("k1",),
    refusal: InvalidToken | None = None,
    wanted: frozenset[str] = frozenset(),
    **settings: Any,
) -> Examined:
    claims = {name: v for name, v in (CLAIMS | (change or {})).items() if v is not None}
    issuer = Issuer(issuer=URL, audiences=("app",), **settings)
    return Examined(
        Unverified(algorithm, key_id, kind, claims),
        Tokens(issuers=(issuer,)),
        Ladder(Assurance().levels),
        KEYCLOAK,
        keys,
        wanted,
        refusal,
        NOW,
    )


def states(case: Examined) -> dict[str, Soundness]:
    return {one.name: one.state for one in diagnose_token(case)}


def test_a_token_with_all_that_is_read_is_right_in_all() -> None:
    found = states(examined())
    assert set(found.values()) == {R}
    expected = "issuer audience algorithm typ kid signature times user session auth_time level"
    assert set(expected.split()) <= found.keys()


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"iss": "https://other.example"}, "issuer", W),
        ({"aud": ["other"]}, "audience", W),
        ({"exp": NOW - 600}, "times", W),
        ({"nbf": NOW + 600}, "times", W),
        ({"exp": "soon"}, "times", W),
        ({"nonce": "n"}, "kind", D),
        ({"sub": None}, "claims", W),
        ({"sid": None}, "session", D),
        ({"auth_time": None}, "auth_time", W),
        ({"acr": None}, "level", R),
        ({"acr": None, "amr": None}, "acr", W),
        ({"acr": None, "amr": None}, "amr", D),
        ({"acr": None, "amr": ["odd"]}, "amr", W),
        ({"acr": "odd", "amr": None}, "acr", W),
        ({"acr": "odd"}, "acr", D),
        ({"amr": None}, "amr", R),
        ({"cnf": {"jkt": "x" * 43}}, "binding", R),
    ],
)
def test_what_a_claim_says_or_lacks_is_judged(
    change: dict[str, Any], name: str, state: Soundness
) -> None:
    assert states(examined(change))[name] is state


@pytest.mark.parametrize(
    ("case", "name", "state"),
    [
        (examined(algorithm="HS256"), "algorithm", W),
        (examined(kind="dpop+jwt"), "typ", W),
        (examined(keys=None), "kid", D),
        (examined(key_id=None), "kid", R),
        (examined(key_id="k2"), "kid", W),
        (examined(refusal=InvalidToken(Flaw.BAD_SIGNATURE, "it is refused")), "signature", W),
        (examined(refusal=InvalidToken(Flaw.EXPIRED, "it is refused")), "signature", R),
        (examined({"groups": ["a"]}), "groups", R),
        (examined(wanted=frozenset({"groups"})), "groups", W),
        (examined({"_claim_names": {}}, wanted=frozenset({"groups"})), "groups", W),
        (examined({"dep": "x"}, wanted=frozenset({"dep"})), "claim dep", R),
        (examined(wanted=frozenset({"dep"})), "claim dep", D),
    ],
)
def test_what_its_header_keys_and_policies_say_is_judged(
    case: Examined, name: str, state: Soundness
) -> None:
    assert states(case)[name] is state


def test_a_signature_is_not_judged_without_keys_or_after_another_refusal() -> None:
    assert "signature" not in states(examined(keys=None))
    assert "signature" not in states(
        examined(refusal=InvalidToken(Flaw.UNKNOWN_KEY, "it is refused"))
    )


def test_a_session_that_is_required_has_the_cure_of_its_provider() -> None:
    case = examined({"sid": None}, session=SessionNaming.REQUIRED)
    (found,) = [one for one in diagnose_token(case) if one.name == "claims"]
    assert "another word than `required`" in found.cure


def test_a_token_of_nobody_is_looked_at_no_further() -> None:
    case = examined({"iss": "https://other.example"})
    two = Tokens(
        issuers=(*case.tokens.issuers, Issuer(issuer="https://b.example", audiences=("b",)))
    )
    assert issuer_of(case.parts, two) is None
    assert [one.name for one in diagnose_token(case._replace(tokens=two))] == ["issuer"]


def test_an_opaque_token_is_reported_as_its_issuer_was_asked_about_it() -> None:
    case = examined()
    (issuer,) = case.tokens.issuers
    token = token_of(case.parts.claims, issuer, frozenset())
    asked = list(diagnose_confirmed(case._replace(parts=NOT_SIGNED), issuer, token))
    assert asked[0].state is R
    assert "opaque" in asked[0].what
    refusal = InvalidToken(Flaw.EXPIRED, "it is refused")
    for found in (*diagnose_unconfirmed(refusal), *diagnose_unread(refusal)):
        assert (found.name, found.state) == ("form", W)
        assert refusal.description in found.what
