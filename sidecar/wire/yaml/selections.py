"""Selections, from a tree: names to include and names to exclude, in their short forms, too."""

from collections.abc import Callable

from sidecar.domain.policy.policy import Selection
from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.tree import Listing, Node, Table

EVERYTHING = "all"
KEYS = ("include", "exclude")


def is_empty_list(node: Node) -> bool:
    """Whether this is `[]`: nothing to exclude may be said so."""
    return isinstance(node, Listing) and not node.items


class Selections:
    """Reads selections; what is wrong goes to the leaves' problems."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves

    def read(
        self,
        node: Node,
        field: str,
        known: Callable[[Named], str | None],
        beside: frozenset[str] = frozenset(),
    ) -> Selection | None:
        """`{include: [...], exclude: [...]}`, or a list of what to include; `all` is all.

        `known` gives the canonical form of a name, or tells what is wrong with it. Keys that may
        stand `beside` the two are somebody else's to read.
        """
        if not isinstance(node, Table):
            names = self._leaves.names(node, field)
            return None if names is None else Selection(self._included(names, known))
        table = self._leaves.table(node, field, (*KEYS, *beside)) or {}
        if table.keys() <= beside:
            if node.entries.keys() <= beside:
                self._leaves.add(node, field, "must have `include` or `exclude`")
            return None
        include: frozenset[str] | None = None
        exclude = frozenset[str]()
        if "include" in table:
            names = self._leaves.names(table["include"], inside(field, "include"))
            include = self._included(names or [], known)
        if "exclude" in table and not is_empty_list(table["exclude"]):
            names = self._leaves.names(table["exclude"], inside(field, "exclude"))
            exclude = self._known(names or [], known)
        return Selection(include, exclude)

    def _included(
        self, names: list[Named], known: Callable[[Named], str | None]
    ) -> frozenset[str] | None:
        return None if means_all(names) else self._known(names, known)

    def _known(self, names: list[Named], known: Callable[[Named], str | None]) -> frozenset[str]:
        found = set()
        for name in names:
            if name.text == EVERYTHING:
                refuse_all(self._leaves, name)
            elif (text := known(name)) is not None:
                found.add(text)
        return frozenset(found)


def means_all(names: list[Named]) -> bool:
    """Whether `all` stands there, alone."""
    return [name.text for name in names] == [EVERYTHING]


def refuse_all(leaves: Leaves, name: Named) -> None:
    """Tell that `all` is no name."""
    message = "`all` can only stand alone, for what is included"
    leaves.problems.add(name.place, name.field, message)
