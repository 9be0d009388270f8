"""`sidecar transmit`: the transmitter of shared signals as a process of its own.

It judges no session: it needs the store, its keys and its listener, and no policies.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from sidecar.adapters import clock
from sidecar.adapters.files.watcher import FileWatcher
from sidecar.adapters.listening.descriptors import raise_to
from sidecar.adapters.process.orphans import Orphans
from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.adapters.redis_server.rights import needs_of
from sidecar.adapters.telemetry.logs import Logger
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.files import read_transmitter_settings
from sidecar.daemon.configuration.unusable import naming_key
from sidecar.daemon.forms import forms_in_use, refuse_other_forms
from sidecar.daemon.lifecycle import Addresses
from sidecar.daemon.readiness import end_readiness, record_readiness
from sidecar.daemon.services import new_id
from sidecar.service.admin.health import Health
from sidecar.service.admin.pulse import Pulse
from sidecar.service.observations.observations import DaemonEvent, SecretRead, StoreUp
from sidecar.service.records.epochs import EpochRecords
from sidecar.service.records.fleet import FleetRecords
from sidecar.shared_signals.adapters.transmitter_secrets import paths_of
from sidecar.shared_signals.transmitter_wiring import Transmission
from sidecar.wire.config.descriptors import needed_by
from sidecar.wire.privacy.sealed_forms import UNSEALED, forms_of
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import StoreKeys

CONDITIONS = ("store", "doors")


def transmitter(config_file: Path, environ: Mapping[str, str]) -> "Transmitter":
    """Read the configuration; blocks. Raises `ConfigError`."""
    return Transmitter(config_file, read_transmitter_settings(config_file, environ))


class Transmitter:
    """All parts of it."""

    def __init__(self, file: Path, settings: Settings) -> None:
        raise_to(needed_by(settings))
        self._file = file
        self._settings = settings
        self._telemetry = PrometheusTelemetry(settings)
        self._health = Health(CONDITIONS, on_change=partial(record_readiness, self._telemetry))
        self._telemetry.health(self._health)
        self._telemetry.without("sidecar_news_up", "sidecar_config_last_reload_successful")
        self._watcher: FileWatcher | None = None
        self._is_reload_wanted = False
        self._cause = "the store was not asked yet"
        self._refusal = ""

    def reload(self) -> None:
        """Look at keys and credentials again, as SIGHUP asks; while it starts, once it has."""
        if self._watcher is not None:
            self._watcher.trigger()
        else:
            self._is_reload_wanted = True

    @property
    def log(self) -> Logger:
        """The logger as it is configured now."""
        return self._telemetry.log

    async def run(
        self,
        draining: trio.Event,
        *,
        task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run until `draining`, or until cancelled. What waits in streams is another's then."""
        settings = self._settings
        async with trio.open_nursery() as resources:
            await resources.start(self._telemetry.run)
            await resources.start(Orphans(ours=tuple).run)
            store = RedisStore(
                links_of(
                    settings.store,
                    credentials=StoreCredentials(settings.store, self._secret_read),
                ),
                settings.store,
                observe=self._telemetry.stored,
                on_up=self._store_up,
                needs=needs_of(settings.store, transmits=True, hears=False),
            )
            await resources.start(store.run)
            pulse = Pulse(
                store=store,
                records=EpochRecords(store, StoreKeys(settings.store.prefix), clock.now, new_id()),
                refused=self._store_refuses,
            )
            await resources.start(pulse.run)
            forms = forms_of(settings.privacy, settings.store.prefix)
            in_use = forms_in_use(
                lambda: settings,
                forms,
                records=FleetRecords(store, StoreKeys(settings.store.prefix), clock.now),
                telemetry=self._telemetry,
                judge=lambda *_: None,
            )
            await refuse_other_forms(self._file, in_use)
            sealing = forms or UNSEALED
            transmission = Transmission(settings, store, self._telemetry, new_id, sealing)
            await transmission.load()
            await self._watch(resources, transmission)
            admin = await self._open_admin(resources)
            async with trio.open_nursery() as work:
                await transmission.start(work)
                with naming_key(self._file, "transmitter"):
                    listening = await transmission.open(work)
                where = " ".join(listening) or "nowhere"
                self._telemetry.record(DaemonEvent(event="started", fields={"transmitter": where}))
                self._health.good("doors")
                task_status.started(Addresses("", (), admin, (), listening))
                await draining.wait()
                await end_readiness(self._health, self._telemetry, settings.shutdown)
                work.cancel_scope.cancel()
            resources.cancel_scope.cancel()

    async def _watch(self, nursery: trio.Nursery, transmission: Transmission) -> None:
        async def changed(_: frozenset[Path]) -> None:
            await transmission.reload()

        paths = [Path(path) for path in paths_of(self._settings.transmitter)]
        self._watcher = FileWatcher(paths, changed, self._telemetry)
        if self._is_reload_wanted:
            self._watcher.trigger()
        await nursery.start(self._watcher.run)

    async def _open_admin(self, nursery: trio.Nursery) -> tuple[str, ...]:
        admin = self._settings.admin
        if not admin.enabled:
            return ()
        from sidecar.adapters.admin.listener import (  # noqa: PLC0415 - only where it listens
            AdminApp,
            admin_listener,
        )

        app = AdminApp(telemetry=self._telemetry, health=self._health, inspection=None)
        with naming_key(self._file, "admin", certificate="tls.certificate"):
            listener = admin_listener(admin, app, self._telemetry)
            return tuple(await nursery.start(listener.run))

    def _secret_read(self, field: str, reason: str) -> None:
        self._telemetry.record(SecretRead(field=field, reason=reason))

    def _store_up(self, up: bool, cause: str) -> None:  # noqa: FBT001 - a hook's arguments
        self._cause = "" if up else cause
        self._judge_store()

    def _store_refuses(self, reason: str) -> None:
        self._refusal = reason
        self._judge_store()

    def _judge_store(self) -> None:
        trouble = self._cause or self._refusal
        self._telemetry.record(StoreUp(up=not trouble, detail=trouble))
        if trouble:
            self._health.bad("store", trouble)
        else:
            self._health.good("store")
