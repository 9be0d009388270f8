"""Exports of Microsoft Graph, from bytes to objects of known kinds.

A file holds one object, a list of them, or Graph's envelope with `value`; lists of envelopes, too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from sidecar.wire.entra_ledger import Effect, Ledger, member
from sidecar.wire.entra_shapes import (
    ContextReference,
    NamedLocation,
    Policy,
    Strength,
    Template,
)

T = TypeVar("T")
Shape: TypeAlias = Policy | Template | NamedLocation | Strength | ContextReference
MAX_DEPTH = 48
MAX_BYTES = 64 * 1024 * 1024
_ENVELOPES = 4
_MORE = "@odata.nextLink"
_AT = re.compile(r"(.*) - at `(?:key in )?\$(.*)`")
_CONTEXT = re.compile(r"c[0-9]{1,3}")
_TYPES: Mapping[str, type[Shape]] = {
    "conditionalAccessPolicy": Policy,
    "conditionalAccessTemplate": Template,
    "ipNamedLocation": NamedLocation,
    "countryNamedLocation": NamedLocation,
    "authenticationStrengthPolicy": Strength,
    "authenticationContextClassReference": ContextReference,
}
_MEMBERS: tuple[tuple[str, type[Shape]], ...] = (
    ("conditions", Policy),
    ("grantControls", Policy),
    ("sessionControls", Policy),
    ("ipRanges", NamedLocation),
    ("countriesAndRegions", NamedLocation),
    ("allowedCombinations", Strength),
    ("details", Template),
    ("scenarios", Template),
)
_HINT = (
    "conditionalAccessPolicy, namedLocation, authenticationStrengthPolicy, "
    "authenticationContextClassReference or conditionalAccessTemplate, with Graph's own names "
    "(`displayName`, not `DisplayName`)"
)


class InvalidExport(Exception):  # noqa: N818 - named by who must act: whoever exported the file
    """A file is no export of Graph: `file`, the line (0: not known), the JSON path, and why."""

    def __init__(self, file: str, path: str, message: str, line: int = 0) -> None:
        super().__init__(f"{file}:{line}: {path}: {message}")
        self.file = file
        self.path = path
        self.message = message


class Exported(NamedTuple):
    """An object of an export; `shape` is None where its kind is not known."""

    shape: Shape | None
    ledger: Ledger
    raw: dict[str, Any]


def read_export(content: bytes, file: str) -> list[Exported]:
    """The objects of a file, in its order. Raises InvalidExport."""
    raw = _loads(content, file)
    found = list(_objects(raw, "$", file, _ENVELOPES))
    if not any(one.shape is not None for one in found):
        raise InvalidExport(file, "$", f"holds no {_HINT}")
    return found


def _loads(content: bytes, file: str) -> Any:
    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) < len(members):
            keys = [key for key, _ in members]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidExport(file, "$", f"has an object with two members {json.dumps(twice)}")
        return found

    def constant(name: str) -> Any:
        raise InvalidExport(file, "$", f"is no JSON: {name}")

    if len(content) > MAX_BYTES:
        raise InvalidExport(file, "$", f"has more than {MAX_BYTES} bytes")
    try:
        raw = json.loads(content, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise InvalidExport(file, "$", f"is no JSON: {error.msg}", error.lineno) from error
    except UnicodeDecodeError as error:
        raise InvalidExport(file, "$", "is no text in UTF-8, UTF-16 or UTF-32") from error
    except ValueError as error:  # an integer of very many digits
        raise InvalidExport(file, "$", "has a number that is too long") from error
    except RecursionError as error:
        raise InvalidExport(file, "$", "is nested too deeply") from error
    _check(raw, file)
    return raw


def _check(raw: Any, file: str) -> None:
    if _is_deep(raw):
        raise InvalidExport(file, "$", f"is nested more than {MAX_DEPTH} deep")
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidExport(file, "$", "has half of a surrogate pair") from error


def _is_deep(raw: Any) -> bool:
    level = [raw]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if not below:
            return False
        level = below
    return True


def _objects(raw: Any, at: str, file: str, depth: int) -> Iterator[Exported]:
    if not isinstance(raw, dict | list) or not depth:
        raise InvalidExport(file, at, f"must be an object: {_HINT}")
    if isinstance(raw, list):
        for index, item in enumerate(raw):
            yield from _objects(item, f"{at}[{index}]", file, depth - 1)
    elif isinstance(raw.get("value"), list):
        yield from _envelope(raw, at, file, depth)
    else:
        yield _object(raw, at, file)


def _envelope(raw: dict[str, Any], at: str, file: str, depth: int) -> Iterator[Exported]:
    for key, value in raw.items():
        if key != "value" and ("@" not in key or key == _MORE):
            ledger = Ledger(file, member(at, key), value)
            why = (
                "there are more pages: fetch them, too" if key == _MORE else "is no part of a list"
            )
            ledger.lose(ledger.at, why, Effect.NONE)
            yield Exported(None, ledger, {})
    yield from _objects(raw["value"], f"{at}.value", file, depth - 1)


def _object(raw: dict[str, Any], at: str, file: str) -> Exported:
    ledger = Ledger(file, at, raw)
    kind = _kind(raw)
    if kind is None:
        ledger.lose(at, "an object of this kind cannot be imported", Effect.NONE)
        return Exported(None, ledger, raw)
    return Exported(_converted(raw, kind, at, file), ledger, raw)


def _kind(raw: dict[str, Any]) -> type[Shape] | None:
    named = raw.get("@odata.type")
    if isinstance(named, str):
        return _TYPES.get(named.rpartition(".")[2])
    for name, kind in _MEMBERS:
        if name in raw:
            return kind
    own = raw.get("id")
    is_context = isinstance(own, str) and _CONTEXT.fullmatch(own) and "displayName" in raw
    return ContextReference if is_context else None


def _converted(raw: dict[str, Any], kind: type[T], at: str, file: str) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        message, path = (found[1], found[2]) if found else (str(error), "")
        raise InvalidExport(file, f"{at}{path}", message) from error
