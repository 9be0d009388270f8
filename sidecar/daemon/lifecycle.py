"""The life of the daemon: in which order its parts come up and go down.

Three nurseries, each inside the one before: resources (store, news, keys, files), work (saving,
logging, sweeping), doors (socket, HTTP). The doors close first and the resources last.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from sidecar.adapters import clock
from sidecar.adapters.admin.credential import AdminCredentials
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.events.intake import EventIntake
from sidecar.adapters.files.watcher import FileWatcher
from sidecar.adapters.geography.geography import Failure, Geography
from sidecar.adapters.listening.descriptors import raise_to
from sidecar.adapters.process.loop_stalls import LoopStalls
from sidecar.adapters.process.memory import container_limit
from sidecar.adapters.process.orphans import Orphans
from sidecar.adapters.redis.links import Links, links_of
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.sealed_store import SealedNews, SealedStore, opening
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.adapters.redis_server.embedded import EmbeddedStore
from sidecar.adapters.redis_server.rights import needs_of
from sidecar.adapters.socket.incidents import SocketIncident
from sidecar.adapters.socket.server import LocalSocket
from sidecar.adapters.telemetry.logs import Logger
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.adapters.tokens.introspection import IntrospectionOutcome
from sidecar.adapters.tokens.keys import Refresh
from sidecar.daemon.configuration.acr_offers import AcrOffers
from sidecar.daemon.configuration.files import Configuration, read_configuration
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.unusable import naming_key, problem_at
from sidecar.daemon.console import ConsoleOnDemand
from sidecar.daemon.doors.central_wiring import open_central
from sidecar.daemon.forms import refuse_other_forms
from sidecar.daemon.readiness import conditions_of, end_readiness, record_readiness
from sidecar.daemon.services import DaemonServices, new_id
from sidecar.daemon.trust import Keys, Trust
from sidecar.domain.values.lattice import Record
from sidecar.service.admin.health import GEOGRAPHY, Health
from sidecar.service.observations.observations import (
    DaemonEvent,
    DoorIncident,
    EventOutcome,
    EventTaken,
    GeographyFailed,
    GeographyLoaded,
    Introspected,
    KeysOutcome,
    KeysRefreshed,
    LinkState,
    LinkStatus,
    PassedUnasked,
    SecretRead,
    StoreUp,
    WorkerFailed,
)
from sidecar.service.ports.calls import StoreRefused, Unavailable
from sidecar.service.view.news_router import NewsRouter
from sidecar.service.view.store_epoch import KEEPS, pace_of
from sidecar.wire.config.descriptors import fitted, needed_by
from sidecar.wire.config.memory_shares import shares_of
from sidecar.wire.events.socket_lines import Refusal
from sidecar.wire.http.unasked import Exemption
from sidecar.wire.privacy.sealed_forms import forms_of
from sidecar.wire.settings.settings import Eviction, Settings, Socket
from sidecar.wire.yaml.tree import ConfigError, is_named

if TYPE_CHECKING:
    from sidecar.adapters.http.handlers import HttpIncident


class Addresses(msgspec.Struct, frozen=True):
    """The addresses at which a running daemon can be reached."""

    socket: str
    http: tuple[str, ...]
    admin: tuple[str, ...]
    grpc: tuple[str, ...] = ()
    transmitter: tuple[str, ...] = ()
    receiver: tuple[str, ...] = ()
    intake: tuple[str, ...] = ()
    central: tuple[str, ...] = ()


async def serve(
    config_file: Path,
    environ: Mapping[str, str],
    *,
    draining: trio.Event | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the daemon until `draining` is set and what was under way is done, or cancelled.

    It shares its caller's event loop, whose stops are not measured. Ready when started. Raises
    `ConfigError`, and what adapters raise where a listener or the embedded store cannot be had.
    """
    configuration = await trio.to_thread.run_sync(read_configuration, config_file, environ)
    daemon = Daemon(configuration, environ)
    draining = trio.Event() if draining is None else draining
    await daemon.run(draining, owns_loop=False, task_status=task_status)


class Daemon:
    """All parts of one daemon."""

    def __init__(self, configuration: Configuration, environ: Mapping[str, str]) -> None:
        descriptors = raise_to(needed_by(configuration.settings))
        settings = fitted(configuration.settings, descriptors)
        started = msgspec.structs.replace(configuration, settings=settings)
        self.in_force = InForce(started, configuration.settings)
        self.environ = environ
        self._forms = forms_of(settings.privacy, settings.store.prefix)
        self.telemetry = PrometheusTelemetry(settings)
        self.health = Health(
            conditions_of(settings),
            on_change=partial(record_readiness, self.telemetry),
        )
        self.telemetry.health(self.health)
        self.health.good("losses")
        self.store_credentials = StoreCredentials(settings.store, self._secret_read)
        self.health.good("privacy")
        self.geography = Geography(settings.geography, on_failure=self._geography_failed)
        limit = settings.memory.limit
        self.memory = container_limit() if limit is None else limit
        self.shares = shares_of(settings, self.memory)
        self.acr_offers = AcrOffers(configuration, self.telemetry)
        self.trust = Trust(
            settings.tokens,
            cache=self.shares.tokens,
            on_refresh=self._keys_refreshed,
            on_answer=self._introspected,
            judged=self._judge_keys,
            on_metadata=self.acr_offers.learn,
        )
        self.in_force.follow(self._follow)
        self._answers = False
        self._cause = "the store was not asked yet"
        self._refusal: str | None = None
        self._is_reload_wanted = False
        self.watcher: FileWatcher | None = None
        self._services: DaemonServices | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.in_force.settings()

    @property
    def _started(self) -> Settings:
        return self.in_force.started

    @property
    def _file(self) -> Path:
        return self.in_force.configuration.file

    def reload(self) -> None:
        """Look at all files again, as SIGHUP asks; while the daemon starts, once it has."""
        if self._services is not None:
            self._services.decisions.reopen()
        if self.watcher is not None:
            self.watcher.trigger()
        else:
            self._is_reload_wanted = True

    @property
    def log(self) -> Logger:
        """The logger as it is configured now."""
        return self.telemetry.log

    # Hooks by which parts report

    def _secret_read(self, field: str, reason: str) -> None:
        self.telemetry.record(SecretRead(field=field, reason=reason))

    def _geography_failed(self, failure: Failure) -> None:
        self.telemetry.record(GeographyFailed(database=failure.database, detail=str(failure)))

    def _keys_refreshed(self, issuer: str, outcome: Refresh, detail: str) -> None:
        self.telemetry.record(
            KeysRefreshed(issuer=issuer, outcome=KeysOutcome(outcome), detail=detail)
        )
        if self._services is not None:
            self._services.keys_refreshed(issuer)

    def _introspected(
        self, issuer: str, outcome: IntrospectionOutcome, seconds: float, detail: str
    ) -> None:
        self.telemetry.record(
            Introspected(issuer=issuer, outcome=outcome, seconds=seconds, detail=detail)
        )

    def _judge_keys(self, keys: Keys) -> None:
        """Judge the keys; a missing one makes not ready only where no other issuer's are held."""
        words = keys.trouble()
        if not words:
            self.health.good("keys")
        elif keys.held:
            self.health.limping("keys", words)
        else:
            self.health.bad("keys", words)

    def _store_up(self, up: bool, cause: str) -> None:  # noqa: FBT001 - a hook's arguments
        self._answers, self._cause = up, cause
        self._judge_store()

    def store_refuses(self, reason: str) -> None:
        """Note why the store takes no writes, and is as good as away; empty: it takes them."""
        if reason != self._refusal:
            self._refusal = reason
            self._judge_store()

    def forms_disagree(self, trouble: str, newcomer: bool) -> None:  # noqa: FBT001 - a hook's
        """Judge what is written in forms that others do not read: who came last is not ready."""
        if not trouble:
            self.health.good("privacy")
        elif newcomer:
            self.health.bad("privacy", trouble)
        else:
            self.health.limping("privacy", trouble)

    def _judge_store(self) -> None:
        trouble = self._refusal if self._answers else self._cause
        if trouble is None:
            return  # it answers, and no write was tried yet
        self.telemetry.record(StoreUp(up=not trouble, detail=trouble))
        if trouble:
            self.health.bad("store", trouble)
        else:
            self.health.good("store")

    def _link_lost(self, reason: str) -> None:
        self.telemetry.record(LinkState(state=LinkStatus.LOST, detail=reason))
        services = self._services
        lagging = partial(services.lagging, reason) if services else f"news may be missed: {reason}"
        self.health.bad("view", lagging)

    async def _link_restored(self) -> None:
        if self._services is not None:
            await self._services.restored()

    # Wiring

    def _follow(self, swap: Swap) -> None:
        """Have those take up another snapshot who derive something from it."""
        settings = swap.after.settings
        self.telemetry.configured(settings)  # first, as it says what is logged of the rest
        self.health.have(conditions_of(settings))
        before, self.shares = self.shares, shares_of(settings, self.memory)
        if self.shares != before:
            self._warn_of_memory()
        self.trust.replace(settings.tokens, self.shares.tokens)
        self.acr_offers.use(swap.after)

    def _warn_of_memory(self) -> None:
        """Log where more is to be kept than there is memory for."""
        if self.shares.trouble:
            fields: dict[str, str | int | float | bool] = {"trouble": self.shares.trouble}
            self.telemetry.record(DaemonEvent(event="memory-short", fields=fields, warning=True))

    async def _load_geography(self) -> None:
        outcomes = await trio.to_thread.run_sync(self.geography.reload)
        problems = [
            problem_at(self._file, outcome.field, f"{outcome.file}: {outcome.error}")
            for outcome in outcomes
            if outcome.error
        ]
        if problems:
            raise ConfigError(tuple(problems))
        self.telemetry.record(GeographyLoaded(builds=tuple(self.geography.builds.items())))
        if outcomes:
            self.health.good(GEOGRAPHY)

    async def _refuse_eviction(self, store: RedisStore) -> None:
        """Raise `ConfigError` where a server that answers may evict records and may not."""
        if self.settings.store.eviction is Eviction.ACCEPT:
            return
        policies = set()
        for shard in store.shards():
            with contextlib.suppress(Unavailable):  # it is looked at again once it is there
                vitals = await store.vitals(shard)
                policies.add(KEEPS if vitals is None else vitals.policy)
        if policies <= {KEEPS}:
            return
        found = ", ".join(sorted(policies - {KEEPS}))
        message = (
            f"the store's maxmemory-policy is {found}, by which it may throw out marks and "
            f"revocations: make it {KEEPS}, or set this to accept"
        )
        raise ConfigError((problem_at(self._file, "store.eviction", message),))

    def _links_to(self, url: str) -> Links:
        return links_of(self._started.store, url=url, credentials=self.store_credentials)

    def _store_at(self, url: str) -> RedisStore:
        links, settings = self._links_to(url), self._started.store
        observe, on_up = self.telemetry.stored, self._store_up
        needs = needs_of(settings, transmits=bool(self._started.transmitter.issuer))
        store = RedisStore if self._forms is None else partial(SealedStore, forms=self._forms)
        return store(
            links,
            settings,
            observe=observe,
            on_up=on_up,
            on_refused=self._history_refused,
            needs=needs,
        )

    def _history_refused(self, error: StoreRefused) -> None:
        self.telemetry.record(WorkerFailed(where="history", error=error))

    def _news_at(self, url: str, router: NewsRouter) -> RedisNews:
        links, settings = self._links_to(url), self._started.store
        kind: Callable[..., RedisNews] = RedisNews
        deliver: Callable[[bytes, Record], None] = router.deliver
        if self._forms is not None:
            kind = partial(SealedNews, forms=self._forms)
            deliver = opening(self._forms, deliver)
        return kind(
            links,
            settings,
            deliver=deliver,
            lost=self._link_lost,
            restored=self._link_restored,
            ping=1.5 * pace_of(self._started.sessions.max_staleness),
            own=router.own_channel,
            heard_since=router.heard_since,
        )

    @asynccontextmanager
    async def _resources(self) -> AsyncIterator[DaemonServices]:
        settings = self._started
        async with trio.open_nursery() as nursery:
            await nursery.start(self.telemetry.run)
            await self._load_geography()
            self._warn_of_memory()
            url = ""
            embedded = EmbeddedStore(settings.store.embedded_dir)
            await nursery.start(Orphans(lambda: (embedded.process or 0,)).run)
            if not settings.store.url:
                url = await nursery.start(embedded.run)
            store = self._store_at(url)
            services = DaemonServices(self, store, partial(self._news_at, url), self._forms)
            self._services = services
            self.watcher = services.watcher
            if self._is_reload_wanted:
                self.watcher.trigger()
            await nursery.start(store.run)
            await self._refuse_eviction(store)
            await refuse_other_forms(self._file, services.forms)
            await nursery.start(services.news.run)
            await nursery.start(self.trust.run)
            if services.bundles is None:
                self.health.good("policies")
            yield services
            nursery.cancel_scope.cancel()

    async def run(
        self,
        draining: trio.Event,
        *,
        owns_loop: bool = True,
        task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run until `draining`, then drain; or until cancelled. `owns_loop`: measure its stops."""
        measured = self._measured_loop() if owns_loop else contextlib.nullcontext()
        await self._run(draining, measured, task_status)

    @contextlib.contextmanager
    def _measured_loop(self) -> Iterator[None]:
        """Measure the loop's stops meanwhile: once it is ready, since a start loads modules."""
        stalls = LoopStalls(self.telemetry.record)
        trio.lowlevel.add_instrument(stalls)
        try:
            yield
        finally:
            # trio lets an instrument go by itself that has raised.
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(stalls)

    async def _run(
        self,
        draining: trio.Event,
        measured: contextlib.AbstractContextManager[None],
        task_status: trio.TaskStatus[Addresses],
    ) -> None:
        async with self._resources() as services, trio.open_nursery() as work:
            await services.start(work)
            admin = await self._open_admin(work, services)
            async with trio.open_nursery() as doors:
                closing = trio.Event()
                http = await self._open_http(doors, services, closing)
                grpc = await self._open_grpc(doors, services, closing)
                with naming_key(self._file, "receiver"):
                    receiver = await services.reception.open(doors, closing)
                with naming_key(self._file, "intake"):
                    intake = await services.outside.open(work, doors, closing)
                with naming_key(self._file, "central"):
                    central = await open_central(doors, closing, self, services.wired.checker)
                socket = await self._open_socket(doors, services, closing)
                transmitter: tuple[str, ...] = ()
                if services.transmission is not None:
                    with naming_key(self._file, "transmitter"):
                        transmitter = await services.transmission.open(work)
                self._record_started(socket)
                self.health.good("doors")
                task_status.started(
                    Addresses(socket, http, admin, grpc, transmitter, receiver, intake, central)
                )
                with measured:
                    await draining.wait()
                await end_readiness(self.health, self.telemetry, self.settings.shutdown)
                closing.set()
                # The doors drain by themselves and return; this is the end of patience.
                doors.cancel_scope.deadline = trio.current_time() + self._grace()
            await services.finish()
            work.cancel_scope.cancel()

    def _grace(self) -> float:
        return self.settings.work.drain_timeout

    async def _open_admin(self, nursery: trio.Nursery, services: DaemonServices) -> tuple[str, ...]:
        """Open the admin listener, which outlives the doors: it shows that they are draining."""
        if not self._started.admin.enabled:
            return ()
        from sidecar.adapters.admin.acts import ActDoor  # noqa: PLC0415 - only where it listens
        from sidecar.adapters.admin.listener import (  # noqa: PLC0415 - only where it listens
            AdminApp,
            admin_listener,
        )

        intake, guesses = services.wired.intake, GuessLimit()
        act_door = ActDoor(
            acts=services.wired.admin.acts,
            events=EventIntake(
                services.events_at("admin"), intake.acknowledger, self._crashed_at_admin
            ),
            record=self.telemetry.record,
        )
        credentials = AdminCredentials(lambda: self.settings.admin, self._secret_read)
        app = AdminApp(
            telemetry=self.telemetry,
            health=self.health,
            inspection=services.wired.admin.inspector,
            history=services.wired.admin.history,
            letters=intake.letters,
            act_door=act_door,
            credentials=credentials,
            guesses=guesses,
            console=ConsoleOnDemand(self, services, act_door, credentials, guesses),
            policies=None if services.bundles is None else services.bundles.activator,
        )
        with naming_key(self._file, "admin", certificate="tls.certificate"):
            listener = admin_listener(self._started.admin, app, self.telemetry)
            return tuple(await nursery.start(listener.run))

    def _crashed_at_admin(self, error: Exception) -> None:
        self.telemetry.record(WorkerFailed(where="admin", error=error))

    async def _open_http(
        self, doors: trio.Nursery, services: DaemonServices, closing: trio.Event
    ) -> tuple[str, ...]:
        settings = self.settings
        if not settings.http.enabled:
            return ()
        from sidecar.adapters.http.authzen import AuthzenDoor  # noqa: PLC0415 - where it listens
        from sidecar.adapters.http.data_listener import (  # noqa: PLC0415 - only where it listens
            DataListener,
        )

        authzen = AuthzenDoor(services.wired.checker, settings.http, services.speakers)
        listener = DataListener(
            settings.http,
            checks=services.wired.checker,
            events=services.events_at("http"),
            speakers=services.speakers,
            clock=clock.now,
            skew=lambda: self.settings.sessions.event_skew,
            new_id=new_id,
            acknowledger=services.wired.intake.acknowledger,
            binding=settings.tokens.binding,
            others=authzen.handlers(),
            others_at_once=authzen.prepares(),
            on_incident=partial(self._incident, "http"),
            on_unasked=self._unasked,
            on_invalid=self._invalid,
        )

        def follow(swap: Swap) -> None:
            settings = swap.after.settings
            listener.replace(settings.http, settings.tokens.binding)
            authzen.replace(settings.http)

        self.in_force.follow(follow)

        async def run(
            *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await listener.run(draining=closing, drain_timeout=self._grace, task_status=task_status)

        with naming_key(self._file, "http", path="unix"):
            bound: list[str] = await doors.start(run)
        authzen.listens_at(bound[0])
        return tuple(one if one.startswith("unix:") else f"http://{one}" for one in bound)

    async def _open_grpc(
        self, doors: trio.Nursery, services: DaemonServices, closing: trio.Event
    ) -> tuple[str, ...]:
        settings = self._started
        if not settings.grpc.bind:
            return ()
        from sidecar.adapters.grpc.listener import (  # noqa: PLC0415 - only where it listens
            GrpcListener,
        )

        listener = GrpcListener(
            settings.grpc,
            self.settings.http,
            checks=services.wired.checker,
            binding=self.settings.tokens.binding,
            on_incident=partial(self._incident, "grpc"),
            on_unasked=self._unasked,
        )

        def follow(swap: Swap) -> None:
            settings = swap.after.settings
            listener.replace(settings.http, settings.tokens.binding)

        self.in_force.follow(follow)

        async def run(
            *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await listener.run(draining=closing, drain_timeout=self._grace, task_status=task_status)

        with naming_key(self._file, "grpc"):
            bound: list[str] = await doors.start(run)
        return tuple(bound)

    async def _open_socket(
        self, doors: trio.Nursery, services: DaemonServices, closing: trio.Event
    ) -> str:
        socket = LocalSocket(
            self.settings.socket,
            checks=services.wired.checker,
            events=services.events_at("socket"),
            watches=services.wired.view.watches,
            speakers=services.speakers,
            clock=clock.now,
            skew=lambda: self.settings.sessions.event_skew,
            new_id=new_id,
            acknowledger=services.wired.intake.acknowledger,
            on_incident=partial(self._incident, "socket"),
            on_invalid=self._invalid,
        )

        def follow(swap: Swap) -> None:
            socket.replace(swap.after.settings.socket)

        self.in_force.follow(follow)

        async def run(*, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
            await socket.run(draining=closing, drain_timeout=self._grace, task_status=task_status)

        with naming_key(self._file, "socket"):
            path: str = await doors.start(run)
        return path

    def _record_started(self, socket: str) -> None:
        fields: dict[str, str | int | float | bool] = {"socket": socket}
        usual, tree = Socket().path, self.in_force.configuration.tree
        if socket != usual and tree is not None and not is_named(tree, "socket.path"):
            fields["detail"] = f"nothing names socket.path, and {usual} cannot be made here"
        self.telemetry.record(DaemonEvent(event="started", fields=fields))

    def _invalid(self, refusal: Refusal) -> None:
        detail = f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
        self.telemetry.record(EventTaken(type="", outcome=EventOutcome.INVALID, detail=detail))

    def _unasked(self, exemption: Exemption) -> None:
        self.telemetry.record(PassedUnasked(reason=exemption))

    def _incident(
        self, door: str, incident: "HttpIncident | SocketIncident", error: Exception | None
    ) -> None:
        if error is not None:
            self.telemetry.record(WorkerFailed(where=door, error=error))
        else:
            self.telemetry.record(DoorIncident(door=door, incident=incident))
