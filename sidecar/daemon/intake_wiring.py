"""The intake listener, wired: the keys of providers, their logouts, and sources' events."""

from collections.abc import Callable
from functools import partial

import msgspec
import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import EventIntake, Events, Settling
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.intake.listener import IntakeApp, intake_listener
from sidecar.adapters.intake.logout import LogoutDoor
from sidecar.adapters.intake.signed_requests import RequestVerifier
from sidecar.adapters.telemetry.telemetry import Telemetry
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
from sidecar.service.view.view import View
from sidecar.wire.events.socket_lines import Refusal
from sidecar.wire.settings.intake import IntakeIssuer
from sidecar.wire.settings.settings import HttpEvents, Issuer, Settings
from sidecar.wire.store.keys import Names


class Outside:
    """All that a daemon needs to take what others than its pod say, by its settings."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        settings: Settings,
        *,
        events: Events,
        settling: Settling,
        speakers: Speakers,
        trust: Trust,
        store: Store,
        view: View,
        names: Names,
        telemetry: Telemetry,
        new_id: Callable[[], str],
        current: Callable[[], Settings],
    ) -> None:
        self._settings = settings
        self._current = current
        self._telemetry = telemetry
        self._trust = trust
        issuers = settings.intake.issuers
        believed = {one.issuer for one in settings.tokens.issuers}
        self._keys = {
            one.issuer: self._key_source(one) for one in issuers if one.issuer not in believed
        }
        self._logouts = LogoutDoor(
            verifier=RequestVerifier(lambda: current().intake.issuers, self._keys_of),
            events=EventIntake(events, settling, self._crashed),
            ids=RequestIds(store=store, names=names, clock=clock.now, life=self._longest),
            users=KnownUsers(store=store, view=view, names=names, clock=clock.now),
            settings=current,
            clock=clock.now,
            telemetry=telemetry,
        )
        http = msgspec.structs.replace(settings.http, events=HttpEvents.ON)
        self._events = EventDoor(
            events,
            settling,
            settings=http,
            speakers=speakers,
            foreign=ForeignCalls(http, any_host=True),
            clock=clock.now,
            skew=lambda: current().sessions.event_skew,
            new_id=new_id,
            on_crash=self._crashed,
            on_invalid=self._invalid,
        )

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
        intake = self._settings.intake
        if not intake.bind:
            return ()
        for source in self._keys.values():
            work.start_soon(source.run)
        app = IntakeApp(
            intake, events=self._events, logouts=self._logouts, telemetry=self._telemetry
        )
        listener = intake_listener(intake, app, self._telemetry)
        bound: list[str] = await doors.start(partial(listener.run, draining=draining))
        return tuple(bound)

    def _key_source(self, issuer: IntakeIssuer) -> KeySource:
        def refreshed(name: str, outcome: Refresh, detail: str) -> None:
            self._telemetry.record(
                KeysRefreshed(issuer=name, outcome=KeysOutcome(outcome), detail=detail)
            )

        return KeySource(
            Issuer(
                issuer=issuer.issuer,
                audiences=(*issuer.clients, *issuer.endpoints),
                jwks_uri=issuer.jwks_uri,
                jwks_file=issuer.jwks_file,
                algorithms=issuer.algorithms,
            ),
            self._settings.tokens,
            on_refresh=refreshed,
        )

    def _crashed(self, error: Exception) -> None:
        self._telemetry.record(WorkerFailed(where="intake", error=error))

    def _invalid(self, refusal: Refusal) -> None:
        detail = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
        self._telemetry.record(EventTaken(type="", outcome=EventOutcome.INVALID, detail=detail))
