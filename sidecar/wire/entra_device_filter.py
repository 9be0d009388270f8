"""Rules of Graph's device filters, as far as a sidecar knows the attributes.

What signals report of a device is its compliance: `device.isCompliant`, compared with `-eq` and
`-ne` to True or False, and joined by `-and`, `-or`, `-not` and brackets. An attribute that was
never reported is null to Graph: it equals nothing, and `-ne` holds.
"""

import re
from typing import NamedTuple

from sidecar.domain.policy import All, AnyOf, Condition, Device, Not

MAX_LENGTH = 3072
"""Graph's own limit."""
_MAX_DEPTH = 16
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()\[\],])|(?P<text>"[^"]*"|'[^']*')|(?P<word>[A-Za-z0-9_.-]+))"""
)
_TRUTHS = {"true": True, "false": False}


class NotCarried(ValueError):  # noqa: N818 - a finding about a rule, which its reader reports
    """A rule says what cannot be said here; the message tells which part."""


class _Token(NamedTuple):
    kind: str
    text: str


def device_condition(rule: str) -> Condition:
    """The condition that a rule means. Raises NotCarried."""
    if len(rule) > MAX_LENGTH:
        raise NotCarried("the rule is too long")
    parser = _Parser(_tokens(rule))
    found = parser.either(0)
    parser.end()
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
        if attribute.text.lower() != "device.iscompliant":
            raise NotCarried(f"no signal reports {attribute.text}")
        truth = _TRUTHS.get(operand.text.strip("\"'").lower())
        if truth is None or operand.kind == "mark":
            raise NotCarried("device.isCompliant is compared to neither True nor False")
        match operator.text.lower().removeprefix("-"):
            case "eq" | "equals":
                return Device(compliant=truth)
            case "ne" | "notequals":
                return Not(Device(compliant=truth))
            case _:
                raise NotCarried(f"device.isCompliant is compared by {operator.text}")

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
