"""Describes what a policy grants: a control, all or any of several, in one form once read.

`mfa`, a list (all of it), `{operator: AND|OR, controls: [...]}`, and within lists `{all: [...]}`
and `{any: [...]}` become alternatives: sets of controls, any one of which suffices. `block` stands
alone.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from sidecar.domain.policy.conditional_access import BLOCK, Grant
from sidecar.wire.grammar.definitions import USE
from sidecar.wire.grammar.records import ByShape, RecordKey, shape_of
from sidecar.wire.grammar.rules import TEXT, FileReading, Name, Reference, Rule, Schema, Use
from sidecar.wire.yaml.nodes import Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing
from sidecar.wire.yaml.tree import Listing, Node, Scalar, Table

MAX_ALTERNATIVES = 64
CONTROL = "control"
"""What `FileReading.lookups` calls the names of controls."""

_OPERATORS = ("AND", "OR")

Alternatives: TypeAlias = frozenset[frozenset[str]]


class GrantControl(msgspec.Struct, frozen=True):
    """Accepts the name of a control."""

    def read(self, node: Node, field: str, reading: FileReading) -> Alternatives | Missing:
        """Return the control as the only alternative."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            reading.text(node, field)
            return MISSING
        name = Name(CONTROL).of(Named(node.value, field, node.place), reading)
        return MISSING if isinstance(name, Missing) else frozenset({frozenset({name})})

    def schema(self) -> Schema:
        """Return the bounds of all texts."""
        return dict(TEXT)

    def words(self) -> str:
        """Return what it is."""
        return "control"


class JoinedGrants(msgspec.Struct, frozen=True):
    """Accepts a list of grants, of which a session needs all (`every`) or any."""

    every: bool = True

    def read(self, node: Node, field: str, reading: FileReading) -> Alternatives | Missing:
        """Return the alternatives of the whole."""
        if not isinstance(node, Listing):
            return ALTERNATIVES.read(node, field, reading)
        if not node.items:
            reading.add(node, field, "must not be empty")
            return MISSING
        read = [
            ALTERNATIVES.read(item, f"{field}[{at}]", reading) for at, item in enumerate(node.items)
        ]
        parts = [part for part in read if not isinstance(part, Missing)]
        if len(parts) < len(read):
            return MISSING
        found = parts[0]
        for part in parts[1:]:
            found = _least({a | b for a in found for b in part} if self.every else found | part)
            if len(found) > MAX_ALTERNATIVES:
                message = f"comes to more than {MAX_ALTERNATIVES} alternatives"
                reading.add(node, field, message)
                return MISSING
        return found

    def schema(self) -> Schema:
        """Return the schema of a list."""
        return {"type": "array", "items": NESTED.schema(), "minItems": 1}

    def words(self) -> str:
        """Return what it is a list of."""
        return "list of grants"


class GrantOperator(msgspec.Struct, frozen=True):
    """Accepts `AND` and `OR`, in capitals or small letters."""

    def read(self, node: Node, field: str, reading: FileReading) -> bool:
        """Return whether all is needed, which is meant also where it is misspelt."""
        name = reading.text(node, field)
        if name is not None and name.upper() not in _OPERATORS:
            reading.unknown(Named(name, field, node.place), _OPERATORS)
        return name is None or name.upper() != "OR"

    def schema(self) -> Schema:
        """Return all spellings."""
        return {"enum": [*_OPERATORS, *map(str.lower, _OPERATORS)]}

    def words(self) -> str:
        """Return both."""
        return "`AND` or `OR`"


class Expression(msgspec.Struct, frozen=True):
    """Accepts `{operator, controls}`, `{all: ...}`, `{any: ...}` and `{use: NAME}`."""

    def read(self, node: Node, field: str, reading: FileReading) -> Alternatives | Missing:
        """Return the alternatives of the whole."""
        table = reading.table(node, field, EXPRESSION)
        if not table:
            if table is not None and isinstance(node, Table) and not node.entries:
                reading.add(node, field, "must name a control")
            return MISSING
        if "controls" in table and table.keys() <= {"operator", "controls"}:
            every = self._every(table, field, reading)
            return JoinedGrants(every).read(table["controls"], inside(field, "controls"), reading)
        if len(table) > 1 or "operator" in table:
            message = "must have `controls` with an `operator`, or one of `all`, `any` and `use`"
            reading.add(node, field, message)
            return MISSING
        ((key, below),) = table.items()
        rule: Rule[Alternatives] = EXPRESSION[key].rule
        return rule.read(below, inside(field, key), reading)

    @staticmethod
    def _every(table: Mapping[str, Node], field: str, reading: FileReading) -> bool:
        operator = table.get("operator")
        if operator is None:
            return True
        return GrantOperator().read(operator, inside(field, "operator"), reading)

    def schema(self) -> Schema:
        """Return the forms that keys can stand in together."""
        nested = NESTED.schema()
        joined = {"operator": GrantOperator().schema(), "controls": nested}
        return {
            "anyOf": [
                shape_of(joined, ["controls"]),
                shape_of({"all": nested}, ["all"]),
                shape_of({"any": nested}, ["any"]),
                shape_of({USE: EXPRESSION[USE].rule.schema()}, [USE]),
            ]
        }

    def words(self) -> str:
        """Return the keys."""
        return "`{operator: ..., controls: ...}`, `{all: ...}`, `{any: ...}` or `{use: ...}`"


class WholeGrant(msgspec.Struct, frozen=True):
    """Accepts the grant of a policy: alternatives, or `block` alone."""

    def read(self, node: Node, field: str, reading: FileReading) -> Grant | Missing:
        """Return the grant."""
        found = ALTERNATIVES.read(node, field, reading)
        if isinstance(found, Missing):
            return MISSING
        if found == {frozenset({BLOCK})}:
            return Grant(block=True)
        if any(BLOCK in controls for controls in found):
            message = "has `block` beside other controls; block stands alone"
            reading.add(node, field, message)
            return MISSING
        return Grant(tuple(sorted(found, key=lambda controls: (len(controls), sorted(controls)))))

    def schema(self) -> Schema:
        """Return a reference: only the reader sees where `block` stands."""
        return NESTED.schema()

    def words(self) -> str:
        """Return what it is."""
        return "grant"


NESTED: Rule[Alternatives] = Reference("grant", lambda: ALTERNATIVES)
ALTERNATIVES: Rule[Alternatives] = ByShape(
    GrantControl(), mapping=Expression(), listing=JoinedGrants()
)
"""Grants as they stand in a definition, and in each other."""

GRANT = WholeGrant()
EXPRESSION: Mapping[str, RecordKey] = {
    "operator": RecordKey(GrantOperator(), default="`AND`"),
    "controls": RecordKey(JoinedGrants()),
    "all": RecordKey(JoinedGrants()),
    "any": RecordKey(JoinedGrants(every=False)),
    USE: RecordKey(Use("grants", lambda: ALTERNATIVES)),
}
FORMS = (
    ("mfa", "this control"),
    ("[mfa, compliant-device]", "all of these"),
    (
        "{operator: OR, controls: [mfa, compliant-device]}",
        "any of these; `AND`: all, which is also meant without `operator`",
    ),
    ("{all: [mfa, compliant-device]}", "all of these; `all` and `any` nest, and in `controls`"),
    ("{any: [mfa, {all: [mfa, compliant-device]}]}", "any of these"),
    ("{use: strong}", "the definition of this name"),
    ("block", "refuses, whatever is shown; it stands alone"),
)
"""Examples of each form, and what it means, for the reference page."""


def _least(alternatives: Iterable[frozenset[str]]) -> Alternatives:
    """Return the alternatives but those that ask for all that another asks for, and more."""
    kept: list[frozenset[str]] = []
    for controls in sorted(set(alternatives), key=len):
        if not any(other <= controls for other in kept):
            kept.append(controls)
    return frozenset(kept)
