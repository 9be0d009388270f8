"""Rules of a filter for devices: what they say of one device, by Microsoft's documentation.

The language is that of dynamic membership rules: operators with or without a hyphen, in any case;
`-not` binds closer than `-and`, and that closer than `-or`; texts are compared in any case. "For a
device that is unregistered, all device properties are considered as null values": a positive
operator does not hold of null, a negative one does.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r'\s*(?:(\()|(\))|(\[)|(\])|(,)|"([^"]*)"|\'([^\']*)\'|([^\s()\[\],"\']+))')
_POSITIVE: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda held, written: held == written,
    "startswith": lambda held, written: held.startswith(written),
    "endswith": lambda held, written: held.endswith(written),
    "contains": lambda held, written: written in held,
}
_NEGATIVE = {
    "ne": "eq",
    "notstartswith": "startswith",
    "notendswith": "endswith",
    "notcontains": "contains",
}
_COLLECTIONS = {"physicalids", "systemlabels"}


class Unclear(Exception):  # noqa: N818 - what the documentation does not say
    """The documentation does not say what this means."""


def holds(rule: str, device: Mapping[str, Any]) -> bool:
    """Whether a device fits a rule. Raises Unclear where it is no rule of the documentation."""
    parser = _Rule(rule, device)
    found = parser.either()
    if parser.rest:
        raise Unclear(f"the rule {rule!r}")
    return found


class _Rule:
    def __init__(self, rule: str, device: Mapping[str, Any]) -> None:
        self._device = device
        self.rest: list[tuple[str, str]] = []
        at = 0
        while rule[at:].strip():
            found = _TOKEN.match(rule, at)
            if found is None:
                raise Unclear(f"the rule {rule!r}")
            at = found.end()
            kind = (
                "()[],tt"[found.lastindex - 1] if found.lastindex and found.lastindex < 8 else "w"
            )
            self.rest.append((kind, found[found.lastindex or 0]))

    def either(self) -> bool:
        found = self.both()
        while self._word("or"):
            found = self.both() or found
        return found

    def both(self) -> bool:
        found = self.one()
        while self._word("and"):
            found = self.one() and found
        return found

    def one(self) -> bool:
        if self._word("not"):
            return not self.one()
        if self._take("("):
            found = self.either()
            self._must(")")
            return found
        return self._comparison()

    def _comparison(self) -> bool:
        name = self._must("w").lower()
        if not name.startswith("device."):
            raise Unclear(name)
        attribute = name.removeprefix("device.")
        operator = self._must("w").lower().removeprefix("-")
        held = self._device.get(attribute)
        if operator in {"in", "notin"}:
            return any(_is("eq", attribute, held, written) for written in self._list()) is (
                operator == "in"
            )
        written = self._value()
        if operator in _NEGATIVE:
            return not _is(_NEGATIVE[operator], attribute, held, written)
        if operator not in _POSITIVE:
            raise Unclear(operator)
        return _is(operator, attribute, held, written)

    def _list(self) -> list[str | None]:
        self._must("[")
        found = [self._value()]
        while self._take(","):
            found.append(self._value())
        self._must("]")
        return found

    def _value(self) -> str | None:
        if not self.rest or self.rest[0][0] not in "tw":
            raise Unclear("a rule without a value")
        kind, text = self.rest.pop(0)
        return None if kind == "w" and text.lower() in {"null", "$null"} else text

    def _word(self, word: str) -> bool:
        if self.rest and self.rest[0][0] == "w" and self.rest[0][1].lower() in {word, f"-{word}"}:
            self.rest.pop(0)
            return True
        return False

    def _take(self, kind: str) -> bool:
        if self.rest and self.rest[0][0] == kind:
            self.rest.pop(0)
            return True
        return False

    def _must(self, kind: str) -> str:
        if not self.rest or self.rest[0][0] != kind:
            raise Unclear("a rule that cannot be read")
        return self.rest.pop(0)[1]


def _is(operator: str, attribute: str, held: Any, written: str | None) -> bool:
    if written is None or held is None:
        return operator == "eq" and held is None and written is None
    if isinstance(held, frozenset | set):
        return operator == "contains" and written.lower() in {each.lower() for each in held}
    if attribute in _COLLECTIONS:
        raise Unclear(attribute)
    return _POSITIVE[operator](str(held).lower(), written.lower())
