# ruff: noqa: INP001 - a script, no package
"""Describes the lines of the local socket as a JSON Schema, from the code's own tables.

`python -m docs.socket_protocol` writes `docs/reference/socket.schema.json` and the page for people.
A test sends every kind of line to a running daemon and holds each reply to it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from docs.listeners import RECEIPT, REFUSED
from docs.openapi import TEXT, Schema
from sidecar.domain.evaluation.decision import STANDINGS, Verdict
from sidecar.service.ports.calls import Reason
from sidecar.wire.events.kinds import event_schema
from sidecar.wire.events.socket_lines import (
    CHECK_TEXTS,
    MAX_CREDENTIAL,
    MAX_IP,
    MAX_REF,
    MAX_WAIT,
    MAX_WATCHED,
)
from sidecar.wire.names import MAX_NAME
from sidecar.wire.traces.trace_context import PARENT, STATE

REFERENCE = Path(__file__).parent / "reference"
FILE = REFERENCE / "socket.schema.json"
PAGE = REFERENCE / "socket.md"

REF: Schema = {
    "description": "given back with the reply",
    "type": ["string", "number", "boolean", "null"],
    "maxLength": MAX_REF,
}
_TRACE: dict[str, Schema] = {
    PARENT: {"description": "the sender's span (W3C Trace Context); ignored where malformed"},
    STATE: {"description": "what else is known of its trace, beside `traceparent`"},
}
_CREDENTIAL: Schema = {
    "type": "string",
    "maxLength": MAX_CREDENTIAL,
    "description": "to speak as the source that it belongs to",
}


def _request(name: str, does: str, /, **members: Schema) -> Schema:
    return {
        "type": "object",
        "description": does,
        "required": ["op"],
        "additionalProperties": False,
        "properties": {"op": {"const": name}, "ref": REF, **members},
    }


def _event() -> Schema:
    event = event_schema()
    more = {
        "op": {"const": "event"},
        "ref": REF,
        "credential": _CREDENTIAL,
        "wait": {"const": "everywhere", "description": "answer once every live sidecar has it"},
        "timeout": {"type": "number", "minimum": 0, "maximum": MAX_WAIT},
        **_TRACE,
    }
    return {
        **{name: value for name, value in event.items() if name != "title"},
        "description": "take an event",
        "required": ["op", *event["required"]],
        "properties": {**more, **event["properties"]},
    }


def requests() -> dict[str, Schema]:
    """Return the schema of each kind of request, by its `op`."""
    names: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    texts: dict[str, Schema] = {
        name: {"type": ["string", "null"], "maxLength": most} for name, most in CHECK_TEXTS.items()
    }
    texts["token"] = {"type": "string", "maxLength": CHECK_TEXTS["token"]}
    context: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "null"}]}
    watched: Schema = {"type": ["array", "null"], "items": names, "maxItems": MAX_WATCHED}
    address: Schema = {"type": ["string", "null"], "maxLength": MAX_IP}
    return {
        "event": _event(),
        "check": _request(
            "check", "may a call pass?", context=context, ip=address, **texts, **_TRACE
        ),
        "watch": _request(
            "watch",
            "say when the standing of these sessions changes (without `sessions`: of all)",
            sessions=watched,
            credential=_CREDENTIAL,
        ),
        "ping": _request("ping", "just answer"),
    }


def replies() -> dict[str, Schema]:
    """Return the schema of each kind of line that the daemon sends."""
    decided: dict[str, Schema] = {
        "ok": {"const": True},
        "decision": {"enum": [one.value for one in Verdict]},
        "status": {"enum": [200, 401, 403], "description": "what an app should answer"},
        **{
            name: {"type": "string", "description": means}
            for name, means in (
                ("session", "the session's name"),
                ("subject", "the user"),
                ("assurance", "the level that the call's own token shows"),
                ("www_authenticate", "the challenge, for the client"),
                ("acr_values", "what the challenge asks for"),
                ("message", "why, in words"),
                ("id", "the decision's, as log and history have it"),
            )
        },
        "max_age": {"type": "integer", "minimum": 0},
        "reasons": {"type": "array", "items": _reason()},
        "step_up_pending": {"const": True, "description": "a mark waits in another context"},
        "ref": REF,
    }
    standing: dict[str, Schema] = {
        "event": {"const": "standing"},
        "session": TEXT,
        "standing": {"enum": list(STANDINGS)},
        "contexts": {"type": "array", "items": TEXT},
        "reasons": {"type": "array", "items": _reason()},
    }
    return {
        "event": {**RECEIPT, "additionalProperties": False},
        "check": _closed("a decision", decided, "ok", "decision", "status"),
        "watch": _closed("it begins", {"ok": {"const": True}, "ref": REF}, "ok"),
        "ping": _closed("it is there", {"ok": {"const": True}, "ref": REF}, "ok"),
        "standing": _closed(
            "what a watcher gets of a change", standing, "event", "session", "standing"
        ),
        "refused": {**REFUSED, "additionalProperties": False},
    }


def _closed(what: str, members: dict[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "description": what,
        "required": list(required),
        "additionalProperties": False,
        "properties": members,
    }


def _reason() -> Schema:
    _, found = msgspec.json.schema_components([Reason])
    reason: Schema = msgspec.to_builtins(found["Reason"])
    return reason


def schema() -> Schema:
    """Return the schema of all lines: a line is one of its definitions."""
    kinds = {f"request-{name}": one for name, one in requests().items()}
    kinds |= {f"reply-{name}": one for name, one in replies().items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:stepup-sidecar:schema:socket",
        "title": "A line of the local socket of stepup-sidecar",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


HEAD = """\
# The local socket

<!-- Written by docs/socket_protocol.py: change it there. -->

A unix socket (`socket.path`), for the pod's own app in any language. **One JSON object a line**, of
at most 64 KiB; one line comes back for each, in the same order. A client may send many before it
reads. The connection stays usable after an error, except after `too_large`. Whom a line comes from
the daemon sees by the peer's uid, or by `credential`: [sources](../sources.md).

As a JSON Schema: [socket.schema.json](socket.schema.json). A test sends every kind of line to a
running daemon, and holds each reply to it. What the errors mean: [errors](errors.md).

```json
{"op": "check", "token": "eyJ...", "context": "c1", "ip": "203.0.113.9", "ref": 1}
{"op": "event", "type": "session-presented", "subject": {"session": "4f1c2a"}}
{"op": "event", "type": "session-revoked", "subject": {"user": "ada"}, "wait": "everywhere"}
{"op": "watch", "sessions": ["4f1c2a"]}
{"op": "ping"}
```
"""


def page() -> str:
    """Return the page for people."""
    parts = [HEAD, "## What a client sends\n"]
    for name, one in requests().items():
        parts.append(f"### {name}\n\n{_sentence(one)}\n\n{_table(one)}")
        if name == "event":
            parts.append("All else is the event's: [events](events.md).\n")
    parts.append("## What the daemon sends\n")
    titles = {"standing": "a change, to a watcher", "refused": "an error"}
    for name, one in replies().items():
        parts.append(f"### {titles.get(name, f'to {name}')}\n\n{_sentence(one)}\n\n{_table(one)}")
    return "\n".join(parts).rstrip() + "\n"


def _sentence(one: Schema) -> str:
    words = str(one["description"])
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith(('?', '.')) else '.'}"


def _table(one: Schema) -> str:
    of_event = set(event_schema()["properties"]) if "op" in one["properties"] else set[str]()
    rows = ["| member | is | |", "| --- | --- | --- |"]
    for name, member in one["properties"].items():
        if name not in of_event or one["properties"]["op"] != {"const": "event"}:
            must = "*required*" if name in one.get("required", ()) else ""
            means = "; ".join(filter(None, (member.get("description", ""), must)))
            rows.append(f"| `{name}` | {_kind(member)} | {means} |")
    return "\n".join((*rows, ""))


def _kind(member: Any) -> str:
    if "const" in member:
        return f"`{json.dumps(member['const'])}`"
    if "enum" in member:
        return ", ".join(f"`{one}`" for one in member["enum"])
    if "anyOf" in member:
        return "a text, or a list of texts"
    kinds = member.get("type", "anything")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def main() -> int:
    """Write the schema and the page."""
    FILE.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
