"""The growth of records of the view, and the sessions that have new facts by it."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.values.lattice import Record, join, merge
from sidecar.service.view.live_session import Live, Tracked
from sidecar.service.view.upkeep.fullness import WHOLE_ROOM, is_cut_later, room_taken
from sidecar.wire.store.losses import VOUCHERS
from sidecar.wire.store.records import CHECKPOINT, LOGGED

NewFacts: TypeAlias = dict[Live, list[Fact] | None]
"""The new facts of sessions, by session; None: all of it is to be folded anew."""


class Growth(NamedTuple):
    """A record, and those of its fields that grew."""

    tracked: Tracked
    fields: Record

    @property
    def has_vouchers(self) -> bool:
        """Return whether it changes what is known to be lost of the record."""
        return not VOUCHERS.isdisjoint(self.fields)

    @property
    def was_logged(self) -> bool:
        """Return whether it is known now that something of its session was logged."""
        return any(field.startswith(LOGGED) for field in self.fields)


def grow(tracked: Tracked | None, fields: Mapping[bytes, bytes]) -> Growth | None:
    """Join fields into a record; return those that grew. None: none did, or it is not held here."""
    if tracked is None:
        return None
    before = tracked.record
    # Most of what is heard here is known: what this sidecar itself wrote comes back as news.
    if fields.items() <= before.items():
        return None
    if before:
        greater = {f: v for f, v in fields.items() if (known := before.get(f)) is None or known < v}
        if not greater:
            return None
    else:
        greater = dict(fields)
    if tracked.room and is_cut_later(before, greater):
        after, grown = merge(before, greater), greater
    else:
        after = join(before, greater)
        grown = greater if len(after) == len(before) + len(greater) else _left(greater, after)
        if not grown:
            return None
    tracked.record = after
    if not before and CHECKPOINT not in grown:
        tracked.room = max(0, WHOLE_ROOM - room_taken(grown))
    elif tracked.room:
        tracked.room = max(0, tracked.room - room_taken(grown))
    return Growth(tracked, grown)


def has_room(tracked: Tracked | None, fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a record is held here and may grow by these fields without being cut."""
    return tracked is not None and tracked.room > 0 and is_cut_later(tracked.record, fields)


def _left(greater: Record, after: Record) -> Record:
    """Return those of the fields that a record has after they were joined into it."""
    return {f: v for f, v in greater.items() if f in after}


def spread(growth: Growth, facts: list[Fact], news: NewFacts) -> None:
    """Add to `news` which sessions have new facts by the growth of a record.

    A session is left out if another of its records holds the same: an event of a session lies in
    its locator, too, and must not be folded twice.
    """
    tracked, fields = growth
    for live in tracked.lives:
        if growth.has_vouchers:
            news[live] = None
        elif facts and not live.has_elsewhere(tracked, fields):
            known = news.setdefault(live, [])
            if known is not None:
                known += facts
