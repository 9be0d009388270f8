r"""Paths to claims: `realm_access.roles`, `resource_access.app\.example\.com.roles`.

A dot leads into a nested object; a backslash before a dot or a backslash takes that for what it is.
A member that bears a longer part of the path comes before one that bears a shorter part, and a
claim that bears the whole of it before all: `https://example.com/groups` needs no backslash, and
neither does a client's name with dots, unless there is another reading that has a claim, too.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

_PART = re.compile(r"(?:[^\\.]|\\[\\.])+")
_ESCAPED = re.compile(r"\\(.)")
_MISSING = object()


class InvalidPath(ValueError):  # noqa: N818 - the operator must act: becomes a `Problem`
    """A text is no path to a claim; the message says why."""


@lru_cache(4096)
def parts_of(path: str) -> tuple[str, ...]:
    """Return the members that a path leads through; raises `InvalidPath`."""
    parts: list[str] = []
    at = 0
    while (found := _PART.match(path, at)) is not None:
        parts.append(_ESCAPED.sub(r"\1", found[0]))
        at = found.end()
        if at == len(path):
            return tuple(parts)
        if path[at] != ".":
            break
        at += 1
    message = r"must be names with dots between them; write \. and \\ for a dot and a backslash"
    raise InvalidPath(f"{message} of a name")


def find(claims: Mapping[str, object], path: str) -> object:
    """Return the value at a path; None where there is none, which JSON's null is, too."""
    if path in claims:
        return claims[path]
    if "." not in path and "\\" not in path:
        return None
    try:
        parts = parts_of(path)
    except InvalidPath:
        return None  # a claim of that very name is the only one that could be meant
    found = _find(claims, parts)
    return None if found is _MISSING else found


def _find(value: object, parts: tuple[str, ...]) -> object:
    if not parts:
        return value
    if not isinstance(value, Mapping):
        return _MISSING
    for end in range(len(parts), 0, -1):
        member = ".".join(parts[:end])
        if member in value:
            found = _find(value[member], parts[end:])
            if found is not _MISSING:
                return found
    return _MISSING
