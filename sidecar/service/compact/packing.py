"""Packing of a view's sessions: few of them are unpacked, and all others packed.

Few of the sessions in a view are asked for at a time, and most of the memory of one is its state
and its records. So these lie packed, and are unpacked for whoever wants them; of what is unpacked
the latest remain so. The order is that of unpacking: to note each use would cost every check, to
unpack one in many too early costs next to nothing.

What was judged by a state remains for longer than the state: a call like the one before is answered
by it (`checks.kept_answers`) without looking at the state.
"""

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from sidecar.wire.compact.packers import Packers

UNPACKED = 1024
"""States that are unpacked at a time, and as many records."""

JUDGED = 8192
"""Sessions of which it is remembered how the latest call was judged."""


class Packable(Protocol):
    """Something that lies packed until it is asked for."""

    def pack(self) -> None:
        """Hold only what is packed."""


class Judged(Protocol):
    """Something that remembers how the latest call was judged."""

    def forget(self) -> None:
        """Remember it no longer."""


_Item = TypeVar("_Item")


class Latest(Generic[_Item]):
    """The latest few; `add` returns the one that makes room."""

    __slots__ = ("_bound", "_items")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: OrderedDict[_Item, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: _Item) -> _Item | None:
        """Take one up as the latest; return the oldest if they are too many."""
        self._items[item] = None
        if len(self._items) <= self._bound:
            return None
        return self._items.popitem(last=False)[0]

    def discard(self, item: _Item) -> None:
        """Let go of one."""
        self._items.pop(item, None)


class Packing:
    """The packers of one view, and the few that it holds unpacked."""

    def __init__(self, unpacked: int = UNPACKED, judged: int = JUDGED) -> None:
        self.packers = Packers()
        self.states = Latest[Packable](unpacked)
        self.records = Latest[Packable](unpacked)
        self.judged = Latest[Judged](judged)

    def note_state(self, one: Packable) -> None:
        """Note that the state of one is unpacked now."""
        oldest = self.states.add(one)
        if oldest is not None:
            oldest.pack()

    def note_record(self, one: Packable) -> None:
        """Note that a record is unpacked now."""
        oldest = self.records.add(one)
        if oldest is not None:
            oldest.pack()

    def note_judged(self, one: Judged) -> None:
        """Note that it is remembered how a call was judged."""
        oldest = self.judged.add(one)
        if oldest is not None:
            oldest.forget()

    def leave(self, one: "Leaving") -> None:
        """Hold nothing of a session that has left the view."""
        self.states.discard(one)
        self.judged.discard(one)


class Leaving(Packable, Judged, Protocol):
    """A session of the view."""
