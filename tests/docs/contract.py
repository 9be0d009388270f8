"""Holds the answers of a listener to what its OpenAPI document says of them."""

import json
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped] # it ships no types

from docs.listeners import LISTENERS

DOCUMENTS: Mapping[str, Any] = {name: describe() for name, describe in LISTENERS.items()}
_AT_ALL_PATHS = {404, 405, 413, 431, 500}


def _closed(schema: Any) -> Any:
    """Return a schema that also refuses members that it does not name."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(one) for name, one in schema.items()}
    if found.get("type") == "object" and isinstance(schema.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


_CLOSED = {name: _closed(document["components"]) for name, document in DOCUMENTS.items()}


def wrong_in(listener: str, schema: Any, value: Any) -> list[str]:
    """Return what is wrong with a value, by a schema of the listener's document."""
    whole = {**_closed(schema), "components": _CLOSED[listener]}
    found = jsonschema.Draft202012Validator(whole).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def path_of(listener: str, path: str) -> str:
    """Return the path of the document that a request's path is; the plainest first."""
    for template in sorted(DOCUMENTS[listener]["paths"], key=lambda one: one.count("{")):
        pattern = re.sub(r"\\\{path\\\}", ".+", re.escape(template))
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern), path):
            return str(template)
    raise AssertionError(f"{path} is at no path of the {listener} listener's document")


def missing(
    seen: AbstractSet[tuple[str, str, str, int]], listeners: Iterable[str]
) -> set[tuple[str, str, str, int]]:
    """Return what the documents of these listeners say, and no call has met."""
    said = {
        (listener, path, method, int(status))
        for listener in listeners
        for path, at in DOCUMENTS[listener]["paths"].items()
        for method, operation in at.items()
        if method == "get" or ("{path}" not in path and path != "/v1/check")
        if method != "parameters"
        for status in operation["responses"]
    }
    return said - seen


def hold(listener: str, answer: httpx.Response) -> tuple[str, str, int]:
    """Hold an answer to the document; return the operation and the status that it was."""
    request = answer.request
    path = path_of(listener, request.url.path)
    method, status = request.method.lower(), answer.status_code
    operation = DOCUMENTS[listener]["paths"][path].get(method)
    where = f"{listener}: {request.method} {path}: {status}"
    said = operation and operation["responses"].get(str(status))
    if said is None:
        assert status in _AT_ALL_PATHS, f"{where} is not in the document: {answer.text}"
        return path, method, status
    for name in said.get("headers", ()):
        assert name in answer.headers, f"{where}: without {name}"
    media = answer.headers.get("content-type", "").partition(";")[0]
    content = said.get("content", {})
    if content and method != "head":
        assert media in content, f"{where}: is {media}"
        _hold_body(where, listener, content[media]["schema"], answer)
    return path, method, status


def _hold_body(where: str, listener: str, schema: Any, answer: httpx.Response) -> None:
    if schema != {"type": "string"}:
        wrong = wrong_in(listener, schema, json.loads(answer.text))
        assert not wrong, f"{where}: {wrong}"
    elif "ndjson" in answer.headers["content-type"]:
        either = {"anyOf": [{"$ref": f"#/components/schemas/{x}"} for x in ("Receipt", "Refused")]}
        for line in answer.text.splitlines():
            assert not wrong_in(listener, either, json.loads(line)), line
