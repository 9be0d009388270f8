"""Rules for selections: names to include and names to exclude, in their short forms, too."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from sidecar.domain.policy.conditional_access import Selection
from sidecar.wire.grammar.records import Record, RecordKey, Short
from sidecar.wire.grammar.rules import FileReading, Schema, Several, TextRule
from sidecar.wire.yaml.nodes import Named
from sidecar.wire.yaml.structs import MISSING, Missing
from sidecar.wire.yaml.tree import Listing, Node

T = TypeVar("T")
EVERYTHING = "all"


class Included(msgspec.Struct, frozen=True):
    """Accepts the names to include, or `all`, which is None."""

    item: TextRule[str]

    def read(self, node: Node, field: str, reading: FileReading) -> frozenset[str] | Missing | None:
        """Return the names that are known."""
        names = reading.names(node, field)
        if names is None:
            return MISSING
        return None if means_all(names) else known_of(names, self.item, reading)

    def schema(self) -> Schema:
        """Return the schema of one name, and of a list."""
        return Several(self.item).schema()

    def words(self) -> str:
        """Return the name of the items."""
        return Several(self.item).words()


class Excluded(msgspec.Struct, frozen=True):
    """Accepts the names to exclude, also none of them."""

    item: TextRule[str]

    def read(self, node: Node, field: str, reading: FileReading) -> frozenset[str] | Missing:
        """Return the names that are known."""
        if is_empty_list(node):
            return frozenset()
        names = reading.names(node, field)
        return MISSING if names is None else known_of(names, self.item, reading)

    def schema(self) -> Schema:
        """Return the schema of one name, and of a list that may be empty."""
        return Several(self.item, may_be_empty=True).schema()

    def words(self) -> str:
        """Return the name of the items."""
        return Several(self.item).words()


NOTHING_BESIDE: Mapping[str, RecordKey] = MappingProxyType({})


def selection(item: TextRule[str]) -> Short[Selection]:
    """Return the rule for `{include: [...], exclude: [...]}`, or what to include alone."""
    return selection_with(item, Selection)


def selection_with(
    item: TextRule[str], build: Callable[..., T], beside: Mapping[str, RecordKey] = NOTHING_BESIDE
) -> Short[T]:
    """Return the rule for a selection of which something is built, with keys beside the two."""
    keys = {"include": RecordKey(Included(item)), "exclude": RecordKey(Excluded(item)), **beside}
    needs = ("include", "exclude")
    lacking = "must have `include` or `exclude`"
    return Short(Record(keys, build, needs=needs, lacking=lacking), "include")


def is_empty_list(node: Node) -> bool:
    """Return whether this is `[]`: nothing to exclude may be said so."""
    return isinstance(node, Listing) and not node.items


def means_all(names: list[Named]) -> bool:
    """Return whether `all` stands there, alone."""
    return [name.text for name in names] == [EVERYTHING]


def known_of(names: Iterable[Named], item: TextRule[str], reading: FileReading) -> frozenset[str]:
    """Return the names that are known; add a problem for `all` among them."""
    found = set()
    for name in names:
        if name.text == EVERYTHING:
            refuse_all(reading, name)
            continue
        text = item.of(name, reading)
        if not isinstance(text, Missing):
            found.add(text)
    return frozenset(found)


def refuse_all(reading: FileReading, name: Named) -> None:
    """Add the problem that `all` is no name."""
    message = "`all` can only stand alone, for what is included"
    reading.problems.add(name.place, name.field, message)
