"""The records by which the losses of one server of the store are noticed: its epoch, our signs."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from sidecar.domain.values.lattice import Record
from sidecar.domain.values.loss import Floor
from sidecar.service.ports.store import Load, Shard, Sign
from sidecar.service.records.facts import RecordStore
from sidecar.service.records.writes import Write, WriteTerms, write_of, written
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.store.losses import encode_floors, encode_moment, moment_in, tag_of

SIGNS_LIVE = 86400.0
"""Seconds for which a sidecar's own signs are kept. One that was away for longer lacks them."""

_EPOCH = b"epoch:id"
_EVICTED = b"evicted:"
_SIGNS, _PULSE = b"beat:signs", b"beat:0"


class SignStore(RecordStore, Protocol):
    """The part of the store that these records need."""

    async def sign(self, sign: Sign) -> int:
        """Return the count that it comes to. Raises `Unavailable`, `Overloaded`."""


class Looked(NamedTuple):
    """The records at one server: its epoch, and our signs of life."""

    epoch: Record
    signs: Record


class EpochRecords:
    """The epochs of all servers, and the signs of one sidecar beside them.

    `sidecar` names it, as no other is named. All that ask the store raise `Unavailable`,
    `Overloaded`.
    """

    def __init__(
        self, store: SignStore, names: StoreKeys, clock: Callable[[], float], sidecar: str
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._sidecar = sidecar
        self._loads: dict[int, tuple[Load, Load]] = {}

    def loads(self, shard: Shard) -> tuple[Load, Load]:
        """Return what is to be read to look at a server: its epoch, our signs."""
        known = self._loads.get(shard.slot)
        if known is None:
            known = Load(self._epoch(shard)), Load(self.channel(tag_of(shard.slot)))
            self._loads[shard.slot] = known
        return known

    async def look(self, shard: Shard) -> Looked:
        """Read the epoch of a server and our signs."""
        epoch, signs = await self._store.load(*self.loads(shard))
        return Looked(epoch.record, signs.record)

    async def sign(
        self, shard: Shard, step: int, turn: int, keep_until: int, *, confirmed: bool
    ) -> int:
        """Count a sign of life up by a step, and publish its turn; return the count.

        The epoch is kept until `keep_until` (unix ms), and the signs for long; 0: both are already.
        `confirmed`: it must be as durable as the settings ask for, or a replica that takes over
        need not have it, and it would be missed.
        """
        key, now = self.channel(tag_of(shard.slot)), self._now()
        expire_at = now + int(SIGNS_LIVE * 1000) if keep_until else 0
        sign = Sign(key, _SIGNS, step, key, b"%d" % turn, expire_at, confirmed)
        count = await self._store.sign(sign)
        if keep_until:
            await self._join(write_of(self._epoch(shard), {}, WriteTerms(keep_until, now)))
        return count

    async def beat(self, shard: Shard, life: float) -> None:
        """Write that a process lives which looks for no losses."""
        now = self._now()
        fields = {_PULSE: encode_moment(now)}
        terms = WriteTerms(now + int(life * 1000), now)
        await self._join(write_of(self.channel(tag_of(shard.slot)), fields, terms))

    async def begin(
        self, shard: Shard, floors: Iterable[Floor], epoch: str, keep_until: int
    ) -> Record:
        """Begin an epoch with these floors, unless there is one; return its record."""
        fields = encode_floors(floors) | {_EPOCH: epoch.encode()}
        terms = WriteTerms(keep_until, self._now(), unless=_EPOCH, want_record=True)
        (record,) = await self._join(write_of(self._epoch(shard), fields, terms))
        return record

    async def raise_floors(self, shard: Shard, floors: Iterable[Floor], keep_until: int) -> Record:
        """Join floors into the epoch of a server; return its record."""
        terms = WriteTerms(keep_until, self._now(), want_record=True)
        (record,) = await self._join(write_of(self._epoch(shard), encode_floors(floors), terms))
        return record

    async def hand_on(  # noqa: PLR0913, PLR0917 - an epoch, and what it is to say
        self,
        shard: Shard,
        epoch: Record,
        floors: Iterable[Floor],
        run: str,
        evicted: int,
        keep_until: int,
    ) -> None:
        """Have an epoch say all floors, and how much a `run` of the server has evicted."""
        fields = encode_floors(floors)
        if evicted:
            fields[_EVICTED + run.encode()] = encode_moment(evicted)
        lacking = {field: v for field, v in fields.items() if epoch.get(field, b"") < v}
        if lacking:
            await self._join(
                write_of(self._epoch(shard), lacking, WriteTerms(keep_until, self._now()))
            )

    async def notify(self, floors: Iterable[Floor], life: float) -> None:
        """Have all sidecars hear of floors."""
        now = self._now()
        terms = WriteTerms(now + int(life * 1000), now, publish=self._names.sidecars_channel())
        await self._join(write_of(self._names.sidecars_record(), encode_floors(floors), terms))

    def channel(self, tag: str) -> bytes:
        """Return the channel of the news of our signs, by a server's tag; it is their key, too."""
        return self._names.beats_record(tag, self._sidecar)

    def slot(self, key: bytes) -> int:
        """Return the slot of a record."""
        return self._names.slot(key)

    def widened(self, floor: Floor) -> Floor:
        """Return a floor over all slots in which something of the lost records lay."""
        return self._names.widened(floor)

    def _epoch(self, shard: Shard) -> bytes:
        return self._names.epoch_record(tag_of(shard.slot))

    async def _join(self, *writes: Write) -> list[Record]:
        joins = [one.join for one in writes]
        return [one.record for one in written(joins, await self._store.join(*joins))]

    def _now(self) -> int:
        return int(self._clock() * 1000)


def epoch_in(epoch: Mapping[bytes, bytes]) -> bytes:
    """Return the id of an epoch; empty: there is none."""
    return epoch.get(_EPOCH, b"")


def evicted_in(epoch: Mapping[bytes, bytes], run: str) -> int:
    """Return how much a run of the server had evicted, as its epoch says."""
    return moment_in(epoch, _EVICTED + run.encode())


def signs_in(signs: Mapping[bytes, bytes]) -> int:
    """Return what the signs of life come to; 0: there is none."""
    return moment_in(signs, _SIGNS)


def turn_in(news: Mapping[bytes, bytes]) -> int:
    """Return the turn of a sign, by its news; -1: they are of no sign."""
    return moment_in(news, _SIGNS) if _SIGNS in news else -1
