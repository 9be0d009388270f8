"""The sentences of a timeline."""

import re

import pytest

from sidecar.domain.explanation.narrative import kind_of, marked, narrated
from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    ContextsShown,
    DeviceBound,
    Fact,
    MarksCleared,
    MembershipsShown,
    NetworkReported,
    PlaceProven,
    Revoked,
    RiskReported,
    Scope,
    Seen,
    SetAside,
    Sighted,
    SignalRaised,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.memberships import TokenMemberships
from sidecar.domain.policy.conditional_access import Countries, RiskLevel, Selection
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, at
from tests.domain.scenes import BERLIN, LISBON, established, evaluator, network_of, policy

SEEN = Sighted(stamp=at(1), ip="10.0.0.1", place=BERLIN)
MFA = Authentication(2, "urn:mfa", ())

SENTENCES: list[tuple[Fact, str]] = [
    (SEEN, "seen at 10.0.0.1 (DE-BE, DE, AS64496)"),
    (AgentSeen(stamp=at(1), user_agent="curl/8"), "used with curl/8"),
    (DeviceBound(stamp=at(1), device="d1"), "on device d1"),
    (SignedIn(stamp=at(2), authentication=MFA), "signed in with urn:mfa"),
    (
        SignedIn(stamp=at(90), authentication=Authentication(2, "", ("pwd", "otp"))),
        "signed in with pwd and otp at 1970-01-01T00:00:02Z, shown now",
    ),
    (
        SignedIn(stamp=at(2), authentication=Authentication(0, "a", ("b",))),
        "signed in with a (b), at a time that is not known",
    ),
    (
        SignedIn(stamp=at(2), authentication=Authentication(2), everywhere=True),
        "signed in with a method that is not known, which counts in each session of the user",
    ),
    (
        ContextsShown(stamp=at(2), contexts=("c2", "c1"), second=1),
        "a token says that c1, c2 was satisfied at 1970-01-01T00:00:01Z",
    ),
    (
        AssuranceLowered(stamp=at(2), level="mfa"),
        "what was shown until now counts for no more than mfa",
    ),
    (
        ClaimsSeen(stamp=at(2), scope=Scope.USER, claims=(("groups", ("b", "a")), ("t", ()))),
        "groups: a, b; t: none",
    ),
    (
        MembershipsShown(
            stamp=at(2),
            memberships=(
                ("groups", TokenMemberships(None, False, 1, 1)),
                ("roles", TokenMemberships((), True, 1, 1)),
            ),
        ),
        "the token leaves groups out; roles: none",
    ),
    (
        NetworkReported(stamp=at(2), network="office", device="d1", source="nac"),
        "network of device d1 is office (said by nac)",
    ),
    (RiskReported(stamp=at(2), scope=Scope.USER, level=RiskLevel.HIGH), "risk of the user is high"),
    (
        SignalRaised(stamp=at(2), scope=Scope.SESSION, name="bot", weight=40, half_life=5400),
        "signal bot about the session, weight 40, halves every 90m",
    ),
    (
        SignalRaised(stamp=at(2), scope=Scope.DEVICE, name="jail", device="d1"),
        "signal jail about device d1",
    ),
    (
        ComplianceReported(stamp=at(2), device="d1", compliant=False, source="mdm"),
        "device d1 is not compliant (said by mdm)",
    ),
    (Revoked(stamp=at(2), scope=Scope.SESSION, reason="left"), "the session was revoked: left"),
    (Revoked(stamp=at(2), scope=Scope.DEVICE, device="d1"), "device d1 was revoked"),
    (
        StepUpAsked(stamp=at(2), scope=Scope.USER, reason="odd", source="operator:a"),
        "the user was marked for all contexts, until a sign-in with mfa: odd (said by operator:a)",
    ),
    (
        StepUpAsked(
            stamp=at(2), scope=Scope.DEVICE, device="d1", contexts=("c2", "c1"), max_age=300
        ),
        "device d1 was marked for c1, c2, until a sign-in with mfa at most 5m old",
    ),
    (
        MarksCleared(stamp=at(2), scope=Scope.SESSION, reason="called back"),
        "the marks of the session were cleared: called back",
    ),
    (
        Spent(stamp=at(3), auth_time=2, token="t"),
        "the sign-in of 1970-01-01T00:00:02Z was spent on a call that needs one of its own",
    ),
    (
        Seen(
            stamp=at(3), session="other", ip="192.0.2.9", place=Place(anonymizer=("public-proxy",))
        ),
        "the user was seen in another session at 192.0.2.9 (public proxy)",
    ),
    (
        PlaceProven(stamp=at(3), device="id:d1", ip="10.0.0.1", place=Place(), authentication=MFA),
        "10.0.0.1 is remembered as proven on device d1",
    ),
    (
        PlaceProven(stamp=at(3), device="key:x", ip="", place=Place(), authentication=MFA),
        "an unknown address is remembered as proven on this key",
    ),
    (SetAside(stamp=at(3)), "something that this version cannot read"),
]


def sentences(*facts: Fact) -> list[str]:
    return [text for _, text in narrated(facts, "own", network_of)]


@pytest.mark.parametrize(("fact", "sentence"), SENTENCES)
def test_each_kind_of_fact_has_its_sentence(fact: Fact, sentence: str) -> None:
    assert sentences(fact) == [sentence]
    assert re.fullmatch(r"[a-z]+(?:-[a-z]+)*", kind_of(fact))


def test_no_kind_of_fact_is_without_a_sentence() -> None:
    assert {type(fact) for fact, _ in SENTENCES} == set(Fact.__args__)


def test_what_changes_is_reported_with_what_it_was() -> None:
    assert sentences(
        RiskReported(stamp=at(5), scope=Scope.USER, level=RiskLevel.LOW, source="idp"),
        RiskReported(stamp=at(4), scope=Scope.USER, level=RiskLevel.HIGH, source="edr"),
        RiskReported(stamp=at(6), scope=Scope.USER, level=RiskLevel.HIGH, source="idp"),
        ComplianceReported(stamp=at(7), device="d1", compliant=True),
        ComplianceReported(stamp=at(8), device="d2", compliant=True),
        ComplianceReported(stamp=at(9), device="d1", compliant=True),
    ) == [
        "risk of the user is high (said by edr)",
        "risk of the user is low (said by idp)",
        "risk of the user changed from low to high (said by idp)",
        "device d1 is compliant",
        "device d2 is compliant",
        "device d1 is compliant still",
    ]


def test_a_network_changes_by_report_and_by_address() -> None:
    left = Sighted(stamp=at(3), ip="198.51.100.1", place=LISBON)
    assert sentences(
        SEEN, NetworkReported(stamp=at(2), network="restricted", source="nac"), left
    ) == [
        "seen at 10.0.0.1 (DE-BE, DE, AS64496)",
        "network changed from office to restricted (said by nac)",
        (
            "address changed from 10.0.0.1 (DE-BE, DE, AS64496) to 198.51.100.1 (PT-11, PT, "
            "AS64497); network changed from office to none that is known"
        ),
    ]


def test_what_the_users_record_repeats_of_the_session_is_reported_once() -> None:
    own = Seen(stamp=at(1), session="own", ip="10.0.0.1", place=BERLIN)
    assert sentences(SEEN, own, SEEN) == ["seen at 10.0.0.1 (DE-BE, DE, AS64496)"]


def test_a_mark_is_reported_with_its_policy_its_contexts_and_its_cause() -> None:
    abroad = Countries(Selection(exclude=frozenset({"DE"})))
    rules = evaluator(policy(abroad, name="abroad"))
    state = rules.fold("s", [*established(), Sighted(stamp=at(1100), ip="1.1.1.1", place=LISBON)])
    (demand,) = rules.standing(state, 1200 * MICROSECONDS).demands
    assert marked(demand) == (
        "marked by policy abroad for c1: country: PT, since 1970-01-01T00:18:20Z"
    )
