"""Removing a claim from a token never loosens: random policies, random tokens, one claim less."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.facts.fact_kinds import ClaimsSeen, Fact, Scope
from sidecar.domain.facts.signal import RiskLevelChange, Subject
from sidecar.domain.policy.conditional_access import (
    Assignment,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Grant,
    Not,
    Policy,
    Principals,
    RiskLevel,
    Score,
    Selection,
    SessionControls,
    SessionRisk,
    UserRisk,
)
from sidecar.domain.values.stamp import at
from sidecar.service.checks.trial_records import SEVERITY
from sidecar.service.ports.calls import Call
from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import InvalidToken, token_of
from tests.domain.random_policies import GRANTS
from tests.domain.scenes import AWAY, HOME, established, evaluator
from tests.service.memory import SETTINGS, MemoryStore, Pod, Tokens

NOW = 1000
ISSUER = Issuer(issuer="https://id.example", audiences=("payroll",))

groups = st.lists(st.sampled_from(["staff", "emergency"]), max_size=2, unique=True)
principals = st.builds(
    Principals,
    users=st.frozensets(st.just("alice"), max_size=1),
    groups=st.frozensets(st.sampled_from(["staff", "emergency"]), max_size=2),
    roles=st.frozensets(st.just("admin"), max_size=1),
)
named = principals.filter(lambda one: one != Principals())
plain = st.one_of(
    st.builds(UserRisk, st.sampled_from(RiskLevel)),
    st.builds(SessionRisk, st.sampled_from(RiskLevel)),
    st.builds(Score, st.sampled_from([20.0, 70.0])),
    st.builds(Changed, st.just((Circumstance.IP,))),
)
conditions: st.SearchStrategy[Condition] = plain | st.builds(Not, plain)
policies = st.builds(
    Policy,
    st.sampled_from(["p", "q", "r"]),
    st.sampled_from([Grant((frozenset({level}),)) for level in ("mfa", "phishing-resistant")])
    | GRANTS,
    users=st.builds(Assignment, st.none() | named, st.just(Principals()) | principals),
    contexts=st.sampled_from([Selection(), Selection(frozenset({"c1"}))]),
    conditions=st.none() | st.none() | conditions,
    session=st.builds(
        SessionControls,
        st.none() | st.sampled_from([50, 500]),
        st.none() | st.sampled_from([50, 500]),
    ),
)
tokens = st.fixed_dictionaries(
    {
        "sub": st.just("alice"),
        "aud": st.just("payroll"),
        "exp": st.just(NOW + 3600),
        "sid": st.just("s1"),
        "auth_time": st.integers(NOW - 200, NOW - 1),
        "iat": st.integers(NOW - 100, NOW),
        "acr": st.sampled_from(["single-factor", "mfa", "phr"]),
        "amr": st.sampled_from([["pwd"], ["pwd", "otp"], ["hwk", "user"]]),
        "groups": groups,
        "roles": st.lists(st.just("admin"), max_size=1),
        "azp": st.sampled_from(["portal", "cli"]),
        "jti": st.just("t1"),
        "xms_cc": st.just(["cp1"]),
    }
)
REMOVABLE = ["sid", "auth_time", "iat", "acr", "amr", "groups", "roles", "azp", "jti", "xms_cc"]


async def verdict(rules: list[Policy], claims: dict[str, Any], context: str) -> Verdict:
    """Return what the first call of a new session gets, and then one from elsewhere."""
    known = Tokens()
    settings = msgspec.structs.replace(
        SETTINGS, tokens=msgspec.structs.replace(SETTINGS.tokens, issuers=(ISSUER,))
    )
    pod = Pod(MemoryStore(), rules, known, settings)
    pod.now = float(NOW)
    risk = RiskLevelChange(
        stamp=at(NOW - 60, "r"),
        subject=Subject(user="alice", issuer=ISSUER.names),
        level=RiskLevel.HIGH,
    )
    await pod.intake.accept(risk)
    try:
        known.known["t"] = token_of(claims, ISSUER)
    except InvalidToken:
        return Verdict.DENY
    contexts = frozenset({context} if context else ())
    worst = Verdict.ALLOW
    for ip in (HOME, AWAY):
        answer = await pod.checker.check(Call(token="t", contexts=contexts, ip=ip))
        worst = max(worst, answer.verdict, key=lambda one: SEVERITY[one])
    return worst


@pytest.mark.parametrize("claim", REMOVABLE)
@given(
    st.lists(policies, min_size=1, unique_by=lambda p: p.id),
    tokens,
    st.sampled_from(["c1", "c1", ""]),
)
async def test_removing_a_claim_from_a_token_never_loosens(
    claim: str, rules: list[Policy], claims: dict[str, Any], context: str
) -> None:
    whole = await verdict(rules, claims, context)
    less = {name: value for name, value in claims.items() if name != claim}
    assert SEVERITY[await verdict(rules, less, context)] >= SEVERITY[whole]


async def test_an_older_token_takes_back_no_claim_that_a_newer_one_has() -> None:
    tokens = Tokens()
    risky = Claims((("acct_risk", frozenset({"high"})),))
    rule = Policy("risky", Grant((frozenset({"mfa"}),)), conditions=risky)
    pod = Pod(MemoryStore(), [rule], tokens)
    pod.checker.want_claims({"acct_risk"})
    for name, issued_at, level in (("old", 900, "low"), ("new", 990, "high")):
        known = tokens.known[tokens.issue(name)]
        tokens.known[name] = msgspec.structs.replace(
            known, issued_at=issued_at, claims=(("acct_risk", (level,)),)
        )
    assert (await pod.check("new")).verdict is Verdict.STEP_UP
    pod.now += 10
    assert (await pod.check("old")).verdict is Verdict.STEP_UP
    pod.now += 10
    lower = msgspec.structs.replace(
        tokens.known["old"], issued_at=1005, claims=(("acct_risk", ("low",)),)
    )
    tokens.known["newest"] = lower
    assert (await pod.check("newest")).verdict is Verdict.ALLOW


def test_of_two_tokens_shown_to_two_sidecars_the_later_one_counts() -> None:
    def seen(second: float, issued_at: int, level: str) -> Fact:
        claims = (("acct_risk", (level,)),)
        stamp = at(second, f"c{second}")
        return ClaimsSeen(stamp=stamp, scope=Scope.SESSION, claims=claims, issued_at=issued_at)

    rules = evaluator()
    facts = [*established(), seen(1010, 990, "high"), seen(1020, 900, "low")]
    assert rules.fold("s", facts).claims["acct_risk"][0] == ("high",)
    assert rules.fold("s", [*facts, seen(1030, 1000, "low")]).claims["acct_risk"][0] == ("low",)
