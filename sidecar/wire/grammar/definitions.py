"""Named parts of policies that are written once, in any policy file, and used by name in all."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import MAX_DEPTH, MappingEntry, Node, Table, levels_of, shown

T = TypeVar("T")

USE = "use"
MOST_USES = 1000
"""A definition that comes to more uses of others is refused: they double what they double."""


class _Definition(msgspec.Struct, eq=False):
    """A definition, and once it `is_read` its value and how often it uses others.

    It has so many levels of its `own`, and so many with what it uses.
    """

    name: str
    field: str
    entry: MappingEntry
    own: int
    levels: int
    uses: int = 0
    value: Any = MISSING
    is_read: bool = False


class Definitions:
    """The definitions of all files; what is wrong goes to the leaves' problems."""

    def __init__(self, leaves: Leaves, kinds: Iterable[str]) -> None:
        self._leaves = leaves
        self._entries: dict[str, dict[str, _Definition]] = {kind: {} for kind in kinds}
        self._open: list[_Definition] = []

    def take(self, node: Node, field: str) -> None:
        """Take up the definitions of a file."""
        table = self._leaves.table(node, field, self._entries)
        for kind, below in (table or {}).items():
            at = inside(field, kind)
            if not isinstance(below, Table):
                refuse(self._leaves.problems, below, at, "a mapping of names")
                continue
            for name, entry in below.entries.items():
                path, known = inside(at, name), self._entries[kind].get(name)
                if known is not None:
                    first = known.entry.place
                    message = f"is defined already, in {first.file}:{first.line}"
                    self._leaves.problems.add(entry.place, path, message)
                    continue
                own = levels_of(entry.node)
                self._entries[kind][name] = _Definition(name, path, entry, own, own)

    def check(self, kind: str, read: Callable[[Node, str], object]) -> None:
        """Read all definitions of a kind, used or not."""
        for definition in self._entries[kind].values():
            self._value(definition, read)

    def use(
        self, kind: str, node: Node, field: str, read: Callable[[Node, str], T | Missing]
    ) -> T | Missing:
        """Return what the definition that `node` names means; MISSING if there is a problem."""
        text = self._leaves.text(node, field)
        if text is None:
            return MISSING
        used = self._entries[kind].get(text)
        if used is None:
            named = Named(text, field, node.place)
            self._leaves.unknown(named, self._entries[kind], f"in `definitions.{kind}`")
            return MISSING
        if used in self._open:
            loop = [one.name for one in self._open[self._open.index(used) :]]
            way = " uses ".join(shown(name) for name in (*loop, text))
            self._leaves.add(node, field, f"uses itself: {way}")
            return MISSING
        if sum(one.own for one in self._open) + used.levels > MAX_DEPTH:
            message = f"comes to more than {MAX_DEPTH} levels, with those of what it uses"
            self._leaves.add(node, field, message)
            return MISSING
        value: T | Missing = self._value(used, read)
        if self._open:
            user = self._open[-1]
            user.uses += 1 + used.uses
            user.levels = max(user.levels, user.own + used.levels)
        return value

    def _value(
        self, definition: _Definition, read: Callable[[Node, str], T | Missing]
    ) -> T | Missing:
        if not definition.is_read:
            field, node = definition.field, definition.entry.node
            self._open.append(definition)
            definition.value = read(node, field)
            self._open.pop()
            if definition.uses > MOST_USES:
                message = f"comes to more than {MOST_USES} uses of others"
                self._leaves.add(node, field, message)
                definition.value, definition.uses = MISSING, 0
            definition.is_read = True
        found: T | Missing = definition.value
        return found
