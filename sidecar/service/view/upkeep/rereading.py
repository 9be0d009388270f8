"""Reads the records of the view again: all of them, or the next ones in turn.

Where news may have been missed, the store says what they were; and what it lacks, it is given back.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from sidecar.domain.values.lattice import Record, bounded
from sidecar.service.audit.turns import Turns
from sidecar.service.compact.records import RecordTables
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.ports.store import Load, Loaded, Reader, Shards
from sidecar.service.view.live_session import Tracked

LOADS_AT_ONCE = 512

ASKED_AT_ONCE = 512
"""Records of which it is asked at once when they expire: each takes a server about a us, and us.

The loop does nothing else meanwhile, nor while the server has this processor. More at once would
be less work, by a fifth (benchmarks/expiry_stops.py), and stops of twice the length.
"""

CLOCKS_DIFFER = 60.0
"""Seconds by which the store's clocks may differ from ours, and from each other."""


class Hear(Protocol):
    """Takes up what the store says of a record."""

    def __call__(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Join fields into the record of this key; return whether any was news here."""


class _Begun(NamedTuple):
    """A record that began: what it may lack, and whether a look had seen it in the store before."""

    suspects: set[bytes]
    was_seen: bool


class Rereading:
    """Reads `records` again. What the store lacks of one, `keep` has saved.

    `refused` hears of a record that the store refuses to read.
    """

    def __init__(  # noqa: PLR0913 - what it needs of the view, by name
        self,
        *,
        store: Reader,
        records: RecordTables,
        clock: Callable[[], float],
        hear: Hear,
        keep: Callable[[Tracked, Mapping[bytes, bytes]], object],
        refused: Callable[[Tracked, StoreRefused], None],
    ) -> None:
        self._store = store
        self._records = records
        self._clock = clock
        self._hear = hear
        self._keep = keep
        self._refused = refused
        self._turns: Iterator[Tracked] = iter(())
        self._begun: dict[Tracked, _Begun] = {}

    def began(self, key: bytes, fields: Mapping[bytes, bytes]) -> None:
        """Take note that a record began with these fields, as there was none before.

        What else is held of it here may have been lost there. It may as well be on its way, so
        that is looked into with the next of all records (`vanished`). A record that no look has
        seen in the store was written just before: a replica that took over may not have had it.
        """
        tracked = self._records.get(key)
        if tracked is None or (tracked.expires_at and self._has_expired(tracked.expires_at)):
            return
        lacked = _lacked({**fields, **tracked.unsaved}, tracked.record)
        if lacked:
            begun = self._begun.setdefault(tracked, _Begun(set(), was_seen=tracked.expires_at > 0))
            begun.suspects.update(lacked)

    async def revalidate(self) -> int:
        """Read all records again, as news may have been missed; write back what the store lacks.

        Gives how many records lacked something.
        """
        everything = self._records.in_turn()
        lacking = 0
        while batch := tuple(itertools.islice(everything, LOADS_AT_ONCE)):
            answers = await self._read_again(batch)
            turns = Turns()
            for tracked, answer in answers:
                await turns.give_way()
                self._hear(tracked.key, answer.record)
                missing = _lacked(answer.record, tracked.record)
                if missing:  # what is over a bound here may have been cut there
                    missing = _lacked(answer.record, bounded(tracked.record))
                if missing:
                    self._keep(tracked, missing)
                    lacking += 1
        return lacking

    async def vanished(self, store: Shards, share: float) -> list[Tracked]:
        """Look whether the next records in turn are in the store still; gives those that are not.

        `share` of all are looked at, so that each has its turn after `1 / share` looks. What has
        vanished is written back. Those that began anew in the meantime are among them.
        """
        count = math.ceil(len(self._records) * min(1.0, share))
        vanished = []
        while count > 0:
            batch = self._next(min(count, ASKED_AT_ONCE))
            count -= ASKED_AT_ONCE
            # What never was there cannot have gone: of most devices nothing was ever said.
            batch = [one for one in batch if one.expires_at or not one.is_empty]
            expiries = await store.expiries(*[one.key for one in batch])
            if expiries == [one.expires_at for one in batch]:
                continue  # as nearly always: of thousands, each is looked at for this alone
            for tracked, expires_at in zip(batch, expiries, strict=True):
                # An expiry only grows: an earlier one is that of another record under the same key.
                # It may shift by as much as clocks differ where its slot moves to another server.
                known, tracked.expires_at = tracked.expires_at, expires_at
                expired = not expires_at and self._has_expired(known)
                too_early = expires_at < known - CLOCKS_DIFFER * 1000 and not expired
                # What the view has let go by now is nobody's loss.
                if too_early and self._records.get(tracked.key) is tracked:
                    self._keep(tracked, tracked.record)
                    vanished.append(tracked)
        with suppress(Unavailable, Overloaded):  # what has vanished counts all the same
            await self._look_into_begun(vanished)
        return vanished

    async def _look_into_begun(self, vanished: list[Tracked]) -> None:
        """Have saved what records lack that began; those that had been there have vanished before.

        Raises `Unavailable`, `Overloaded`, and looks into what is left the next time.
        """
        while self._begun:
            batch = tuple(itertools.islice(self._begun, LOADS_AT_ONCE))
            answers = dict(await self._read_again(batch))
            for tracked in batch:
                begun, answer = self._begun.pop(tracked), answers.get(tracked)
                if answer is None or self._records.get(tracked.key) is not tracked:
                    continue  # the store refuses it, or the view has let it go
                tracked.expires_at = 0  # that of the record before would be missed once more
                whole = {**answer.record, **tracked.unsaved}
                lacked = _lacked(whole, bounded(tracked.record))
                lost = {field: lacked[field] for field in begun.suspects & lacked.keys()}
                if lost:
                    self._keep(tracked, lost)
                    if begun.was_seen:
                        vanished.append(tracked)

    def _has_expired(self, expires_at: int) -> bool:
        """Return whether what was to expire then (unix ms) may have done so by itself."""
        return expires_at <= (self._clock() + CLOCKS_DIFFER) * 1000

    def _next(self, count: int) -> list[Tracked]:
        """Return the next records in turn, and the first after the last; some may have gone."""
        batch = list(itertools.islice(self._turns, count))
        if len(batch) < count:
            self._turns = self._records.in_turn()
            batch += itertools.islice(self._turns, count - len(batch))
        return batch

    async def _read_again(self, batch: Sequence[Tracked]) -> list[tuple[Tracked, Loaded]]:
        """Read records; what the store refuses leaves the view, and does not hold up the others."""
        try:
            loaded = await self._store.load(*(Load(tracked.key) for tracked in batch))
            return list(zip(batch, loaded, strict=True))
        except StoreRefused as error:
            if len(batch) > 1:
                return [pair for one in batch for pair in await self._read_again((one,))]
            self._refused(batch[0], error)
            return []


def _lacked(by: Record, held: Record) -> Record:
    """Return what a record that is held here has and the store's lacks."""
    return {field: value for field, value in held.items() if by.get(field, b"") < value}
