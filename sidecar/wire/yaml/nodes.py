"""Single values and plain lists out of a tree; what is not as it must be is reported, and None."""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

from sidecar.wire.names import composed
from sidecar.wire.yaml.structs import join, refuse, refuse_unknown, suggestion
from sidecar.wire.yaml.tree import (
    AlreadyRefused,
    FilePosition,
    Listing,
    Node,
    Problems,
    Scalar,
    Table,
    shown,
)

E = TypeVar("E", bound=StrEnum)
MAX_TEXT = 1024


class Named(NamedTuple):
    """A name in a file: what it says, and where it stands."""

    text: str
    field: str
    place: FilePosition


class Leaves:
    """Reads leaves; adds to `problems`."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def add(self, node: Node, field: str, message: str) -> None:
        """Report a problem with a node."""
        if not isinstance(node, AlreadyRefused):
            self.problems.add(node.place, field, message)

    def table(self, node: Node, field: str, known: Iterable[str]) -> Mapping[str, Node] | None:
        """Return a mapping with none but these keys; unknown ones are reported and left out."""
        if not isinstance(node, Table):
            refuse(self.problems, node, field, "a mapping")
            return None
        names = frozenset(known)
        refuse_unknown(self.problems, node, field, names)
        return {key: entry.node for key, entry in node.entries.items() if key in names}

    def text(self, node: Node, field: str) -> str | None:
        """Text that is not empty, in normalisation form C, as all doors have it."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if node.value != node.value.strip():
                self.add(node, field, f"{shown(node.value)!r} begins or ends with a blank")
            elif 0 < len(node.value) <= MAX_TEXT:
                return composed(node.value)
            else:
                self.add(node, field, f"must be 1 to {MAX_TEXT} characters")
        else:
            refuse(self.problems, node, field, "text (put it in quotes)" if _odd(node) else "text")
        return None

    def names(self, node: Node, field: str) -> list[Named] | None:
        """Return a list of texts, or one text; never an empty list."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return self._named([(field, node)])
        if not isinstance(node, Listing):
            refuse(self.problems, node, field, "a list")
            return None
        if not node.items:
            self.add(node, field, "must not be empty")
            return None
        return self._named((f"{field}[{at}]", item) for at, item in enumerate(node.items))

    def _named(self, items: Iterable[tuple[str, Node]]) -> list[Named]:
        read = ((self.text(node, field), field, node.place) for field, node in items)
        return [Named(text, field, place) for text, field, place in read if text is not None]

    def boolean(self, node: Node, field: str) -> bool | None:
        """Return true or false; None where the node is neither, which is reported."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        refuse(self.problems, node, field, "true or false")
        return None

    def number(self, node: Node, field: str, least: float, most: float) -> float | None:
        """Return a number within bounds."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(self.problems, node, field, "a number")
            return None
        if not math.isfinite(value) or not least <= value <= most:
            self.add(node, field, f"must be from {least:g} to {most:g}, not {value:g}")
            return None
        return float(value)

    def choice(self, node: Node, field: str, choices: type[E]) -> E | None:
        """Return a member of an enumeration, by its value."""
        name = self.text(node, field)
        if name is None:
            return None
        return self.member(Named(name, field, node.place), choices)

    def member(self, name: Named, choices: type[E]) -> E | None:
        """Return the member of an enumeration that a name stands for."""
        known = {member.value: member for member in choices}
        if name.text not in known:
            self.unknown(name, known)
            return None
        return known[name.text]

    def unknown(self, name: Named, known: Iterable[str], where: str = "known") -> None:
        """Report that a name is not known, and which might have been meant."""
        if self.problems.full:
            return  # to look for what was meant takes long
        message = f"{shown(name.text)!r} is not {where}{suggestion(name.text, known)}"
        self.problems.add(name.place, name.field, message)

    def all_of(self, names: Iterable[Named], known: frozenset[str], where: str = "known") -> bool:
        """Return whether all names are known; report the others."""
        strangers = [name for name in names if name.text not in known]
        for name in strangers:
            self.unknown(name, known, where)
        return not strangers


def inside(field: str, key: str) -> str:
    """Return the path of a key within a field."""
    return join(field, key)


def _odd(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, bool | int | float)
