"""Rules of Graph's device filters, as far as a sidecar knows the attributes.

What signals report of a device is its compliance: `device.isCompliant`, compared with `-eq` and
`-ne` to True or False, and joined by `-and`, `-or`, `-not` and brackets. An attribute that was
never reported is null to Graph: it equals nothing, and `-ne` holds. Every other attribute of a
rule is named, with what it would need here.
"""

import re
from typing import NamedTuple

from sidecar.domain.policy.conditional_access import All, AnyOf, Condition, Device, Not

MAX_LENGTH = 3072
"""Graph's own limit."""
_MAX_DEPTH = 16
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()\[\],])|(?P<text>"[^"]*"|'[^']*')|(?P<word>[A-Za-z0-9_.-]+))"""
)
_TRUTHS = {"true": True, "false": False}


_OPERATORS = frozenset(
    {"eq", "equals", "ne", "notequals", "startswith", "notstartswith", "endswith", "notendswith"}
    | {"contains", "notcontains", "in", "notin"}
)
_BY_CLAIM = "where the provider writes it into a claim of the token, a condition `claims` tests it"
_NEEDS = {
    "trusttype": "no signal reports how a device is joined",
    "deviceownership": "no signal reports who owns a device",
    "operatingsystem": "no signal reports the system of a device",
    "operatingsystemversion": "no signal reports the system of a device, nor are versions compared",
    "manufacturer": "no signal reports who made a device",
    "model": "no signal reports the model of a device",
    "deviceid": "devices have the ids of the signals here, which need not be Entra's",
    "displayname": "no signal reports what a device is called",
    "enrollmentprofilename": "no signal reports how a device was enrolled",
    "mdmappid": "no signal reports what manages a device",
    "profiletype": "no signal reports the kind of a device's registration",
    "physicalids": "no signal reports the labels of a device",
    "systemlabels": "no signal reports the labels of a device",
}


class NotCarried(ValueError):  # noqa: N818 - a finding about a rule, which its reader reports
    """A rule says what cannot be said here; the reasons name the parts, and what each needs."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class _Token(NamedTuple):
    kind: str
    text: str


def device_condition(rule: str) -> Condition:
    """Return the condition that a rule means. Raises NotCarried."""
    if len(rule) > MAX_LENGTH:
        raise NotCarried("the rule is too long")
    parser = _Parser(_tokens(rule))
    found = parser.either(0)
    parser.end()
    if parser.missing:
        raise NotCarried(*parser.missing)
    return found


def _tokens(rule: str) -> list[_Token]:
    found = []
    at = 0
    while rule[at:].strip():
        match = _TOKEN.match(rule, at)
        if match is None or match.lastgroup is None:
            raise NotCarried("the rule cannot be read")
        found.append(_Token(match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


class _Parser:
    """Descends: or, and, not, comparison."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self.missing: dict[str, None] = {}
        """Why parts of the rule cannot be said here, in their order."""

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise NotCarried("the rule goes on where it should end")

    def either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._takes("-or", "or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._takes("-and", "and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise NotCarried("the rule is nested too deeply")
        if self._takes("-not", "not"):
            return Not(self._one(depth + 1))
        if self._takes("("):
            found = self.either(depth + 1)
            if not self._takes(")"):
                raise NotCarried("the rule misses a bracket")
            return found
        return self._comparison()

    def _comparison(self) -> Condition:
        attribute, operator, operand = self._next(), self._next(), self._next()
        if operand.text == "[":
            while self._next().text != "]":
                pass
        comparison = operator.text.lower().removeprefix("-")
        truth = _TRUTHS.get(operand.text.strip("\"'").lower())
        if attribute.text.lower() != "device.iscompliant":
            name = attribute.text.lower().removeprefix("device.")
            if attribute.kind != "word" or comparison not in _OPERATORS:
                raise NotCarried("the rule cannot be read")
            why = _NEEDS.get(name, "no signal reports this attribute")
            self.missing[f"{attribute.text} {operator.text}: {why}; {_BY_CLAIM}"] = None
        elif truth is None or operand.kind == "mark":
            self.missing["device.isCompliant is compared to neither True nor False"] = None
        elif comparison in {"eq", "equals"}:
            return Device(compliant=truth)
        elif comparison in {"ne", "notequals"}:
            return Not(Device(compliant=truth))
        else:
            self.missing[f"device.isCompliant is compared by {operator.text}"] = None
        return Device(compliant=True)  # stands for what is missing: the rule is not carried over

    def _next(self) -> _Token:
        if self._at >= len(self._tokens):
            raise NotCarried("the rule ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, *words: str) -> bool:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token.kind == "text" or token.text.lower() not in words:
            return False
        self._at += 1
        return True
