"""Named parts of policies that are written once, in any policy file, and used by name in all."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import MappingEntry, Node, Table, shown

T = TypeVar("T")

USE = "use"
MOST_USES = 1000
"""A definition that comes to more uses of others is refused: they double what they double."""


class Definitions:
    """The definitions of all files; what is wrong goes to the leaves' problems."""

    def __init__(self, leaves: Leaves, kinds: Iterable[str]) -> None:
        self._leaves = leaves
        self._entries: dict[str, dict[str, tuple[str, MappingEntry]]] = {kind: {} for kind in kinds}
        self._read: dict[tuple[str, str], Any] = {}
        self._uses: dict[tuple[str, str], int] = {}
        self._open: list[tuple[str, str]] = []
        self._counts = [0]

    def take(self, node: Node, field: str) -> None:
        """Take up the definitions of a file."""
        table = self._leaves.table(node, field, self._entries)
        for kind, below in (table or {}).items():
            at = inside(field, kind)
            if not isinstance(below, Table):
                refuse(self._leaves.problems, below, at, "a mapping of names")
                continue
            for name, entry in below.entries.items():
                known = self._entries[kind].setdefault(name, (inside(at, name), entry))[1]
                if known is not entry:
                    first = f"{known.place.file}:{known.place.line}"
                    message = f"is defined already, in {first}"
                    self._leaves.problems.add(entry.place, inside(at, name), message)

    def check(self, kind: str, read: Callable[[Node, str], object]) -> None:
        """Read all definitions of a kind, used or not."""
        for name in self._entries[kind]:
            self._value(kind, name, read)

    def use(
        self, kind: str, node: Node, field: str, read: Callable[[Node, str], T | Missing]
    ) -> T | Missing:
        """Return what the definition that `node` names means; MISSING if there is a problem."""
        text = self._leaves.text(node, field)
        if text is None:
            return MISSING
        if text not in self._entries[kind]:
            named = Named(text, field, node.place)
            self._leaves.unknown(named, self._entries[kind], f"in `definitions.{kind}`")
            return MISSING
        if (kind, text) in self._open:
            loop = [name for _, name in self._open[self._open.index((kind, text)) :]]
            way = " uses ".join(shown(name) for name in (*loop, text))
            self._leaves.add(node, field, f"uses itself: {way}")
            return MISSING
        value: T | Missing = self._value(kind, text, read)
        self._counts[-1] += 1 + self._uses[kind, text]
        return value

    def _value(self, kind: str, name: str, read: Callable[[Node, str], T | Missing]) -> T | Missing:
        key = (kind, name)
        if key not in self._read:
            field, entry = self._entries[kind][name]
            self._open.append(key)
            self._counts.append(0)
            value = read(entry.node, field)
            uses = self._counts.pop()
            self._open.pop()
            if uses > MOST_USES:
                message = f"comes to more than {MOST_USES} uses of others"
                self._leaves.add(entry.node, field, message)
                value, uses = MISSING, 0
            self._read[key], self._uses[key] = value, uses
        found: T | Missing = self._read[key]
        return found
