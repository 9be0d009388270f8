"""The JSON Schema of policy files, as `policy_files` reads them."""

from typing import Any, TypeAlias

from sidecar.domain.policy.policy import Circumstance, RiskLevel, State
from sidecar.wire.policies.conditions import ANONYMIZERS, DAYS, FASTEST, STRICT
from sidecar.wire.policies.definitions import USE
from sidecar.wire.policies.session_controls import EVERY_TIME
from sidecar.wire.yaml.scalars import DURATION_PATTERN, LONGEST

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 1024}
_SCALAR: Schema = {"anyOf": [_TEXT, {"type": ["number", "boolean"]}]}
_NOT_EMPTY = {"minItems": 1}
_ID = "^[a-z0-9][a-z0-9._-]{0,63}$"
_LEVELS = [level.value for level in RiskLevel]


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
            "condition": _condition(),
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


def _condition() -> Schema:
    nested = {"$ref": "#/$defs/condition"}
    several = {"type": "array", "items": nested, **_NOT_EMPTY}
    parts = {"all": several, "any": several, "not": nested, USE: _TEXT}
    kinds = _object({**parts, **_kinds()}, minProperties=1)
    return {
        "description": "several keys, and a list, mean that all of it holds",
        "anyOf": [kinds, several],
    }


def _kinds() -> Schema:
    risk = _at_least({"enum": _LEVELS})
    asn = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
            {"type": "string", "pattern": "^(([Aa][Ss])?[0-9]{1,10}|all)$"},
        ]
    }
    signal = {"type": "string", "pattern": "^[a-z0-9._-]{1,64}$"}
    points = {"type": "number", "minimum": 0, "maximum": 100}
    kinds = _one_or_many({"enum": sorted(ANONYMIZERS)})
    time = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"}
    return {
        "changed": _one_or_many({"enum": [each.value for each in Circumstance]}),
        "locations": _locations(),
        "networks": {"$ref": "#/$defs/selection"},
        "countries": _selection({"type": "string", "pattern": "^([A-Za-z]{2}|all)$"}),
        "asns": _selection(asn),
        "anonymizer": {"anyOf": [{"type": "boolean"}, _object({"kinds": kinds}, ["kinds"])]},
        "travel_speed": _at_least({"type": "number", "minimum": 1, "maximum": FASTEST}),
        "device": _object(
            {"compliant": {"type": "boolean"}, "known": {"type": "boolean"}}, minProperties=1
        ),
        "user_risk": risk,
        "session_risk": _at_least({"enum": _LEVELS}, reported={"type": "boolean"}),
        "score": _at_least(points),
        "signals": {
            "anyOf": [
                *_one_or_many(signal)["anyOf"],
                _object({"include": _one_or_many(signal), "at_least": points}, ["include"]),
            ]
        },
        "claims": {
            "type": "object",
            "additionalProperties": _one_or_many(_SCALAR),
            "minProperties": 1,
        },
        "time_of_day": _object(
            {
                "start": time,
                "end": time,
                "days": _one_or_many({"enum": list(DAYS)}),
                "timezone": _TEXT,
            },
            ["start", "end"],
        ),
    }


def _locations() -> Schema:
    """A selection, and whether it is of the call's own address."""
    found = _selection(_TEXT)
    *short, sides = found["anyOf"]
    strict = {"description": "by the call's own address", "type": "boolean"}
    either = [{"required": ["include"]}, {"required": ["exclude"]}]
    sides = {**sides, "properties": {**sides["properties"], STRICT: strict}, "anyOf": either}
    return {"anyOf": [*short, sides]}


def _at_least(value: Schema, **beside: Schema) -> Schema:
    return {"anyOf": [value, _object({"at_least": value, **beside}, ["at_least"])]}
