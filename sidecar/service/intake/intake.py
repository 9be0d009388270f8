"""The write path: an event comes in, is durable, and is seen here before its sender hears of it.

    event -> meaning (facts, and whose) -> joined into one record -> view -> "ok"
                                                  |  and logged as work  '-> auditor: log, count,
                                                  |                          and strike it out
                                                  '-> news to all who serve the sessions

One round trip joins the event, however many sessions it touches: they are not written, since
their standing follows from the record that was. An event of a session concerns all who have a
session of that name, and waits where whoever comes to have it later will look. Where nobody here
knows who has it, finding that out costs one round trip more.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, assert_never

import msgspec
import trio

from sidecar.domain.facts.fact_kinds import Fact, Scope, Sighted, SignedIn, seen_in
from sidecar.domain.facts.from_signal import SignalFacts, facts_from
from sidecar.domain.facts.signal import (
    OperatorClear,
    OperatorMark,
    SessionEstablished,
    SessionRevoked,
    Signal,
    Subject,
)
from sidecar.domain.session.state import State
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.audit.auditor import Auditor, OpenWork
from sidecar.service.intake.attribution import Attribution
from sidecar.service.intake.outcomes import AcceptedOrNot, accept_each
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    LocatorRecord,
    SessionRecord,
    Subjects,
    UserRecord,
)
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.writes import Write, Written
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.entries import Identified, Moved, OwnedBy, Said, UsedIn
from sidecar.wire.store.event_keys import event_key
from sidecar.wire.store.keys import SessionName, digest, session_name
from sidecar.wire.store.records import counts_for_another, fanned_field, owners_of, sighted_in
from sidecar.wire.store.worklog import Work, enclose

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between the tries of a revocation for which the store's queue has no room."""

OTHER_EVENT = "has counted for another event of this source already"


class WorkLog(Protocol):
    """Remembers what is left to do for an event, until it is done."""

    async def add(self, work: Work, *writes: Write) -> tuple[OpenWork | None, list[Written]]:
        """Join, and enter the work, in one round trip; None where there is no room for it."""

    async def add_all(
        self, works: Sequence[tuple[Work, Sequence[Write]]]
    ) -> Sequence[tuple[OpenWork | None, list[Written]] | Unavailable]:
        """Do so for each, all in one round trip; each fails alone. Raises `Overloaded`."""


class Located(NamedTuple):
    """The owners of a session's name, and its records from before anybody knew them.

    `waits`: the event in the session's locator, where it waits for whoever comes to have the
    session later, and what became of that; None: it is of the users alone.
    """

    users: tuple[str, ...]
    before: tuple[Fact, ...] = ()
    waits: tuple[Write, Written] | None = None


class _OfRecord(msgspec.Struct, frozen=True, gc=False):
    """An event of a user or a device: what it brings to their record."""

    signal: Signal
    work: Work
    of: UserRecord | DeviceRecord
    own: Write

    @property
    def writes(self) -> list[Write]:
        """The join to write."""
        return [self.own]


class _OfKnownSession(msgspec.Struct, frozen=True, gc=False):
    """An event of a session that the view has: what it brings to the records of the session.

    `own` is that to its own record, `waits` that to its locator, where it waits for others who come
    to have a session of that name.
    """

    signal: Signal
    work: Work
    meaning: SignalFacts
    user: str
    name: SessionName
    own: Write
    others: list[Write]
    waits: Write

    @property
    def writes(self) -> list[Write]:
        """The join to write."""
        return [self.own, *self.others, self.waits]


_Prepared: TypeAlias = _OfRecord | _OfKnownSession
_Entered: TypeAlias = tuple[OpenWork | None, list[Written]]


class Intake:
    """Takes events.

    Raises `Unavailable` where the store cannot keep them, or `lacks` names rights without which
    nobody would hear of them; `Overloaded` where too much waits for it: then nothing is
    acknowledged.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        records: FactRecords,
        view: View,
        auditor: Auditor,
        fan_out: Callable[[str, bytes], Awaitable[None]],
        worklog: WorkLog,
        place_of: Callable[[str], Place],
        placed: Callable[[str, bytes], None] = lambda _event, _key: None,
        namespaces: Callable[[], Namespaces] = Namespaces,
        sources: Callable[[], Sources] = Sources,
        lacks: Callable[[], str] = str,
    ) -> None:
        self._lacks = lacks
        self._attribution = Attribution(
            records=records,
            view=view,
            namespaces=namespaces,
            sources=sources,
        )
        self._records = records
        self._view = view
        self._auditor = auditor
        self._fan_out = fan_out
        self._worklog = worklog
        self._place_of = place_of
        self._placed = placed

    async def accept(self, signal: Signal) -> Accepted:
        """Make an event durable and see to it that it takes effect.

        Raises `InvalidSignal` where nobody knows whom it concerns.

        A revocation is the last to be refused: where too much waits for the store, it does, too.
        """
        for pause in PAUSES if isinstance(signal, SessionRevoked) else ():
            try:
                return await self._take_all(signal)
            except Overloaded:
                await trio.sleep(pause)
        return await self._take_all(signal)

    async def accept_all(self, signals: Sequence[Signal]) -> list[AcceptedOrNot]:
        """Take several events; each fails alone.

        Those that are one round trip each share one: of a user, of a device, of a session that the
        view has. The others are taken by themselves meanwhile, as by `accept`.
        """
        outcomes: list[AcceptedOrNot] = [Unavailable("it was not taken")] * len(signals)
        prepared: list[tuple[int, _Prepared]] = []
        alone: list[int] = []
        for place, signal in enumerate(signals):
            try:
                ready = self._prepare(signal)
            except Exception as error:  # noqa: BLE001 - it is that event's outcome
                outcomes[place] = error
            else:
                if ready is None:
                    alone.append(place)
                else:
                    prepared.append((place, ready))

        async def take(places: Sequence[int]) -> None:
            taken = await accept_each(self.accept, [signals[place] for place in places])
            for place, outcome in zip(places, taken, strict=True):
                outcomes[place] = outcome

        async with trio.open_nursery() as nursery:
            if alone:
                nursery.start_soon(take, alone)
            if prepared and not await self._take_prepared(prepared, outcomes):
                nursery.start_soon(take, [place for place, _ in prepared])
        return outcomes

    def _prepare(self, signal: Signal) -> _Prepared | None:
        """Prepare an event that is one round trip, as far as is known here; None: it may be more.

        Raises as `accept` does.
        """
        lacks = self._lacks()
        if lacks:
            raise Unavailable(lacks)
        one = None if isinstance(signal, SessionRevoked) else self._attribution.alone(signal)
        if one is None:
            return None  # it waits where too much does, or may mean names of several issuers
        meaning = facts_from(one, self._place_of)
        match meaning.scope:
            case Scope.USER:
                return self._of_record(one, meaning.facts, _user(one.subject))
            case Scope.DEVICE:
                return self._of_record(one, meaning.facts, _device(one.subject))
            case Scope.SESSION:
                here = self._lives_here(one.subject)
                if len(here) != 1 or one.subject.user:
                    return None
                _refuse_known(here, one)
                return self._of_live(one, meaning, here[0])
            case _:
                assert_never(meaning.scope)

    async def _take_prepared(
        self, prepared: Sequence[tuple[int, _Prepared]], outcomes: list[AcceptedOrNot]
    ) -> bool:
        """Join all of them in one round trip; False where there is no room for so many at once."""
        try:
            entered = await self._worklog.add_all([(one.work, one.writes) for _, one in prepared])
        except Overloaded:
            return False
        except Unavailable as error:
            entered = [error] * len(prepared)

        async def finish(place: int, one: _Prepared, entry: _Entered) -> None:
            try:
                outcomes[place] = await self._finish(one, entry)
            except Exception as error:  # noqa: BLE001 - it is that event's outcome
                outcomes[place] = error

        asks: list[tuple[int, _Prepared, _Entered]] = []
        for (place, one), entry in zip(prepared, entered, strict=True):
            if isinstance(entry, Unavailable):
                outcomes[place] = entry
            elif _is_plain(entry):
                await finish(place, one, entry)
            else:
                asks.append((place, one, entry))
        async with trio.open_nursery() as nursery:
            for more in asks:
                nursery.start_soon(finish, *more)
        return True

    async def _finish(self, one: _Prepared, entered: _Entered) -> Accepted:
        match one:
            case _OfRecord():
                return await self._record_joined(one, entered)
            case _OfKnownSession():
                return await self._known_session_joined(one, entered)
            case _:
                assert_never(one)

    async def _take_all(self, signal: Signal) -> Accepted:
        lacks = self._lacks()
        if lacks:  # it might be written, and nobody would hear of it
            raise Unavailable(lacks)
        taken = [await self._take(one) for one in await self._attribution.of(signal)]
        return _accepted(signal, duplicate=all(one.duplicate for one in taken))

    def namespaces_of(self, signal: Signal) -> tuple[str, ...]:
        """Return whose names an event may mean. Raises `InvalidSignal` where there are none."""
        return self._attribution.candidates(signal)

    def attributed(self, signal: Signal) -> tuple[Signal, ...]:
        """Return the event, once for each issuer whose names it is known to mean, else as it is.

        So it means these still where it is taken later, whatever its source may speak for by then.
        Raises `InvalidSignal` where no configured issuer's names can be meant.
        """
        return self._attribution.beforehand(signal)

    async def _take(self, signal: Signal) -> Accepted:
        """Take an event that says whose names it means."""
        meaning = facts_from(signal, self._place_of)
        match meaning.scope:
            case Scope.USER:
                return await self._join(signal, meaning.facts, _user(signal.subject))
            case Scope.DEVICE:
                return await self._join(signal, meaning.facts, _device(signal.subject))
            case Scope.SESSION:
                here = self._lives_here(signal.subject)
                _refuse_known(here, signal)
                if len(here) == 1 and not signal.subject.user:
                    return await self._of_known_session(signal, meaning, here[0])
                located = await self._located(signal, meaning)
                return await self._of_sessions(signal, meaning, located)
            case _:
                assert_never(meaning.scope)

    def learn_locally(self, signal: Signal) -> list[Write]:
        """Have an event take effect in this sidecar's view alone, until the store can take it.

        Return what it brings to which records. If nobody here knows whose a session is, that is
        where the session will look.
        """
        writes = [each for one in self._attribution.here(signal) for each in self._locally(one)]
        self._view.learn(*writes)
        return writes

    def _locally(self, signal: Signal) -> list[Write]:
        meaning = facts_from(signal, self._place_of)
        match meaning.scope:
            case Scope.USER:
                return [self._records.write(meaning.facts, of=_user(signal.subject))]
            case Scope.DEVICE:
                return [self._records.write(meaning.facts, of=_device(signal.subject))]
            case Scope.SESSION:
                return self._locally_of_session(signal, meaning)
            case _:
                assert_never(meaning.scope)

    def _locally_of_session(self, signal: Signal, meaning: SignalFacts) -> list[Write]:
        subject = signal.subject
        writes: list[Write] = []
        users = self._users_here(subject)
        if subject.user and (_is_theirs(signal) or subject.user in users):
            users = (subject.user,)
        else:
            writes.append(self._records.write(meaning.facts, of=_locator(subject)))
        for user in users:
            name = session_name(subject.issuer, user, subject.session)
            writes.append(self._records.write(meaning.facts, of=SessionRecord(name)))
            writes += self._seen_of(meaning.facts, name)
        return writes

    def _users_here(self, subject: Subject) -> tuple[str, ...]:
        """Return who has a session of this name in the view."""
        return tuple(live.user for live in self._lives_here(subject))

    def _lives_here(self, subject: Subject) -> tuple[Live, ...]:
        return self._view.find_session(subject.session, (subject.issuer,))

    async def _join(
        self, signal: Signal, facts: tuple[Fact, ...], of: UserRecord | DeviceRecord
    ) -> Accepted:
        ready = self._of_record(signal, facts, of)
        return await self._record_joined(ready, await self._worklog.add(ready.work, ready.own))

    def _of_record(
        self, signal: Signal, facts: tuple[Fact, ...], of: UserRecord | DeviceRecord
    ) -> _OfRecord:
        write = self._records.write(facts, of=of, event=signal)
        scope, (digested,) = Scope.DEVICE if isinstance(of, DeviceRecord) else Scope.USER, of
        work = Work(signal.kind, signal.stamp.id, scope, digested, enclose(signal))
        return _OfRecord(signal, work, of, write)

    async def _record_joined(self, one: _OfRecord, entered: _Entered) -> Accepted:
        signal, of, write = one.signal, one.of, one.own
        entry, (answer,) = entered
        self._placed(event_key(signal), write.key)
        has_fanned_out = await self._learn(signal, write, of, answer)
        names = answer.sessions
        if names is None and not has_fanned_out:
            # Who joined it may have died before this; it was not acknowledged, and comes again.
            await self._fan_out(signal.kind, self._records.index(of))
            await self._records.join(self._records.note_fanned_out(signal, of))
        # A duplicate's sessions, too: whoever took it first may have died before it was entered.
        if names:
            self._auditor.put(signal.kind, names, entry)
        elif entry is not None:
            entry.done()  # there is nothing to log, or the backlog has it
        return _accepted(signal, duplicate=not answer.joined)

    async def _learn(
        self, signal: Signal, write: Write, of: Subjects, answer: Written, *others: Write
    ) -> bool:
        """Have the view know an event, and what `others` it brings, before it is acknowledged.

        Return whether its sessions are in the backlog already. An event that had counted before
        may have been joined elsewhere a moment ago, and its news be under way. Raises
        `InvalidSignal` where its id has counted for another event.
        """
        if answer.joined:
            self._view.learn(write, *others)
            return False
        (record,) = await self._records.load(of)
        _refuse_used_id(record, signal)
        self._view.hear(write.key, record)
        self._view.learn(*others)
        return fanned_field(event_key(signal)) in record

    async def _located(self, signal: Signal, meaning: SignalFacts) -> Located:
        """Return who has the session. What concerns all of them waits for others there, too.

        A user who is named along with a session narrows it down to that user's, where the session
        is known to be that user's; of a revocation all that is named must match.
        """
        subject, locator = signal.subject, _locator(signal.subject)
        until = self._records.life_of(signal)
        if subject.user and isinstance(signal, SessionEstablished):
            owner = OwnedBy(subject.user, shown=False)
            write = self._records.write((owner,), of=locator, until=until)
            (answer,) = await self._records.join(write)
            self._view.hear(write.key, answer.record)
            return Located((subject.user,), tuple(sighted_in(answer.record)))
        if subject.user and await self._is_narrowed(signal, locator):
            return Located((subject.user,))
        write = self._records.write(meaning.facts, of=locator, event=signal, until=until)
        (answer,) = await self._records.join(write)
        if not answer.joined:
            _refuse_used_id(answer.record, signal)
        self._placed(event_key(signal), write.key)
        users = (*(one.user for one in owners_of(answer.record)), *self._users_here(subject))
        return Located(tuple(dict.fromkeys(users)), waits=(write, answer))

    async def _is_narrowed(self, signal: Signal, locator: LocatorRecord) -> bool:
        """Return whether the user named along with a session is the only one who is meant."""
        subject = signal.subject
        if _is_theirs(signal) or subject.user in self._users_here(subject):
            return True
        (record,) = await self._records.load(locator)
        return any(one.user == subject.user for one in owners_of(record))

    async def _of_sessions(
        self, signal: Signal, meaning: SignalFacts, located: Located
    ) -> Accepted:
        """Take an event for each of its owners; what has already been taken is among `located`."""
        taken = [await self._of_session(signal, meaning, user, located) for user in located.users]
        if located.waits is not None:
            write, answer = located.waits
            self._view.hear(write.key, answer.record)
            taken.append(_accepted(signal, duplicate=not answer.joined))
        return _accepted(signal, duplicate=all(one.duplicate for one in taken))

    async def _of_known_session(self, signal: Signal, meaning: SignalFacts, live: Live) -> Accepted:
        """Take an event of a session that one user has, as far as is known here.

        Whether others have one of this name shows in the answer to the same round trip.
        """
        ready = self._of_live(signal, meaning, live)
        entered = await self._worklog.add(ready.work, *ready.writes)
        return await self._known_session_joined(ready, entered)

    def _of_live(self, signal: Signal, meaning: SignalFacts, live: Live) -> _OfKnownSession:
        """Return what an event brings to the records of a session that the view has."""
        user, locator = live.user, _locator(signal.subject)
        until = self._records.life_of(signal)
        waits = self._records.write(
            meaning.facts, of=locator, event=signal, until=until, owners_alone=True
        )
        name, own, others = self._writes_of(signal, meaning, user)
        work = Work(signal.kind, signal.stamp.id, Scope.SESSION, str(name), enclose(signal))
        return _OfKnownSession(signal, work, meaning, user, name, own, others, waits)

    async def _known_session_joined(self, one: _OfKnownSession, entered: _Entered) -> Accepted:
        signal, own, waits, name = one.signal, one.own, one.waits, one.name
        entry, answers = entered
        located, event = answers[-1], event_key(signal)
        self._placed(event, own.key)
        self._placed(event, waits.key)
        if located.joined:
            learned = [*one.others, waits]
        else:
            locator = _locator(signal.subject)
            (record,) = await self._records.load(locator)  # the answer gave the owners alone
            _refuse_used_id(record, signal)
            self._view.hear(waits.key, record)
            learned = one.others
        await self._learn(signal, own, SessionRecord(name), answers[0], *learned)
        self._auditor.put(signal.kind, (name,), entry)
        owners = (owner.user for owner in owners_of(located.record) if owner.user != one.user)
        rest = await self._of_sessions(
            signal, one.meaning, Located(tuple(owners), waits=(waits, located))
        )
        return _accepted(signal, duplicate=rest.duplicate and not answers[0].joined)

    async def _of_session(
        self, signal: Signal, meaning: SignalFacts, user: str, located: Located
    ) -> Accepted:
        name, own, others = self._writes_of(signal, meaning, user, located.before)
        entry, answers = await self._enter(signal, name, own, *others)
        if located.waits is not None and located.waits[1].joined:
            others.append(located.waits[0])  # learned with the rest: each session is folded once
        await self._learn(signal, own, SessionRecord(name), answers[0], *others)
        self._auditor.put(signal.kind, (name,), entry)
        return _accepted(signal, duplicate=not answers[0].joined)

    async def _enter(
        self, signal: Signal, name: SessionName, own: Write, *others: Write
    ) -> tuple[OpenWork | None, list[Written]]:
        """Join what an event says of a session, and enter it in the work log."""
        work = Work(signal.kind, signal.stamp.id, Scope.SESSION, str(name), enclose(signal))
        entered = await self._worklog.add(work, own, *others)
        self._placed(event_key(signal), own.key)
        return entered

    def _writes_of(
        self, signal: Signal, meaning: SignalFacts, user: str, before: tuple[Fact, ...] = ()
    ) -> tuple[SessionName, Write, list[Write]]:
        """Return a session's name, what its record is to hold of an event, and what others are.

        `before`: what is known of the session from before anybody knew whose it is.
        """
        session, namespace = signal.subject.session, signal.subject.issuer
        name = session_name(namespace, user, session)
        of, until = SessionRecord(name), self._records.life_of(signal)
        # Of a revocation the device is a condition, and binds no session to it.
        device = "" if isinstance(signal, SessionRevoked) else signal.subject.device
        said: list[Said] = [*meaning.facts, Identified(namespace, user, session, device)]
        if isinstance(signal, SessionEstablished) and signal.app:
            said.append(UsedIn(signal.app))
        own = self._records.write(said, of=of, event=signal, until=until)
        others = self._seen_of((*meaning.facts, *before), name)
        others += self._records.keep(UserRecord(name.user), until)
        if device:
            on = DeviceRecord(digest(namespace, device))
            others.append(self._records.list_session(name, on, until))
        return name, own, others

    def _seen_of(self, facts: tuple[Fact, ...], name: SessionName) -> list[Write]:
        """Say of the user where a session was seen, and what that proved there.

        Travel is judged across sessions, and so is what a user has proven on a device.
        """
        said: list[Said] = []
        for fact in facts:
            if isinstance(fact, Sighted):
                said.append(Moved(seen_in(fact, name.session)))
            elif isinstance(fact, SignedIn):
                # Of an event counts only where it says that it was made: no state is needed.
                said += self._view.evaluator.proven_by(State(), fact)
        return [self._records.write(said, of=UserRecord(name.user))] if said else []


def _is_plain(entered: _Entered) -> bool:
    """Return whether nothing has to be asked about an event any more, whose answers these are."""
    answers = entered[1]
    known = all(one.joined and one.sessions is not None for one in answers)
    return known and len(answers[-1].record) <= 1  # of a session's locator: its owners


def _user(subject: Subject) -> UserRecord:
    return UserRecord(digest(subject.issuer, subject.user))


def _device(subject: Subject) -> DeviceRecord:
    return DeviceRecord(digest(subject.issuer, subject.device))


def _locator(subject: Subject) -> LocatorRecord:
    """Return the record that says whose a session is."""
    return LocatorRecord(digest(subject.issuer, subject.session))


def _is_theirs(signal: Signal) -> bool:
    """Return whether this kind of event means the named user's session, whoever else has one."""
    kinds = SessionEstablished | SessionRevoked | OperatorMark | OperatorClear
    return isinstance(signal, kinds)


def _refuse_used_id(record: Record, signal: Signal) -> None:
    """Raise `InvalidSignal` where an event's id has counted in a record for another event."""
    if counts_for_another(record, signal):
        raise InvalidSignal("id", OTHER_EVENT)


def _refuse_known(here: Iterable[Live], signal: Signal) -> None:
    """Raise `InvalidSignal` where an event's id is known to count for another event of a session.

    It goes into several records, some of them at once: so it is refused before, as far as it is
    known here, from the reading of these and from their news.
    """
    for live in here:
        for tracked in (live.own, live.locator):
            _refuse_used_id(tracked.record, signal)


def _accepted(signal: Signal, *, duplicate: bool = False) -> Accepted:
    key = event_key(signal) if signal.source else ""
    return Accepted(signal.stamp.id, duplicate=duplicate, key=key)
