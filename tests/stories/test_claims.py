"""What tokens say and leave out, before a whole daemon: real tokens at its socket and its HTTP."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
import pytest

from sidecar.adapters.clock import now
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Claims,
    Policy,
    Principals,
    RiskLevel,
    Selection,
    UserRisk,
)
from sidecar.wire.settings.settings import App, BreakGlass, Settings
from sidecar.wire.settings.tokens import Absent, SessionNaming, Unknown
from tests import plain_http
from tests.domain.scenes import policy
from tests.stories.running import ISSUER, SIGNER, Pods, running, unique

FINANCE = Principals(groups=frozenset({"finance"}))
OVERAGES = [{}, {"groups": None}, {"hasgroups": True}, {"_claim_names": {"groups": "src1"}}]


def of(principals: Principals, conditions: Any = None, name: str = "p", **more: Any) -> Policy:
    """A policy for these users: c1 takes mfa."""
    made = policy(conditions, name=name)
    return msgspec.structs.replace(made, users=Assignment(principals), **more)


def token(user: str, session: str | None = None, *, age: float = 60, **more: Any) -> str:
    """A token of one factor, with these claims besides."""
    issued = int(now())
    claims = {
        "iss": ISSUER,
        "aud": "payroll",
        "azp": "portal",
        "sub": user,
        "sid": session,
        "iat": issued,
        "exp": issued + 3600,
        "auth_time": int(issued - age),
        "acr": "single-factor",
        "amr": None,
    }
    return SIGNER.token(**{**claims, **more})


def reading(**changes: Any) -> Callable[[Settings, int], Settings]:
    """Settings whose issuer's tokens are read like this."""

    def change(settings: Settings, _: int) -> Settings:
        (issuer,) = settings.tokens.issuers
        issuer = msgspec.structs.replace(issuer, **changes)
        tokens = msgspec.structs.replace(settings.tokens, issuers=(issuer,))
        return msgspec.structs.replace(settings, tokens=tokens)

    return change


@contextmanager
def pod(*policies: Policy, **changes: Any) -> Iterator[Pods]:
    with running("", policies, 1, reading(**changes)) as pods:
        yield pods


def decision(pods: Pods, shown: str, context: str = "c1") -> str:
    answer = pods.clients[0].check(shown, context)
    return str(answer.get("decision", answer))


@pytest.fixture(scope="module")
def finance() -> Iterator[Pods]:
    with pod(of(FINANCE)) as pods:
        yield pods


@pytest.mark.parametrize("left_out", OVERAGES, ids=str)
def test_a_token_without_groups_leaves_no_policy_for_a_group(finance: Pods, left_out: Any) -> None:
    user, session = unique("user"), unique("session")
    first = token(user, session, groups=["finance"])
    assert decision(finance, first) == "step_up"
    assert decision(finance, token(user, session, jti="later", **left_out)) == "step_up"
    assert decision(finance, first) == "step_up"


@pytest.mark.parametrize("left_out", OVERAGES, ids=str)
def test_whose_groups_nobody_names_is_taken_for_a_member_and_answered_why(
    finance: Pods, left_out: Any
) -> None:
    answer = finance.clients[0].check(token(unique("user"), unique("session"), **left_out))
    assert answer["decision"] == "step_up"
    assert "the user's groups are unknown" in answer["reasons"][0]["text"]


def test_what_is_known_stays_and_other_groups_are_not_assumed(finance: Pods) -> None:
    user, session = unique("user"), unique("session")
    at = int(now()) - 60  # one sign-in, whatever the second in which a token is made
    assert decision(finance, token(user, session, groups=["staff"], auth_time=at)) == "allow"
    assert decision(finance, token(user, session, jti="later", auth_time=at)) == "allow"


def test_only_an_empty_list_of_a_later_token_empties_and_an_older_one_restores_nothing(
    finance: Pods,
) -> None:
    user, session = unique("user"), unique("session")
    at = int(now())

    def listing(*groups: str, ago: int) -> str:
        return token(user, session, groups=[*groups], iat=at - ago, auth_time=at - 60)

    assert decision(finance, listing("finance", ago=20)) == "step_up"
    assert decision(finance, listing(ago=30)) == "step_up"
    assert decision(finance, listing(ago=10)) == "allow"
    assert decision(finance, listing("finance", ago=15)) == "allow"


def test_what_the_tokens_of_one_sign_in_report_adds_up_and_a_later_sign_in_begins_anew(
    finance: Pods,
) -> None:
    user, session = unique("user"), unique("session")
    at = int(now())

    def listing(group: str, ago: int, signed_in: int) -> str:
        return token(user, session, groups=[group], iat=at - ago, auth_time=at - signed_in)

    assert decision(finance, listing("finance", 30, 60)) == "step_up"
    assert decision(finance, listing("staff", 20, 60)) == "step_up"
    assert decision(finance, listing("staff", 0, 5)) == "allow"


@pytest.mark.parametrize(
    ("unknown", "expected"), [("included", "step_up"), ("excluded", "allow"), ("deny", "deny")]
)
def test_what_unknown_groups_and_roles_mean_is_configured(unknown: str, expected: str) -> None:
    modes = {"groups_unknown": Unknown(unknown), "roles_unknown": Unknown(unknown)}
    admins = Principals(roles=frozenset({"admin"}))
    with pod(
        of(FINANCE), of(admins, name="roles", contexts=Selection(frozenset({"c2"}))), **modes
    ) as pods:
        shown = token(unique("user"), unique("session"))
        assert decision(pods, shown) == expected
        assert decision(pods, shown, "c2") == expected
        heard = token(unique("user"), unique("session"), groups=["staff"], roles=[])
        assert decision(pods, heard) == "allow"
        assert decision(pods, heard, "c2") == "allow"


def test_unknown_groups_never_exempt() -> None:
    spared = Assignment(None, Principals(groups=frozenset({"contractors"})))
    rule = msgspec.structs.replace(policy(None), users=spared)

    def change(settings: Settings, _: int) -> Settings:
        return msgspec.structs.replace(settings, break_glass=BreakGlass(groups=("emergency",)))

    with running("", (rule,), 1, change) as pods:
        assert decision(pods, token(unique("user"), unique("session"))) == "step_up"
        shown = token(unique("user"), unique("session"), groups=["contractors"])
        assert decision(pods, shown) == "allow"


def test_an_issuer_that_leaves_out_empty_claims_takes_nothing_without_a_new_sign_in() -> None:
    with pod(of(FINANCE), groups_absent=Absent.EMPTY) as pods:
        assert decision(pods, token(unique("user"), unique("session"))) == "allow"
        assert decision(pods, token(unique("user"), unique("session"), hasgroups=True)) == "step_up"
        user, session = unique("user"), unique("session")
        assert decision(pods, token(user, session, groups=["finance"])) == "step_up"
        assert decision(pods, token(user, session, jti="later")) == "step_up"
        assert decision(pods, token(user, session, age=5)) == "allow"


RISKY = policy(UserRisk(RiskLevel.HIGH))


def raise_risk(pods: Pods, user: str) -> None:
    data = {"current_level": "HIGH"}
    reply = pods.clients[0].event("risk-level-change", {"user": user}, data=data, wait="everywhere")
    assert reply["ok"], reply


def marked(naming: SessionNaming) -> AbstractContextManager[Pods]:
    return pod(RISKY, session=naming)


def test_without_sid_a_bare_password_does_not_shed_the_mark() -> None:
    with marked(SessionNaming.USER_CLIENT) as pods:
        user = unique("user")
        assert decision(pods, token(user)) == "allow"
        raise_risk(pods, user)
        again = token(user, age=-1, auth_time=int(now()))
        assert decision(pods, token(user)) == "step_up"
        assert decision(pods, again) == "step_up"


def test_where_sessions_must_be_named_a_token_without_sid_is_no_token() -> None:
    with marked(SessionNaming.REQUIRED) as pods:
        address = pods.addresses[0].http
        answer = plain_http.get(
            f"{address[0]}/v1/check",
            headers={"Authorization": f"Bearer {token('ada')}", "X-Auth-Context": "c1"},
        )
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert "sid" in answer.headers["www-authenticate"]


def test_without_auth_time_nothing_is_refused_where_nothing_is_asked() -> None:
    with running("", (), 1) as pods:
        assert decision(pods, token(unique("user"), unique("session"), auth_time=None)) == "allow"
        assert decision(pods, token(unique("user"), auth_time=None), "") == "allow"


def test_a_token_without_auth_time_proves_nothing_and_its_refusal_says_so_by_name() -> None:
    with pod(policy(None)) as pods:
        shown = token(unique("user"), unique("session"), auth_time=None, acr="mfa")
        answer = pods.clients[0].check(shown)
        assert answer["decision"] == "step_up"
        assert [one["policy"] for one in answer["reasons"]] == ["p", "token-without-auth-time"]
        assert decision(pods, shown, "") == "allow"
        text = plain_http.get(f"{pods.addresses[0].admin[0]}/metrics").text
        missing = 'sidecar_token_claims_missing_total{claim="auth_time",issuer="0"} 1.0'
        assert missing in text


def no_app(settings: Settings, _: int) -> Settings:
    (issuer,) = settings.tokens.issuers
    issuer = msgspec.structs.replace(issuer, audiences=("payroll", "reports"))
    return msgspec.structs.replace(
        settings,
        app=App(),
        tokens=msgspec.structs.replace(settings.tokens, issuers=(issuer,)),
    )


def test_the_client_of_a_token_does_not_pick_its_policies() -> None:
    rule = msgspec.structs.replace(policy(None), apps=Selection(frozenset({"payroll"})))
    with running("", (rule,), 1, no_app) as pods:
        for client in ("payroll", "cli", None):
            assert decision(pods, token(unique("user"), unique("session"), azp=client)) == "step_up"
        other = token(unique("user"), unique("session"), aud="reports", azp="payroll")
        assert decision(pods, other) == "allow"
        both = token(unique("user"), unique("session"), aud=["reports", "payroll"])
        assert decision(pods, both) == "step_up"


@pytest.mark.parametrize("claim", ["sub", "sid", "deviceid", "groups"])
@pytest.mark.parametrize("letter", ["\x80", "\x9f", "\x7f", "\n"], ids=ascii)
def test_what_no_event_could_name_no_token_names(finance: Pods, claim: str, letter: str) -> None:
    named: dict[str, Any] = {"sub": "ada", "sid": unique("session"), claim: f"a{letter}b"}
    answer = finance.clients[0].check(token(named.pop("sub"), named.pop("sid"), **named))
    assert answer["error"] == "invalid_token"
    assert f"the {claim} claim" in answer["message"]


def test_a_user_is_revoked_however_the_letters_of_the_name_are_composed() -> None:
    with running("", (), 1) as pods:
        user, session = "Jose\u0301", unique("session")
        shown = token(user, session)
        assert decision(pods, shown) == "allow"
        reply = pods.clients[0].event("session-revoked", {"user": "Jos\u00e9"}, wait="everywhere")
        assert reply["ok"]
        assert decision(pods, shown) == "deny"


def asking(**claims: Sequence[str]) -> Policy:
    required = tuple((name, frozenset(values)) for name, values in claims.items())
    return policy(Claims(required))


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["boss"]}}),
        (
            "resource_access.app\\.example\\.com.roles",
            {"resource_access": {"app.example.com": {"roles": ["boss"]}}},
        ),
        (
            "resource_access.app.example.com.roles",
            {"resource_access": {"app.example.com": {"roles": ["boss"]}}},
        ),
        ("https://example.com/role", {"https://example.com/role": "boss"}),
        ("zz", {"zz": "boss", **{f"a{number:03}": "x" for number in range(100)}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_claim_that_a_policy_asks_for_is_found(path: str, claims: Any) -> None:
    with pod(asking(**{path: ["boss"]})) as pods:
        assert decision(pods, token(unique("user"), unique("session"), **claims)) == "step_up"
        assert decision(pods, token(unique("user"), unique("session"))) == "allow"


def test_roles_are_found_below_a_name_with_dots() -> None:
    path = "resource_access.app\\.example\\.com.roles"
    claims: dict[str, Any] = {"resource_access": {"app.example.com": {"roles": ["admin"]}}}
    with pod(of(Principals(roles=frozenset({"admin"}))), roles_claim=path) as pods:
        assert decision(pods, token(unique("user"), unique("session"), **claims)) == "step_up"
        claims = {"resource_access": {"app.example.com": {"roles": ["user"]}}}
        assert decision(pods, token(unique("user"), unique("session"), **claims)) == "allow"


@pytest.mark.parametrize("value", [3, 3.0, "3"])
def test_numbers_compare_as_numbers(value: Any) -> None:
    with pod(asking(level=["3"])) as pods:
        assert decision(pods, token(unique("user"), unique("session"), level=value)) == "step_up"


def test_an_event_reports_a_number_as_a_token_does() -> None:
    with pod(asking(level=["3"])) as pods:
        user, session = unique("user"), unique("session")
        shown = token(user, session, level=2)
        assert decision(pods, shown) == "allow"
        reply = pods.clients[0].event(
            "token-claims-change",
            {"session": session},
            data={"claims": {"level": 3.0}},
            wait="everywhere",
        )
        assert reply["ok"], reply
        assert decision(pods, shown) == "step_up"
