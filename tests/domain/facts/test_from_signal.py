import pytest

from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ClaimsSeen,
    ComplianceReported,
    DeviceBound,
    Fact,
    MarksCleared,
    NetworkReported,
    Revoked,
    RiskReported,
    Scope,
    ShownWith,
    Sighted,
    SignalRaised,
    SignedIn,
    StepUpAsked,
)
from sidecar.domain.facts.from_signal import SignalFacts, facts_from, tightens
from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    OperatorClear,
    OperatorMark,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import at

STAMP = at(1000.5, "e1")


def meaning(signal: Signal) -> SignalFacts:
    return facts_from(signal, lambda _: Place())


def level(subject: Subject, namespace: str = "", direction: str = "increase") -> SignalFacts:
    return meaning(
        AssuranceLevelChange(
            stamp=STAMP, subject=subject, namespace=namespace, level="mfa hwk", direction=direction
        )
    )


def test_an_assurance_that_rose_is_a_sign_in_of_the_session_or_of_the_user_everywhere() -> None:
    shown = Authentication(1000, "mfa hwk")
    assert level(Subject(user="u", session="s")) == SignalFacts(
        Scope.SESSION, (SignedIn(stamp=STAMP, authentication=shown),)
    )
    assert level(Subject(user="u")) == SignalFacts(
        Scope.USER, (SignedIn(stamp=STAMP, authentication=shown, everywhere=True),)
    )


def test_levels_of_rfc_8176_are_methods() -> None:
    (fact,) = level(Subject(session="s"), "RFC8176").facts
    assert fact == SignedIn(stamp=STAMP, authentication=Authentication(1000, amr=("mfa", "hwk")))


def test_what_rfc_8176_does_not_register_is_an_acr_there_too() -> None:
    signal = AssuranceLevelChange(
        stamp=STAMP, subject=Subject(session="s"), namespace="RFC8176", level="phr"
    )
    (fact,) = meaning(signal).facts
    assert fact == SignedIn(stamp=STAMP, authentication=Authentication(1000, "phr"))


@pytest.mark.parametrize(
    ("subject", "scope"), [(Subject(user="u"), Scope.USER), (Subject(session="s"), Scope.SESSION)]
)
def test_an_assurance_that_fell_caps_what_was_shown(subject: Subject, scope: Scope) -> None:
    lowered = AssuranceLowered(stamp=STAMP, level="mfa hwk")
    assert level(subject, direction="decrease") == SignalFacts(scope, (lowered,))


@pytest.mark.parametrize(
    ("subject", "scope", "device"),
    [
        (Subject("u", "d", "s"), Scope.SESSION, "d"),
        (Subject("u", "d"), Scope.USER, "d"),
        (Subject(device="d"), Scope.DEVICE, "d"),
        (Subject(user="u"), Scope.USER, ""),
    ],
)
def test_a_revocation_keeps_the_device_as_a_condition(
    subject: Subject, scope: Scope, device: str
) -> None:
    assert meaning(SessionRevoked(stamp=STAMP, subject=subject)) == SignalFacts(
        scope, (Revoked(stamp=STAMP, scope=scope, device=device),)
    )


HIGH, LOW = RiskLevel.HIGH, RiskLevel.LOW
OF_ALL = Subject(user="u", device="d", session="s")
OF_DEVICE = Subject(device="d")
OPORTO = Place(country="PT")


@pytest.mark.parametrize(
    ("signal", "scope", "facts", "can_only_tighten"),
    [
        (
            NetworkChange(stamp=STAMP, subject=OF_DEVICE, segment="lab"),
            Scope.DEVICE,
            (NetworkReported(stamp=STAMP, network="lab", device="d"),),
            False,
        ),
        (
            DeviceComplianceChange(stamp=STAMP, subject=OF_ALL, compliant=False),
            Scope.DEVICE,
            (ComplianceReported(stamp=STAMP, device="d", compliant=False),),
            True,
        ),
        (
            DeviceComplianceChange(stamp=STAMP, subject=OF_DEVICE, compliant=True),
            Scope.DEVICE,
            (ComplianceReported(stamp=STAMP, device="d", compliant=True),),
            False,
        ),
        (
            RiskLevelChange(stamp=STAMP, subject=Subject(user="u"), level=HIGH),
            Scope.USER,
            (RiskReported(stamp=STAMP, scope=Scope.USER, level=HIGH),),
            True,
        ),
        (
            RiskLevelChange(stamp=STAMP, subject=OF_DEVICE, level=LOW),
            Scope.DEVICE,
            (RiskReported(stamp=STAMP, scope=Scope.DEVICE, level=LOW, device="d"),),
            False,
        ),
        (
            TokenClaimsChange(stamp=STAMP, subject=Subject(session="s"), claims=(("a", ("b",)),)),
            Scope.SESSION,
            (ClaimsSeen(stamp=STAMP, scope=Scope.SESSION, claims=(("a", ("b",)),)),),
            False,
        ),
        (
            RiskSignal(
                stamp=STAMP, subject=Subject(user="u"), name="leak", weight=40.0, half_life=60.0
            ),
            Scope.USER,
            (
                SignalRaised(
                    stamp=STAMP, scope=Scope.USER, name="leak", weight=40.0, half_life=60.0
                ),
            ),
            False,
        ),
        (
            OperatorMark(stamp=STAMP, subject=OF_DEVICE, control="mfa", reason="lost"),
            Scope.DEVICE,
            (
                StepUpAsked(
                    stamp=STAMP,
                    scope=Scope.DEVICE,
                    contexts=(),
                    control="mfa",
                    max_age=-1,
                    reason="lost",
                    device="d",
                ),
            ),
            True,
        ),
        (
            OperatorClear(stamp=STAMP, subject=Subject(user="u"), reason="found"),
            Scope.USER,
            (MarksCleared(stamp=STAMP, scope=Scope.USER, reason="found"),),
            False,
        ),
        (
            SessionPresented(stamp=STAMP, subject=OF_ALL, ip="192.0.2.1", user_agent="a"),
            Scope.SESSION,
            (
                DeviceBound(stamp=STAMP, device="d"),
                Sighted(stamp=STAMP, ip="192.0.2.1", place=OPORTO),
                AgentSeen(stamp=STAMP, user_agent="a"),
            ),
            False,
        ),
        (
            SessionEstablished(stamp=STAMP, subject=OF_ALL, ip="192.0.2.1", acr="mfa", auth_time=9),
            Scope.SESSION,
            (
                SignedIn(
                    stamp=STAMP,
                    authentication=Authentication(9, "mfa"),
                    shown_with=ShownWith(ip="192.0.2.1", place=OPORTO, device="d", made_there=True),
                ),
                DeviceBound(stamp=STAMP, device="d"),
                ClaimsSeen(stamp=STAMP, scope=Scope.SESSION, claims=(("user", ("u",)),)),
                Sighted(stamp=STAMP, ip="192.0.2.1", place=OPORTO),
            ),
            False,
        ),
        (
            SessionEstablished(stamp=STAMP, subject=Subject(session="s")),
            Scope.SESSION,
            (SignedIn(stamp=STAMP, authentication=Authentication(0), shown_with=ShownWith()),),
            False,
        ),
        (SessionPresented(stamp=STAMP, subject=Subject(session="s")), Scope.SESSION, (), False),
    ],
)
def test_each_event_is_facts_in_the_record_of_what_it_names(
    signal: Signal, scope: Scope, facts: tuple[Fact, ...], *, can_only_tighten: bool
) -> None:
    assert facts_from(signal, lambda _: OPORTO) == SignalFacts(scope, facts)
    assert tightens(signal) is can_only_tighten


def test_a_changed_credential_is_its_users_whatever_it_names() -> None:
    signal = CredentialChange(stamp=STAMP, subject=OF_ALL)
    raised = SignalRaised(stamp=STAMP, scope=Scope.USER, name="credential-change")
    assert meaning(signal) == SignalFacts(Scope.USER, (raised,))
    assert tightens(signal)
    assert tightens(SessionRevoked(stamp=STAMP, subject=OF_ALL))
    assert tightens(
        AssuranceLevelChange(
            stamp=STAMP, subject=OF_ALL, namespace="", level="mfa", direction="decrease"
        )
    )


def test_facts_are_the_word_of_who_said_the_event() -> None:
    signal = SessionPresented(stamp=STAMP, subject=OF_ALL, source="idp")
    assert {fact.source for fact in meaning(signal).facts} == {"idp"}
