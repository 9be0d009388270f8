"""Exports of Microsoft Graph, from bytes to objects of known kinds.

A file holds one object, a list of them, or Graph's envelope with `value`; lists of envelopes, too.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sidecar.entra.forms import Mistake, ObjectForms, without_empty
from sidecar.entra.graph_objects import (
    ContextReference,
    GraphNamedLocation,
    GraphPolicy,
    GraphStrength,
    Template,
)
from sidecar.entra.ledger import Effect, Ledger, is_transport, member
from sidecar.entra.lines import JsonLines, lines_of
from sidecar.wire.tokens.jws import is_deep

Shape: TypeAlias = GraphPolicy | Template | GraphNamedLocation | GraphStrength | ContextReference
MAX_DEPTH = 48
MAX_BYTES = 64 * 1024 * 1024
_ENVELOPES = 4
_MORE = "@odata.nextLink"
_CONTEXT = re.compile(r"c[0-9]{1,3}")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?[A-Za-z]+')
_TWICE = "stands there for the second time in one object"
_TYPES: Mapping[str, type[Shape]] = {
    "conditionalAccessPolicy": GraphPolicy,
    "conditionalAccessTemplate": Template,
    "ipNamedLocation": GraphNamedLocation,
    "countryNamedLocation": GraphNamedLocation,
    "authenticationStrengthPolicy": GraphStrength,
    "authenticationContextClassReference": ContextReference,
}
_MEMBERS: tuple[tuple[str, type[Shape]], ...] = (
    ("conditions", GraphPolicy),
    ("grantControls", GraphPolicy),
    ("sessionControls", GraphPolicy),
    ("ipRanges", GraphNamedLocation),
    ("countriesAndRegions", GraphNamedLocation),
    ("allowedCombinations", GraphStrength),
    ("details", Template),
    ("scenarios", Template),
)
_HINT = (
    "conditionalAccessPolicy, namedLocation, authenticationStrengthPolicy, "
    "authenticationContextClassReference or conditionalAccessTemplate"
)


class Problem(NamedTuple):
    """A problem of a file: where it is (line 0: not known), the JSON path, and why."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return the problem as one line, for people."""
        return f"{self.file}:{self.line}: {self.path}: {self.message}"


class InvalidExport(Exception):  # noqa: N818 - named by who must act: whoever exported the file
    """A file is no export of Graph, with everything that is wrong with it.

    `foreign`: it is well-formed JSON, and holds nothing that could be imported.
    """

    def __init__(self, *problems: Problem, foreign: bool = False) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.foreign = foreign


class Exported(NamedTuple):
    """An object of an export; `shape` is None where its kind is not known."""

    shape: Shape | None
    ledger: Ledger
    raw: dict[str, Any]


def read_export(content: bytes, file: str) -> list[Exported]:
    """Return the objects of a file, in its order. Raises InvalidExport with all that is wrong."""
    raw, lines = _loads(content, file)
    reader = _Reader(file)
    found = list(reader.objects(raw, "$", _ENVELOPES))
    if reader.mistakes:
        where = lines()
        problems = [Problem(file, where.of(each.path), *each) for each in reader.mistakes]
        raise InvalidExport(*sorted(set(problems)))
    if not any(one.shape is not None for one in found):
        raise InvalidExport(Problem(file, 1, "$", f"holds no {_HINT}"), foreign=True)
    return found


def _loads(content: bytes, file: str) -> tuple[Any, Callable[[], JsonLines]]:
    """Return the value, and what finds its lines."""
    twice = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        found = dict(members)
        twice = twice or len(found) < len(members)
        return found

    def constant(name: str) -> Any:
        raise _Refused(f"is no JSON: {name}", _line_of(text, name))

    if len(content) > MAX_BYTES:
        raise InvalidExport(Problem(file, 1, "$", f"has more than {MAX_BYTES} bytes"))
    text = ""
    try:
        text = content.decode(json.detect_encoding(content), "surrogatepass").removeprefix("\ufeff")
        raw = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        _check(raw)
    except json.JSONDecodeError as error:
        raise InvalidExport(Problem(file, error.lineno, "$", f"is no JSON: {error.msg}")) from error
    except _Refused as refused:
        raise InvalidExport(Problem(file, refused.line, "$", str(refused))) from refused
    except UnicodeDecodeError as error:
        why = "is no text in UTF-8, UTF-16 or UTF-32"
        raise InvalidExport(
            Problem(file, content.count(b"\n", 0, error.start) + 1, "$", why)
        ) from error
    except ValueError as error:  # an integer of very many digits
        raise InvalidExport(Problem(file, 1, "$", "has a number that is too long")) from error
    except RecursionError as error:
        raise InvalidExport(Problem(file, 1, "$", "is nested too deeply")) from error
    if twice:
        repeated = lines_of(text).twice.items()
        raise InvalidExport(*(Problem(file, line, path, _TWICE) for path, line in repeated))
    return raw, lambda: lines_of(text)


class _Refused(Exception):  # noqa: N818 - reported as a problem of the file
    """The file as a whole cannot be read; the line, where one can be named."""

    def __init__(self, why: str, line: int = 1) -> None:
        super().__init__(why)
        self.line = line


def _line_of(text: str, constant: str) -> int:
    """Return the line of the first constant that JSON does not have, outside of texts."""
    for found in _CONSTANT.finditer(text):
        if found[0] == constant:
            return text.count("\n", 0, found.start()) + 1
    return 1


def _check(raw: Any) -> None:
    if is_deep(raw, MAX_DEPTH):
        raise _Refused(f"is nested more than {MAX_DEPTH} deep")
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _Refused("has half of a surrogate pair") from error


class _Reader:
    """Finds the objects of a file; what is wrong with them goes to `mistakes`."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.mistakes: list[Mistake] = []

    def objects(self, raw: Any, at: str, depth: int) -> Iterator[Exported]:
        """Yield the objects below `at`, in lists and envelopes."""
        if not isinstance(raw, dict | list) or not depth:
            self.mistakes.append(Mistake(at, f"must be an object: {_HINT}"))
        elif isinstance(raw, list):
            for index, item in enumerate(raw):
                yield from self.objects(item, f"{at}[{index}]", depth - 1)
        elif isinstance(raw.get("value"), list):
            yield from self._envelope(raw, at, depth)
        else:
            yield self._object(raw, at)

    def _envelope(self, raw: dict[str, Any], at: str, depth: int) -> Iterator[Exported]:
        for key, value in raw.items():
            if key != "value" and (not is_transport(key) or key == _MORE):
                ledger = Ledger(self._file, member(at, key), value)
                more = key == _MORE
                why = "there are more pages: fetch them, too" if more else "is no part of a list"
                ledger.lose(ledger.at, why, Effect.NONE)
                yield Exported(None, ledger, {})
        yield from self.objects(raw["value"], f"{at}.value", depth - 1)

    def _object(self, raw: dict[str, Any], at: str) -> Exported:
        kind = _kind(raw)
        if kind is None:
            ledger = Ledger(self._file, at, raw)
            ledger.lose(at, "an object of this kind cannot be imported", Effect.NONE)
            return Exported(None, ledger, raw)
        forms = ObjectForms()
        formed = forms.object(raw, kind, at)
        self.mistakes += forms.mistakes
        shape = None if forms.mistakes else msgspec.convert(without_empty(formed, kind), kind)
        return Exported(shape, Ledger(self._file, at, formed), formed)


def _kind(raw: dict[str, Any]) -> type[Shape] | None:
    below = raw.get("AdditionalProperties")
    members = {**(below if isinstance(below, dict) else {}), **raw}
    named = members.get("@odata.type")
    if isinstance(named, str):
        return _TYPES.get(named.rpartition(".")[2])
    names = {key.lower(): key for key in members}
    for name, kind in _MEMBERS:
        if name.lower() in names:
            return kind
    own = members.get(names.get("id", ""))
    is_context = isinstance(own, str) and _CONTEXT.fullmatch(own) and "displayname" in names
    return ContextReference if is_context else None
