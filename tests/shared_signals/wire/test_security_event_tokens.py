import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.shared_signals.wire.security_event_tokens import (
    InvalidSet,
    SecurityEventToken,
    UnknownEvent,
    decode_claims,
    encode_claims,
)
from sidecar.shared_signals.wire.security_events import (
    CAEP,
    KINDS,
    RISC,
    SSF,
    URIS,
    AccountDisabled,
    CaepAssuranceLevelChange,
    CaepCredentialChange,
    CaepDeviceComplianceChange,
    CaepRiskLevelChange,
    CaepSessionEstablished,
    CaepSessionRevoked,
    CaepTokenClaimsChange,
    Compliance,
    IdentifierChanged,
    InvalidSecurityEvent,
    StreamStatus,
    StreamUpdated,
    Verification,
    decode_security_event,
    encode_security_event,
    name_of,
    text_of,
)
from sidecar.wire.events.security_event_names import TYPES, Fault
from sidecar.wire.subjects.subject_ids import Email, Opaque

NOW = 1_615_305_159
SUB_ID = {"format": "email", "email": "ada@example.com"}


def claims(event: str = f"{CAEP}session-revoked", payload: Any = None, **more: Any) -> Any:
    least = {
        "iss": "https://idp.example.com/",
        "jti": "24c63fb56e5a2d77",
        "iat": NOW,
        "aud": "https://sp.example.com/caep",
        "sub_id": SUB_ID,
        "events": {event: {} if payload is None else payload},
    }
    return {key: value for key, value in {**least, **more}.items() if value is not ...}


def refused(values: Any) -> InvalidSet:
    with pytest.raises(InvalidSet) as caught:
        decode_claims(values)
    return caught.value


def test_the_names_of_types_are_those_of_their_uris() -> None:
    assert {name_of(kind) for kind in URIS} == TYPES


def test_every_claim_arrives() -> None:
    payload = {"event_timestamp": 1615304991, "reason_admin": {"en": "policy"}}
    token = decode_claims(claims(payload=payload, txn="8675309", toe=1615304000))
    assert token == SecurityEventToken(
        issuer="https://idp.example.com/",
        id="24c63fb56e5a2d77",
        issued_at=NOW,
        audiences=("https://sp.example.com/caep",),
        event=CaepSessionRevoked(event_timestamp=1615304991, reason_admin={"en": "policy"}),
        subject=Email("ada@example.com"),
        transaction="8675309",
        time_of_event=1615304000,
    )


def test_it_happened_when_the_event_says_else_at_toe_else_when_it_was_issued() -> None:
    assert decode_claims(claims(payload={"event_timestamp": 17.5}, toe=16)).time == 17.5
    assert decode_claims(claims(toe=16)).time == 16
    assert decode_claims(claims()).time == NOW


def test_milliseconds_of_the_drafts_are_seconds() -> None:
    assert decode_claims(claims(payload={"event_timestamp": 1615304991643})).time == 1615304991.643


def test_an_audience_is_one_or_many() -> None:
    assert decode_claims(claims(aud=["a", "b"])).audiences == ("a", "b")
    assert encode_claims(decode_claims(claims(aud=["a", "b"])))["aud"] == ["a", "b"]


def test_the_subject_of_the_drafts_stands_in_the_event_and_counts_where_there_is_no_other() -> None:
    draft = claims(payload={"subject": {"format": "opaque", "id": "1"}}, sub_id=...)
    assert decode_claims(draft).subject == Opaque("1")
    both = claims(payload={"subject": {"format": "opaque", "id": "1"}})
    assert decode_claims(both).subject == Email("ada@example.com")


def test_one_event_may_stand_under_several_uris_of_the_same_meaning() -> None:
    events = {f"{RISC}verification": {"state": "s"}, f"{SSF}verification": {"state": "s"}}
    assert decode_claims(claims(events=events)).event == Verification(state="s")


def test_an_event_of_an_unknown_type_is_a_set_all_the_same() -> None:
    token = decode_claims(claims(event="urn:example:event", sub_id={"format": "odd", "of": {}}))
    assert token.event == UnknownEvent("urn:example:event")
    with pytest.raises(ValueError, match="unknown type"):
        encode_claims(token)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"sub": "ada"},
        {"exp": NOW + 60},
        {"iss": ...},
        {"iss": 7},
        {"jti": ...},
        {"jti": ""},
        {"jti": "x" * 1025},
        {"iat": ...},
        {"iat": "now"},
        {"iat": True},
        {"iat": -1},
        {"iat": 1e400},
        {"events": ...},
        {"events": {}},
        {"events": []},
        {"events": {f"{CAEP}session-revoked": {}, f"{CAEP}session-presented": {}}},
        {"events": {"urn:a": {}, "urn:b": {}}},
        {"events": {f"{CAEP}session-revoked": None}},
        {"events": {f"{CAEP}risk-level-change": {"current_level": "EXTREME"}}},
        {"events": {f"{CAEP}risk-level-change": {}}},
        {"sub_id": {"format": "email"}},
    ],
)
def test_what_is_no_set_is_an_invalid_request(spoilt: Any) -> None:
    assert refused(claims(**spoilt)).fault is Fault.INVALID_REQUEST


@pytest.mark.parametrize("aud", [..., None, [], 7, ["a", 7], {"a": "b"}])
def test_an_audience_that_is_none_is_an_invalid_audience(aud: Any) -> None:
    assert refused(claims(aud=aud)).fault is Fault.INVALID_AUDIENCE


def test_a_refusal_never_quotes_a_value() -> None:
    bad = {f"{CAEP}risk-level-change": {"current_level": "secret"}}
    assert "secret" not in str(refused(claims(events=bad)))


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (CaepTokenClaimsChange(claims={"role": "ro-admin"}), {"claims": {"role": "ro-admin"}}),
        (
            CaepCredentialChange(credential_type="pin", change_type=None, friendly_name="x"),
            {"credential_type": "pin", "friendly_name": "x"},
        ),
        (
            CaepDeviceComplianceChange(current_status=Compliance.NOT_COMPLIANT),
            {"current_status": "not-compliant"},
        ),
        (CaepSessionEstablished(acr="AAL2", amr=("otp",)), {"acr": "AAL2", "amr": ["otp"]}),
        (AccountDisabled(reason="hijacking"), {"reason": "hijacking"}),
        (IdentifierChanged(new_value="a@b"), {"new-value": "a@b"}),
        (StreamUpdated(status=StreamStatus.PAUSED), {"status": "paused"}),
        (CaepAssuranceLevelChange(current_level="aal2"), {"current_level": "aal2"}),
    ],
)
def test_events_are_written_under_their_names(event: Any, payload: Any) -> None:
    uri, written = encode_security_event(event)
    assert json.loads(json.dumps(written)) == payload
    assert uri == URIS[type(event)]
    assert decode_security_event(uri, payload) == event


def test_what_is_not_needed_may_be_missing_or_unknown() -> None:
    event = decode_security_event(f"{CAEP}risk-level-change", {"current_level": "LOW", "new": 1})
    assert event == decode_security_event(f"{CAEP}risk-level-change", {"current_level": "LOW"})


def test_types_have_short_names() -> None:
    assert name_of(CaepRiskLevelChange) == "risk-level-change"
    assert len({name_of(kind) for kind in URIS}) == len(URIS)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ({}, ""),
        ("one\ntext", "one text"),
        ({"de": "eins", "en-GB": "one"}, "one"),
        ({"de": "eins"}, "eins"),
    ],
)
def test_one_text_of_a_reason_is_kept(reason: Any, text: str) -> None:
    assert text_of(reason) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["event_timestamp", "reason_admin", "claims", "amr", "current_level", "subject", "new-value"]
)


@given(st.sampled_from([*KINDS, "urn:x"]), st.dictionaries(MEMBERS | st.text(), JSON))
def test_no_payload_makes_the_decoder_raise_anything_but_its_own_error(uri: Any, raw: Any) -> None:
    try:
        event = decode_security_event(uri, raw)
    except InvalidSecurityEvent:
        return
    again = msgspec.json.decode(msgspec.json.encode(encode_security_event(event)[1]))
    assert decode_security_event(uri, again) == event


@given(
    st.dictionaries(
        st.sampled_from(["iss", "jti", "iat", "aud", "events", "sub_id", "txn", "toe", "exp"]), JSON
    ),
    st.sampled_from([*KINDS, "urn:x"]),
)
def test_no_claims_make_the_decoder_raise_anything_but_its_own_error(more: Any, uri: str) -> None:
    for values in (more, {**claims(uri), **more}):
        try:
            decode_claims(values)
        except InvalidSet:
            continue


# Each stands for what real transmitters send; CAEP makes all of these optional.
INFORMS: list[tuple[str, object, bool]] = [
    ("reason_admin", None, False),
    ("reason_admin", 7, True),
    ("reason_admin", [], True),
    ("reason_user", [], True),
    ("reason_user", {"en": None}, True),
    ("initiating_entity", None, False),
    ("initiating_entity", 3, True),
    ("initiating_entity", {"a": 1}, True),
    ("event_timestamp", None, False),
    ("event_timestamp", "1702448550", False),
    ("event_timestamp", "2023-12-13T06:22:30Z", True),
    ("event_timestamp", -5, True),
    ("event_timestamp", 1e300, True),
    ("event_timestamp", True, True),
    ("event_timestamp", [1702448550], True),
]


@pytest.mark.parametrize(("member", "value", "left_out"), INFORMS)
def test_what_only_informs_never_vetoes_a_revocation(
    member: str, value: object, left_out: bool
) -> None:
    token = decode_claims(claims(payload={member: value}))
    assert isinstance(token.event, CaepSessionRevoked)
    assert token.left_out == ((member,) if left_out else ())
    assert token.time == (1702448550 if value == "1702448550" else NOW)


@pytest.mark.parametrize("value", ["then", True, -1, [], 1e400])
def test_a_toe_that_is_no_time_is_left_out_and_counted(value: object) -> None:
    token = decode_claims(claims(toe=value))
    assert (token.time, token.left_out) == (NOW, ("toe",))


@pytest.mark.parametrize(
    ("name", "payload", "meant"),
    [
        ("risk-level-change", {"current_level": "high"}, {"current_level": "HIGH"}),
        ("risk-level-change", {"current_level": "High"}, {"current_level": "HIGH"}),
        (
            "risk-level-change",
            {"current_level": "LOW", "previous_level": 3, "risk_reason": None},
            {"current_level": "LOW"},
        ),
        (
            "device-compliance-change",
            {"current_status": "NOT_COMPLIANT", "previous_status": "COMPLIANT"},
            {"current_status": "not-compliant", "previous_status": "compliant"},
        ),
        ("credential-change", {"change_type": "UPDATE"}, {"change_type": "update"}),
        ("credential-change", {"change_type": None, "friendly_name": 1}, {}),
        (
            "assurance-level-change",
            {"current_level": "aal2", "change_direction": "Increase"},
            {"current_level": "aal2", "change_direction": "increase"},
        ),
    ],
)
def test_levels_are_read_in_any_case_and_null_is_absent(
    name: str, payload: object, meant: object
) -> None:
    uri = f"{CAEP}{name}"
    assert decode_security_event(uri, payload) == decode_security_event(uri, meant)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "current_level is required"),
        ({"current_level": None}, "current_level is required"),
        ({"current_level": 5}, "events.current_level: is not of the form"),
        ({"current_level": "EXTREME"}, "events.current_level: has none of the values"),
        ({"current_level": "LOW", "principal": 5}, "events.principal: is not of the form"),
    ],
)
def test_what_an_event_depends_on_is_refused_in_words_without_our_types(
    payload: object, words: str
) -> None:
    with pytest.raises(InvalidSecurityEvent) as caught:
        decode_security_event(f"{CAEP}risk-level-change", payload)
    assert words in str(caught.value)
    assert "`" not in str(caught.value)
