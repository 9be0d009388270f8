"""Describes whom a policy is for: users by themselves, by group or by role."""

from collections.abc import Iterable

import msgspec

from sidecar.domain.policy.conditional_access import NOBODY, Assignment, Principals
from sidecar.wire.grammar.definitions import USE
from sidecar.wire.grammar.records import ByShape, Given, Record, RecordKey, shape_of
from sidecar.wire.grammar.rules import TEXT, Built, FileReading, Rule, Schema, Spelled, Use
from sidecar.wire.grammar.selections import Excluded, Included, is_empty_list
from sidecar.wire.names import name_of
from sidecar.wire.yaml.nodes import inside
from sidecar.wire.yaml.structs import Missing
from sidecar.wire.yaml.tree import Node, Table


class OrUsed(msgspec.Struct, frozen=True):
    """Accepts `{include: ..., exclude: ...}`, or the name of a definition in their place."""

    def read(self, node: Node, field: str, reading: FileReading) -> Assignment | Missing:
        """Return the assignment."""
        if isinstance(node, Table) and node.entries.keys() == {USE}:
            return USED.read(node.entries[USE].node, inside(field, USE), reading)
        return SIDES.read(node, field, reading)

    def schema(self) -> Schema:
        """Return the schema of both."""
        return {"anyOf": [SIDES.schema(), shape_of({USE: USED.schema()}, [USE])]}

    def words(self) -> str:
        """Return the words of both."""
        return f"{SIDES.words()}; or `{{{USE}: ...}}`"


def _somebody(given: Given) -> Iterable[tuple[str, str]]:
    if all(map(is_empty_list, given.nodes.values())):
        yield "", f"must name {', '.join(_KINDS)}; or say `all`"


def _included(names: frozenset[str] | None) -> Principals | None:
    return None if names is None else Principals(users=names)


def _excluded(names: frozenset[str]) -> Principals:
    return Principals(users=names)


def _all_but(include: Principals | None = None, exclude: Principals = NOBODY) -> Assignment:
    return Assignment(include, exclude)


PRINCIPAL = Spelled(name_of, dict(TEXT), "names")
_KINDS = {
    "users": RecordKey(Excluded(PRINCIPAL), "by the issuers' `user_claim`"),
    "groups": RecordKey(Excluded(PRINCIPAL), "by their `groups_claim`"),
    "roles": RecordKey(Excluded(PRINCIPAL), "by their `roles_claim`"),
}
_INCLUDED: Rule[Principals | None] = ByShape(
    Built(Included(PRINCIPAL), _included), mapping=Record(_KINDS, Principals, check=_somebody)
)
_EXCLUDED: Rule[Principals] = ByShape(
    Built(Excluded(PRINCIPAL), _excluded), mapping=Record(_KINDS, Principals)
)
SIDES = Record(
    {"include": RecordKey(_INCLUDED), "exclude": RecordKey(_EXCLUDED)},
    _all_but,
    needs=("include", "exclude"),
    lacking="must have `include` or `exclude`",
)
USED: Rule[Assignment] = Use("users", lambda: USERS)
USERS: Rule[Assignment] = ByShape(
    Built(Built(Included(PRINCIPAL), _included), Assignment), mapping=OrUsed()
)
"""Whom a policy is for, as it stands in a policy and in a definition."""
