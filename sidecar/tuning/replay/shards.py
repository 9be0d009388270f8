"""Divides the subjects of a recording into parts that have nothing to do with each other.

What happens to a user happens to the user's sessions and devices, and to nobody else's. So a
recording can be replayed in parts, by several processes, where each user is in one of them with all
that is ever named together with that user: a session, a device, and whoever else uses that.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

from sidecar.domain.facts.signal import Subject

Named: TypeAlias = tuple[str, str, str]
"""A user, a session and a device that are named together.

Whose names they are is left out: that only joins more of them.
"""


class SubjectShards:
    """The part of each subject. All are added first, and then divided."""

    def __init__(self) -> None:
        self._counts: dict[Named, int] = {}
        self._parts: dict[Named, int] = {}

    def add(self, subject: Subject) -> None:
        """Note what is named together in one occurrence."""
        named = (subject.user, subject.session, subject.device)
        self._counts[named] = self._counts.get(named, 0) + 1

    def divide(self, parts: int) -> None:
        """Divide all into so many parts, about as many occurrences in each."""
        joined = _Joined()
        for named in self._counts:
            joined.join(*_nodes(named))
        sizes: Counter[str] = Counter()
        for named, count in self._counts.items():
            sizes[joined.root(next(_nodes(named)))] += count
        loads = [0] * parts
        part_of: dict[str, int] = {}
        for root, size in sorted(sizes.items(), key=lambda one: (-one[1], one[0])):
            part = part_of[root] = loads.index(min(loads))
            loads[part] += size
        self._parts = {named: part_of[joined.root(next(_nodes(named)))] for named in self._counts}

    def part_of(self, subject: Subject) -> int | None:
        """Return the part that a subject is in; None: it was not added."""
        return self._parts.get((subject.user, subject.session, subject.device))


def _nodes(named: Named) -> Iterator[str]:
    """Yield what is joined: sessions count by their name where no user is known.

    A name is shown with its issuer in brackets where there are several.
    """
    user, session, device = named
    if user:
        yield user.partition(" (")[0]
    if session:
        yield session.partition(" (")[0]
    if device or not (user or session):
        yield f"\0{device.partition(' (')[0]}"


class _Joined:
    """Sets of names that grow together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, *names: str) -> None:
        first, *others = map(self.root, names)
        for other in others:
            # `root` of an earlier one may have moved by now.
            self._parent[self.root(other)] = self.root(first)

    def root(self, name: str) -> str:
        parent = self._parent
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[above]
        return name
