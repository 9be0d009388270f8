"""The admission of events, between the doors and the write path: who says one, and may it.

    event of a source --> is there room --> ruling (`sources.authority`) --> its id --> intake

Where there are too many events, those go first that are needed least (`sources.shedding`): of its
source's rate, of the queue before the store, and of what waits to be logged each may fill a part.

An event that passes here goes on as it was ruled, with its source's name in it, so that nobody
behind has to ask again: the spool, the work log and the dead letters keep it as it was taken.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, assert_never

import trio

from sidecar.domain.facts.fact_kinds import ComplianceReported, DeviceBound
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    SessionEstablished,
    SessionPresented,
    Signal,
)
from sidecar.domain.sources.authority import (
    NOTHING_KNOWN,
    CountsAsSaid,
    KnownSubject,
    NotAllowed,
    OwnWordOnly,
    depends_on_what_is_known,
    rule,
)
from sidecar.domain.sources.shedding import Bottleneck, Need, may_fill, need_of, refusal, sheds
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.lattice import Record
from sidecar.service.intake.intake import OTHER_EVENT
from sidecar.service.intake.outcomes import AcceptedOrNot, CountedEvents, EventTaker
from sidecar.service.intake.spool_fallback import SpoolFull
from sidecar.service.observations.observations import (
    EventNotAllowed,
    EventOutcome,
    EventShed,
    Telemetry,
)
from sidecar.service.ports.calls import Accepted, Forbidden, Overloaded, Unavailable
from sidecar.service.records.fact_reader import (
    DeviceRecord,
    FactReader,
    LocatorRecord,
    SessionRecord,
)
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.sources import Share, identity_claims, share_of, sources_of
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import digest, session_name
from sidecar.wire.store.records import bindings_in, decode_facts, owners_of

SOURCES_REMEMBERED = 1024
"""Sources whose use and ids are remembered; there are few, since a door names them."""


class Crowding(NamedTuple):
    """The parts of their bounds that what waits for the store, and to be logged, has filled."""

    store: float = 0.0
    logging: float = 0.0


class Admission:
    """Takes events of authenticated sources, by the configuration as it now is.

    `crowding` says how full it is now. Raises `Overloaded` where an event is shed, `Forbidden`
    where a source may not say so, `InvalidSignal` where its event's id counts for another event
    already, and what `events` raises.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        events: EventTaker,
        view: View,
        records: FactReader,
        namespaces_of: Callable[[Signal], tuple[str, ...]],
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        telemetry: Telemetry,
        crowding: Callable[[], Crowding] = Crowding,
    ) -> None:
        self._events = CountedEvents(events, telemetry)
        self._crowding = crowding
        self._records = _SubjectRecords(view, records, namespaces_of)
        self._settings = settings
        self._clock = clock
        self._telemetry = telemetry
        self._read: Settings | None = None
        self._use: OrderedDict[str, _Use] = OrderedDict()

    @property
    def sources(self) -> Sources:
        """All sources, as they are configured now."""
        self._refresh()
        return self._sources

    def _refresh(self) -> None:
        settings = self._settings()
        if settings is not self._read:
            self._read = settings
            self._sources = sources_of(settings)
            self._identity = identity_claims(settings)
            self._use.clear()

    async def accept(self, signal: Signal) -> Accepted:
        """Rule on an event, and have it taken if it may be."""
        ruled, use = await self._admit(signal)
        try:
            return await self._events.accept(ruled)
        except (Overloaded, Unavailable) as error:
            self._not_taken(ruled, use, error)
            raise

    async def accept_all(self, signals: Sequence[Signal]) -> list[AcceptedOrNot]:
        """Rule on each event, and have those taken together that may be; each fails alone.

        Where a ruling depends on what is known, others need not wait for it: such are taken alone.
        """
        asks = [depends_on_what_is_known(one, self.sources.of(one.source)) for one in signals]
        outcomes: list[AcceptedOrNot] = [Unavailable("it was not taken")] * len(signals)

        async def take(places: Sequence[int]) -> None:
            admitted: list[tuple[int, Signal, _Use]] = []
            for place in places:
                try:
                    admitted.append((place, *await self._admit(signals[place])))
                except Exception as error:  # noqa: BLE001 - it is that event's outcome
                    outcomes[place] = error
            taken = await self._events.accept_all([ruled for _, ruled, _ in admitted])
            for (place, ruled, use), outcome in zip(admitted, taken, strict=True):
                outcomes[place] = outcome
                if isinstance(outcome, Overloaded | Unavailable):
                    self._not_taken(ruled, use, outcome)

        together = [place for place, asked in enumerate(asks) if not asked]
        if len(together) == len(signals):
            await take(together)
            return outcomes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, together)
            for place, asked in enumerate(asks):
                if asked:
                    nursery.start_soon(take, [place])
        return outcomes

    async def _admit(self, signal: Signal) -> "tuple[Signal, _Use]":
        """Return an event as it was ruled, and its source's use, of which it has its share."""
        now = self._clock()
        source = self.sources.of(signal.source)
        use = self._use_of(source.name)
        need = use.need_of(signal)
        bottleneck = self._bottleneck(need, use, now)
        if bottleneck is not None:
            words = refusal(need, bottleneck)
            self._note_shed(signal, need, bottleneck)
            self._events.count(signal, EventOutcome.OVERLOADED, words)
            raise Overloaded(words=words)
        ruled = await self._ruled(signal, source, now)
        if not use.remember(ruled):
            detail = "id: counts for another event of this source"
            self._events.count(signal, EventOutcome.INVALID, detail)
            raise InvalidSignal("id", OTHER_EVENT)
        return ruled, use

    def _bottleneck(self, need: Need, use: "_Use", now: float) -> Bottleneck | None:
        """Return what has no room for an event that is needed so much; else have it spend."""
        crowding = self._crowding()
        if sheds(need, Bottleneck.STORE, crowding.store):
            return Bottleneck.STORE
        if sheds(need, Bottleneck.LOGGING, crowding.logging):
            return Bottleneck.LOGGING
        return None if use.spend(now, need) else Bottleneck.RATE

    def _note_shed(self, signal: Signal, need: Need, bottleneck: Bottleneck) -> None:
        self._telemetry.record(EventShed(type=signal.kind, needed=need, of=bottleneck))

    def _not_taken(self, signal: Signal, use: "_Use", error: Overloaded | Unavailable) -> None:
        """Have an event that was not taken count for nothing, and count one that was shed."""
        use.forget(signal)
        if isinstance(error, Overloaded):
            of = Bottleneck.SPOOL if isinstance(error, SpoolFull) else Bottleneck.STORE
            self._note_shed(signal, need_of(signal), of)

    def _use_of(self, name: str) -> "_Use":
        use = self._use.get(name)
        if use is None:
            settings = self._settings()
            use = self._use[name] = _Use(share_of(settings, name), settings.limits.ids)
            if len(self._use) > SOURCES_REMEMBERED:
                self._use.popitem(last=False)
        return use

    async def _ruled(self, signal: Signal, source: Source, now: float) -> Signal:
        known = NOTHING_KNOWN
        if depends_on_what_is_known(signal, source):
            known = await self._records.known_of(signal)
        ruling = rule(signal, source, now, known, self._identity)
        match ruling:
            case CountsAsSaid(ruled) | OwnWordOnly(ruled, _):
                return ruled
            case NotAllowed(key, field, message):
                self._telemetry.record(
                    EventNotAllowed(source=source.name, type=signal.kind, key=key, detail=message)
                )
                self._events.count(signal, EventOutcome.NOT_ALLOWED, message)
                raise Forbidden(key, field, message)
            case _:
                assert_never(ruling)


class _Use:
    """The use that a source has made of its limits: a bucket of events, and ids that counted."""

    __slots__ = ("_at", "_bound", "_ids", "_left", "_share")

    def __init__(self, share: Share, bound: int) -> None:
        self._share = share
        self._bound = bound
        self._left = float(share.burst)
        self._at = 0.0
        self._ids: OrderedDict[str, str] = OrderedDict()

    def need_of(self, signal: Signal) -> Need:
        """Return how much an event is needed: one that was taken before is needed least."""
        need = need_of(signal)
        if need is Need.REVOCATION or not signal.content:
            return need
        return Need.REPEAT if self._ids.get(signal.stamp.id) == signal.content else need

    def spend(self, now: float, need: Need) -> bool:
        """Take one event's worth; False where what is left is kept for those needed more.

        A revocation may go below nothing, by as much as all others have.
        """
        share = self._share
        if now > self._at:
            if self._at:
                self._left = min(share.burst, self._left + (now - self._at) * share.rate)
            self._at = now
        kept = int(share.burst * (1 - may_fill(need, Bottleneck.RATE)))
        least = 1 - share.burst if need is Need.REVOCATION else 1 + kept
        if self._left < least:
            return False
        self._left -= 1
        return True

    def remember(self, signal: Signal) -> bool:
        """Note that an event's id counts for what it says; False where it counts for another."""
        if not signal.content:
            return True
        known = self._ids.setdefault(signal.stamp.id, signal.content)
        self._ids.move_to_end(signal.stamp.id)
        if len(self._ids) > self._bound:
            self._ids.popitem(last=False)
        return known == signal.content

    def forget(self, signal: Signal) -> None:
        """Undo `remember`: the event was not taken."""
        self._ids.pop(signal.stamp.id, None)


class _SubjectRecords:
    """The records of an event's subject, where a ruling depends on them."""

    def __init__(
        self,
        view: View,
        records: FactReader,
        namespaces_of: Callable[[Signal], tuple[str, ...]],
    ) -> None:
        self._view = view
        self._stored = records
        self._namespaces_of = namespaces_of

    async def known_of(self, signal: Signal) -> KnownSubject:
        """Return what is known. Raises `Unavailable` and `Overloaded` where that is not to be had.

        It is never guessed: what cannot be read now might be what the event would take back.
        """
        match signal:
            case DeviceComplianceChange():
                return KnownSubject(own_compliance=await self._has_said(signal))
            case SessionEstablished() | SessionPresented():
                return await self._of_session(signal)
            case _:
                return NOTHING_KNOWN

    async def _has_said(self, signal: DeviceComplianceChange) -> bool:
        device = signal.subject.device
        namespaces = self._namespaces_of(signal)
        records = await self._stored.load(
            *(DeviceRecord(digest(namespace, device)) for namespace in namespaces)
        )
        return any(
            isinstance(fact, ComplianceReported) and fact.source == signal.source
            for record in records
            for fact in decode_facts(record)[0]
        )

    async def _of_session(self, signal: SessionEstablished | SessionPresented) -> KnownSubject:
        """Return what the view knows of the sessions of this name, else what the store does."""
        session, namespaces = signal.subject.session, self._namespaces_of(signal)
        lives = self._view.find_session(session, namespaces)
        if lives:
            # One whose token nobody has shown here says nothing of when the others' end.
            ends = [end for live in lives if (end := _end_of(live))]
            records = [live.own.record for live in lives]
            return KnownSubject(
                devices=_devices(records, signal.source), expires_at=min(ends, default=0.0)
            )
        located = await self._stored.load(
            *(LocatorRecord(digest(namespace, session)) for namespace in namespaces)
        )
        names = [
            session_name(namespace, owner.user, session)
            for namespace, one in zip(namespaces, located, strict=True)
            for owner in owners_of(one)
        ]
        records = [*located, *await self._stored.load(*map(SessionRecord, names))]
        return KnownSubject(devices=_devices(records, signal.source))


def _end_of(live: Live) -> float:
    """Return when the newest token of a session ends; 0: none has been seen here."""
    return float(getattr(live.token, "expires_at", 0.0))


def _devices(records: Iterable[Record], source: str) -> frozenset[str]:
    """Return the device that each other source last said each session is on."""
    devices: set[str] = set()
    for record in records:
        latest: dict[str, DeviceBound] = {}
        for fact in bindings_in(record):
            if fact.source != source:
                before = latest.get(fact.source)
                if before is None or before.stamp < fact.stamp:
                    latest[fact.source] = fact
        devices.update(fact.device for fact in latest.values())
    return frozenset(devices)
