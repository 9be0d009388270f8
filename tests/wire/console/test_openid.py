"""What a provider is asked, what counts as its answer, and which roles follow from claims."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from sidecar.wire.console.openid import (
    Attempt,
    InvalidProvider,
    InvalidReturn,
    ProviderPerson,
    answer_of,
    endpoints_of,
    error_word,
    is_of,
    person_of,
    question_of,
    redemption_of,
    role_of,
)
from sidecar.wire.settings.admin import OpenIdSettings, Role
from sidecar.wire.tokens.claims import InvalidToken
from sidecar.wire.tokens.jws import Unverified

ISSUER = "https://id.example/staff"
OPENID = OpenIdSettings(
    issuer=ISSUER,
    client_id="the console",
    redirect_uri="https://sidecar.example/console/sign-in/return",
    scopes=("profile", "openid", "groups"),
    viewers=("staff",),
    operators=("on-call",),
    admins=("security",),
)
METADATA: dict[str, object] = {
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=a",
    "token_endpoint": f"{ISSUER}/token",
}
ATTEMPT = Attempt("the-state", "the-nonce", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
NOW = 1_800_000_000.0


def person(*values: str, issuer: str = ISSUER) -> ProviderPerson:
    return ProviderPerson(issuer, "s-1", "ada", values)


def claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": ISSUER,
        "sub": "s-1",
        "aud": OPENID.client_id,
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "nonce": ATTEMPT.nonce,
        "email": "ada@example.com",
        "groups": ["staff"],
    }
    return {name: one for name, one in {**good, **changes}.items() if one is not None}


def read(openid: OpenIdSettings = OPENID, **changes: Any) -> ProviderPerson:
    parts = Unverified("ES256", "k", "jwt", claims(**changes))
    return person_of(parts, openid, ATTEMPT.nonce, NOW)


def test_a_browser_is_sent_with_the_secrets_of_its_attempt_and_never_with_the_verifier() -> None:
    address = urlsplit(question_of(OPENID, endpoints_of(METADATA), ATTEMPT))
    assert address._replace(query="").geturl() == f"{ISSUER}/authorize"
    assert {name: one for name, (one,) in parse_qs(address.query).items()} == {
        "tenant": "a",
        "response_type": "code",
        "client_id": "the console",
        "redirect_uri": OPENID.redirect_uri,
        "scope": "openid profile groups",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # RFC 7636, appendix B
        "code_challenge_method": "S256",
    }


def test_a_client_shows_its_secret_as_the_provider_takes_it() -> None:
    secret = msgspec.structs.replace(OPENID, client_secret="a b&")
    form, headers = redemption_of(secret, endpoints_of(METADATA), "c", "v")
    assert "client_secret" not in form
    assert headers == {"Authorization": "Basic dGhlK2NvbnNvbGU6YStiJTI2"}
    by_form = endpoints_of(
        {**METADATA, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
    )
    form, headers = redemption_of(secret, by_form, "c", "v")
    assert (form["client_id"], form["client_secret"], headers) == ("the console", "a b&", {})
    form, headers = redemption_of(OPENID, endpoints_of(METADATA), "c", "v")
    assert (form["client_id"], form["code_verifier"], headers) == ("the console", "v", {})
    assert "client_secret" not in form


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"state=s",
        b"code=a&code=b&state=s",
        b"code=a&state=s&state=t",
        b"code=a&state=s&iss=a&iss=b",
        b"code=a&error=b&state=s",
        b"code=%ff&state=s",
        b"code=\xff",
        b"code=" + b"a" * 4097,
        b"&".join([b"code=a", *[b"x=1"] * 40]),
    ],
)
def test_what_is_no_answer_is_none(raw: bytes) -> None:
    with pytest.raises(InvalidReturn):
        answer_of(raw)


@pytest.mark.parametrize(
    ("issuer", "says_issuer", "counts"),
    [
        (ISSUER, True, True),
        (ISSUER, False, True),
        ("", False, True),
        ("", True, False),
        ("https://elsewhere.example", True, False),
        ("https://elsewhere.example", False, False),
        (ISSUER + "/", True, False),
    ],
)
def test_an_answer_is_of_the_issuer_that_it_names(
    issuer: str, says_issuer: bool, counts: bool
) -> None:
    endpoints = endpoints_of(
        {**METADATA, "authorization_response_iss_parameter_supported": says_issuer}
    )
    answer = answer_of(
        f"code=a&state=s{f'&iss={issuer}' if issuer else ''}&other=1&other=2".encode()
    )
    assert is_of(answer, ISSUER, endpoints) is counts


@pytest.mark.parametrize("member", METADATA)
@pytest.mark.parametrize("address", [None, 1, "", "http://id.example/x", "file:///x", "//x", "x#y"])
def test_metadata_without_an_endpoint_that_may_be_asked_are_of_no_use(
    member: str, address: object
) -> None:
    with pytest.raises(InvalidProvider, match=member):
        endpoints_of({**METADATA, member: address})


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (("staff",), Role.VIEWER),
        (("staff", "on-call"), Role.OPERATOR),
        (("security", "staff"), Role.ADMIN),
        (("Staff", "staff "), None),
        ((), None),
        (("",), None),
    ],
)
def test_who_has_values_of_several_roles_has_the_one_that_may_do_the_most(
    values: tuple[str, ...], role: Role | None
) -> None:
    assert role_of(person(*values), OPENID) is role


def test_nobody_of_another_issuer_has_a_role() -> None:
    assert role_of(person("security", issuer="https://elsewhere.example"), OPENID) is None
    assert role_of(person("security"), OpenIdSettings()) is None


@pytest.mark.parametrize(
    ("found", "values"),
    [
        (["a", "b"], ("a", "b")),
        ("a b", ("a b",)),
        (None, ()),
        (7, ()),
        (["a", 7], ()),
        ({"security": True}, ()),
        ([["security"]], ()),
    ],
)
def test_what_is_neither_text_nor_a_list_of_texts_stands_for_no_role(
    found: object, values: tuple[str, ...]
) -> None:
    assert read(groups=found).values == values


def test_a_person_is_called_as_configured_and_at_their_issuer() -> None:
    openid = msgspec.structs.replace(OPENID, name_claim="email", roles_claim="realm.roles")
    found = read(openid, realm={"roles": ["security"]})
    assert (found.operator, found.subject) == (f"ada@example.com@{ISSUER}", "s-1")
    assert role_of(found, openid) is Role.ADMIN
    for name in (None, 7, "", "a\x00", "x" * 257):
        with pytest.raises(InvalidToken):
            read(openid, email=name)


def test_of_several_audiences_one_is_the_party_that_it_was_issued_to() -> None:
    several = [OPENID.client_id, "another"]
    assert read(aud=several, azp=OPENID.client_id).name == "s-1"
    for party in (None, "another", 7):
        with pytest.raises(InvalidToken):
            read(aud=several, azp=party)


def test_an_error_of_a_provider_is_shown_where_it_is_a_code() -> None:
    assert error_word("access_denied") == "access_denied"
    for other in ("<b>", "A", "x" * 65, "", None, 7):
        assert error_word(other) == "other"
