"""Rules for mappings and lists: records with known keys, their short forms, lists of things."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from sidecar.wire.grammar.rules import FileReading, Rule, Schema, without_links
from sidecar.wire.yaml.nodes import inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import FilePosition, Listing, Node, Table

T = TypeVar("T")
U = TypeVar("U")

REQUIRED = "is required"
_FEW = 5
NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


class RecordKey(msgspec.Struct, frozen=True):
    """Describes one key of a record.

    `required` is what is said where the key is left out; empty: it may be. Then the record is
    built without it, and `default` is what that means, in words. `meaning` stands in the
    reference page and in the schema.
    """

    rule: Rule[Any]
    meaning: str = ""
    required: str = ""
    default: str = ""

    def schema(self) -> Schema:
        """Return the rule's schema with the meaning."""
        found = self.rule.schema()
        return {"description": without_links(self.meaning), **found} if self.meaning else found


class Given(msgspec.Struct, frozen=True):
    """Holds what a record has: the nodes of its known keys, and the values that could be read."""

    nodes: Mapping[str, Node]
    values: Mapping[str, Any]


def no_check(_given: Given) -> Iterable[tuple[str, str]]:
    """Find nothing wrong."""
    return ()


class Record(msgspec.Struct, Generic[T], frozen=True):
    """Accepts a mapping of known keys; `build` gets the values of those that are there by name.

    Of `needs` one key must be there, or `lacking` is said; if unknown keys are, that is enough to
    say, unless `strictly`. `check` gives fields and messages where keys do not go together; `more`
    says the same in the schema, where it can.
    """

    keys: Mapping[str, RecordKey]
    build: Callable[..., T]
    needs: tuple[str, ...] = ()
    lacking: str = ""
    strictly: bool = False
    check: Callable[[Given], Iterable[tuple[str, str]]] = no_check
    more: Mapping[str, Any] = NOTHING_MORE

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what is built."""
        table = reading.table(node, field, self.keys)
        if table is None:
            return MISSING
        is_lacking = self._lacks(node, table)
        if is_lacking:
            reading.add(node, field, self.lacking)
        values = {key: self._value(key, below, field, reading) for key, below in table.items()}
        for key, one in self.keys.items():
            if one.required and key not in table:
                reading.add(node, inside(field, key), one.required)
                values[key] = MISSING
        found = {key: value for key, value in values.items() if value is not MISSING}
        for key, message in self.check(Given(table, found)):
            place = table.get(key.partition(".")[0], node)
            reading.add(place, inside(field, key) if key else field, message)
        return MISSING if is_lacking or len(found) < len(values) else self.build(**found)

    def _value(self, key: str, node: Node, field: str, reading: FileReading) -> Any:
        return self.keys[key].rule.read(node, inside(field, key), reading)

    def value(
        self,
        key: str,
        table: Mapping[str, Node],
        at: FilePosition,
        field: str,
        reading: FileReading,
    ) -> Any:
        """Return the value of one key, for who builds by hand; None if it is left out.

        MISSING if there is a problem. `at` is where the record stands.
        """
        if key in table:
            return self._value(key, table[key], field, reading)
        if self.keys[key].required:
            reading.problems.add(at, inside(field, key), self.keys[key].required)
            return MISSING
        return None

    def _lacks(self, node: Node, table: Mapping[str, Node]) -> bool:
        if not self.lacking or not table.keys().isdisjoint(self.needs):
            return False
        unknown = isinstance(node, Table) and not node.entries.keys() <= self.keys.keys()
        return self.strictly or not unknown

    def schema(self) -> Schema:
        """Return the schema of all keys, and of those that must be there."""
        required = [key for key, one in self.keys.items() if one.required]
        found = shape_of({key: one.schema() for key, one in self.keys.items()}, required)
        if set(self.needs) == self.keys.keys():
            found["minProperties"] = 1
        elif self.needs:
            found["anyOf"] = [{"required": [key]} for key in self.needs]
        return {**found, **self.more}

    def words(self) -> str:
        """Return the keys, if they are few."""
        if len(self.keys) > _FEW:
            return "mapping"
        return f"`{{{', '.join(f'{key}: ...' for key in self.keys)}}}`"


class Short(msgspec.Struct, Generic[T], frozen=True):
    """Accepts a record, or what its key `alone` maps to, which then stands for the whole."""

    record: Record[T]
    alone: str

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what is built, of the record or of the one value."""
        if isinstance(node, Table):
            return self.record.read(node, field, reading)
        found = self.record.keys[self.alone].rule.read(node, field, reading)
        return MISSING if found is MISSING else self.record.build(**{self.alone: found})

    def schema(self) -> Schema:
        """Return the schema of both."""
        value = self.record.keys[self.alone].rule.schema()
        return {"anyOf": [*alternatives(value), self.record.schema()]}

    def words(self) -> str:
        """Return the words of both."""
        return f"{self.record.keys[self.alone].rule.words()}; or {self.record.words()}"


class ByShape(msgspec.Struct, Generic[T], frozen=True):
    """Accepts a mapping by one rule, a list by another, and all else by a third."""

    other: Rule[T]
    mapping: Rule[T] | None = None
    listing: Rule[T] | None = None

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return what the rule for the node's shape reads."""
        if isinstance(node, Table) and self.mapping is not None:
            return self.mapping.read(node, field, reading)
        if isinstance(node, Listing) and self.listing is not None:
            return self.listing.read(node, field, reading)
        return self.other.read(node, field, reading)

    def schema(self) -> Schema:
        """Return the schema of all."""
        rules = [rule for rule in (self.other, self.listing, self.mapping) if rule is not None]
        return {"anyOf": [each for rule in rules for each in alternatives(rule.schema())]}

    def words(self) -> str:
        """Return the words of all."""
        rules = [rule for rule in (self.other, self.listing, self.mapping) if rule is not None]
        return "; or ".join(rule.words() for rule in rules)


class Items(msgspec.Struct, Generic[T], frozen=True):
    """Accepts a list that is not empty, each item by one rule. `called` is what it is a list of."""

    rule: Rule[T]
    called: str

    def read(self, node: Node, field: str, reading: FileReading) -> tuple[T, ...] | Missing:
        """Return all items; MISSING if there is a problem with one."""
        if not isinstance(node, Listing):
            return refuse(reading.problems, node, field, self.called)
        if not node.items:
            reading.add(node, field, "must not be empty")
            return MISSING
        read = [
            self.rule.read(item, f"{field}[{at}]", reading) for at, item in enumerate(node.items)
        ]
        found = tuple(one for one in read if not isinstance(one, Missing))
        return found if len(found) == len(read) else MISSING

    def schema(self) -> Schema:
        """Return the schema of the list."""
        return {"type": "array", "items": self.rule.schema(), "minItems": 1}

    def words(self) -> str:
        """Return what it is a list of."""
        return self.called.removeprefix("a ")


def alternatives(schema: Schema) -> list[Schema]:
    """Return the parts of a schema that is nothing but alternatives; else itself."""
    found: list[Schema] = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return found


def shape_of(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    """Return the schema of a mapping that has none but these keys."""
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found
