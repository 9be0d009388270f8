"""The facts of events that wait in the spool: known to this sidecar and not yet to the store.

The view reads through this instead of the store. So a session that comes into the view before the
spool has been replayed is judged by the waiting events as well, and what waits is not mistaken for
something that the store has lost (`View.revalidate` would write it back).
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.signal import Signal, Subject
from sidecar.domain.values.lattice import Record, join_all
from sidecar.service.ports.store import Load, Loaded, Reader
from sidecar.service.records.writes import Write

Key: TypeAlias = tuple[str, str, Subject]
"""The identity of an event: its source, its id, of this subject."""


def key_of(signal: Signal) -> Key:
    """Return the key of an event."""
    return signal.source, signal.stamp.id, signal.subject


class Pending:
    """The port `Reader`: what the store holds, and what is on its way there from here."""

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._records: dict[bytes, dict[Key, Mapping[bytes, bytes]]] = {}
        self._keys: dict[Key, tuple[bytes, ...]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key, writes: Iterable[Write]) -> None:
        """Keep what an event that waits will write."""
        records: dict[bytes, Record] = {}
        for write in writes:
            records.setdefault(write.key, {}).update(write.said.fields)
        self._keys[key] = tuple(records)
        for record, fields in records.items():
            self._records.setdefault(record, {})[key] = fields

    def drop(self, key: Key) -> None:
        """Forget an event's facts: the store has them now."""
        for record in self._keys.pop(key, ()):
            waiting = self._records[record]
            del waiting[key]
            if not waiting:
                del self._records[record]

    def waiting(self, record: bytes) -> Record:
        """Return what waits for the store of a record."""
        return join_all(self._records.get(record, {}).values())

    async def load(self, *loads: Load) -> list[Loaded]:
        """Read each, with what waits joined in. Raises `Unavailable`, `Overloaded`."""
        # Taken before the store is asked: what it gets meanwhile is in one of the two at least.
        waiting = [tuple(self._records.get(one.key, {}).values()) for one in loads]
        loaded = await self._store.load(*loads)
        return [
            msgspec.structs.replace(answer, record=join_all((answer.record, *fields)))
            if fields
            else answer
            for answer, fields in zip(loaded, waiting, strict=True)
        ]
