import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.domain.values.assurance import Authentication
from sidecar.wire.settings.settings import ContextProof, Issuer
from sidecar.wire.settings.tokens import Absent, SessionNaming
from sidecar.wire.tokens.claims import (
    LATEST_TIME,
    MAX_CLAIMS,
    Flaw,
    InvalidToken,
    Token,
    Validity,
    token_of,
    validity_of,
)

ISSUER = Issuer(issuer="https://id.example", audiences=("api",))
CLAIMS = {"iss": "https://id.example", "sub": "alice", "aud": "api", "exp": 2000}


def read(issuer: Any = ISSUER, **claims: Any) -> Token:
    return token_of({**CLAIMS, **claims}, issuer)


def flaw(issuer: Any = ISSUER, **claims: Any) -> tuple[Flaw, str]:
    with pytest.raises(InvalidToken) as caught:
        read(issuer, **claims)
    return caught.value.code, caught.value.description


def test_the_configured_claims_become_the_token() -> None:
    token = read(
        sid="s-1",
        deviceid="d-1",
        azp="portal",
        auth_time=1000,
        acr="mfa",
        amr=["pwd", "otp"],
        iat=1500,
        groups=["finance"],
        roles=["payer"],
        jti="t-1",
    )
    assert (token.issuer, token.user, token.session) == (ISSUER.issuer, "alice", "s-1")
    assert (token.device, token.app, token.client) == ("d-1", "api", "portal")
    assert token.token_id == "t-1"
    assert token.authentication == Authentication(1000, "mfa", ("pwd", "otp"))
    assert (token.issued_at, token.expires_at) == (1500, 2000)
    assert token.groups == {"finance"}
    assert token.roles == {"payer"}


def test_a_missing_auth_time_is_never_taken_from_iat() -> None:
    assert read(iat=1500).authentication.auth_time == 0


def named(session: str, **changes: Any) -> Issuer:
    return Issuer(
        issuer=ISSUER.issuer, audiences=("api",), session=SessionNaming(session), **changes
    )


@pytest.mark.parametrize("session", ["user-client", "sign-in"])
def test_without_sid_a_refreshed_token_is_the_same_session(session: str) -> None:
    before = read(named(session), auth_time=1000, azp="portal", jti="t-1", iat=1001, exp=2000)
    after = read(named(session), auth_time=1000, azp="portal", jti="t-2", iat=1900, exp=3000)
    assert before.session == after.session


def test_without_sid_a_new_sign_in_at_the_same_client_is_the_same_session() -> None:
    assert read(auth_time=1000, azp="portal").session == read(auth_time=2000, azp="portal").session


def test_without_sid_a_session_by_sign_in_begins_anew_with_each() -> None:
    before, after = (read(named("sign-in"), auth_time=at, azp="portal") for at in (1000, 2000))
    assert before.session != after.session


@pytest.mark.parametrize("sid", [None, ""])
def test_where_sid_is_required_a_token_without_it_is_refused(sid: Any) -> None:
    expected = (Flaw.MISSING_CLAIM, "the sid claim is missing or empty")
    assert flaw(named("required"), sid=sid) == expected
    assert read(named("required"), sid="s-1").session == "s-1"


KEY = "a" * 43


@pytest.mark.parametrize(
    "change",
    [{"sub": "bob"}, {"azp": "other"}, {"client_id": "p", "azp": None}, {"cnf": {"jkt": KEY}}],
    ids=str,
)
def test_without_sid_user_client_and_key_distinguish_sessions(change: Any) -> None:
    sign_in = {"auth_time": 1000, "azp": "portal"}
    assert read(**sign_in).session != read(**{**sign_in, **change}).session


def test_without_sid_parts_cannot_be_shifted_into_one_another() -> None:
    assert read(sub="alice1", azp="2").session != read(sub="alice", azp="12").session


def test_jti_is_never_the_session_even_if_it_is_configured() -> None:
    issuer = Issuer(issuer=ISSUER.issuer, audiences=("api",), session_claim="jti")
    assert read(issuer, jti="t-1").session == read(issuer, jti="t-2").session


def test_the_session_that_stands_in_does_not_depend_on_app_claim() -> None:
    other = Issuer(issuer=ISSUER.issuer, audiences=("api",), app_claim="appname")
    assert read(azp="portal").session == read(other, azp="portal", appname="x").session


def test_the_app_is_what_the_token_is_for_and_never_its_client() -> None:
    assert read(azp="a", client_id="b").app == "api"
    assert read(aud=["first", "api"]).app == "api"


def test_of_several_audiences_those_that_are_configured_count_in_their_order() -> None:
    issuer = Issuer(issuer=ISSUER.issuer, audiences=("payroll", "api"))
    token = read(issuer, aud=["api", "other", "payroll"])
    assert (token.app, token.audiences) == ("payroll", ("payroll", "api"))


def test_a_claim_names_the_app_only_where_one_is_configured() -> None:
    issuer = Issuer(issuer=ISSUER.issuer, audiences=("api",), app_claim="azp")
    assert read(issuer, azp="portal").app == "portal"
    assert read(issuer).app == "api"


def test_amr_that_is_one_string_is_read_as_a_list_of_one() -> None:
    assert read(amr="mfa").authentication.amr == ("mfa",)


def test_acr_that_is_a_number_is_read_as_text() -> None:
    assert read(acr=1).authentication.acr == "1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sid", 7),
        ("sub", 7),
        ("deviceid", ["d"]),
        ("azp", {"a": 1}),
        ("acr", True),
        ("acr", ["mfa"]),
        ("amr", [["pwd"]]),
        ("amr", 3),
        ("groups", [["finance"]]),
        ("groups", {"finance": True}),
        ("roles", [1]),
        ("jti", 5),
        ("auth_time", "1000"),
        ("auth_time", -1),
        ("auth_time", True),
        ("auth_time", LATEST_TIME + 1),
        ("auth_time", math.inf),
        ("auth_time", math.nan),
        ("exp", "2000"),
        ("iat", [1]),
        ("sub", "line\nbreak"),
        ("sid", "nul\0"),
    ],
    ids=str,
)
def test_a_claim_of_another_type_refuses_the_token_and_is_named(name: str, value: Any) -> None:
    code, description = flaw(**{name: value})
    assert code is Flaw.WRONG_TYPE
    assert f"the {name} claim" in description


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_user_is_named(value: Any) -> None:
    issuer = Issuer(issuer=ISSUER.issuer, audiences=("api",), user_claim="oid")
    assert flaw(issuer, oid=value) == (Flaw.MISSING_CLAIM, "the oid claim is missing or empty")


def test_a_name_without_end_is_refused() -> None:
    assert flaw(sid="x" * 513)[0] is Flaw.TOO_LARGE


def test_a_fraction_of_a_second_never_makes_a_sign_in_later() -> None:
    assert read(auth_time=1000.9).authentication.auth_time == 1000


def test_nested_claims_are_found_by_path_and_whole_names_come_first() -> None:
    issuer = Issuer(
        issuer=ISSUER.issuer,
        audiences=("api",),
        roles_claim="realm_access.roles",
        groups_claim="https://example.com/groups",
    )
    token = read(
        issuer,
        **{"realm_access": {"roles": ["payer"]}, "https://example.com/groups": ["finance"]},
    )
    assert token.roles == {"payer"}
    assert token.groups == {"finance"}


@pytest.mark.parametrize(
    "overage",
    [
        {"_claim_names": {"groups": "src1"}},
        {"hasgroups": True},
        {"hasgroups": "true"},
    ],
    ids=str,
)
def test_groups_that_entra_left_out_are_unknown(overage: Any) -> None:
    assert not read(**overage).groups_known
    assert read(**overage, groups=["finance"]).groups_known


def test_only_an_empty_list_says_that_there_are_no_groups() -> None:
    assert read(groups=[]).groups_known
    assert not read().groups_known
    assert not read(groups=None).groups_known
    assert read(groups=[], hasgroups=[]).groups_known


@pytest.mark.parametrize("overage", [{"_claim_names": {"roles": "src1"}}, {}], ids=str)
def test_roles_that_are_left_out_are_unknown(overage: Any) -> None:
    assert not read(**overage).roles_known
    assert read(roles=[]).roles_known


def test_an_issuer_may_be_known_to_leave_a_claim_out_where_there_are_none() -> None:
    issuer = Issuer(
        issuer=ISSUER.issuer,
        audiences=("api",),
        groups_absent=Absent.EMPTY,
        roles_absent=Absent.EMPTY,
    )
    token = read(issuer)
    assert (token.groups_known, token.groups_listed) == (True, False)
    assert (token.roles_known, token.roles_listed) == (True, False)
    assert not read(issuer, hasgroups=True).groups_known
    assert not read(issuer, _claim_names={"roles": "src1"}).roles_known


def test_other_claims_are_kept_as_sorted_strings() -> None:
    token = read(
        tid="t",
        acrs=["c1", "c2"],
        level=3,
        ratio=0.5,
        verified=True,
        scope="pay read",
        address={"street": "x"},
        nothing=None,
        mixed=["a", 1, {"x": 1}, False],
        nbf=1,
        nonce="n",
    )
    assert token.claims == (
        ("acrs", ("c1", "c2")),
        ("level", ("3",)),
        ("mixed", ("a", "1", "false")),
        ("ratio", ("0.5",)),
        ("scope", ("pay", "read")),
        ("tid", ("t",)),
        ("verified", ("true",)),
    )


def test_tokens_share_what_they_say_alike() -> None:
    said = '{"azp": "portal-%s", "acr": "mfa-%s", "plan": ["gold-%s"], "bill": "%s"}'
    alike = said % ("a", "b", "c", "d" * 100)
    first, second = (read(**json.loads(alike)) for _ in range(2))
    assert first == second
    assert first.client is second.client
    assert first.authentication.acr is second.authentication.acr
    assert first.audiences is second.audiences
    assert first.binding is second.binding
    are_shared = {claim[0]: claim is claim_of(second, claim[0]) for claim in first.claims}
    assert are_shared == {"acr": True, "azp": True, "plan": True, "bill": False}


def claim_of(token: Token, name: str) -> tuple[str, tuple[str, ...]]:
    """The claim of a token, by its name."""
    return next(claim for claim in token.claims if claim[0] == name)


def test_other_claims_are_bounded_and_long_values_left_out() -> None:
    many = {f"c{number:03d}": "v" for number in range(100)}
    assert len(read(**many).claims) == MAX_CLAIMS
    assert read(long="x" * 513, short=["y" * 512, "x" * 513]).claims == (("short", ("y" * 512,)),)


def test_validity_begins_at_the_latest_start_and_ends_at_exp_both_with_leeway() -> None:
    claims = {"exp": 2000, "nbf": 1000, "iat": 1100, "auth_time": 900}
    assert validity_of(claims, replace(ISSUER, leeway=30)) == Validity(1070, 2030)


def test_a_sign_in_from_the_future_is_not_valid_yet() -> None:
    validity = validity_of({"exp": 2000, "auth_time": 1500}, replace(ISSUER, leeway=30))
    with pytest.raises(InvalidToken) as caught:
        validity.check(1469)
    assert caught.value.code is Flaw.NOT_YET_VALID
    validity.check(1470)


def test_a_sign_in_is_read_from_the_claims_that_an_issuer_must_name_otherwise() -> None:
    # Auth0 keeps `auth_time`, `acr` and `amr` out of access tokens unless they have other names.
    names = {f"{one}_claim": f"https://app.example/{one}" for one in ("auth_time", "acr", "amr")}
    issuer = replace(ISSUER, **names)
    found = {"https://app.example/auth_time": 1000, "https://app.example/acr": "mfa"}
    found["https://app.example/amr"] = ["pwd", "otp"]
    token = read(issuer, **found, auth_time=1900, acr="phr", amr="hwk")
    assert token.authentication == Authentication(1000, "mfa", ("pwd", "otp"))
    assert validity_of({"exp": 2000, **found}, issuer).begins == 1000 - issuer.leeway
    lacking = {missing.claim for missing in read(issuer).missing}
    assert lacking >= {"https://app.example/auth_time", "https://app.example/acr"}


def test_exp_is_required() -> None:
    with pytest.raises(InvalidToken) as caught:
        validity_of({"iat": 1}, ISSUER)
    assert caught.value.code is Flaw.MISSING_CLAIM


@given(st.text())
def test_a_description_is_always_fit_for_a_header(text: str) -> None:
    description = InvalidToken(Flaw.MALFORMED, text).description
    assert len(description) == len(text)
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in description)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
registered = ["sub", "sid", "aud", "exp", "iat", "nbf", "auth_time", "acr", "amr", "azp", "jti"]
others = ["groups", "roles", "client_id", "hasgroups", "deviceid", "_claim_names", "scope", "x"]
names = st.sampled_from([*registered, *others])


@given(st.dictionaries(names, json_values))
def test_no_claims_raise_anything_but_invalid_token(claims: Any) -> None:
    try:
        validity_of(claims, ISSUER)
        token = token_of({"sub": "alice", **claims}, ISSUER)
    except InvalidToken:
        return
    assert token.session
    assert token.user
    assert 0 <= token.authentication.auth_time <= LATEST_TIME


@pytest.mark.parametrize(
    ("proof", "expected"),
    [("none", ((), 0)), ("auth_time", (("c1", "c2"), 1000)), ("issued_at", (("c1", "c2"), 1500))],
)
def test_acrs_is_proof_only_as_the_issuer_is_trusted_with_it(proof: Any, expected: Any) -> None:
    issuer = Issuer(issuer="i", audiences=("api",), acrs_proof=ContextProof(proof))
    token = read(issuer, acrs=["c2", "c1", "p1", 7], iat=1500, auth_time=1000)
    assert (token.contexts, token.contexts_at) == expected


@pytest.mark.parametrize("proof", list(ContextProof))
def test_acrs_without_a_time_proves_nothing(proof: Any) -> None:
    issuer = Issuer(issuer="i", audiences=("api",), acrs_proof=proof)
    assert read(issuer, acrs=["c1"]).contexts == ()


@pytest.mark.parametrize("value", [["cp1"], "cp1", ["other", "cp1"]])
def test_a_client_says_that_it_can_handle_claims_challenges(value: Any) -> None:
    assert read(xms_cc=value).claims_capable
    assert not read(xms_cc=["other", {}]).claims_capable
