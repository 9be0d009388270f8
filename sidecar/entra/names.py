"""The names file: what the ids of an export are called here.

    users: {6b0e...: anna}
    groups: {c1d2...: finance, GuestsOrExternalUsers: guests}
    locations: {7f3a...: headquarters}
    strengths: {91ab...: phishing-resistant}

Sections are optional; an entry that stands outside of them counts for every kind of id.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from sidecar.wire.grammar.selections import EVERYTHING
from sidecar.wire.yaml.nodes import Leaves, inside
from sidecar.wire.yaml.tree import ConfigError, Node, Problems, Scalar, Table, read_tree

__all__ = ["NO_NAMES", "SECTIONS", "ConfigError", "DirectoryNames", "read_names"]

SECTIONS = ("users", "groups", "roles", "apps", "locations", "strengths", "contexts")
_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DirectoryNames(msgspec.Struct, frozen=True):
    """Names by kind and id; ids in lower case."""

    by_kind: Mapping[str, Mapping[str, str]]
    general: Mapping[str, str]

    def of(self, kind: str, name: str) -> str | None:
        """Return what an id is called; None where the file does not say."""
        key = name.lower()
        return self.by_kind.get(kind, {}).get(key) or self.general.get(key)

    @property
    def locations(self) -> frozenset[str]:
        """The named locations that the file speaks of: they are configured elsewhere."""
        return frozenset(self.by_kind.get("locations", {}).values())


NO_NAMES = DirectoryNames(MappingProxyType({}), MappingProxyType({}))


def read_names(text: str, file: str) -> DirectoryNames:
    """Read a names file. Raises ConfigError with everything that is wrong."""
    problems = Problems()
    leaves = Leaves(problems)
    tree = read_tree(text, file, problems)
    by_kind: dict[str, dict[str, str]] = {}
    general: dict[str, str] = {}
    if isinstance(tree, Table):
        for key, entry in tree.entries.items():
            if key in SECTIONS and isinstance(entry.node, Table):
                by_kind[key] = _section(entry.node, key, leaves)
            else:
                _take(general, key, entry.node, inside("", key), leaves)
    elif tree is not None and not (isinstance(tree, Scalar) and tree.value is None):
        leaves.add(tree, "", "must be a mapping of ids to names")
    problems.check()
    return DirectoryNames(by_kind, general)


def _section(table: Table, section: str, leaves: Leaves) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, entry in table.entries.items():
        field = inside(section, key)
        _take(found, key, entry.node, field, leaves)
        name = found.get(key.lower(), "")
        if name and section == "locations" and not _LOCATION.fullmatch(name):
            message = "must be 1 to 64 letters, digits, dots, dashes or underscores"
            leaves.add(entry.node, field, message)
    return found


def _take(found: dict[str, str], key: str, node: Node, field: str, leaves: Leaves) -> None:
    name = leaves.text(node, field)
    if name == EVERYTHING:
        leaves.add(node, field, "`all` is no name")
    elif name is not None:
        found[key.lower()] = name
