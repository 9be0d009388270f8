"""The admission of events, between the doors and the write path: who says one, and may it.

    event of a source --> its share --> its id --> ruling (`sources.authority`) --> intake or spool

An event that passes here goes on as it was ruled, with its source's name in it, so that nobody
behind has to ask again: the spool, the work log and the dead letters keep it as it was taken.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import assert_never

from sidecar.domain.facts.facts import ComplianceReported, DeviceBound
from sidecar.domain.facts.signal import (
    DeviceComplianceChange,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
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
from sidecar.domain.sources.source import Source, Sources
from sidecar.domain.values.lattice import Record
from sidecar.service.intake.intake import OTHER_EVENT
from sidecar.service.intake.outcomes import CountedEvents, EventTaker
from sidecar.service.observations.observations import (
    EventNotAllowed,
    EventOutcome,
    Telemetry,
)
from sidecar.service.ports.calls import Accepted, Forbidden, Overloaded, Unavailable
from sidecar.service.records.reading import DeviceRecord, FactReader, LocatorRecord, SessionRecord
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.sources import Share, identity_claims, share_of, sources_of
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import digest, session_name
from sidecar.wire.store.records import bindings_in, decode_facts, owners_of

SOURCES_REMEMBERED = 1024
"""Sources whose use and ids are remembered; there are few, since a door names them."""


class Admission:
    """Takes events of authenticated sources, by the configuration as it now is.

    Raises `Forbidden` where a source may not say so, `InvalidSignal` where its event's id counts
    for another event already, and what `events` raises.
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
    ) -> None:
        self._events = CountedEvents(events, telemetry)
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
        now = self._clock()
        source = self.sources.of(signal.source)
        use = self._use_of(source.name)
        if not use.spend(now, overdraw=isinstance(signal, SessionRevoked)):
            self._events.count(signal, EventOutcome.OVERLOADED, "the source's rate is used up")
            raise Overloaded
        ruled = await self._ruled(signal, source, now)
        if not use.remember(ruled):
            detail = "id: counts for another event of this source"
            self._events.count(signal, EventOutcome.INVALID, detail)
            raise InvalidSignal("id", OTHER_EVENT)
        try:
            return await self._events.accept(ruled)
        except (Overloaded, Unavailable):
            use.forget(ruled)
            raise

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

    def spend(self, now: float, *, overdraw: bool) -> bool:
        """Take one event's worth; False where there is none. `overdraw`: it may go below."""
        share = self._share
        if now > self._at:
            if self._at:
                self._left = min(share.burst, self._left + (now - self._at) * share.rate)
            self._at = now
        if self._left < (1 - share.burst if overdraw else 1):
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
