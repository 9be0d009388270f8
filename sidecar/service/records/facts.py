"""The records of users, devices and sessions: facts are joined into them, and read.

Which fields, keys, channels and indexes that concerns, and how long a record lives, is known here
alone. A write is made first and joined then, since several go in one round trip, and the view
learns the same write without decoding what was encoded for the store.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, assert_never

from msgspec.structs import replace

from sidecar.domain.facts.fact_kinds import Spent
from sidecar.domain.facts.signal import SessionEstablished, SessionPresented, Signal
from sidecar.service.ports.store import HistoryAppend, Index, Join, JoinResult, Load, Loaded
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    FactReader,
    LocatorRecord,
    SessionRecord,
    Subjects,
    UserRecord,
)
from sidecar.service.records.writes import Began, Write, WriteTerms, Written, write_of, written
from sidecar.wire.settings.settings import Sessions
from sidecar.wire.store.entries import Encoded, KeptUntil, Said, encode
from sidecar.wire.store.event_keys import event_field, event_key
from sidecar.wire.store.keys import SessionName, StoreKeys, member_of_user
from sidecar.wire.store.prompts import alert_field, prompt_fields
from sidecar.wire.store.records import (
    OWNERS,
    claim_field,
    encode_event,
    encode_spent,
    fanned_field,
    last_logged_field,
)

AMENDED = 60_000
"""Milliseconds that a record lives at least to which something is added; an expiry only grows."""


class RecordStore(Protocol):
    """The part of the store that records need. Both raise `Unavailable`, `Overloaded`."""

    async def join(self, *joins: Join) -> list[JoinResult]:
        """Join each; the answers are in order."""

    async def load(self, *loads: Load) -> list[Loaded]:
        """Read each; the answers are in order."""


class LogEntry(NamedTuple):
    """An entry in the log of a session: its policy, the value that is logged, the one claimed."""

    name: SessionName
    policy: str
    value: bytes
    claimed: bytes


class FactRecords(FactReader):
    """Joins facts into the records of users, devices and sessions, and loads them."""

    def __init__(
        self,
        store: RecordStore,
        names: StoreKeys,
        clock: Callable[[], float],
        settings: Callable[[], Sessions],
        history: Callable[[Signal, Subjects], HistoryAppend | None] = lambda _, __: None,
    ) -> None:
        super().__init__(store, names, clock)
        self._history = history
        self._store = store
        self._settings = settings
        self.began: Began = lambda _, __: None
        self.has_room: Callable[[bytes, Mapping[bytes, bytes]], bool] = lambda _, __: False

    def write(
        self,
        said: Iterable[Said],
        *,
        of: Subjects,
        event: Signal | None = None,
        until: int = 0,
        owners_alone: bool = False,
    ) -> Write:
        """Encode what is said of `of`, to be joined and learned.

        An `event` counts once for each id: of one that has counted nothing is joined. Those who
        follow the record hear of an event and of facts, and the answer to an event of a user or
        device names the sessions. What it says goes into the history of whom it concerns. The
        record lives until `until` (unix ms) at least, or for as long as facts do. A session is
        listed among those of its user. The answer to one of a locator gives the record, or of it
        the `owners_alone`. A record that `has_room` is cut to its bounds later.
        """
        encoded = encode(said)
        unless = None
        if event is not None:
            unless = event_field(event_key(event))
            encoded = Encoded(encoded.fields | encode_event(event), encoded.facts)
        key, heard = self.key(of), event is not None or bool(encoded.facts)
        expire_at = until or self._facts_expire()
        terms = WriteTerms(
            expire_at,
            self._now(),
            self._entries(of, expire_at),
            unless,
            self._channel(of) if heard else None,
            self._index(of) if event is not None else None,
            want_record=isinstance(of, LocatorRecord) and not owners_alone,
            confirm=True,
            history=None if event is None else self._history(event, of),
            want_group=OWNERS if owners_alone else b"",
            cut=not self.has_room(key, encoded.fields),
        )
        return Write(key, encoded, terms)

    def keep(self, of: UserRecord | DeviceRecord, until: int) -> list[Write]:
        """Have a record live until then (unix ms), where its facts do not live as long anyway.

        What is said of a user or device must stop a token for as long as it can be shown.
        """
        if until <= self._facts_expire():
            return []
        return [self.write([KeptUntil(until)], of=of, until=until)]

    def list_session(self, name: SessionName, on: DeviceRecord, until: int) -> Write:
        """List a session among those of a device until then (unix ms); the record lives as long."""
        lasting = self._facts_expire()
        said = [KeptUntil(until)] if until > lasting else []
        index = Index(self._names.device_index(on.device), str(name).encode(), until)
        terms = WriteTerms(max(until, lasting), self._now(), (index,), confirm=True)
        return Write(self.key(on), encode(said), terms)

    def note_fanned_out(self, event: Signal, of: UserRecord | DeviceRecord) -> Write:
        """Note that the sessions of an event are in the backlog."""
        fields = {fanned_field(event_key(event)): event.stamp.encode().encode()}
        return write_of(self.key(of), fields, WriteTerms(self._facts_expire(), self._now()))

    def amend(self, said: Iterable[Said], *, of: SessionRecord) -> Write:
        """Encode what is added to a session's record that exists; it lives as long as it would."""
        return Write(self.key(of), encode(said), self._amending(of))

    def log(self, entry: LogEntry) -> Write:
        """Encode that something of a session is logged."""
        return write_of(
            self.key(SessionRecord(entry.name)),
            {last_logged_field(entry.policy): entry.value},
            self._amending(SessionRecord(entry.name)),
        )

    def claim(self, entry: LogEntry, turn: int, by: str, *, logs: bool) -> Write:
        """Encode that a sidecar claims to log something; `logs`: and that it is logged by that.

        The value is the claim's own (`by`), so that a join whose answer was lost can be done again.
        """
        of = SessionRecord(entry.name)
        field = claim_field(entry.policy, entry.claimed, turn)
        fields = {field: f"{self._now():016d}{by}".encode()}
        if logs:
            fields[last_logged_field(entry.policy)] = entry.value
        terms = replace(self._amending(of), unless=field)
        return write_of(self.key(of), fields, terms if logs else replace(terms, publish=None))

    def spend(self, fact: Spent, *, of: SessionRecord, until: int) -> Write:
        """Encode that a proof is spent, once; the record lives until then (unix ms) at least."""
        field, _ = encode_spent(fact)
        terms = WriteTerms(
            until,
            self._now(),
            unless=field,
            publish=self._channel(of),
            want_record=True,
            confirm=True,
        )
        return Write(self.key(of), encode((fact,)), terms)

    def count_prompts(self, name: SessionName, moments: Iterable[int], until: int) -> Write:
        """Encode that a user was asked in a session at these moments (microseconds)."""
        terms = WriteTerms(until, self._now(), want_record=True)
        return write_of(self.key(UserRecord(name.user)), prompt_fields(name, moments), terms)

    def claim_alert(self, of: UserRecord, per: float, until: int) -> Write:
        """Encode that a sidecar claims to log an exceeded budget, once in a window of `per`."""
        now = self._clock()
        field = alert_field(now, per)
        fields = {field: f"{int(now * 1000):016d}".encode()}
        return write_of(self.key(of), fields, WriteTerms(until, self._now(), unless=field))

    def save(
        self,
        key: bytes,
        fields: Mapping[bytes, bytes],
        indexes: Mapping[tuple[bytes, bytes], int],
        *,
        publish: bytes | None,
        until: int,
    ) -> Write:
        """Make a write of what the view holds of a record and the store lacks.

        The answer gives the record where there is no channel of its news, as of a locator: else
        the view has heard, or will, what it does not know of it.
        """
        now = self._now()
        listed = tuple(Index(index, member, at) for (index, member), at in indexes.items())
        least = now + int(self._settings().min_ttl * 1000)
        unheard = publish is None
        terms = WriteTerms(max(until, least), now, listed, publish=publish, want_record=unheard)
        return write_of(key, fields, terms)

    def life_of(self, event: Signal) -> int:
        """Return until when (unix ms) the record of an event's session lives at least.

        What an event says may have to stop tokens for as long as they are refreshed; a session
        that is merely seen lives as long as it is in use.
        """
        if not isinstance(event, SessionEstablished | SessionPresented):
            return self._facts_expire()
        expires = event.exp if isinstance(event, SessionEstablished) else 0
        return max(expires * 1000, self._now() + int(self._settings().min_ttl * 1000))

    async def join(self, *writes: Write) -> list[Written]:
        """Join each; the answers are in order. Raises `Unavailable`, `Overloaded`."""
        joins = [one.join for one in writes]
        return written(joins, await self._store.join(*joins), self.began)

    def _entries(self, of: Subjects, expire_at: int) -> tuple[Index, ...]:
        if not isinstance(of, SessionRecord):
            return ()
        key = self._names.user_index(of.name.user)
        return (Index(key, member_of_user(of.name), expire_at),)

    def _channel(self, of: Subjects) -> bytes | None:
        """Return the channel of those who follow a record; nobody follows a locator."""
        match of:
            case UserRecord(user):
                return self._names.user_channel(user)
            case DeviceRecord(device):
                return self._names.device_channel(device)
            case SessionRecord(name):
                return self._names.user_channel(name.user)
            case LocatorRecord():
                return None
            case _:
                assert_never(of)

    def _amending(self, of: SessionRecord) -> WriteTerms:
        now = self._now()
        return WriteTerms(now + AMENDED, now, publish=self._channel(of))

    def _facts_expire(self) -> int:
        return self._now() + int(self._settings().facts_ttl * 1000)
