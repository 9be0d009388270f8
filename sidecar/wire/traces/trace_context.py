"""Trace contexts as W3C Trace Context (level 1) writes them: `traceparent` and `tracestate`.

Anybody can send them. What does not follow the grammar counts for nothing; a `tracestate` that does
not costs the `traceparent` beside it nothing. Baggage is not read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

PARENT, STATE = "traceparent", "tracestate"
TRACE_MEMBERS = frozenset({PARENT, STATE})
"""The members of requests, and the names of the header fields."""

MAX_PARENT = 128
"""Characters of a `traceparent`, which may be of a later version than ours."""

MAX_STATE = 512
"""Characters of a `tracestate`; a longer one is not taken."""

MAX_MEMBERS = 32

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_KEY = r"(?:[a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=([ -+\--<>-~]{{0,255}}[!-+\--<>-~])")
_SAMPLED = 1
_PARENT_FIELD = PARENT.encode()
_FIELDS = frozenset({_PARENT_FIELD, STATE.encode()})
_NO_TEXT = "?"


class SentContext(NamedTuple):
    """A trace context as it was sent: unread, and believed by nobody."""

    parent: str
    state: str = ""


class TraceContext(NamedTuple):
    """A span in its trace, by their ids. `state` is what `tracestate` said of the trace."""

    trace: int
    span: int
    sampled: bool
    state: str = ""


class InvalidContext(ValueError):  # noqa: N818 - named by who must act: the sender
    """A `traceparent` that does not follow the grammar."""


def sent_context(parents: Sequence[bytes], states: Sequence[bytes] = ()) -> SentContext | None:
    """Return what these header fields say; None where there is no `traceparent`.

    More than one of those makes none that is well formed; of `tracestate` there may be several.
    """
    if not parents:
        return None
    return SentContext(b",".join(parents).decode("latin-1"), b",".join(states).decode("latin-1"))


def sent_fields(fields: Iterable[tuple[bytes, bytes]]) -> SentContext | None:
    """Do as `sent_context` does with all header fields of a request, their names in lower case."""
    found = [one for one in fields if one[0] in _FIELDS]
    return sent_context(
        [value for name, value in found if name == _PARENT_FIELD],
        [value for name, value in found if name != _PARENT_FIELD],
    )


def sent_members(values: Mapping[str, object]) -> SentContext | None:
    """Return what the members of a request say; None where there is no `traceparent`.

    What is no text, or too long, is there all the same, so that it is found not to be well formed.
    """
    if PARENT not in values:
        return None
    parent, state = values[PARENT], values.get(STATE, "")
    return SentContext(
        parent[: MAX_PARENT + 1] if isinstance(parent, str) else _NO_TEXT,
        state[: MAX_STATE + 1] if isinstance(state, str) else _NO_TEXT,
    )


def read_parent(text: str) -> TraceContext:
    """Return the context that a `traceparent` names. Raises `InvalidContext`."""
    found = _PARENT.fullmatch(text) if len(text) <= MAX_PARENT else None
    if found is None:
        raise InvalidContext(text[:MAX_PARENT])
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        raise InvalidContext(text)
    context = TraceContext(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))
    if not (context.trace and context.span):
        raise InvalidContext(text)
    return context


def read_state(text: str) -> str:
    """Return a `tracestate` without empty members. Raises `InvalidContext`."""
    if len(text) > MAX_STATE:
        raise InvalidContext(text[:MAX_STATE])
    members = [one for one in (part.strip(" \t") for part in text.split(",")) if one]
    keys = set[str]()
    for member in members:
        found = _MEMBER.fullmatch(member)
        if found is None:
            raise InvalidContext(member)
        keys.add(found.group(1))
    if len(keys) < len(members) or len(members) > MAX_MEMBERS:
        raise InvalidContext(text)
    return ",".join(members)


def written_parent(context: TraceContext) -> str:
    """Return the `traceparent` of a context."""
    return f"00-{context.trace:032x}-{context.span:016x}-{int(context.sampled):02x}"
