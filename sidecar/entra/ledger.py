"""The account of an import: every part of an exported object is carried over or reported.

Theory. A ledger knows every node of one object by its JSON path. The translators *carry* leaves
(values that are no lists or objects), *note* what means the same in another way, and *lose* what
they cannot say. `audit` reports every leaf that nobody accounted for: a member that is not known
here changes the meaning in a way that is not known either, and is never dropped in silence.
"""

import json
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import msgspec

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 80
UNKNOWN = "this member is not known here, nor what it would change"


class Effect(StrEnum):
    """The effect of a loss on the policy, from harmless to grave."""

    NONE = "none"
    """It changes no answer: what it speaks of never reaches a sidecar, or is not its affair."""
    STRICTER = "stricter"
    """The policy asks for more than it did, of the same sessions."""
    WIDER = "wider"
    """The policy holds for sessions that it was not meant for."""
    WEAKER = "weaker"
    """The policy asks for less, or of fewer sessions."""
    NEVER = "never"
    """The policy is for nothing but what never reaches a sidecar."""


class Loss(msgspec.Struct, frozen=True):
    """A part that was not carried over: where it stands, what it was, why, and what that does."""

    file: str
    path: str
    value: str
    reason: str
    effect: Effect


class Note(msgspec.Struct, frozen=True):
    """A part that means the same in another way, or that the reader of the report should know."""

    file: str
    path: str
    text: str


class Ledger:
    """The account of one object; `at` is its JSON path in `file`."""

    def __init__(self, file: str, at: str, raw: Any) -> None:
        self.file = file
        self.at = at
        self.losses: list[Loss] = []
        self.notes: list[Note] = []
        self.idle: list[str] = []
        """Why the policy can never hold for anything that reaches a sidecar."""
        self._nodes = dict(nodes(raw, at))
        self.carried: set[str] = set()
        """The leaves that were carried over as they are."""
        self._reported: set[str] = set()

    def carry(self, *paths: str) -> None:
        """Account for leaves as carried over."""
        self.carried.update(paths)

    def carry_all(self, path: str) -> None:
        """Account for all below `path`: where nothing in there can mean anything."""
        self.carried.update(p for p in self._nodes if is_within(p, path))

    def lose(self, path: str, reason: str, effect: Effect) -> None:
        """Report `path`, and all below it, as not carried over; nothing if it is not there."""
        if path not in self._nodes or is_default(self._nodes[path]):
            return
        self._reported.add(path)
        value = brief(self._nodes[path])
        self.losses.append(Loss(self.file, path, value, reason, effect))
        if effect is Effect.NEVER:
            self.idle.append(reason)

    def lose_each(self, path: str, reason: str, effect: Effect) -> None:
        """Report each item of a list."""
        for item in self.items(path):
            self.lose(item, reason, effect)

    def value(self, path: str) -> Any:
        """Return what stands at `path`; None where nothing does."""
        return self._nodes.get(path)

    def doubt(self, path: str, reason: str, effect: Effect) -> None:
        """Report `path`, which is there and empty, as not carried over."""
        self._reported.add(path)
        value = brief(self._nodes.get(path))
        self.losses.append(Loss(self.file, path, value, reason, effect))

    def items(self, path: str) -> Iterator[str]:
        """Yield the paths of a list's items."""
        value = self._nodes.get(path)
        for index in range(len(value) if isinstance(value, list) else 0):
            yield f"{path}[{index}]"

    def note(self, path: str, text: str) -> None:
        """Account for `path`, and all below it, as carried over in another way."""
        self._reported.add(path)
        self.notes.append(Note(self.file, path, text))

    def rest(self, path: str, reason: str) -> None:
        """Note that the policy holds for nothing, as it always did."""
        self.note(path, reason)
        self.idle.append(reason)

    def audit(self) -> None:
        """Report every leaf that is neither carried nor reported."""
        for path in self.unaccounted():
            self.lose(path, UNKNOWN, Effect.WEAKER)

    def unaccounted(self) -> list[str]:
        """Return the leaves that are neither carried nor reported."""
        return [
            path
            for path, value in self._nodes.items()
            if not isinstance(value, list | dict)
            and not is_default(value)
            and path not in self.carried
            and self._reported.isdisjoint(_upwards(path, self.at))
        ]

    def effects(self) -> frozenset[Effect]:
        """Return what the losses do, together."""
        return frozenset(loss.effect for loss in self.losses)


def nodes(raw: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Yield every node with its JSON path, but for what is the transport's: see `is_transport`."""
    pending: list[tuple[str, Any]] = [(at, raw)]
    while pending:
        path, value = pending.pop()
        yield path, value
        children: Iterable[tuple[str, Any]] = ()
        if isinstance(value, dict):
            own = ((key, below) for key, below in value.items() if not is_transport(key))
            children = [(member(path, key), below) for key, below in own]
        elif isinstance(value, list):
            children = [(f"{path}[{index}]", below) for index, below in enumerate(value)]
        pending.extend(reversed(list(children)))


def member(path: str, key: str) -> str:
    """Return the JSON path of an object's member."""
    return f"{path}.{key}" if _PLAIN.fullmatch(key) else f"{path}[{json.dumps(key)}]"


def _upwards(path: str, at: str) -> Iterator[str]:
    """Yield the path and those of what it lies in, up to `at`."""
    yield path
    for end in range(len(path) - 1, len(at) - 1, -1):
        if path[end] in ".[":
            yield path[:end]


def is_within(path: str, other: str) -> bool:
    """Return whether `path` is `other`, or lies below it."""
    return path.startswith(other) and path[len(other) :][:1] in {"", ".", "["}


def is_default(value: Any) -> bool:
    """Return whether a value says nothing.

    Graph writes null and empty lists for what is not set.
    """
    if isinstance(value, dict):
        return all(is_default(below) for key, below in value.items() if not is_transport(key))
    return value is None or value == []


def is_transport(key: str) -> bool:
    """Return whether a member is OData's: an annotation (`@` in it), action or function (`#`).

    No property of Graph can have such a name (OData JSON Format 4.01, sections 4.5, 4.6 and 16).
    """
    return "@" in key or key.startswith("#")


def brief(value: Any) -> str:
    """Return a value in a line, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
