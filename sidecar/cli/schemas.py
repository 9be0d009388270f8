"""JSON Schemas (2020-12) of configuration, policy files, events and scenarios, for editors and CI.

A schema shows the shape. What needs more than one place of a file to know, such as whether a name
exists, only the readers see: `sidecar validate`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from sidecar.tuning.scenario.files import scenario_schema
from sidecar.wire.config.reloads import keys
from sidecar.wire.config.settings_reader import REFINED
from sidecar.wire.events.kinds import event_schema
from sidecar.wire.names import MAX_NAME
from sidecar.wire.policies.policy_grammar import policy_schema
from sidecar.wire.settings.reload import Reload
from sidecar.wire.settings.settings import CONTEXT, Settings
from sidecar.wire.tokens.jwks import ALGORITHMS
from sidecar.wire.yaml.scalars import (
    DURATION_PATTERN,
    METHODS,
    MODE_PATTERN,
    SIZE_PATTERN,
    ScalarKind,
)

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = "urn:stepup-sidecar:schema:"


def schema(name: str) -> Schema:
    """Return the schema of `config`, `policy`, `event` or `scenario`.

    Raises KeyError for another.
    """
    return {"$schema": DIALECT, "$id": _NAMES + name, **SCHEMAS[name]()}


def config_schema() -> Schema:
    """Return the schema of the configuration file, from the settings' own types."""
    found = msgspec.json.schema(Settings)
    definitions = found["$defs"]
    for (cls, member), annotation in REFINED.items():
        definition = definitions[cls.__name__]
        kept = definition["properties"][member].get("default")
        definition["properties"][member] = msgspec.json.schema(annotation)
        if kept is not None:
            definition["properties"][member]["default"] = kept
        definition["additionalProperties"] = False
    for definition in definitions.values():
        if definition.get("type") == "object":
            definition["additionalProperties"] = False
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
    _spell(found)
    _say_reloads(definitions)
    properties = definitions["Settings"]["properties"]
    contexts = properties["contexts"]
    contexts["propertyNames"] = {"pattern": f"^(?:{CONTEXT.pattern}|unknown)$"}
    contexts["properties"] = {"unknown": properties.pop("contexts.unknown")}
    plain: Schema = msgspec.to_builtins(found)
    return {"title": "Configuration of stepup-sidecar", **plain}


def _say_reloads(definitions: Mapping[str, Schema]) -> None:
    """Say of every key whether a reload takes it up, with all that stands below it."""
    for key in keys():
        found = definitions[key.section.__name__]["properties"][key.field]
        said = found.get("description")
        found["description"] = f"{said}; {_RELOADS[key.reload]}" if said else _RELOADS[key.reload]


_RELOADS = {Reload.LIVE: "live", Reload.RESTART: "changes with a restart"}


def _spell(node: object) -> None:
    """Say of every marked value how it may be spelled."""
    if isinstance(node, list | tuple):
        for item in node:
            _spell(item)
    if not isinstance(node, dict):
        return
    kind = node.pop("x-kind", None)
    if kind is not None:
        _SPELL[ScalarKind(kind)](node)
    for item in node.values():
        _spell(item)


def _or_text(pattern: str, description: str) -> Callable[[Schema], None]:
    def spell(node: Schema) -> None:
        number = {key: node.pop(key) for key in _BOUNDS if key in node}
        number["type"] = node.pop("type")
        node["anyOf"] = [number, {"type": "string", "pattern": pattern}]
        node["description"] = description

    return spell


def _with(**more: object) -> Callable[[Schema], None]:
    def spell(node: Schema) -> None:
        node.update(more)

    return spell


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_SPELL: Mapping[ScalarKind, Callable[[Schema], None]] = {
    ScalarKind.DURATION: _or_text(DURATION_PATTERN, "seconds, or 90s, 15m, 1h30m, 7d, 500ms"),
    ScalarKind.SIZE: _or_text(SIZE_PATTERN, "bytes, or 64KiB, 1MiB"),
    ScalarKind.FILE: _with(description="a path, relative to the configuration file's directory"),
    ScalarKind.CIDR: _with(description="a network such as 10.0.0.0/8 or 2001:db8::/32"),
    ScalarKind.COUNTRY: _with(pattern="^[A-Za-z]{2}$"),
    ScalarKind.ASN: _or_text("^([Aa][Ss])?[0-9]{1,10}$", "an autonomous system, 64496 or AS64496"),
    ScalarKind.MODE: _with(pattern=MODE_PATTERN),
    ScalarKind.BIND: _with(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"),
    ScalarKind.ALGORITHM: _with(enum=sorted(ALGORITHMS)),
    ScalarKind.STORE: _with(
        pattern=r"^$|^(rediss?(\+sentinel|\+cluster)?|unix)://",
        description="empty: an embedded server",
    ),
    ScalarKind.URL: _with(pattern="^$|^https?://"),
    ScalarKind.STRING_OR_URI: _with(),
    ScalarKind.METHOD: _with(description=f"one of {', '.join(sorted(METHODS))}"),
    ScalarKind.NAME: _with(maxLength=MAX_NAME),
    ScalarKind.CLAIM: _with(description="a claim, or a path to one: realm_access.roles"),
    ScalarKind.ORIGIN: _with(description="an origin such as https://shop.example; `*` for any"),
    ScalarKind.PUBLIC: _with(pattern="^/", description="a path, or /static/* for all below"),
    ScalarKind.HEADER: _with(pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]*$"),
}
SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "config": config_schema,
    "policy": policy_schema,
    "event": event_schema,
    "scenario": scenario_schema,
}
