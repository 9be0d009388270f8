"""The intake listener, wired: the keys of providers, their logouts, and sources' events."""

from collections.abc import Callable
from functools import partial

import msgspec
import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import DurableEvents, EventIntake, FleetAcknowledgements
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.intake.signed_requests import RequestVerifier
from sidecar.adapters.process.workers import Workers
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.adapters.tokens.keys import KeySource, Refresh
from sidecar.daemon.trust import Trust
from sidecar.service.intake.ended_users import KnownUsers, RequestIds
from sidecar.service.observations.observations import (
    EventOutcome,
    EventTaken,
    KeysOutcome,
    KeysRefreshed,
    WorkerFailed,
)
from sidecar.service.ports.store import Store
from sidecar.service.records.fact_reader import FactReader
from sidecar.service.records.fleet import FleetRecords
from sidecar.service.view.view import View
from sidecar.wire.events.socket_lines import Refusal
from sidecar.wire.settings.intake import IntakeIssuer
from sidecar.wire.settings.settings import Http, HttpEvents, Issuer, Settings, Tokens
from sidecar.wire.store.keys import StoreKeys


class Outside:
    """All that a daemon needs to take what others than its pod say, by its settings."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        started: Settings,
        *,
        events: DurableEvents,
        acknowledger: FleetAcknowledgements,
        speakers: Speakers,
        trust: Trust,
        store: Store,
        view: View,
        names: StoreKeys,
        telemetry: PrometheusTelemetry,
        new_id: Callable[[], str],
        current: Callable[[], Settings],
    ) -> None:
        self._intake = started.intake
        self._current = current
        self._telemetry = telemetry
        self._trust = trust
        self._keys: dict[str, KeySource] = {}
        self._workers = Workers()
        self._taking = EventIntake(events, acknowledger, self._crashed)
        fleet = FleetRecords(store, names, clock.now)
        self._ids = RequestIds(records=fleet, life=self._longest)
        self._users = KnownUsers(records=FactReader(store, names, clock.now), view=view)
        http = self._http()
        self._events = EventDoor(
            events,
            acknowledger,
            settings=http,
            speakers=speakers,
            foreign=ForeignCalls(http, any_host=True),
            clock=clock.now,
            skew=lambda: current().sessions.event_skew,
            new_id=new_id,
            on_crash=self._crashed,
            on_invalid=self._invalid,
        )
        self.replace()

    def _http(self) -> Http:
        """Return how events are read here: as the data listener does that, and always."""
        return msgspec.structs.replace(self._current().http, events=HttpEvents.ON)

    def replace(self) -> None:
        """Ask those for their keys who are issuers now and are not believed in `tokens`."""
        http = self._http()
        self._events.replace(http, ForeignCalls(http, any_host=True))
        settings, before = self._current(), self._keys
        believed = {one.issuer for one in settings.tokens.issuers}
        self._keys = {
            one.issuer: self._keys_as(before.get(one.issuer), one, settings.tokens)
            for one in settings.intake.issuers
            if one.issuer not in believed
        }
        if self._intake.bind:
            self._workers.keep(self._keys.values())

    def _longest(self) -> float:
        """Return for how long a request that somebody has signed may be shown again."""
        issuers = self._current().intake.issuers
        return max((one.max_age + 2 * one.skew for one in issuers), default=0.0)

    def _keys_of(self, issuer: str) -> KeySource | None:
        return self._keys.get(issuer) or self._trust.keys_of(issuer)

    async def open(
        self, work: trio.Nursery, doors: trio.Nursery, draining: trio.Event
    ) -> tuple[str, ...]:
        """Open the door, if there is one; raises OSError. Keys that cannot be had hold up none."""
        intake = self._intake
        if not intake.bind:
            return ()
        from sidecar.adapters.intake.listener import IntakeApp, intake_listener  # noqa: PLC0415 - only where it listens
        from sidecar.adapters.intake.logout import LogoutDoor  # noqa: PLC0415 - only where it listens

        self._workers.begin(work)
        logouts = LogoutDoor(
            verifier=RequestVerifier(lambda: self._current().intake.issuers, self._keys_of),
            events=self._taking,
            ids=self._ids,
            users=self._users,
            settings=self._current,
            clock=clock.now,
            telemetry=self._telemetry,
        )
        app = IntakeApp(intake, events=self._events, logouts=logouts, telemetry=self._telemetry)
        listener = intake_listener(intake, app, self._telemetry)
        bound: list[str] = await doors.start(partial(listener.run, draining=draining))
        return tuple(bound)

    def _keys_as(self, before: KeySource | None, issuer: IntakeIssuer, tokens: Tokens) -> KeySource:
        """Return where its keys are had from: as before, if that is the same place."""
        described = Issuer(
            issuer=issuer.issuer,
            audiences=(*issuer.clients, *issuer.endpoints),
            jwks_uri=issuer.jwks_uri,
            jwks_file=issuer.jwks_file,
            algorithms=issuer.algorithms,
        )
        if before is None or _place(before.issuer) != _place(described):
            return KeySource(described, tokens, on_refresh=self._refreshed)
        before.configure(described, tokens)
        return before

    def _refreshed(self, name: str, outcome: Refresh, detail: str) -> None:
        self._telemetry.record(
            KeysRefreshed(issuer=name, outcome=KeysOutcome(outcome), detail=detail)
        )

    def _crashed(self, error: Exception) -> None:
        self._telemetry.record(WorkerFailed(where="intake", error=error))

    def _invalid(self, refusal: Refusal) -> None:
        detail = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
        self._telemetry.record(EventTaken(type="", outcome=EventOutcome.INVALID, detail=detail))


def _place(issuer: Issuer) -> tuple[str, str]:
    """Return where its keys come from."""
    return issuer.jwks_uri, issuer.jwks_file
