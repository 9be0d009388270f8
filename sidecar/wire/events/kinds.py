"""Describes the contract's events, each in one row: reader, schema and page come from it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

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
    Signal,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.wire.events.members import (
    MAX_TEXT,
    Informing,
    MemberAddress,
    MemberChoice,
    MemberClaims,
    MemberNumber,
    MemberRule,
    MemberSpelled,
    MemberText,
    MemberTexts,
    MemberTime,
    Schema,
)
from sidecar.wire.names import MAX_NAME
from sidecar.wire.tokens.claims import LATEST_TIME

MAX_EVENT_ID = 128
LONGEST_HALF_LIFE = 10 * 365 * 86400.0
AS_CONFIGURED = -1.0
"""The `weight` and `half_life` of a risk signal that has none of its own."""

SUBJECT_KEYS = ("session", "user", "device", "issuer")
_SIGNAL_NAME = re.compile(r"[a-z0-9._-]{1,64}")


class Member(NamedTuple):
    """Describes one member of an event's `data`. The signal has it as `to`; empty: it does not."""

    rule: MemberRule
    to: str
    meaning: str


class EventKind(NamedTuple):
    """Describes one type of event. Its subject must name one of those that it `touches`."""

    signal: type[Signal]
    touches: tuple[str, ...]
    says: str
    data: Mapping[str, Member]

    @property
    def required(self) -> list[str]:
        """The members that must be there."""
        return [name for name, member in self.data.items() if member.rule.required]


_LEVELS = {level.name: level for level in RiskLevel}
_STATUSES = {"compliant": True, "not-compliant": False}
_IP = Member(MemberAddress(), "ip", "from where the session is used")
_AGENT = Member(MemberText(MAX_TEXT), "user_agent", "with what")

_KINDS = (
    EventKind(
        SessionEstablished,
        ("session",),
        "a session began with a sign-in",
        {
            "ip": _IP,
            "app": Member(MemberText(), "app", "in which app"),
            "acr": Member(MemberText(), "acr", "the sign-in's authentication context class"),
            "amr": Member(MemberTexts(), "amr", "the sign-in's authentication methods"),
            "auth_time": Member(MemberTime(past=True), "auth_time", "when the user signed in"),
            "exp": Member(MemberTime(past=False), "exp", "when the session ends by itself"),
            "user_agent": _AGENT,
        },
    ),
    EventKind(
        SessionPresented,
        ("session",),
        "a session was used",
        {"ip": _IP, "user_agent": _AGENT},
    ),
    EventKind(
        SessionRevoked,
        ("session", "user", "device"),
        "a session ends, or all of a user or on a device",
        {"reason": Member(Informing(), "reason", "why")},
    ),
    EventKind(
        NetworkChange,
        ("session", "device"),
        "a session or device is in another network segment",
        {"segment": Member(MemberText(required=True), "segment", "which one")},
    ),
    EventKind(
        DeviceComplianceChange,
        ("device",),
        "a device became compliant, or is so no more",
        {
            "current_status": Member(MemberChoice(_STATUSES), "compliant", "what it is now"),
            "previous_status": Member(Informing(), "", "what it was"),
        },
    ),
    EventKind(
        RiskLevelChange,
        ("user", "device", "session"),
        "the risk of a user, device or session is another",
        {
            "current_level": Member(MemberChoice(_LEVELS), "level", "what it is now"),
            "previous_level": Member(Informing(), "", "what it was"),
            "risk_reason": Member(Informing(), "reason", "why"),
        },
    ),
    EventKind(
        CredentialChange,
        ("user",),
        "a credential of a user changed",
        {
            "credential_type": Member(MemberText(), "credential_type", "which kind of credential"),
            "change_type": Member(
                MemberChoice({one: one for one in ("create", "revoke", "update", "delete")}, ""),
                "change_type",
                "what was done to it",
            ),
        },
    ),
    EventKind(
        AssuranceLevelChange,
        ("session",),
        "the assurance of a session's sign-in is another",
        {
            "namespace": Member(MemberText(), "namespace", "whose levels they are"),
            "current_level": Member(MemberText(required=True), "level", "what it is now"),
            "previous_level": Member(Informing(), "", "what it was"),
            "change_direction": Member(
                MemberChoice({one: one for one in ("increase", "decrease")}, "increase"),
                "direction",
                "which way; absent: `increase`",
            ),
        },
    ),
    EventKind(
        TokenClaimsChange,
        ("user", "session"),
        "claims of tokens of a user or session are others",
        {"claims": Member(MemberClaims(), "claims", "what they are now")},
    ),
    EventKind(
        RiskSignal,
        ("user", "device", "session"),
        "a detection, by its name; it weighs less as time goes by",
        {
            "name": Member(
                MemberSpelled(
                    _SIGNAL_NAME.fullmatch,
                    "must be 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'",
                    f"^{_SIGNAL_NAME.pattern}$",
                ),
                "name",
                "which one",
            ),
            "weight": Member(
                MemberNumber(100, AS_CONFIGURED), "weight", "its weight; absent: as configured"
            ),
            "half_life": Member(
                MemberNumber(LONGEST_HALF_LIFE, AS_CONFIGURED),
                "half_life",
                "after so many seconds it weighs half; absent: as configured",
            ),
        },
    ),
)
EVENTS: Mapping[str, EventKind] = {kind.signal.kind: kind for kind in _KINDS}
"""All types of event, in the order of the reference page."""

_NAME: Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME}
ENVELOPE: Mapping[str, tuple[Schema, str]] = {
    "type": ({"enum": list(EVENTS)}, "which event it is"),
    "time": (
        {"type": ["number", "null"], "minimum": 0, "maximum": LATEST_TIME},
        "when, in seconds since the epoch; absent: now",
    ),
    "id": (
        {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_EVENT_ID},
        "the same event has the same id; absent: it is a new one",
    ),
    "source": (
        {"type": ["string", "null"], "maxLength": MAX_NAME},
        "what its sender calls itself",
    ),
    "subject": (
        {
            "type": "object",
            "properties": dict.fromkeys(SUBJECT_KEYS, _NAME),
            "additionalProperties": False,
        },
        "what it is about: `session`, `user`, `device`, and the `issuer` whose names they are",
    ),
    "data": ({"type": ["object", "null"]}, "what it says, by type; it may hold more"),
}
"""The members that every event has, each with its schema and its meaning."""


def event_schema() -> Schema:
    """Return the JSON Schema of one event. `data` may hold more than is known here."""
    return {
        "title": "An event for stepup-sidecar",
        "type": "object",
        "properties": envelope_schema(),
        "required": ["type", "subject"],
        "additionalProperties": False,
        "oneOf": [_branch(name, kind, data_schema(kind)) for name, kind in EVENTS.items()],
    }


def envelope_schema() -> Schema:
    """Return the JSON Schemas of the members that every event has, by name."""
    return {
        name: {**schema, "description": meaning} for name, (schema, meaning) in ENVELOPE.items()
    }


def data_schema(kind: EventKind) -> Schema:
    """Return the JSON Schema of an event's `data`."""
    members = {
        name: {"description": member.meaning, **member.rule.schema()}
        for name, member in kind.data.items()
    }
    found: Schema = {"type": ["object", "null"], "properties": members}
    return {**found, "type": "object", "required": kind.required} if kind.required else found


def _branch(name: str, kind: EventKind, data: Schema) -> Schema:
    named = [
        {"required": [each], "properties": {each: {"type": "string"}}} for each in kind.touches
    ]
    about: Schema = {"anyOf": named}
    found: Schema = {"properties": {"type": {"const": name}, "subject": about, "data": data}}
    return {**found, "required": ["data"]} if kind.required else found
