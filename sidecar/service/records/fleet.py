"""The records that sidecars share and that hold no facts of users.

Who lives and has which event, who does which work, what requests have counted for, which forms are
written, how far the re-score of all sessions is.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import Enlistment, Load
from sidecar.service.records.facts import RecordStore
from sidecar.service.records.writes import WriteTerms, Written, write_of, written
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.store.leases import lease_field, lease_value
from sidecar.wire.store.rescore_records import (
    WANT,
    Finished,
    RescoreRequest,
    encode_finished,
    number,
    swept_field,
)

ANSWERS_LIVE = 60.0
"""Seconds for which a question to all sidecars and its answers are kept."""

RESCORE_LIVES = 30 * 86400.0
"""Seconds for which a re-score is remembered."""

_FOR, _DONE = b"for", b"done"
_QUESTION = b"settle:"
_LEFT = b"left:"
_POLICIES = b"set:"
_ANSWER = b"ack"
_ANSWER_GROUPS = 256


INDEX_LIVES = 3600.0
"""Seconds for which the index of live sidecars is kept after one of them saw to that."""

_HOUR = 3600_000


class FleetStore(RecordStore, Protocol):
    """The part of the store that these records need."""

    async def enlist(self, listing: Enlistment) -> None:
        """Put a member into a sorted set. Raises `Unavailable`, `Overloaded`."""


class Acknowledged(NamedTuple):
    """The sidecars that live, and those of them that have an event; both by their ids."""

    live: frozenset[bytes]
    have: frozenset[bytes]


class FleetMember(NamedTuple):
    """A sidecar that lives: its id, which one that is in words, and its set of policies.

    Both are empty where it has not said so.
    """

    sidecar: str
    worker: str
    policy_set: str


class FleetRecords:
    """The records that all sidecars keep together. All raise `Unavailable`, `Overloaded`."""

    def __init__(self, store: FleetStore, names: StoreKeys, clock: Callable[[], float]) -> None:
        self._store = store
        self._kept = 0
        self._names = names
        self._clock = clock

    @property
    def key(self) -> bytes:
        """Return the key of the record of questions to all sidecars."""
        return self._names.sidecars_record()

    @property
    def channel(self) -> bytes:
        """Return the channel that all sidecars follow."""
        return self._names.sidecars_channel()

    # Requests

    async def claim_request(self, event_id: str, content: str, life: float) -> bool:
        """Return whether a request's id counts for this content, and for nothing else."""
        key = self._names.answers_record(f"request {event_id}")
        answer = await self._once(key, {_FOR: content.encode()}, life)
        return answer.record.get(_FOR) == content.encode()

    async def end_request(self, event_id: str, life: float) -> bool:
        """Note that a request was answered as done; return whether it had not been."""
        key = self._names.answers_record(f"answered {event_id}")
        return (await self._once(key, {_DONE: b"1"}, life)).joined

    # Work that one is enough for

    async def take_term(self, work: str, term: int, sidecar: str, life: float) -> bool:
        """Take a piece of work for a term, unless another has; return whether it is ours."""
        field, value = lease_field(term), lease_value(term, sidecar)
        terms = replace(self._terms(life), unless=field, want_record=True)
        answer = await self._join(self._names.lease_record(work), {field: value}, terms)
        return answer.record.get(field) == value

    # Live sidecars, and who has an event

    async def enlist(self, sidecar: bytes, life: float) -> None:
        """Say that a sidecar lives for that long.

        This is said again and again, and so it is one command; the index is seen to now and then.
        """
        now, index = self._now(), self._names.sidecars_index()
        keep_until = now + int((INDEX_LIVES + life) * 1000)
        sees_to_it = not 0 <= now - self._kept < INDEX_LIVES * 1000 / 4
        listing = Enlistment(index, sidecar, now + int(life * 1000), now, keep_until * sees_to_it)
        await self._store.enlist(listing)
        if sees_to_it:
            self._kept = now

    async def note_policies(
        self, sidecar: bytes, worker: str, policy_set: str, life: float
    ) -> None:
        """Say by which set of policies a sidecar judges; `worker` says in words which one it is."""
        value = b"%016d" % self._now() + f"{policy_set}\n{worker}".encode()
        await self._join(self.key, {_POLICIES + sidecar: value}, self._terms(life))

    async def sidecars(self) -> list[FleetMember]:
        """Read which sidecars live, in the order of their names."""
        fleet, *_ = await self._store.load(
            Load(self.key, self._names.sidecars_index(), self._now())
        )
        left = {field[len(_LEFT) :] for field in fleet.record if field.startswith(_LEFT)}
        found = []
        for one in set(fleet.members) - left:
            said = fleet.record.get(_POLICIES + one, b"")[16:].decode("utf-8", "replace")
            policy_set, _, worker = said.partition("\n")
            found.append(FleetMember(one.decode("ascii", "replace"), worker, policy_set))
        return sorted(found, key=lambda one: (one.worker, one.sidecar))

    async def leave(self, sidecar: bytes, life: float) -> None:
        """Say that a sidecar ends; remembered for as long as it might count as alive."""
        fields = {_LEFT + sidecar: b"%016d" % self._now()}
        await self._join(self.key, fields, self._terms(life))

    async def ask(self, event: str, question: bytes) -> None:
        """Ask all sidecars whether they have an event."""
        fields = {_QUESTION + event.encode(): b"%016d" % self._now() + question}
        terms = replace(self._terms(ANSWERS_LIVE), publish=self.channel)
        await self._join(self.key, fields, terms)

    async def answer(self, event: str, sidecar: bytes) -> None:
        """Say that a sidecar has an event.

        Answers are spread over groups, as a group's bound is for tens and not thousands.
        """
        field = _ANSWER + b"%d:%s" % (zlib.crc32(sidecar) % _ANSWER_GROUPS, sidecar)
        fields = {field: b"%016d" % self._now()}
        await self._join(self._names.answers_record(event), fields, self._terms(ANSWERS_LIVE))

    async def acknowledged(self, event: str) -> Acknowledged:
        """Read which sidecars live, and which have an event."""
        fleet, answers = await self._store.load(
            Load(self.key, self._names.sidecars_index(), self._now()),
            Load(self._names.answers_record(event)),
        )
        left = {field[len(_LEFT) :] for field in fleet.record if field.startswith(_LEFT)}
        have = (field for field in answers.record if field.startswith(_ANSWER))
        return Acknowledged(
            frozenset(fleet.members) - left, frozenset(field.partition(b":")[2] for field in have)
        )

    # Forms of records

    async def load_forms(self) -> Record:
        """Read which forms are written and read."""
        (loaded,) = await self._store.load(Load(self._names.forms_record()))
        return loaded.record

    async def join_forms(self, fields: Mapping[bytes, bytes], life: float) -> Record:
        """Say which forms a sidecar writes and reads; return what all say."""
        terms = self._terms(life)
        # By the hour, so that it need not be written each time.
        until = (terms.expire_at // _HOUR + 1) * _HOUR
        terms = replace(terms, want_record=True, expire_at=until)
        return (await self._join(self._names.forms_record(), fields, terms)).record

    # The re-score of all sessions

    async def load_rescore(self) -> Record:
        """Read what was asked for, and whether it is done."""
        (loaded,) = await self._store.load(Load(self._names.rescore_record()))
        return loaded.record

    async def want_rescore(self, generation: str, moment: int) -> None:
        """Ask for a re-score by this generation."""
        fields = {WANT + generation.encode(): number(moment)}
        await self._join(self._names.rescore_record(), fields, self._terms(RESCORE_LIVES))

    async def finish_rescore(self, asked: RescoreRequest, finished: Finished) -> bool:
        """Say that a re-score is done; return whether nobody had said so."""
        field = swept_field(asked)
        terms = replace(self._terms(RESCORE_LIVES), unless=field)
        fields = {field: encode_finished(finished)}
        return (await self._join(self._names.rescore_record(), fields, terms)).joined

    async def _once(self, key: bytes, fields: Mapping[bytes, bytes], life: float) -> Written:
        terms = replace(
            self._terms(life), unless=next(iter(fields)), want_record=True, confirm=True
        )
        return await self._join(key, fields, terms)

    async def _join(self, key: bytes, fields: Mapping[bytes, bytes], terms: WriteTerms) -> Written:
        join = write_of(key, fields, terms).join
        (answer,) = written((join,), await self._store.join(join))
        return answer

    def _terms(self, life: float) -> WriteTerms:
        now = self._now()
        return WriteTerms(now + int(life * 1000), now)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def questions_in(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the questions to all sidecars among the news of their record."""
    return [value[16:] for field, value in fields.items() if field.startswith(_QUESTION)]
