"""What a policy grants, in any of its spellings, brought into one form.

`mfa`, a list (all of it), `{operator: AND|OR, controls: [...]}`, and within lists `{all: [...]}`
and `{any: [...]}` become alternatives: sets of controls, any one of which suffices. `block` stands
alone.
"""

from collections.abc import Iterable
from typing import TypeAlias

from sidecar.domain.policy.policy import BLOCK, COMPLIANT_DEVICE, Grant
from sidecar.wire.grammar.definitions import USE, Definitions
from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.structs import MISSING, Missing
from sidecar.wire.yaml.tree import Listing, Node, Scalar, Table

MAX_ALTERNATIVES = 64
_KEYS = ("operator", "controls", "all", "any", USE)
_OPERATORS = ("AND", "OR")

Alternatives: TypeAlias = frozenset[frozenset[str]]


class Grants:
    """Reads grants over the assurance levels and strengths that are named so."""

    def __init__(
        self, leaves: Leaves, names: Iterable[str], definitions: Definitions | None = None
    ) -> None:
        self._leaves = leaves
        self._definitions = definitions or Definitions(leaves)
        self._controls = frozenset({*names, COMPLIANT_DEVICE, BLOCK})

    def read(self, node: Node, field: str) -> Grant | None:
        """The grant, None where it cannot be read."""
        found = self._alternatives(node, field)
        if isinstance(found, Missing):
            return None
        if found == {frozenset({BLOCK})}:
            return Grant(block=True)
        if any(BLOCK in controls for controls in found):
            message = "has `block` beside other controls; block stands alone"
            self._leaves.add(node, field, message)
            return None
        return Grant(tuple(sorted(found, key=lambda controls: (len(controls), sorted(controls)))))

    def check(self) -> None:
        """Read the grants that are defined, used or not."""
        self._definitions.check("grants", self._alternatives)

    def _alternatives(self, node: Node, field: str) -> Alternatives | Missing:
        if isinstance(node, Listing):
            return self._joined(node, field, every=True)
        if isinstance(node, Table):
            return self._mapping(node, field)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._leaves.text(node, field)
            return MISSING
        name = Named(node.value, field, node.place)
        if not self._leaves.all_of([name], self._controls, "a control"):
            return MISSING
        return frozenset({frozenset({name.text})})

    def _mapping(self, node: Table, field: str) -> Alternatives | Missing:
        table = self._leaves.table(node, field, _KEYS)
        if not table:
            if table is not None and not node.entries:
                self._leaves.add(node, field, "must name a control")
            return MISSING
        if table.keys() == {USE}:
            at = inside(field, USE)
            return self._definitions.use("grants", table[USE], at, self._alternatives)
        if "controls" in table and not table.keys() & {"all", "any", USE}:
            every = self._operator(table.get("operator"), inside(field, "operator"))
            return self._joined(table["controls"], inside(field, "controls"), every=every)
        if len(table) > 1 or "operator" in table:
            message = "must have `controls` with an `operator`, or one of `all`, `any` and `use`"
            self._leaves.add(node, field, message)
            return MISSING
        ((key, below),) = table.items()
        return self._joined(below, inside(field, key), every=key == "all")

    def _operator(self, node: Node | None, field: str) -> bool:
        if node is None:
            return True
        name = self._leaves.text(node, field)
        if name is not None and name.upper() not in _OPERATORS:
            self._leaves.unknown(Named(name, field, node.place), _OPERATORS)
        return name is None or name.upper() != "OR"

    def _joined(self, node: Node, field: str, *, every: bool) -> Alternatives | Missing:
        if not isinstance(node, Listing):
            return self._alternatives(node, field)
        if not node.items:
            self._leaves.add(node, field, "must not be empty")
            return MISSING
        read = [self._alternatives(item, f"{field}[{at}]") for at, item in enumerate(node.items)]
        parts = [part for part in read if not isinstance(part, Missing)]
        if len(parts) < len(read):
            return MISSING
        found = parts[0]
        for part in parts[1:]:
            found = _least({a | b for a in found for b in part} if every else found | part)
            if len(found) > MAX_ALTERNATIVES:
                message = f"comes to more than {MAX_ALTERNATIVES} alternatives"
                self._leaves.add(node, field, message)
                return MISSING
        return found


def _least(alternatives: Iterable[frozenset[str]]) -> Alternatives:
    """Without those that ask for all that another asks for, and more."""
    kept: list[frozenset[str]] = []
    for controls in sorted(set(alternatives), key=len):
        if not any(other <= controls for other in kept):
            kept.append(controls)
    return frozenset(kept)
