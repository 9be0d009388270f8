# ruff: noqa: INP001 - a script, no package
"""Puts an OpenAPI 3.1 document together of a listener's operations."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sidecar import __version__
from sidecar.wire.http.problems import Problem

Schema: TypeAlias = dict[str, Any]

JSON, PROBLEM, NDJSON = "application/json", "application/problem+json", "application/x-ndjson"
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
TEXT: Schema = {"type": "string"}
_REF = "#/components/schemas/{name}"


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": _REF.format(name=name)}


class Says(NamedTuple):
    """A status of an operation: what it means, and its body (`""`: none, or one of no account)."""

    status: int
    means: str
    media: str = ""
    schema: Schema | None = None
    headers: Sequence[str] = ()


class Operation(NamedTuple):
    """What a method does at a path."""

    does: str
    says: Sequence[Says]
    body: Mapping[str, Schema] = {}
    query: Mapping[str, str] = {}
    secured: str = ""
    needs_body: bool = True  # where there is a `body`


def problem(status: int, means: str, *headers: str) -> Says:
    """Return a status with problem details (RFC 9457)."""
    return Says(status, means, PROBLEM, ref("Problem"), headers)


SLOW = problem(408, "it did not come in time")
CLOSES = (
    "Where a request's head does not come in time, the connection ends without an answer. A body "
    "that does not come in time gets 408, and the connection ends"
)
"""The answer of the listeners that hypercorn serves to clients that are slow."""

_SECURED = {
    "source": "the credential of a source (`sources[].token_file`)",
    "operator": "an admin credential (`admin.token_file`, `admin.operators`)",
    "transmitter": "what the transmitter was given (`receiver.transmitters[].authorization_file`)",
    "provider": "a JWT that the provider has signed",
    "recipient": "a recipient's credential (`transmitter.recipients[].credentials_file`)",
}


def problem_schema(*kinds: str) -> Schema:
    """Return the schema of problem details; `kinds`: the types, if they are not all that are."""
    types = [f"urn:stepup-sidecar:problem:{kind.value.name}" for kind in Problem]
    known = types if not kinds else list(kinds)
    return {
        "type": "object",
        "description": "problem details (RFC 9457)",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"enum": known, "description": "what programs look at"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "what is special this time"},
            "instance": {"type": "string", "description": "the decision's id"},
            "field": {"type": "string", "description": "what in the request is to blame"},
            "error": {"type": "string", "description": "the code that the local socket has for it"},
            "acr_values": TEXT,
            "max_age": {"type": "integer", "minimum": 0},
            "reasons": {"type": "array", "items": ref("Reason")},
            "key": {"type": "string", "description": "the setting that would allow it"},
        },
    }


def of_types(*types: type) -> dict[str, Schema]:
    """Return the schemas of these types and of what they hold, by name."""
    _, found = msgspec.json.schema_components(types, schema_hook=_any, ref_template=_REF)
    return {name: msgspec.to_builtins(one) for name, one in found.items()}


def _any(kind: type) -> Schema:
    """Return the schema of a member of any value; an empty one is passed over."""
    if kind is not object:
        raise NotImplementedError
    return {"description": "any value"}


def document_of(
    name: str,
    what: str,
    paths: Mapping[str, Mapping[str, Operation]],
    schemas: Mapping[str, Schema],
) -> Schema:
    """Return the document of a listener."""
    used = {each.secured for at in paths.values() for each in at.values() if each.secured}
    schemes = {
        one: {"type": "http", "scheme": "bearer", "description": _SECURED[one]}
        for one in sorted(used)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"stepup-sidecar: the {name} listener",
            "version": __version__,
            "description": f"{what}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {path: _path(name, path, at) for path, at in paths.items()},
        "components": {"schemas": dict(schemas), "securitySchemes": schemes},
    }


def _path(listener: str, path: str, at: Mapping[str, Operation]) -> Schema:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    found: Schema = {method: _operation(listener, path, method, one) for method, one in at.items()}
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": TEXT} for name in names
        ]
    return found


def _operation(listener: str, path: str, method: str, operation: Operation) -> Schema:
    words = "-".join(part.strip("{}") for part in path.split("/") if part)
    found: Schema = {"operationId": f"{listener}-{method}-{words}", "summary": operation.does}
    if operation.query:
        found["parameters"] = [
            {
                "name": name,
                "in": "query",
                "schema": TEXT,
                **({"description": means} if means else {}),
            }
            for name, means in operation.query.items()
        ]
    if operation.body:
        content = {media: {"schema": schema} for media, schema in operation.body.items()}
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    if operation.secured:
        found["security"] = [{operation.secured: []}]
    found["responses"] = {str(one.status): _response(one) for one in operation.says}
    return found


def _response(says: Says) -> Schema:
    found: Schema = {"description": says.means}
    if says.media:
        found["content"] = {says.media: {"schema": says.schema}}
    if says.headers:
        found["headers"] = {name: {"schema": TEXT} for name in says.headers}
    return found


def text_of(document: Schema) -> str:
    """Return a document as its file has it."""
    return json.dumps(document, indent=1) + "\n"
