"""Losses of the store, by slot and moment: a value that all sidecars come to agree on.

A *floor* is a moment (microseconds) before which what was known of the records of some slots may be
lost. Of two floors of one slot the later one counts, since a record that is whole as of the later
one is whole as of the earlier one, too. So floors are joined like facts.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

ALL_SLOTS = 16384
"""How many slots there are; a single server has all of them."""

MOST = 64
"""How many floors are kept apart. Past that, the earliest are made to cover every slot."""

_EVERYTHING = (0, ALL_SLOTS - 1)
_NONE = (0, False)


class Floor(NamedTuple):
    """Of the slots `first` to `last`, what was known before `moment` may be lost.

    `vague`: it is unknown since when.
    """

    first: int
    last: int
    moment: int
    vague: bool = False


class Floors:
    """The floors that are known. Immutable; equal where they say the same."""

    __slots__ = ("_floors",)

    def __init__(self, floors: Iterable[Floor] = ()) -> None:
        latest: dict[tuple[int, int], tuple[int, bool]] = {}
        for first, last, moment, vague in floors:
            latest[first, last] = max((moment, vague), latest.get((first, last), _NONE))
        by_moment = sorted(latest, key=lambda span: (latest[span], span))
        for span in by_moment[: max(0, len(by_moment) - MOST)]:
            # To forget it would loosen: it is made to cover everything instead.
            latest[_EVERYTHING] = max(latest.pop(span), latest.get(_EVERYTHING, _NONE))
        self._floors = tuple(Floor(*span, *floor) for span, floor in sorted(latest.items()))

    def __iter__(self) -> Iterator[Floor]:
        return iter(self._floors)

    def __contains__(self, floor: Floor) -> bool:
        return floor in self._floors

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Floors) and self._floors == other._floors

    def __hash__(self) -> int:
        return hash(self._floors)

    def of(self, slot: int) -> int:
        """Return the floor of a slot; 0: nothing of it is known to be lost."""
        if not self._floors:
            return 0
        return max((f.moment for f in self._floors if f.first <= slot <= f.last), default=0)

    def is_vague(self, slot: int) -> bool:
        """Return whether it is unknown since when the slot's records may be lost."""
        found = [f for f in self._floors if f.first <= slot <= f.last]
        return bool(found) and max(found, key=lambda f: f.moment).vague

    def joined(self, others: Iterable[Floor]) -> "Floors":
        """Return these floors and others."""
        return Floors((*self._floors, *others))


NOTHING_LOST = Floors()
