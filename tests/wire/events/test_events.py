import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
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
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.kinds import AS_CONFIGURED
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.settings.settings import Issuer
from sidecar.wire.tokens.claims import token_of

NOW = 1_800_000_000.0
SKEW = 60.0
SESSION = {"session": "s1"}
USER = {"user": "u1"}
DEVICE = {"device": "d1"}

LEAST: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "session-established": (SESSION, {}),
    "session-presented": (SESSION, {}),
    "session-revoked": (USER, {}),
    "network-change": (SESSION, {"segment": "guest"}),
    "device-compliance-change": (DEVICE, {"current_status": "not-compliant"}),
    "risk-level-change": (USER, {"current_level": "HIGH"}),
    "credential-change": (USER, {}),
    "assurance-level-change": (SESSION, {"current_level": "mfa"}),
    "token-claims-change": (USER, {"claims": {"role": "admin"}}),
    "risk-signal": (USER, {"name": "leaked-password"}),
}


def decode(event: Any) -> Any:
    return decode_event(event, now=NOW, skew=SKEW, new_id="fresh")


def least(kind: Any, **more: Any) -> Any:
    subject, data = LEAST[kind]
    return {"type": kind, "subject": dict(subject), "data": dict(data), **more}


def refused(event: Any) -> InvalidSignal:
    with pytest.raises(InvalidSignal) as caught:
        decode(event)
    return caught.value


@pytest.mark.parametrize("kind", LEAST)
def test_each_type_is_read_with_what_it_needs_and_nothing_else(kind: str) -> None:
    signal = decode(json.dumps(least(kind)).encode())
    assert signal.stamp == Stamp(1_800_000_000_000_000, "fresh")
    assert signal.source == ""


def test_the_values_of_every_type_arrive() -> None:
    subject = {"user": "u1", "device": "d1", "session": "s1"}
    envelope = {"time": 1_799_999_999.5, "id": "e1", "source": "edr", "subject": subject}
    common: dict[str, Any] = {
        "stamp": Stamp(1_799_999_999_500_000, "e1"),
        "subject": Subject("u1", "d1", "s1"),
        "source": "edr",
    }
    cases = [
        (
            "session-established",
            {
                "ip": "::ffff:203.0.113.9",
                "app": "payroll",
                "acr": "phr",
                "amr": ["hwk", "user"],
                "auth_time": 1_799_999_000,
                "exp": 1_800_009_000,
                "user_agent": "Firefox",
            },
            SessionEstablished(
                **common,
                ip="203.0.113.9",
                app="payroll",
                acr="phr",
                amr=("hwk", "user"),
                auth_time=1_799_999_000,
                exp=1_800_009_000,
                user_agent="Firefox",
            ),
        ),
        (
            "session-presented",
            {"ip": "2001:DB8::1", "user_agent": "curl"},
            SessionPresented(**common, ip="2001:db8::1", user_agent="curl"),
        ),
        ("session-revoked", {"reason": "left"}, SessionRevoked(**common, reason="left")),
        ("network-change", {"segment": "guest"}, NetworkChange(**common, segment="guest")),
        (
            "device-compliance-change",
            {"current_status": "compliant", "previous_status": "not-compliant"},
            DeviceComplianceChange(**common, compliant=True),
        ),
        (
            "risk-level-change",
            {"current_level": "MEDIUM", "previous_level": "LOW", "risk_reason": "travel"},
            RiskLevelChange(**common, level=RiskLevel.MEDIUM, reason="travel"),
        ),
        (
            "credential-change",
            {"credential_type": "fido2-roaming", "change_type": "create"},
            CredentialChange(**common, credential_type="fido2-roaming", change_type="create"),
        ),
        (
            "assurance-level-change",
            {"namespace": "NIST-AAL", "current_level": "nist-aal1", "change_direction": "decrease"},
            AssuranceLevelChange(
                **common, namespace="NIST-AAL", level="nist-aal1", direction="decrease"
            ),
        ),
        (
            "token-claims-change",
            {"claims": {"z": [1, True, 2.5], "role": "ro-admin", "gone": None, "scope": "a b"}},
            TokenClaimsChange(
                **common,
                claims=(
                    ("gone", ()),
                    ("role", ("ro-admin",)),
                    ("scope", ("a", "b")),
                    ("z", ("1", "true", "2.5")),
                ),
            ),
        ),
        (
            "risk-signal",
            {"name": "leaked-password", "weight": 40, "half_life": 600},
            RiskSignal(**common, name="leaked-password", weight=40.0, half_life=600.0),
        ),
    ]
    for kind, data, expected in cases:
        assert decode({"type": kind, **envelope, "data": data}) == expected


def test_a_risk_signal_without_weight_leaves_both_to_the_configuration() -> None:
    signal = decode(least("risk-signal"))
    assert (signal.weight, signal.half_life) == (AS_CONFIGURED, AS_CONFIGURED)


def test_a_weight_of_zero_is_a_weight() -> None:
    event = least("risk-signal", data={"name": "x", "weight": 0, "half_life": 0})
    assert (decode(event).weight, decode(event).half_life) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "subject", "field"),
    [
        ("device-compliance-change", SESSION, "subject.device"),
        ("session-established", USER, "subject.session"),
        ("credential-change", None, "subject.user"),
        ("network-change", USER, "subject"),
        ("session-revoked", {}, "subject"),
        ("session-revoked", {"user": "u1", "sesion": "s1"}, "subject.sesion"),
        ("session-revoked", {"user": ""}, "subject.user"),
        ("session-revoked", {"user": "u\x00"}, "subject.user"),
        ("session-revoked", {"user": "u" * 513}, "subject.user"),
        ("session-revoked", {"user": 7}, "subject.user"),
        ("session-revoked", ["u1"], "subject"),
    ],
)
def test_a_subject_that_does_not_fit_is_refused_by_its_field(
    kind: str, subject: Any, field: str | None
) -> None:
    assert refused(least(kind, subject=subject)).field == field


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("network-change", {}, "data.segment"),
        ("network-change", {"segment": ""}, "data.segment"),
        ("device-compliance-change", {}, "data.current_status"),
        ("device-compliance-change", {"current_status": True}, "data.current_status"),
        ("device-compliance-change", {"current_status": "compliant-ish"}, "data.current_status"),
        ("risk-level-change", {"current_level": "HIGHER"}, "data.current_level"),
        ("risk-level-change", {"current_level": ["HIGH"]}, "data.current_level"),
        ("assurance-level-change", {}, "data.current_level"),
        (
            "assurance-level-change",
            {"current_level": "mfa", "change_direction": "up"},
            "data.change_direction",
        ),
        ("credential-change", {"change_type": "created"}, "data.change_type"),
        ("session-established", {"ip": "203.0.113"}, "data.ip"),
        ("session-established", {"ip": 5}, "data.ip"),
        ("session-established", {"amr": "pwd"}, "data.amr"),
        ("session-established", {"amr": [1]}, "data.amr"),
        ("session-established", {"auth_time": "yesterday"}, "data.auth_time"),
        ("session-established", {"auth_time": NOW + SKEW + 1}, "data.auth_time"),
        ("session-established", {"exp": -1}, "data.exp"),
        ("token-claims-change", {}, "data.claims"),
        ("token-claims-change", {"claims": {}}, "data.claims"),
        ("token-claims-change", {"claims": {"a": {"b": 1}}}, "data.claims.a"),
        ("token-claims-change", {"claims": {"a": [[1]]}}, "data.claims.a"),
        ("token-claims-change", {"claims": {"a": float("inf")}}, "data.claims.a"),
        ("risk-signal", {}, "data.name"),
        ("risk-signal", {"name": "Leaked"}, "data.name"),
        ("risk-signal", {"name": "a", "weight": 101}, "data.weight"),
        ("risk-signal", {"name": "a", "weight": True}, "data.weight"),
        ("risk-signal", {"name": "a", "half_life": -1}, "data.half_life"),
        ("risk-signal", {"name": "a", "half_life": 10**400}, "data.half_life"),
        ("session-revoked", [], "data"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_its_field(
    kind: str, data: Any, field: str | None
) -> None:
    assert refused(least(kind, data=data)).field == field


UNREADABLE: tuple[object, ...] = (
    *(None, 7, True, [], ["a"], {"en": None}, {"a": 1}),
    *("a\nb\x07", "x" * 5000),
)


@pytest.mark.parametrize("value", UNREADABLE)
@pytest.mark.parametrize(
    ("kind", "data", "member"),
    [
        ("session-revoked", {}, "reason"),
        ("risk-level-change", {"current_level": "HIGH"}, "risk_reason"),
        ("risk-level-change", {"current_level": "HIGH"}, "previous_level"),
        ("device-compliance-change", {"current_status": "not-compliant"}, "previous_status"),
        ("assurance-level-change", {"current_level": "mfa"}, "previous_level"),
    ],
)
def test_what_only_informs_never_vetoes_an_event(
    kind: str, data: dict[str, Any], member: str, value: object
) -> None:
    read = decode(least(kind, data={**data, member: value}))
    reason = getattr(read, "reason", "")
    assert len(reason) <= 1024
    assert reason.isprintable()
    assert msgspec.structs.replace(read, **({"reason": ""} if reason else {})) == decode(
        least(kind, data=data)
    )


@pytest.mark.parametrize(
    ("kind", "member", "spelled", "meant"),
    [
        ("risk-level-change", "current_level", ["high", "High", "HIGH"], "HIGH"),
        (
            *("device-compliance-change", "current_status"),
            *(["NOT_COMPLIANT", "Not-Compliant", "not_compliant"], "not-compliant"),
        ),
        ("device-compliance-change", "current_status", ["Compliant"], "compliant"),
        ("credential-change", "change_type", ["UPDATE", "Update"], "update"),
    ],
)
def test_levels_and_statuses_are_read_in_any_case(
    kind: str, member: str, spelled: list[str], meant: str
) -> None:
    wanted = decode(least(kind, data={member: meant}))
    assert [decode(least(kind, data={member: one})) for one in spelled] == [wanted] * len(spelled)


def test_data_may_hold_more_than_is_known_here() -> None:
    decode(
        least("session-revoked", data={"initiating_entity": "admin", "reason_admin": {"en": "x"}})
    )


@pytest.mark.parametrize(
    "time",
    [NOW + SKEW + 0.001, -1, True, "1800000000", float("nan"), float("inf"), 10**400, 1.8e12, []],
)
def test_a_time_that_is_none_or_too_far_ahead_is_refused(time: Any) -> None:
    assert refused(least("session-revoked", time=time)).field == "time"


@pytest.mark.parametrize("time", [0, 1.5, NOW, NOW + SKEW])
def test_a_time_within_the_skew_is_kept(time: Any) -> None:
    assert decode(least("session-revoked", time=time)).stamp.seconds == time


@pytest.mark.parametrize("event_id", ["", "x" * 129, "a\nb", 7, "\ud800"])
def test_an_id_that_is_not_short_and_printable_is_refused(event_id: Any) -> None:
    assert refused(least("session-revoked", id=event_id)).field == "id"


@pytest.mark.parametrize("kind", [None, 7, "", "session-revoke", ["session-revoked"]])
def test_an_unknown_type_is_refused_with_the_known_ones(kind: str) -> None:
    error = refused({"type": kind, "subject": USER})
    assert error.field == "type"
    assert "session-revoked" in error.message


def test_an_unknown_member_is_refused_and_those_of_the_doors_are_not() -> None:
    assert refused(least("session-revoked", subjct={})).field == "subjct"
    decode(least("session-revoked", op="event", ref=1, wait="everywhere", timeout=3))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"type":"session-revoked"',
        b'{"type":"session-revoked","type":"session-revoked","subject":{"user":"u"}}',
        b'{"type":"session-revoked","subject":{"user":"u","user":"v"}}',
        b'{"type":"session-revoked","subject":{"user":"u"},"time":NaN}',
        b'{"type":"session-revoked","subject":{"user":"\\ud800"}}',
        b'{"data":' + b"[" * 100_000,
        b'{"time":' + b"9" * 5000 + b"}",
        b'\xef\xbb\xbf{"type":"session-revoked","subject":{"user":"u"}}',
    ],
)
def test_what_is_no_plain_json_object_is_refused_as_a_whole(raw: bytes) -> None:
    assert refused(raw).field == ""


def test_claims_of_an_event_read_as_those_of_a_token() -> None:
    claims = {"a": "x", "n": 1, "f": 2.5, "b": True, "l": ["x", 2], "scp": "r w"}
    token = token_of(
        {"sub": "u", "exp": 1, **claims}, Issuer(issuer="https://idp", audiences=("app",))
    )
    event = decode(least("token-claims-change", data={"claims": claims}))
    assert dict(event.claims) == dict(token.claims)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(st.binary(max_size=300) | anything.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_make_it_raise_anything_but_its_own_error(raw: bytes) -> None:
    with suppress(InvalidSignal):
        decode(raw)


@given(
    st.sampled_from(sorted(LEAST)),
    st.dictionaries(
        st.sampled_from(["time", "id", "source", "subject", "data", "x"]), anything, max_size=3
    ),
    st.dictionaries(
        st.sampled_from(
            [
                "ip",
                "app",
                "acr",
                "amr",
                "auth_time",
                "exp",
                "user_agent",
                "reason",
                "segment",
                "current_status",
                "current_level",
                "risk_reason",
                "credential_type",
                "change_type",
                "namespace",
                "change_direction",
                "claims",
                "name",
                "weight",
                "half_life",
            ]
        ),
        anything,
    ),
)
def test_any_values_of_known_members_are_read_or_refused(kind: str, top: Any, data: Any) -> None:
    event = {**least(kind), **top}
    if isinstance(event["data"], dict):
        event["data"] = {**event["data"], **data}
    try:
        signal = decode(event)
    except InvalidSignal:
        return
    msgspec.json.encode(signal)
    assert signal.stamp.seconds <= NOW + SKEW
