"""The transmitter of shared signals, wired: within a daemon, or as all that a process does."""

from collections.abc import Callable

import trio

from sidecar.adapters import clock
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.audit.lease import Lease
from sidecar.service.observations.observations import Reloaded, ReloadOutcome
from sidecar.service.records.fleet import FleetRecords
from sidecar.shared_signals.adapters.push_client import Courier
from sidecar.shared_signals.adapters.stream_store import RedisStreams
from sidecar.shared_signals.adapters.transmitter_secrets import InvalidFiles, Secrets
from sidecar.shared_signals.service.delivery import StreamDelivery
from sidecar.shared_signals.service.dispatch import Dispatcher
from sidecar.shared_signals.service.poll_server import PollServer
from sidecar.shared_signals.service.push_delivery import PushDelivery
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_management import Management
from sidecar.shared_signals.wire.outbound import Voice
from sidecar.wire.privacy.sealed_forms import UNSEALED, Sealing
from sidecar.wire.settings.settings import Settings
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.yaml.tree import ConfigError, ConfigProblem


def voice_of(settings: Settings) -> Voice:
    """Return how this deployment's transmitter speaks."""
    transmitter, issuers = settings.transmitter, settings.tokens.issuers
    only = issuers[0].issuer if len(issuers) == 1 else ""
    return Voice(
        transmitter.issuer,
        transmitter.namespace or transmitter.issuer,
        transmitter.subject_issuer or only,
        _subject_issuers(settings),
    )


def _subject_issuers(settings: Settings) -> dict[str, str]:
    """Return the issuer of the users of each namespace, where there are several.

    Of issuers that share one it is the configured one, if that is among them.
    """
    tokens, chosen = settings.tokens, settings.transmitter.subject_issuer
    if tokens.namespaces.sole() is not None:
        return {}
    found: dict[str, str] = {}
    for one in tokens.issuers:
        shared = sum(other.names == one.names for other in tokens.issuers) > 1
        if not shared or one.issuer == chosen:
            found[one.names] = one.issuer
    return found


class Transmission:
    """A process's part of the transmitter: the `outbox`, and where configured the rest."""

    def __init__(
        self,
        settings: Settings,
        store: RedisStore,
        telemetry: PrometheusTelemetry,
        new_id: Callable[[], str],
        sealing: Sealing = UNSEALED,
    ) -> None:
        self._settings = transmitter = settings.transmitter
        self._telemetry = telemetry
        self._new_id = new_id
        names = StoreKeys(settings.store.prefix)
        self.outbox = self._streams = RedisStreams(
            store,
            names,
            max_recorded=transmitter.max_recorded,
            max_backlog=transmitter.max_backlog,
            sealing=sealing,
        )
        self._secrets = Secrets(transmitter, clock.now)
        self._recipients = Recipients(transmitter.recipients, self._secrets.access)
        self._voice = voice_of(settings)
        fleet = FleetRecords(store, names, clock.now)
        self._lease = Lease(work="transmitter", sidecar=new_id(), records=fleet, clock=clock.now)

    def replace(self, settings: Settings) -> None:
        """Speak as is configured now: whose users there are may have changed."""
        self._voice = voice_of(settings)

    def _poll_server(self) -> PollServer:
        return PollServer(
            store=self._streams,
            signer=self._secrets,
            telemetry=self._telemetry,
            most=self._settings.poll_events,
            wait=self._settings.poll_wait,
        )

    def _management(self, poll_endpoint: Callable[[str], str]) -> Management:
        return Management(
            settings=self._settings,
            store=self._streams,
            voice=lambda: self._voice,
            poll_endpoint=poll_endpoint,
            telemetry=self._telemetry,
            clock=clock.now,
            new_id=self._new_id,
        )

    async def load(self) -> None:
        """Read keys and credentials. Raises `ConfigError`."""
        try:
            await trio.to_thread.run_sync(self._secrets.load)
        except InvalidFiles as error:
            problems = (ConfigProblem("", 0, one.field, one.message) for one in error.wrong)
            raise ConfigError(tuple(problems)) from None

    async def reload(self) -> None:
        """Read keys and credentials again; where they cannot be used, the old ones stay."""
        try:
            await trio.to_thread.run_sync(self._secrets.load)
        except InvalidFiles as error:
            outcome, detail = ReloadOutcome.REFUSED, str(error)
        else:
            outcome, detail = ReloadOutcome.APPLIED, ""
        self._telemetry.record(Reloaded(what="transmitter", outcome=outcome, detail=detail))

    async def start(self, work: trio.Nursery) -> None:
        """Start to deliver, where this process may: whenever the lease is its own."""
        if self._settings.deliver:
            await work.start(self._deliver)

    async def _deliver(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        courier = Courier(self._settings.push.timeout, clock.now)
        push_delivery = PushDelivery(
            settings=self._settings.push,
            store=self._streams,
            recipients=self._recipients,
            courier=courier,
            signer=self._secrets,
            voice=lambda: self._voice,
            telemetry=self._telemetry,
            clock=clock.now,
            new_id=self._new_id,
        )
        dispatcher = Dispatcher(
            store=self._streams,
            recipients=self._recipients,
            voice=lambda: self._voice,
            telemetry=self._telemetry,
            clock=clock.now,
        )
        transmitting = StreamDelivery(
            settings=self._settings,
            lease=self._lease,
            store=self._streams,
            recipients=self._recipients,
            dispatcher=dispatcher,
            push_delivery=push_delivery,
            telemetry=self._telemetry,
            levels=self._telemetry.metrics.transmitter,
        )
        try:
            await transmitting.run(task_status=task_status)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await courier.aclose()

    async def open(self, nursery: trio.Nursery) -> tuple[str, ...]:
        """Open the listener, where one is configured; gives its addresses."""
        if not self._settings.bind:
            return ()
        from sidecar.shared_signals.adapters.transmitter_listener import (  # noqa: PLC0415 - only where it listens
            Endpoints,
            TransmitterDoor,
            transmitter_listener,
        )

        app = TransmitterDoor(
            settings=self._settings,
            management=self._management(Endpoints(self._settings.issuer).poll),
            poll_server=self._poll_server(),
            recipients=self._recipients,
            keys=self._secrets.key_set,
            telemetry=self._telemetry,
        )
        listener = transmitter_listener(self._settings, app, self._telemetry)
        return tuple(await nursery.start(listener.run))
