"""The JSON Schema of events: the contract's table of them, section 4."""

from typing import Any, NamedTuple, TypeAlias

Schema: TypeAlias = dict[str, Any]

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 512}
_TEXT: Schema = {"type": "string", "maxLength": 1024}
_TIME: Schema = {"type": "number", "minimum": 0, "maximum": 9_999_999_999}
_INFORMS: Schema = {"description": "a text for people; what is none is left out"}


def _choice(*values: str) -> Schema:
    """One of these, in any case: an editor offers them as they are spelled here."""
    ways = ("".join(_either(letter) for letter in value) for value in values)
    pattern = {"type": "string", "pattern": f"^(?:{'|'.join(ways)})$"}
    return {"anyOf": [{"enum": list(values)}, pattern]}


def _either(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else "[-_]"


_LEVEL = _choice("LOW", "MEDIUM", "HIGH")
_STATUS = _choice("compliant", "not-compliant")
_VALUE: Schema = {"type": ["string", "number", "boolean"], "maxLength": 512}
_CLAIM: Schema = {**_VALUE, "type": [*_VALUE["type"], "null"]}


class _Kind(NamedTuple):
    touches: tuple[str, ...]
    data: Schema
    required: tuple[str, ...] = ()


_KINDS = {
    "session-established": _Kind(
        ("session",),
        {
            "ip": _TEXT,
            "app": _TEXT,
            "acr": _TEXT,
            "amr": {"type": "array", "items": _NAME},
            "auth_time": _TIME,
            "exp": _TIME,
            "user_agent": _TEXT,
        },
    ),
    "session-presented": _Kind(("session",), {"ip": _TEXT, "user_agent": _TEXT}),
    "session-revoked": _Kind(("session", "user", "device"), {"reason": _INFORMS}),
    "network-change": _Kind(("session", "device"), {"segment": _NAME}, ("segment",)),
    "device-compliance-change": _Kind(
        ("device",),
        {"current_status": _STATUS, "previous_status": _INFORMS},
        ("current_status",),
    ),
    "risk-level-change": _Kind(
        ("user", "device", "session"),
        {"current_level": _LEVEL, "previous_level": _INFORMS, "risk_reason": _INFORMS},
        ("current_level",),
    ),
    "credential-change": _Kind(
        ("user",),
        {
            "credential_type": _TEXT,
            "change_type": _choice("create", "revoke", "update", "delete"),
        },
    ),
    "assurance-level-change": _Kind(
        ("session",),
        {
            "namespace": _TEXT,
            "current_level": _NAME,
            "previous_level": _INFORMS,
            "change_direction": _choice("increase", "decrease"),
        },
        ("current_level",),
    ),
    "token-claims-change": _Kind(
        ("user", "session"),
        {
            "claims": {
                "type": "object",
                "additionalProperties": {"anyOf": [_CLAIM, {"type": "array", "items": _VALUE}]},
                "minProperties": 1,
                "maxProperties": 64,
            }
        },
        ("claims",),
    ),
    "risk-signal": _Kind(
        ("user", "device", "session"),
        {
            "name": {"type": "string", "pattern": "^[a-z0-9._-]{1,64}$"},
            "weight": {"type": "number", "minimum": 0, "maximum": 100},
            "half_life": {"type": "number", "minimum": 0},
        },
        ("name",),
    ),
}


def event_schema() -> Schema:
    """The schema of one event. `data` may hold more than is known here."""
    return {
        "title": "An event for stepup-sidecar",
        "type": "object",
        "properties": {
            "type": {"enum": list(_KINDS)},
            "time": {**_TIME, "description": "seconds since the epoch; absent: now"},
            "id": {"type": "string", "minLength": 1, "maxLength": 128},
            "source": {"type": "string", "maxLength": 512},
            "subject": {
                "type": "object",
                "properties": {"user": _NAME, "device": _NAME, "session": _NAME, "issuer": _NAME},
                "additionalProperties": False,
            },
            "data": {"type": "object"},
        },
        "required": ["type", "subject"],
        "additionalProperties": False,
        "oneOf": [_branch(name, kind) for name, kind in _KINDS.items()],
    }


def _branch(name: str, kind: _Kind) -> Schema:
    subjects = [{"required": [each]} for each in kind.touches]
    data: Schema = {"type": "object", "properties": kind.data}
    found: Schema = {
        "properties": {
            "type": {"const": name},
            "subject": {"anyOf": subjects},
            "data": data,
        }
    }
    if kind.required:
        data["required"] = list(kind.required)
        found["required"] = ["data"]
    return found
