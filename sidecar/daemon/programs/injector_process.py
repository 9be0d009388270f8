"""`sidecar inject`: the webhook that adds the sidecar to pods, as a process of its own.

It has no configuration, store or policies: what it adds is the same for every pod.
"""

from functools import partial
from typing import NamedTuple

import trio

from sidecar.adapters.injection.listener import InjectorApp, injector_listener
from sidecar.adapters.listening.asgi import TlsFiles
from sidecar.adapters.telemetry.logs import Logger
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.lifecycle import Addresses
from sidecar.daemon.readiness import end_readiness, record_readiness
from sidecar.service.admin.health import Health
from sidecar.service.observations.observations import DaemonEvent
from sidecar.wire.injection.additions import Names
from sidecar.wire.settings.settings import Admin, Settings, Shutdown

LAME_DUCK = 5.0
"""Seconds in which the API server may still send reviews after `/readyz` fails."""


class InjectorOptions(NamedTuple):
    """The command's options."""

    names: Names
    bind: str
    admin: str
    certificate: str
    key: str


class Injector:
    """All parts of it."""

    def __init__(self, options: InjectorOptions) -> None:
        self._options = options
        self._settings = Settings(
            admin=Admin(bind=options.admin), shutdown=Shutdown(lame_duck=LAME_DUCK)
        )
        self._telemetry = PrometheusTelemetry(self._settings)
        self._health = Health(("doors",), on_change=partial(record_readiness, self._telemetry))
        self._telemetry.health(self._health)
        self._telemetry.without(
            *("sidecar_store_up", "sidecar_news_up", "sidecar_config_last_reload_successful")
        )

    @property
    def log(self) -> Logger:
        """The logger."""
        return self._telemetry.log

    def reload(self) -> None:
        """Do nothing: the certificate is looked at with each handshake."""

    async def run(
        self,
        draining: trio.Event,
        *,
        task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run until `draining`, or until cancelled."""
        from sidecar.adapters.admin.listener import (  # noqa: PLC0415 - as other processes do
            AdminApp,
            admin_listener,
        )

        options = self._options
        tls = TlsFiles(options.certificate, options.key, "--key")
        telemetry = self._telemetry
        reviews = InjectorApp(options.names, telemetry)
        listener = injector_listener(options.bind, reviews, telemetry, tls)
        app = AdminApp(telemetry=telemetry, health=self._health, inspection=None)
        async with trio.open_nursery() as resources:
            await resources.start(telemetry.run)
            admin = admin_listener(self._settings.admin, app, telemetry)
            at = tuple(await resources.start(admin.run))
            closing = trio.Event()
            async with trio.open_nursery() as doors:
                urls = await doors.start(partial(listener.run, draining=closing))
                telemetry.record(DaemonEvent(event="started", fields={"webhook": " ".join(urls)}))
                self._health.good("doors")
                task_status.started(Addresses("", tuple(urls), at))
                await draining.wait()
                await end_readiness(self._health, telemetry, self._settings.shutdown)
                closing.set()
            resources.cancel_scope.cancel()
