"""The write path: an event comes in, is durable, and is seen here before its sender hears of it.

    event -> meaning (facts, and whose) -> joined into one record -> view -> "ok"
                                                  |  and enlisted        '-> rescorer: log, count,
                                                  |                          and strike it out
                                                  '-> news to all who serve the sessions

One round trip joins the event, however many sessions it touches: they are not written, since
their standing follows from the record that was. An event of a session costs one more, to find
who has a session of that name: it concerns all of them, and waits where whoever comes to have the
session later will look.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, assert_never

import trio

from sidecar.domain.facts.facts import Fact, Scope, Sighted, SignedIn, seen_in
from sidecar.domain.facts.from_signal import Meaning, meaning_of
from sidecar.domain.facts.signal import (
    OperatorClear,
    OperatorMark,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.session.state import State
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.audit.auditor import Enlisted, Rescorer
from sidecar.service.intake.attribution import Attribution
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.service.ports.store import MEMBERS_BOUND, Index, Join, Joined, Load, Store
from sidecar.service.view.view import View
from sidecar.wire.events.events import InvalidSignal
from sidecar.wire.settings.settings import Sessions
from sidecar.wire.store.keys import Names, SessionName, digest, parse_name, session_name
from sidecar.wire.store.records import (
    WHO_DEVICE,
    WHO_ISSUER,
    WHO_SESSION,
    WHO_USER,
    app_field,
    counts_for_another,
    encode_event,
    encode_facts,
    encode_proven,
    encode_seen,
    event_field,
    event_key,
    fanned_field,
    keep_until,
    owner_fields,
    owners_of,
    sighted_in,
)
from sidecar.wire.store.worklog import Work, enclose

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between the tries of a revocation for which the store's queue has no room."""

OTHER_EVENT = "has counted for another event of this source already"


class WorkLog(Protocol):
    """Remembers what is left to do for an event, until it is done."""

    async def enlist(self, work: Work, *joins: Join) -> tuple[Enlisted | None, list[Joined]]:
        """Join, and enlist, in one round trip; None where there is no room to enlist it."""


class Placement(NamedTuple):
    """Where an event's facts go: one record, on one channel, and which sessions it touches.

    `of` is the digest of the user or the device, by `scope`.
    """

    record: bytes
    channel: bytes
    members_of: bytes
    scope: Scope
    of: str


class Located(NamedTuple):
    """Who has a session of this name, and where it was seen before anybody knew.

    `joined`: what became of the event in the session's locator, where it waits for whoever comes to
    have the session later; None: it is of the users alone.
    """

    users: tuple[str, ...]
    before: tuple[Fact, ...] = ()
    joined: Accepted | None = None


class Intake:
    """Takes events.

    Raises `Unavailable` where the store cannot keep them, or `lacks` tells of rights without which
    nobody would hear of them; `Overloaded` where too much waits for it: then nothing is
    acknowledged.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Store,
        view: View,
        rescorer: Rescorer,
        fan_out: Callable[[str, bytes], Awaitable[None]],
        worklog: WorkLog,
        names: Names,
        place_of: Callable[[str], Place],
        clock: Callable[[], float],
        settings: Callable[[], Sessions],
        placed: Callable[[str, bytes], None] = lambda _event, _record: None,
        namespaces: Callable[[], Namespaces] = Namespaces,
        sources: Callable[[], Sources] = Sources,
        lacks: Callable[[], str] = str,
    ) -> None:
        self._lacks = lacks
        self._attribution = Attribution(
            store=store,
            view=view,
            names=names,
            namespaces=namespaces,
            sources=sources,
            clock=clock,
        )
        self._store = store
        self._view = view
        self._rescorer = rescorer
        self._fan_out = fan_out
        self._worklog = worklog
        self._names = names
        self._place_of = place_of
        self._clock = clock
        self._settings = settings
        self._placed = placed

    async def accept(self, signal: Signal) -> Accepted:
        """Make an event durable and see to it that it takes effect.

        Raises `InvalidSignal` where nobody can tell whom it concerns.

        A revocation is the last to be refused: where too much waits for the store, it does, too.
        """
        for pause in PAUSES if isinstance(signal, SessionRevoked) else ():
            try:
                return await self._take_all(signal)
            except Overloaded:
                await trio.sleep(pause)
        return await self._take_all(signal)

    async def _take_all(self, signal: Signal) -> Accepted:
        lacks = self._lacks()
        if lacks:  # it might be written, and nobody would hear of it
            raise Unavailable(lacks)
        taken = [await self._take(one) for one in await self._attribution.of(signal)]
        return _accepted(signal, duplicate=all(one.duplicate for one in taken))

    def namespaces_of(self, signal: Signal) -> tuple[str, ...]:
        """Whose names an event may mean. Raises `InvalidSignal` where there are none."""
        return self._attribution.candidates(signal)

    def attributed(self, signal: Signal) -> tuple[Signal, ...]:
        """The event, once for each issuer whose names it is known to mean, else as it is.

        So it means these still where it is taken later, whatever its source may speak for by then.
        Raises `InvalidSignal` where no configured issuer's names can be meant.
        """
        return self._attribution.beforehand(signal)

    async def _take(self, signal: Signal) -> Accepted:
        """Take an event that says whose names it means."""
        meaning = meaning_of(signal, self._place_of)
        subject = signal.subject
        match meaning.scope:
            case Scope.USER:
                user = digest(subject.issuer, subject.user)
                channel = self._names.user_channel(user)
                place = Placement(
                    self._names.user_record(user),
                    channel,
                    self._names.user_index(user),
                    Scope.USER,
                    user,
                )
                return await self._join(signal, meaning.facts, place)
            case Scope.DEVICE:
                device = digest(subject.issuer, subject.device)
                place = Placement(
                    self._names.device_record(device),
                    self._names.device_channel(device),
                    self._names.device_index(device),
                    Scope.DEVICE,
                    device,
                )
                return await self._join(signal, meaning.facts, place)
            case Scope.SESSION:
                located = await self._located(signal, meaning)
                taken = [
                    await self._of_session(signal, meaning, user, located.before)
                    for user in located.users
                ]
                if located.joined is not None:
                    taken.append(located.joined)
                return _accepted(signal, duplicate=all(one.duplicate for one in taken))
            case _:
                assert_never(meaning.scope)

    def learn_locally(self, signal: Signal) -> list[tuple[bytes, Record]]:
        """Have an event take effect in this sidecar's view alone, until the store can take it.

        Returns what it brings to which records. Where nobody here knows whose a session is, that
        is where the session will look.
        """
        placed = [pair for one in self._attribution.here(signal) for pair in self._places(one)]
        for record, fields in placed:
            self._view.learn(record, fields)
        return placed

    def _places(self, signal: Signal) -> list[tuple[bytes, Record]]:
        meaning = meaning_of(signal, self._place_of)
        fields = encode_facts(meaning.facts)
        subject = signal.subject
        match meaning.scope:
            case Scope.USER:
                user = digest(subject.issuer, subject.user)
                return [(self._names.user_record(user), fields)]
            case Scope.DEVICE:
                device = digest(subject.issuer, subject.device)
                return [(self._names.device_record(device), fields)]
            case Scope.SESSION:
                return self._places_of_session(signal, meaning, fields)
            case _:
                assert_never(meaning.scope)

    def _places_of_session(
        self, signal: Signal, meaning: Meaning, fields: Record
    ) -> list[tuple[bytes, Record]]:
        subject = signal.subject
        places: list[tuple[bytes, Record]] = []
        users = self._users_here(subject)
        if subject.user and (_is_theirs(signal) or subject.user in users):
            users = (subject.user,)
        else:
            locator = self._names.locator(digest(subject.issuer, subject.session))
            places.append((locator, fields))
        for user in users:
            name = session_name(subject.issuer, user, subject.session)
            places.append((self._names.session_record(name), fields))
            seen = self._sightings(meaning.facts, name, b"")
            places.extend((join.key, dict(join.fields)) for join in seen)
        return places

    def _users_here(self, subject: Subject) -> tuple[str, ...]:
        """Who has a session of this name in the view."""
        lives = self._view.find_session(subject.session, (subject.issuer,))
        return tuple(live.user for live in lives)

    async def _join(self, signal: Signal, facts: tuple[Fact, ...], place: Placement) -> Accepted:
        fields = _fields_of(signal, facts)
        enlisted, (joined,) = await self._enlisting(
            signal,
            place.scope,
            place.of,
            Join(
                place.record,
                fields,
                self._facts_expire(),
                self._now(),
                unless=event_field(event_key(signal)),
                publish=place.channel,
                members_of=place.members_of,
                want_record=False,
                confirm=True,
            ),
        )
        self._placed(event_key(signal), place.record)
        kind, names = signal.kind, list[SessionName]()
        known = await self._learn(signal, place.record, fields, joined)
        if len(joined.members) < MEMBERS_BOUND:
            names = [name for member in joined.members if (name := parse_name(member))]
        elif fanned_field(event_key(signal)) not in known:
            # Who joined it may have died before this; it was not acknowledged, and comes again.
            await self._fan_out(kind, place.members_of)
            await self._note_fanned_out(signal, place)
        # A duplicate's sessions, too: whoever took it first may have died before it was enlisted.
        if names:
            self._rescorer.put(kind, names, enlisted)
        elif enlisted is not None:
            enlisted.told()  # there is nothing to tell, or the backlog has it
        return _accepted(signal, duplicate=not joined.joined)

    async def _enlisting(
        self, signal: Signal, scope: Scope, of: str, *joins: Join
    ) -> tuple[Enlisted | None, list[Joined]]:
        """Join, and have the event enlisted in the work log."""
        work = Work(signal.kind, signal.stamp.id, scope, of, enclose(signal))
        return await self._worklog.enlist(work, *joins)

    async def _learn(self, signal: Signal, record: bytes, fields: Record, joined: Joined) -> Record:
        """Have the view know an event before it is acknowledged; gives what there is to know.

        One that had counted already may have been joined elsewhere a moment ago, and its news be
        under way. Raises `InvalidSignal` where its id has counted for another event.
        """
        if not joined.joined:
            (loaded,) = await self._store.load(Load(record))
            fields = loaded.record
            if counts_for_another(fields, signal):
                raise InvalidSignal("id", OTHER_EVENT)
        self._view.learn(record, fields)
        return fields

    async def _note_fanned_out(self, signal: Signal, place: Placement) -> None:
        fields = {fanned_field(event_key(signal)): signal.stamp.encode().encode()}
        expire_at = self._facts_expire()
        await self._one(Join(place.record, fields, expire_at, self._now(), want_record=False))

    async def _located(self, signal: Signal, meaning: Meaning) -> Located:
        """Who has the session. What concerns all of them waits for others there, too.

        A user who is named along with a session narrows it down to that user's, where the session
        is known to be that user's; of a revocation all that is named must match.
        """
        subject = signal.subject
        locator = self._names.locator(digest(subject.issuer, subject.session))
        expire_at = self._session_expire(signal)
        if subject.user and isinstance(signal, SessionEstablished):
            owner = owner_fields(subject.user, shown=False)
            joined = await self._one(Join(locator, owner, expire_at, self._now(), confirm=True))
            self._view.learn(locator, joined.record)
            return Located((subject.user,), tuple(sighted_in(joined.record)))
        if subject.user and await self._is_narrowed(signal, locator):
            return Located((subject.user,))
        event = event_field(event_key(signal))
        fields = _fields_of(signal, meaning.facts)
        joined = await self._one(
            Join(locator, fields, expire_at, self._now(), unless=event, confirm=True)
        )
        if not joined.joined and counts_for_another(joined.record, signal):
            raise InvalidSignal("id", OTHER_EVENT)
        self._view.learn(locator, joined.record)
        self._placed(event_key(signal), locator)
        users = (*(one.user for one in owners_of(joined.record)), *self._users_here(subject))
        accepted = _accepted(signal, duplicate=not joined.joined)
        return Located(tuple(dict.fromkeys(users)), joined=accepted)

    async def _is_narrowed(self, signal: Signal, locator: bytes) -> bool:
        """Whether the user that is named along with a session is the only one who is meant."""
        subject = signal.subject
        if _is_theirs(signal) or subject.user in self._users_here(subject):
            return True
        (loaded,) = await self._store.load(Load(locator))
        return any(one.user == subject.user for one in owners_of(loaded.record))

    async def _of_session(
        self, signal: Signal, meaning: Meaning, user: str, before: tuple[Fact, ...]
    ) -> Accepted:
        session, namespace = signal.subject.session, signal.subject.issuer
        name = session_name(namespace, user, session)
        record = self._names.session_record(name)
        channel = self._names.user_channel(name.user)
        expire_at = self._session_expire(signal)
        fields = _fields_of(signal, meaning.facts)
        fields[WHO_ISSUER] = namespace.encode()
        fields[WHO_USER] = user.encode()
        fields[WHO_SESSION] = session.encode()
        # Of a revocation the device is a condition, and binds no session to it.
        device = "" if isinstance(signal, SessionRevoked) else signal.subject.device
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
                unless=event_field(event_key(signal)),
                publish=channel,
                want_record=False,
                confirm=True,
            )
        ]
        joins += self._sightings((*meaning.facts, *before), name, channel)
        if expire_at > self._facts_expire():
            # What is told of the user must stop this token for as long as it can be shown.
            users = self._names.user_record(name.user)
            joins.append(Join(users, keep_until(expire_at), expire_at, self._now()))
        if device:
            joins.append(self._enlist(digest(namespace, device), name, expire_at))
        enlisted, answers = await self._enlisting(signal, Scope.SESSION, str(name), *joins)
        self._placed(event_key(signal), record)
        await self._learn(signal, record, fields, answers[0])
        for join in joins[1:]:
            self._view.learn(join.key, join.fields)
        self._rescorer.put(signal.kind, (name,), enlisted)
        return _accepted(signal, duplicate=not answers[0].joined)

    def _sightings(self, facts: tuple[Fact, ...], name: SessionName, channel: bytes) -> list[Join]:
        """Where a session was seen, its user was; and what that proved there is remembered.

        Travel is judged across sessions, and so is what a user has proven on a device.
        """
        found: list[Record] = []
        for fact in facts:
            if isinstance(fact, Sighted):
                seen = seen_in(fact, name.session)
                found.append(encode_seen(seen, moved=True))
            elif isinstance(fact, SignedIn):
                # Of an event counts only where it says that it was made: no state is needed.
                found.append(encode_proven(self._view.evaluator.proven_by(State(), fact)))
        return [
            Join(
                self._names.user_record(name.user),
                fields,
                self._facts_expire(),
                self._now(),
                publish=channel,
                want_record=False,
                confirm=True,
            )
            for fields in found
            if fields
        ]

    def _enlist(self, device: str, name: SessionName, expire_at: int) -> Join:
        index = Index(self._names.device_index(device), str(name).encode(), expire_at)
        record = self._names.device_record(device)
        until = self._facts_expire()
        fields: Record = {}
        if expire_at > until:
            fields, until = keep_until(expire_at), expire_at
        return Join(record, fields, until, self._now(), (index,), want_record=False, confirm=True)

    async def _one(self, join: Join) -> Joined:
        (joined,) = await self._store.join(join)
        return joined

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _facts_expire(self) -> int:
        return self._now() + int(self._settings().facts_ttl * 1000)

    def _session_expire(self, signal: Signal) -> int:
        """How long a session's record lives at least.

        What an event says may have to stop tokens for as long as they are refreshed; a session
        that is merely seen lives as long as it is in use.
        """
        if not isinstance(signal, SessionEstablished | SessionPresented):
            return self._facts_expire()
        told = signal.exp if isinstance(signal, SessionEstablished) else 0
        return max(told * 1000, self._now() + int(self._settings().min_ttl * 1000))


def _is_theirs(signal: Signal) -> bool:
    """Whether a session of this kind of event is that of the user who is named, whoever has it."""
    kinds = SessionEstablished | SessionRevoked | OperatorMark | OperatorClear
    return isinstance(signal, kinds)


def _fields_of(signal: Signal, facts: tuple[Fact, ...]) -> Record:
    """What an event brings to a record: its facts, and that its id has counted."""
    fields = encode_facts(facts)
    return {**fields, **encode_event(signal)}


def _accepted(signal: Signal, *, duplicate: bool = False) -> Accepted:
    key = event_key(signal) if signal.source else ""
    return Accepted(signal.stamp.id, duplicate=duplicate, key=key)
