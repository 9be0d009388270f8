from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import Stamp
from sidecar.shared_signals.wire.inbound import Ignored, InboundTerms, meaning_of
from sidecar.shared_signals.wire.security_event_tokens import InvalidSet, decode_claims, event_id_of
from sidecar.shared_signals.wire.security_events import CAEP, KINDS, RISC
from sidecar.wire.events.kinds import AS_CONFIGURED
from sidecar.wire.settings.receiver import SubjectMatch, SubjectSettings
from sidecar.wire.subjects.subject_rules import SubjectRules, Unmatched

NOW = 1_800_000_000.0
ISSUER = "https://idp.example.com/"
ADA = {"format": "iss_sub", "iss": ISSUER, "sub": "ada"}
LAPTOP = {"format": "opaque", "id": "laptop"}
S1 = {"format": "opaque", "id": "s1"}
ALL = {"format": "complex", "user": ADA, "device": LAPTOP, "session": S1}
SUBJECTS = SubjectSettings(
    session=(SubjectMatch(format="opaque"), SubjectMatch(format="ext_id", value="{ext_id}")),
)


def meaning(event: str, payload: Any = None, sub_id: Any = ADA, **more: Any) -> Any:
    claims = {
        "iss": ISSUER,
        "jti": "1",
        "iat": NOW,
        "aud": "us",
        "sub_id": sub_id,
        "events": {event: payload or {}},
    }
    terms = InboundTerms(
        rules=SubjectRules(SUBJECTS, (ISSUER,)),
        event_id="id",
        source="idp",
        now=NOW,
        skew=60.0,
        user_wide_proofs=more.pop("user_wide_proofs", False),
        may_prove=more.pop("may_prove", True),
    )
    found = meaning_of(decode_claims({**claims, **more}), terms)
    if isinstance(found, Ignored | Unmatched):
        return found
    assert found.content, "what it says is known by a digest"
    return msgspec.structs.replace(found, content="")


def caep(event: str, payload: Any = None, sub_id: Any = ADA, **more: Any) -> Any:
    return meaning(CAEP + event, payload, sub_id, **more)


def risc(event: str, payload: Any = None, sub_id: Any = ADA, **more: Any) -> Any:
    return meaning(RISC + event, payload, sub_id, **more)


COMMON: Any = {"stamp": Stamp(1_800_000_000_000_000, "id"), "source": "idp"}
USER, DEVICE, SESSION = Subject(user="ada"), Subject(device="laptop"), Subject(session="s1")


def test_a_revocation_keeps_all_that_it_names_and_one_of_its_reasons() -> None:
    payload = {"reason_admin": {"en": "Landspeed\nviolation"}}
    assert caep("session-revoked", payload, ALL) == SessionRevoked(
        **COMMON, subject=Subject("ada", "laptop", "s1"), reason="Landspeed violation"
    )
    assert caep("session-revoked", sub_id=S1) == SessionRevoked(**COMMON, subject=SESSION)


def test_an_event_took_place_when_it_says() -> None:
    event = caep("session-revoked", {"event_timestamp": NOW - 7.5})
    assert event.stamp == Stamp(1_799_999_992_500_000, "id")
    assert caep("session-revoked", toe=NOW - 5).stamp.time == 1_799_999_995_000_000


def test_an_event_from_the_future_is_refused() -> None:
    with pytest.raises(InvalidSet, match="time"):
        caep("session-revoked", {"event_timestamp": NOW + 61})


@pytest.mark.parametrize(
    ("principal", "subject"),
    [("USER", USER), ("DEVICE", DEVICE), ("SESSION", SESSION), ("user", USER), (None, SESSION)],
)
def test_a_risk_is_the_principals_and_nobody_elses(principal: Any, subject: Subject) -> None:
    payload = {"current_level": "HIGH", "risk_reason": "breach"}
    payload |= {"principal": principal} if principal else {}
    assert caep("risk-level-change", payload, ALL) == RiskLevelChange(
        **COMMON, subject=subject, level=RiskLevel.HIGH, reason="breach"
    )


@pytest.mark.parametrize("principal", ["TENANT", "ORG_UNIT", "GROUP", "ROBOT"])
def test_the_risk_of_another_principal_is_ignored(principal: str) -> None:
    payload = {"current_level": "HIGH", "principal": principal}
    assert isinstance(caep("risk-level-change", payload, ALL), Ignored)


def test_a_risk_of_a_principal_that_the_subject_does_not_name_is_nobodys() -> None:
    payload = {"current_level": "HIGH", "principal": "DEVICE"}
    only_user = {"format": "complex", "user": ADA}
    assert isinstance(caep("risk-level-change", payload, only_user), Unmatched)


def test_the_rest_of_caep() -> None:
    assert caep("token-claims-change", {"claims": {"role": "ro", "n": 1}}, ALL) == (
        TokenClaimsChange(
            **COMMON,
            subject=Subject(user="ada", session="s1"),
            claims=(("n", ("1",)), ("role", ("ro",))),
        )
    )
    assert caep("credential-change", {"credential_type": "pin", "change_type": "create"}) == (
        CredentialChange(**COMMON, subject=USER, credential_type="pin", change_type="create")
    )
    assert caep("device-compliance-change", {"current_status": "not-compliant"}, ALL) == (
        DeviceComplianceChange(**COMMON, subject=DEVICE, compliant=False)
    )
    level = {"namespace": "NIST-AAL", "current_level": "aal2", "change_direction": "decrease"}
    assert caep("assurance-level-change", level, S1) == AssuranceLevelChange(
        **COMMON, subject=SESSION, namespace="NIST-AAL", level="aal2", direction="decrease"
    )
    assert caep("session-established", {"acr": "aal2", "amr": ["otp"]}, ALL) == (
        SessionEstablished(
            **COMMON, subject=Subject("ada", "laptop", "s1"), acr="aal2", amr=("otp",)
        )
    )


def test_an_external_id_names_a_session_where_a_rule_takes_it_for_one() -> None:
    assert caep("session-presented", {"ext_id": "s9"}) == SessionPresented(
        **COMMON, subject=Subject(user="ada", session="s9")
    )
    assert caep("session-presented", {"ext_id": "s9"}, S1).subject == SESSION


@pytest.mark.parametrize("event", ["session-established", "session-presented"])
def test_without_a_session_it_is_a_signal_that_weighs_what_is_configured(event: str) -> None:
    assert caep(event) == RiskSignal(
        **COMMON,
        subject=USER,
        name=f"ssf-{event}",
        weight=AS_CONFIGURED,
        half_life=AS_CONFIGURED,
    )


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("session-revoked", {}),
        ("assurance-level-change", {"current_level": "aal1", "change_direction": "decrease"}),
    ],
)
def test_a_subject_is_a_name_as_tokens_have_it(event: str, payload: Any) -> None:
    jose = {**ADA, "sub": "Jose\u0301"}
    assert caep(event, payload, jose).subject.user == "Jos\u00e9"
    with pytest.raises(InvalidSet):
        caep(event, payload, {**ADA, "sub": "x" * 513})


def test_an_assurance_that_rose_for_a_user_proves_nothing_unless_it_may() -> None:
    rise = {"current_level": "aal2"}
    assert isinstance(caep("assurance-level-change", rise), Ignored)
    assert caep("assurance-level-change", rise, user_wide_proofs=True) == AssuranceLevelChange(
        **COMMON, subject=USER, namespace="", level="aal2"
    )
    fall = {"current_level": "aal1", "change_direction": "decrease"}
    assert caep("assurance-level-change", fall).direction == "decrease"
    device = {"format": "complex", "device": LAPTOP}
    assert isinstance(caep("assurance-level-change", rise, device), Unmatched)


@pytest.mark.parametrize(
    "event", ["account-disabled", "account-purged", "sessions-revoked", "identifier-recycled"]
)
def test_an_account_that_is_gone_has_its_sessions_revoked(event: str) -> None:
    assert risc(event) == SessionRevoked(**COMMON, subject=USER, reason=event)


def test_why_an_account_was_disabled_is_kept() -> None:
    assert risc("account-disabled", {"reason": "hijacking"}).reason == "account-disabled hijacking"


@pytest.mark.parametrize(
    "event",
    [
        "account-credential-change-required",
        "credential-compromise",
        "identifier-changed",
        "recovery-activated",
        "recovery-information-changed",
    ],
)
def test_what_we_have_no_event_for_is_a_signal_with_a_name(event: str) -> None:
    assert risc(event).name == f"ssf-{event}"
    assert risc(event).subject == USER


@pytest.mark.parametrize(
    "event",
    ["account-enabled", "opt-in", "opt-out-initiated", "opt-out-cancelled", "opt-out-effective"],
)
def test_what_asks_for_nothing_is_ignored(event: str) -> None:
    assert isinstance(risc(event), Ignored)


def test_an_event_without_a_subject_is_refused() -> None:
    with pytest.raises(InvalidSet, match="sub_id"):
        caep("session-revoked", sub_id=None)


def test_the_id_of_an_event_is_that_of_issuer_and_token_alone() -> None:
    assert event_id_of("a", "bc") == event_id_of("a", "bc")
    assert event_id_of("a", "bc") != event_id_of("ab", "c")
    assert len(event_id_of("a" * 1024, "b" * 1024)) <= 128


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("HIGH")
MEMBERS = st.sampled_from(
    ["claims", "current_level", "namespace", "event_timestamp", "ext_id", "acr", "reason", "amr"]
)


@given(
    st.sampled_from(sorted(KINDS)),
    st.dictionaries(MEMBERS, VALUES | st.lists(VALUES) | st.dictionaries(st.text(), VALUES)),
    st.sampled_from([ADA, S1, ALL]),
)
def test_no_event_makes_the_reader_raise_anything_but_its_own_error(
    uri: str, payload: Any, sub_id: Any
) -> None:
    try:
        meaning(uri, payload, sub_id, user_wide_proofs=True)
    except InvalidSet:
        return
