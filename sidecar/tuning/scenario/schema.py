"""The JSON Schema of scenario files, as `files` reads them."""

from typing import Any, TypeAlias

from sidecar.domain.evaluation.decision import Verdict
from sidecar.domain.policy.policy import RiskLevel
from sidecar.tuning.scenario.simulation import Token
from sidecar.wire.events.kinds import event_schema
from sidecar.wire.policies.conditions import ANONYMIZERS
from sidecar.wire.yaml.scalars import DURATION_PATTERN, LONGEST

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 1024}
_TEXTS: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_TIME: Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].+"}
_LEVEL: Schema = {"enum": [level.value for level in RiskLevel]}
_TRUTH: Schema = {"type": "boolean"}
_ONE_OR_MORE = {"minItems": 1}


def scenario_schema() -> Schema:
    """The schema of one scenario file."""
    scenario = {"$ref": "#/$defs/scenario"}
    return {
        "title": "Scenarios for stepup-sidecar",
        **_object(
            {
                "policies": _TEXTS,
                "places": {"$ref": "#/$defs/places"},
                "scenarios": {"type": "array", "items": scenario, **_ONE_OR_MORE},
            },
            ["scenarios"],
        ),
        "$defs": {
            "scenario": _scenario(),
            "session": _session(),
            "places": {"type": "object", "additionalProperties": _place()},
            "step": _step(),
            "action": _action(),
            "check": {"anyOf": [{"enum": _verdicts()}, _check()]},
            "duration": _duration("^"),
        },
    }


def _object(properties: Schema, required: list[str] | None = None, **more: object) -> Schema:
    found = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    return {**found, "required": required} if required else found


def _verdicts() -> list[str]:
    return [verdict.value for verdict in Verdict]


def _duration(start: str) -> Schema:
    return {
        "description": "seconds, or 90s, 15m, 1h30m, 7d",
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": LONGEST},
            {"type": "string", "pattern": start + DURATION_PATTERN.removeprefix("^")},
        ],
    }


def _scenario() -> Schema:
    session = {"$ref": "#/$defs/session"}
    given = _object(
        {
            "time": _TIME,
            "session": session,
            "sessions": {"type": "object", "additionalProperties": session, "minProperties": 1},
            "places": {"$ref": "#/$defs/places"},
            "policies": _TEXTS,
        },
        oneOf=[{"required": ["session"]}, {"required": ["sessions"]}],
    )
    steps = {"type": "array", "items": {"$ref": "#/$defs/step"}, **_ONE_OR_MORE}
    return _object({"name": _TEXT, "given": given, "steps": steps}, ["name", "given", "steps"])


def _session() -> Schema:
    value = {"type": ["string", "number", "boolean"]}
    return _object(
        {
            "user": _TEXT,
            "issuer": _TEXT,
            "groups": _TEXTS,
            "roles": _TEXTS,
            "claims": {
                "type": "object",
                "additionalProperties": {"anyOf": [value, {"type": "array", "items": _TEXT}]},
            },
            "app": _TEXT,
            "device": _TEXT,
            "compliant": _TRUTH,
            "ip": _TEXT,
            "user_agent": _TEXT,
            "network": _TEXT,
            "acr": _TEXT,
            "amr": _TEXTS,
            "signed_in_ago": {"$ref": "#/$defs/duration"},
            "proven": _TEXTS,
            "user_risk": _LEVEL,
            "session_risk": _LEVEL,
            "device_risk": _LEVEL,
            "signals": {
                "type": "object",
                "additionalProperties": {"type": "number", "minimum": 0, "maximum": 100},
            },
        }
    )


def _place() -> Schema:
    kinds = {"enum": sorted(ANONYMIZERS)}
    return _object(
        {
            "country": {"type": "string", "minLength": 2},
            "region": _TEXT,
            "city": _TEXT,
            "asn": {"anyOf": [{"type": "integer", "minimum": 0}, _TEXT]},
            "latitude": {"type": "number", "minimum": -90, "maximum": 90},
            "longitude": {"type": "number", "minimum": -180, "maximum": 180},
            "accuracy_km": {"type": "number", "minimum": 0, "maximum": 20000},
            "anonymizer": {"anyOf": [kinds, {"type": "array", "items": kinds}]},
            "carrier": {"type": "boolean"},
        }
    )


def _step() -> Schema:
    action, check = {"$ref": "#/$defs/action"}, {"$ref": "#/$defs/check"}
    return _object(
        {
            "at": _duration(r"^\+?"),
            "after": {"$ref": "#/$defs/duration"},
            "session": _TEXT,
            "when": {"anyOf": [action, {"type": "array", "items": action}]},
            "then": {"anyOf": [check, {"type": "array", "items": check}]},
        },
        anyOf=[{"required": ["when"]}, {"required": ["then"]}],
    )


def _action() -> Schema:
    """An event, whose subject and time the step can give, or a sign-in."""
    event = event_schema()
    types = event["properties"]["type"]["enum"]
    data = {
        branch["properties"]["type"]["const"]: branch["properties"]["data"]
        for branch in event["oneOf"]
    }
    sign_in = _object(
        {
            "session": _TEXT,
            "acr": _TEXT,
            "amr": _TEXTS,
            "ago": {"$ref": "#/$defs/duration"},
            "ip": _TEXT,
        },
        anyOf=[{"required": ["acr"]}, {"required": ["amr"]}],
    )
    time = {"anyOf": [event["properties"]["time"], _duration(r"^\+?")["anyOf"][1]]}
    known = {**event["properties"], "time": time, "type": {"enum": types}}
    return {
        "oneOf": [
            _object({"sign_in": {"anyOf": [_TEXT, sign_in]}}, ["sign_in"]),
            _object(
                known,
                ["type"],
                allOf=[
                    {
                        "if": {"properties": {"type": {"const": kind}}},
                        "then": {"properties": {"data": shape}},
                    }
                    for kind, shape in data.items()
                ],
            ),
        ]
    }


def _check() -> Schema:
    return _object(
        {
            "session": _TEXT,
            "app": _TEXT,
            "context": _TEXTS,
            "method": _TEXT,
            "host": _TEXT,
            "path": _TEXT,
            "ip": _TEXT,
            "user_agent": _TEXT,
            "token": {"enum": [one.value for one in Token]},
            "verdict": {"enum": _verdicts()},
            "acr_values": _TEXTS,
            "max_age": {"$ref": "#/$defs/duration"},
            "reasons": _TEXTS,
            "would": _TEXTS,
            "pending": _TRUTH,
        },
        ["verdict"],
    )
