"""The JSON Schema of policy files, as `policy_files` reads them."""

from typing import Any, TypeAlias

from sidecar.domain.policy.policy import State
from sidecar.wire.grammar.definitions import USE
from sidecar.wire.policies.conditions import CONDITION
from sidecar.wire.policies.session_controls import EVERY_TIME
from sidecar.wire.yaml.scalars import DURATION_PATTERN, LONGEST

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 1024}
_NOT_EMPTY = {"minItems": 1}
_ID = "^[a-z0-9][a-z0-9._-]{0,63}$"


def policy_schema() -> Schema:
    """The schema of one policy file."""
    return {
        "title": "Policies of stepup-sidecar",
        **_object(
            {
                "policies": {"type": "array", "items": {"$ref": "#/$defs/policy"}},
                "definitions": _definitions(),
            },
            anyOf=[{"required": ["policies"]}, {"required": ["definitions"]}],
        ),
        "$defs": {
            "policy": _policy(),
            "names": _one_or_many(_TEXT),
            "selection": _selection(_TEXT),
            "principals": _principals(),
            "users": _users(),
            "grant": _grant(),
            "condition": CONDITION.schema(),
            "duration": _duration(1),
            "duration_or_zero": _duration(0),
        },
    }


def _duration(least: int) -> Schema:
    return {
        "description": "seconds, or 90s, 15m, 1h30m, 7d",
        "anyOf": [
            {"type": "number", "minimum": least, "maximum": LONGEST},
            {"type": "string", "pattern": DURATION_PATTERN},
        ],
    }


def _object(properties: Schema, required: list[str] | None = None, **more: object) -> Schema:
    found = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return {**found, "required": required} if required else found


def _one_or_many(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item, **_NOT_EMPTY}]}


def _selection(item: Schema) -> Schema:
    names = _one_or_many(item)
    excluded = {"anyOf": [item, {"type": "array", "items": item}]}
    sides = _object({"include": names, "exclude": excluded}, minProperties=1)
    return {"anyOf": [*names["anyOf"], sides]}


def _principals() -> Schema:
    names = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    by_kind = _object({"users": names, "groups": names, "roles": names})
    return {"anyOf": [*names["anyOf"], by_kind]}


def _users() -> Schema:
    principals = {"$ref": "#/$defs/principals"}
    sides = _object({"include": principals, "exclude": principals}, minProperties=1)
    return {"anyOf": [{"$ref": "#/$defs/names"}, sides, _object({USE: _TEXT}, [USE])]}


def _definitions() -> Schema:
    """Parts with names, which policies of any file use."""
    kinds = {"conditions": "condition", "grants": "grant", "users": "users"}
    return _object(
        {
            kind: {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{shape}"}}
            for kind, shape in kinds.items()
        }
    )


def _policy() -> Schema:
    session = _object(
        {
            "sign_in_frequency": _frequency(),
            "max_lifetime": {"$ref": "#/$defs/duration"},
        },
        minProperties=1,
    )
    return _object(
        {
            "id": {"type": "string", "pattern": _ID},
            "description": _TEXT,
            "state": {"enum": [state.value for state in State]},
            "users": {"$ref": "#/$defs/users"},
            "issuers": {"$ref": "#/$defs/selection"},
            "apps": {"$ref": "#/$defs/selection"},
            "contexts": {"$ref": "#/$defs/selection"},
            "conditions": {"$ref": "#/$defs/condition"},
            "grant": {"$ref": "#/$defs/grant"},
            "session": session,
            "sticky": {"type": "boolean"},
            "grace": {"$ref": "#/$defs/duration"},
            "min_interval": {"$ref": "#/$defs/duration_or_zero"},
        },
        ["id"],
        anyOf=[{"required": ["grant"]}, {"required": ["session"]}],
    )


def _frequency() -> Schema:
    duration = {"$ref": "#/$defs/duration"}
    every_time = {"const": EVERY_TIME}
    grace = {"$ref": "#/$defs/duration_or_zero"}
    return {
        "description": "no sign-in older than this; every_time: each call needs one of its own",
        "anyOf": [
            every_time,
            duration,
            _object({"interval": duration}, ["interval"]),
            _object({"interval": every_time, "grace": grace, "within": duration}, ["interval"]),
        ],
    }


def _grant() -> Schema:
    nested = {"$ref": "#/$defs/grant"}
    several = {"type": "array", "items": nested, **_NOT_EMPTY}
    controls = {"anyOf": [_TEXT, several, _object({"all": nested}, ["all"])]}
    operator = {"enum": ["AND", "OR", "and", "or"]}
    return {
        "description": "a control, all of a list, or AND and OR of them",
        "anyOf": [
            _TEXT,
            several,
            _object({"operator": operator, "controls": nested}, ["controls"]),
            *controls["anyOf"][2:],
            _object({"any": nested}, ["any"]),
            _object({USE: _TEXT}, [USE]),
        ],
    }
