"""Builds the console when its first page is asked for: until then nothing of it is imported."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import trio

from sidecar.adapters import clock
from sidecar.adapters.admin.credential import Credential
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.geography.geography import Geography
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.in_force import InForce
from sidecar.daemon.services import DaemonServices
from sidecar.daemon.trust import Trust
from sidecar.service.admin.health import Health
from sidecar.service.records.fleet import FleetRecords

if TYPE_CHECKING:  # loaded when they are needed
    from hypercorn.typing import ASGIFramework

    from sidecar.adapters.admin.acts import ActDoor
    from sidecar.adapters.console.console import ConsoleApp, ConsoleParts
    from sidecar.service.console.overview import IssuerKeys, Parts


class DaemonParts(Protocol):
    """The parts of a daemon that the console shows."""

    in_force: InForce
    telemetry: PrometheusTelemetry
    health: Health
    geography: Geography
    trust: Trust


class ConsoleOnDemand:
    """Gives the console; None where it is off, or nobody may sign in.

    It is imported in a thread, so that nothing waits for that but who asked first.
    """

    def __init__(
        self,
        daemon: DaemonParts,
        services: DaemonServices,
        act_door: "ActDoor",
        credentials: Callable[[], tuple[Credential, ...]],
        guesses: GuessLimit,
    ) -> None:
        self._daemon = daemon
        self._services = services
        self._act_door = act_door
        self._credentials = credentials
        self._guesses = guesses
        self._turn = trio.Lock()
        self._app: ConsoleApp | None = None

    async def __call__(self) -> "ASGIFramework | None":
        """Return the application that has the pages."""
        admin = self._daemon.in_force.settings().admin
        if not admin.has_console:
            return None
        async with self._turn:
            if self._app is None:
                self._app = await trio.to_thread.run_sync(self._build)
                self._listen()
        return self._app

    def _build(self) -> "ConsoleApp":
        from sidecar.adapters.console.console import ConsoleApp  # noqa: PLC0415 - on demand

        return ConsoleApp(
            parts=self._parts(),
            telemetry=self._daemon.telemetry,
            credentials=self._credentials,
            guesses=self._guesses,
            settings=self._daemon.in_force.settings,
            clock=clock.now,
        )

    def _parts(self) -> "ConsoleParts":
        from sidecar.adapters.console.console import ConsoleParts  # noqa: PLC0415 - on demand
        from sidecar.service.console.devices import DeviceBook  # noqa: PLC0415 - likewise
        from sidecar.service.console.feed import Feed  # noqa: PLC0415 - likewise
        from sidecar.service.console.overview import Overview  # noqa: PLC0415 - likewise
        from sidecar.service.console.rewind import Rewinder  # noqa: PLC0415 - likewise
        from sidecar.service.console.session_list import SessionList  # noqa: PLC0415 - likewise

        daemon, services = self._daemon, self._services
        wired, settings = services.wired, daemon.in_force.settings
        self._feed = Feed(clock.now)
        return ConsoleParts(
            sessions=SessionList(
                sessions=wired.admin.inspector,
                store=services.store,
                records=wired.view.records,
                names=services.names,
                settings=settings,
            ),
            rewinder=Rewinder(
                finder=wired.admin.inspector,
                records=wired.view.records,
                evaluator=lambda: wired.view.view.evaluator,
                happened=wired.admin.history.of_session,
                settings=settings,
                clock=clock.now,
                place_of=daemon.geography.place,
            ),
            devices=DeviceBook(
                records=wired.view.records,
                evaluator=lambda: wired.view.view.evaluator,
                happened=wired.admin.history.of_device,
                settings=settings,
            ),
            overview=Overview(
                health=daemon.health,
                parts=self._seen(),
                fleet=FleetRecords(services.store, services.names, clock.now),
                rescore_all=wired.audit.rescore_all,
                settings=settings,
            ),
            history=wired.admin.history,
            feed=self._feed,
            watches=wired.view.watches,
            act_door=self._act_door,
        )

    def _seen(self) -> "Parts":
        from sidecar.service.console.overview import Parts, SeriesValue  # noqa: PLC0415 - on demand

        daemon, wired = self._daemon, self._services.wired

        def counted(name: str) -> Iterable[SeriesValue]:
            return (SeriesValue(*each) for each in daemon.telemetry.counted(name))

        return Parts(
            counted=counted,
            keys=self._keys,
            databases=lambda: {str(name): at for name, at in daemon.geography.builds.items()},
            sessions=lambda: len(wired.view.view),
            marks=lambda: wired.audit.sweeper.active_marks,
            policies=lambda: daemon.in_force.configuration.policies,
            policy_set=lambda: daemon.in_force.policy_set,
        )

    def _keys(self) -> "tuple[IssuerKeys, ...]":
        from sidecar.service.console.overview import IssuerKeys  # noqa: PLC0415 - on demand

        keys = self._daemon.trust.keys
        causes: Mapping[str, str] = dict(keys.causes)
        held = [IssuerKeys(one, decides=True, trouble=causes.get(one, "")) for one in keys.held]
        missing = [
            IssuerKeys(one, decides=False, trouble=causes.get(one, "")) for one in keys.missing
        ]
        return (*held, *missing)

    def _listen(self) -> None:
        """Have the feed hear of what is recorded from now on."""
        from sidecar.service.console.feed import HEARD  # noqa: PLC0415 - on demand

        for kind in HEARD:
            self._daemon.telemetry.tap(kind, self._feed.hear)
