"""The write path: an event comes in, is durable, and is seen here before its sender hears of it.

    event -> meaning (facts, and whose) -> joined into one record -> view -> "ok"
                                                  |                      '-> rescorer: log, count
                                                  '-> news to all who serve the sessions

One round trip joins the event, however many sessions it touches: they are not written, since
their standing follows from the record that was. An event of a session costs one more, to find
whose the session is; one that comes before its session waits where the session will look.
"""

from collections.abc import Callable
from typing import NamedTuple, assert_never

from sidecar.domain.facts import Fact, Scope, Seen, Sighted
from sidecar.domain.lattice import Record
from sidecar.domain.location import Place
from sidecar.domain.meaning import Meaning, meaning_of
from sidecar.domain.signal import SessionEstablished, Signal
from sidecar.service.answers import Accepted, Overloaded
from sidecar.service.observations import EventOutcome, EventTaken, Telemetry
from sidecar.service.rescore import Rescorer
from sidecar.service.store import Index, Join, Joined, Store
from sidecar.service.view import View
from sidecar.wire.naming import Names, SessionName, digest, parse_name, session_name
from sidecar.wire.records import (
    WHO_DEVICE,
    WHO_SESSION,
    WHO_USER,
    app_field,
    encode_facts,
    encode_seen,
    event_field,
)
from sidecar.wire.settings import Sessions


class Placement(NamedTuple):
    """Where an event's facts go: one record, on one channel, and which sessions it touches."""

    record: bytes
    channel: bytes
    members_of: bytes


class Intake:
    """Takes events.

    Raises `Unavailable` where the store cannot keep them, `Overloaded` where too much waits for
    it: then nothing is acknowledged.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Store,
        view: View,
        rescorer: Rescorer,
        names: Names,
        place_of: Callable[[str], Place],
        clock: Callable[[], float],
        settings: Sessions,
        type_of: Callable[[Signal], str],
        telemetry: Telemetry,
        placed: Callable[[str, bytes], None] = lambda _event, _record: None,
    ) -> None:
        self._store = store
        self._view = view
        self._rescorer = rescorer
        self._names = names
        self._place_of = place_of
        self._clock = clock
        self._settings = settings
        self._type_of = type_of
        self._telemetry = telemetry
        self._placed = placed

    async def accept(self, signal: Signal) -> Accepted:
        """Make an event durable and see to it that it takes effect."""
        outcome = EventOutcome.FAILED
        try:
            accepted = await self._accept(signal)
            outcome = EventOutcome.DUPLICATE if accepted.duplicate else EventOutcome.ACCEPTED
        except Overloaded:
            outcome = EventOutcome.OVERLOADED
            raise
        finally:
            self._telemetry.record(
                EventTaken(
                    type=self._type_of(signal),
                    outcome=outcome,
                    id=signal.stamp.id,
                    source=signal.source,
                )
            )
        return accepted

    async def _accept(self, signal: Signal) -> Accepted:
        meaning = meaning_of(signal, self._place_of)
        event_id = signal.stamp.id
        match meaning.scope:
            case Scope.USER:
                user = digest(signal.subject.user)
                channel = self._names.user_channel(user)
                place = Placement(
                    self._names.user_record(user), channel, self._names.user_index(user)
                )
                return await self._join(signal, meaning.facts, place)
            case Scope.DEVICE:
                device = signal.subject.device
                place = Placement(
                    self._names.device_record(device),
                    self._names.device_channel(device),
                    self._names.device_index(device),
                )
                return await self._join(signal, meaning.facts, place)
            case Scope.SESSION:
                user_name = await self._owner(signal, meaning)
                if user_name is None:
                    return Accepted(event_id)
                return await self._of_session(signal, meaning, user_name)
            case _:
                assert_never(meaning.scope)

    async def _join(self, signal: Signal, facts: tuple[Fact, ...], place: Placement) -> Accepted:
        fields = encode_facts(facts)
        fields[event_field(signal.stamp.id)] = signal.stamp.encode().encode()
        joined = await self._one(
            Join(
                place.record,
                fields,
                self._facts_expire(),
                self._now(),
                unless=event_field(signal.stamp.id),
                publish=place.channel,
                members_of=place.members_of,
            )
        )
        self._placed(signal.stamp.id, place.record)
        self._view.learn(place.record, joined.record)
        if not joined.joined:
            return Accepted(signal.stamp.id, duplicate=True)
        names = [name for member in joined.members if (name := parse_name(member))]
        self._rescorer.put(self._type_of(signal), names)
        return Accepted(signal.stamp.id)

    async def _owner(self, signal: Signal, meaning: Meaning) -> str | None:
        """Whose the session is; None where nobody knows yet and its facts were left for it."""
        session = signal.subject.session
        live = self._view.find_session(session)
        if live is not None:
            return live.user
        locator = self._names.locator(digest(session))
        if isinstance(signal, SessionEstablished) and signal.subject.user:
            fields: Record = {
                WHO_USER: signal.subject.user.encode(),
                WHO_SESSION: session.encode(),
            }
            joined = await self._one(
                Join(locator, fields, self._session_expire(signal), self._now())
            )
            self._view.learn(locator, joined.record)
            return joined.record[WHO_USER].decode()
        fields = encode_facts(meaning.facts)
        fields[event_field(signal.stamp.id)] = signal.stamp.encode().encode()
        joined = await self._one(
            Join(locator, fields, self._session_expire(signal), self._now(), unless=WHO_USER)
        )
        self._view.learn(locator, joined.record)
        self._placed(signal.stamp.id, locator)
        return None if joined.joined else joined.record[WHO_USER].decode()

    async def _of_session(self, signal: Signal, meaning: Meaning, user: str) -> Accepted:
        session = signal.subject.session
        name = session_name(user, session)
        record = self._names.session_record(name)
        channel = self._names.user_channel(name.user)
        expire_at = self._session_expire(signal)
        fields = encode_facts(meaning.facts)
        fields[event_field(signal.stamp.id)] = signal.stamp.encode().encode()
        fields[WHO_USER] = user.encode()
        fields[WHO_SESSION] = session.encode()
        device = signal.subject.device
        if device:
            fields[WHO_DEVICE] = device.encode()
        if isinstance(signal, SessionEstablished) and signal.app:
            fields[app_field(signal.app)] = b"1"
        joins = [
            Join(
                record,
                fields,
                expire_at,
                self._now(),
                (Index(self._names.user_index(name.user), str(name).encode(), expire_at),),
                unless=event_field(signal.stamp.id),
                publish=channel,
            )
        ]
        joins += self._sightings(meaning.facts, name, channel)
        if device:
            joins.append(self._enlist(device, name, expire_at))
        answers = await self._store.join(*joins)
        self._placed(signal.stamp.id, record)
        for join, answer in zip(joins, answers, strict=True):
            self._view.learn(join.key, answer.record)
        if not answers[0].joined:
            return Accepted(signal.stamp.id, duplicate=True)
        self._rescorer.put(self._type_of(signal), (name,))
        return Accepted(signal.stamp.id)

    def _sightings(self, facts: tuple[Fact, ...], name: SessionName, channel: bytes) -> list[Join]:
        """Where a session was seen, its user was: travel is judged across sessions."""
        joins = []
        for fact in facts:
            if isinstance(fact, Sighted):
                seen = Seen(stamp=fact.stamp, session=name.session, ip=fact.ip, place=fact.place)
                joins.append(
                    Join(
                        self._names.user_record(name.user),
                        encode_seen(seen, moved=True),
                        self._facts_expire(),
                        self._now(),
                        publish=channel,
                    )
                )
        return joins

    def _enlist(self, device: str, name: SessionName, expire_at: int) -> Join:
        index = Index(self._names.device_index(device), str(name).encode(), expire_at)
        record = self._names.device_record(device)
        return Join(record, {}, self._facts_expire(), self._now(), (index,))

    async def _one(self, join: Join) -> Joined:
        (joined,) = await self._store.join(join)
        return joined

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _facts_expire(self) -> int:
        return self._now() + int(self._settings.facts_ttl * 1000)

    def _session_expire(self, signal: Signal) -> int:
        told = signal.exp if isinstance(signal, SessionEstablished) else 0
        return max(told * 1000, self._now() + int(self._settings.min_ttl * 1000))
