"""The record of which bundle of policies is in force, and who has it at hand."""

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import Enlistment, Load
from sidecar.service.records.fleet import FleetStore
from sidecar.service.records.writes import WriteTerms, Written, write_of, written
from sidecar.wire.bundles.generations import (
    ACTIVE,
    DROPPED,
    LEFT,
    PROPOSE,
    SEALED,
    Generation,
    encode,
    field_of,
    generations_in,
    number,
)
from sidecar.wire.store.keys import StoreKeys

LIVES = 10 * 365 * 86400.0
"""Seconds for which it is remembered which bundle is in force."""

ANSWERS_LIVE = 600.0
_ANSWER = b"ack"
_GROUPS = 256
_MICROSECONDS = 1_000_000


class GenerationAnswers(NamedTuple):
    """The live sidecars that take up bundles, and what those said that answered.

    Empty is what one says that has it; anything else why it has not.
    """

    live: frozenset[bytes]
    said: Mapping[bytes, str]

    @property
    def ready(self) -> frozenset[bytes]:
        """The live sidecars that have it."""
        return frozenset(one for one, reason in self.said.items() if not reason) & self.live

    @property
    def missing(self) -> frozenset[bytes]:
        """The live sidecars that have not, or have not said so."""
        return self.live - self.ready


class GenerationRecords:
    """The record that all sidecars keep together. All raise `Unavailable`, `Overloaded`."""

    def __init__(self, store: FleetStore, names: StoreKeys, clock: Callable[[], float]) -> None:
        self._store = store
        self._names = names
        self._clock = clock

    @property
    def key(self) -> bytes:
        """Return the key of the record."""
        return self._names.policies_record()

    @property
    def channel(self) -> bytes:
        """Return the channel of its news."""
        return self._names.policies_channel()

    async def load(self) -> Record:
        """Read what is named."""
        (loaded,) = await self._store.load(Load(self.key))
        return loaded.record

    async def join(self, fields: Record) -> None:
        """Give back what the record lacks."""
        await self._join(self.key, fields, self._terms(LIVES))

    async def propose(self, generation: Generation) -> bool:
        """Propose a generation; return whether nobody had proposed another under its term."""
        field = field_of(PROPOSE, generation.term)
        value = encode(generation, generation.term)
        terms = replace(self._terms(LIVES), unless=field, want_record=True)
        answer = await self._join(self.key, {field: value}, terms)
        return answer.record.get(field) == value

    async def activate(self, generation: Generation) -> None:
        """Have it in force from its moment on, once that is sealed."""
        field = field_of(ACTIVE, generation.term)
        value = encode(generation, generation.term)
        await self._join(self.key, {field: value}, replace(self._terms(LIVES), confirm=True))

    async def seal(self, term: int, moment: int) -> int:
        """Say from when a generation is in force; return the moment that was said first."""
        field = field_of(SEALED, term)
        terms = replace(self._terms(LIVES), unless=field, want_record=True, confirm=True)
        answer = await self._join(self.key, {field: encode(moment, term)}, terms)
        sealed = generations_in(answer.record, 0).sealed
        return moment if sealed is None else sealed

    async def drop(self, term: int) -> None:
        """Say that a proposal is none any more."""
        fields = {field_of(DROPPED, term): number(term)}
        await self._join(self.key, fields, self._terms(LIVES))

    # Who has it

    async def enlist(self, sidecar: bytes, life: float) -> None:
        """Say that a sidecar lives for that long, and takes up bundles."""
        now = self._now()
        until = now + int(life * 1000)
        index, keep = self._names.policies_index(), until + 3600_000
        await self._store.enlist(Enlistment(index, sidecar, until, now, keep))

    async def leave(self, sidecar: bytes) -> None:
        """Say that a sidecar ends."""
        fields = {LEFT + sidecar: number(self._now())}
        await self._join(self.key, fields, replace(self._terms(LIVES), publish=None))

    async def answer(self, stage: str, term: int, sidecar: bytes, reason: str = "") -> None:
        """Say that a sidecar has a generation at this stage, or why not."""
        field = _ANSWER + b"%d:%s" % (zlib.crc32(sidecar) % _GROUPS, sidecar)
        value = number(int(self._clock() * _MICROSECONDS)) + reason[:300].encode()
        terms = replace(self._terms(ANSWERS_LIVE), publish=None)
        await self._join(self._answers(stage, term), {field: value}, terms)

    async def answers(self, stage: str, term: int) -> GenerationAnswers:
        """Read who lives, and who said what at this stage."""
        fleet, said = await self._store.load(
            Load(self.key, self._names.policies_index(), self._now()),
            Load(self._answers(stage, term)),
        )
        left = {field[len(LEFT) :] for field in fleet.record if field.startswith(LEFT)}
        return GenerationAnswers(
            frozenset(fleet.members) - left,
            {
                field.partition(b":")[2]: value[16:].decode("utf-8", "replace")
                for field, value in said.record.items()
                if field.startswith(_ANSWER)
            },
        )

    def _answers(self, stage: str, term: int) -> bytes:
        return self._names.answers_record(f"policies {stage} {term}")

    async def _join(self, key: bytes, fields: Mapping[bytes, bytes], terms: WriteTerms) -> Written:
        join = write_of(key, fields, terms).join
        (answer,) = written((join,), await self._store.join(join))
        return answer

    def _terms(self, life: float) -> WriteTerms:
        now = self._now()
        return WriteTerms(now + int(life * 1000), now, publish=self.channel)

    def _now(self) -> int:
        return int(self._clock() * 1000)
