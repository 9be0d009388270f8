"""Logged expectations of a token that is refused: names, and never the token."""

from typing import Any

import pytest

from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import Flaw
from sidecar.wire.tokens.expectations import Configured, expected_of
from sidecar.wire.tokens.jws import Unverified, read_jws
from tests.adapters.identity import Signer

SIGNER = Signer("ES256", kid="k7")
ISSUER = Issuer(issuer="https://id.example", audiences=("payroll", "hr"), leeway=5.0)
KNOWN = ("https://id.example", "https://partners.example/")


def parts(**claims: Any) -> Unverified:
    usual = {"iss": ISSUER.issuer, "aud": "shop", "sub": "ada", "exp": 900}
    return read_jws(SIGNER.token(**{**usual, **claims}), 8192)


CASES = [
    (Flaw.WRONG_AUDIENCE, parts(), "its aud is 'shop'; expected is 'payroll' or 'hr'"),
    (
        Flaw.WRONG_AUDIENCE,
        parts(aud=["shop", "till"]),
        "its aud is 'shop' or 'till'; expected is 'payroll' or 'hr'",
    ),
    (
        Flaw.UNKNOWN_KEY,
        parts(),
        "its kid is 'k7' for 'ES256'; held are 'k1' or 'k2'",
    ),
    (Flaw.BAD_SIGNATURE, parts(), "its kid is 'k7', and no key of that name signed it"),
    (Flaw.EXPIRED, parts(), "its exp is 100 s ago, leeway 5 s"),
    (
        Flaw.NOT_YET_VALID,
        parts(),
        "its nbf, iat or auth_time is ahead of this clock, leeway 5 s",
    ),
    (Flaw.MISSING_CLAIM, parts(), ""),
]


@pytest.mark.parametrize(("flaw", "token", "said"), CASES, ids=[flaw for flaw, _, _ in CASES])
def test_what_was_expected_is_reported_beside_what_was_found(
    flaw: Flaw, token: Unverified, said: str
) -> None:
    assert expected_of(flaw, token, Configured(KNOWN, ISSUER, ("k1", None, "k2")), 1000.0) == said


SLASH = "configured is {}; they differ by the slash at the end"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("https://else.example", "its iss is 'https://else.example'; configured is {}"),
        ("https://partners.example", f"its iss is 'https://partners.example'; {SLASH}"),
    ],
)
def test_an_issuer_that_is_not_known_is_reported_beside_those_that_are(
    found: object, said: str
) -> None:
    known = "'https://id.example' or 'https://partners.example/'"
    expected = expected_of(Flaw.UNKNOWN_ISSUER, parts(iss=found), Configured(KNOWN), 0.0)
    assert expected == said.format(known)


def test_what_anybody_writes_is_cut_and_made_printable() -> None:
    token = parts(iss="https://x\x1b[2J\n" + "y" * 5000)
    many = Configured([f"i{number}" for number in range(99)])
    expected = expected_of(Flaw.UNKNOWN_ISSUER, token, many, 0.0)
    assert expected.isprintable()
    assert len(expected) < 300
    assert expected.endswith("'i7' or 91 more")
