"""The services of one daemon on its store, its news and its configuration, and their life."""

import math
import os
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import DurableEvents
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.files.spool import FileSpool
from sidecar.adapters.files.watcher import FileWatcher
from sidecar.adapters.geography.geography import Geography
from sidecar.adapters.process import collector
from sidecar.adapters.process.memory import resident
from sidecar.adapters.redis.backlog import RedisBacklogs
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.adapters.shared_memory.table_files import TableFiles, boot_id, path_of
from sidecar.adapters.telemetry.metrics import ScrapedLevel
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.daemon.configuration.acr_offers import AcrOffers
from sidecar.daemon.configuration.in_force import InForce, Swap
from sidecar.daemon.configuration.unusable import naming_key
from sidecar.daemon.decision_logging import DecisionLogging
from sidecar.daemon.doors.intake_wiring import Outside
from sidecar.daemon.forms import forms_in_use
from sidecar.daemon.reloader import Reloader
from sidecar.daemon.trust import Trust
from sidecar.daemon.wiring import Ports, SharedMemory, wire
from sidecar.service.admin.health import TRANSMITTERS, Health
from sidecar.service.checks.kept_answers import KEPT_BOUND
from sidecar.service.observations.observations import (
    CredentialRefused,
    LinkState,
    LinkStatus,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.records.fleet import FleetRecords
from sidecar.service.view.memory_guard import MemoryGuard
from sidecar.service.view.news_router import NewsRouter
from sidecar.service.view.upkeep.kept_folds import KEPT_FOLDS
from sidecar.service.view.view_rescore import ViewRescore
from sidecar.shared_signals.receiver_wiring import Reception
from sidecar.shared_signals.transmitter_wiring import Transmission
from sidecar.wire.config.memory_shares import Shares
from sidecar.wire.events.sources import share_of
from sidecar.wire.privacy.sealed_forms import UNSEALED, SealedForms, Sealing, names_under
from sidecar.wire.settings.settings import Settings, SpoolSettings
from sidecar.wire.store.keys import StoreKeys

if TYPE_CHECKING:
    from sidecar.daemon.configuration.bundled_policies import BundledPolicies
    from sidecar.daemon.tracing import Tracing
    from sidecar.service.bundles.follower import BundleFollower


class Parts(Protocol):
    """The parts of the daemon that its services use."""

    in_force: InForce
    environ: Mapping[str, str]
    telemetry: PrometheusTelemetry
    health: Health
    geography: Geography
    trust: Trust
    acr_offers: AcrOffers
    store_credentials: StoreCredentials
    memory: int | None
    shares: Shares

    def store_refuses(self, reason: str) -> None:
        """Note why the store takes no writes; empty: it takes them."""

    def forms_disagree(self, trouble: str, newcomer: bool) -> None:  # noqa: FBT001 - a hook's
        """Note that sidecars write what others do not read; empty: they read each other's."""


class DaemonServices:
    """The services of one daemon on its adapters: built, started in order, and finished.

    `link` makes the link for news, given who takes them.
    """

    def __init__(
        self,
        daemon: Parts,
        store: RedisStore,
        link: Callable[[NewsRouter], RedisNews],
        forms: SealedForms | None = None,
    ) -> None:
        self._daemon = daemon
        self._store = store
        self._started = started = daemon.in_force.started
        self._names = names_under(started.store.prefix, forms)
        self._sealing: Sealing = forms or UNSEALED
        self._sidecar = new_id()
        telemetry = daemon.telemetry
        self.tracing = self._tracing()
        self.transmission: Transmission | None = None
        if started.transmitter.issuer:
            settings = daemon.in_force.settings()
            self.transmission = Transmission(settings, store, telemetry, new_id, self._sealing)
        self.spool = self._spool_of(daemon.in_force.settings().spool)
        self.speakers = Speakers(
            daemon.in_force.settings,
            telemetry.record,
            lambda owner: telemetry.record(CredentialRefused(door="events", address=owner)),
        )
        self.decisions = DecisionLogging(
            daemon.in_force, telemetry, self._sidecar, self.speakers.peer
        )
        router = NewsRouter(telemetry)
        self.news = link(router)
        self.bundles = self._bundles()
        self.wired = wire(self._ports(router))
        self.reception = self._reception()
        self.outside = self._outside()
        self.memory_guard = MemoryGuard(
            (
                self.wired.view.view,
                daemon.trust.verifier,
                self.wired.checker.kept_answers,
                self.wired.view.view.kept_folds,
            ),
            most=daemon.memory,
            resident=resident,
            telemetry=telemetry,
            reclaim=collector.collect_everything,
        )
        self.view_rescore = ViewRescore(
            view=self.wired.view.view,
            place_of=daemon.geography.place,
            telemetry=telemetry,
            clock=clock.now,
            new_id=new_id,
        )
        self.reloader = self._reloader()
        self.watcher = FileWatcher(
            daemon.in_force.configuration.watched, self.reloader.changed, telemetry
        )
        self.reloader.watcher = self.watcher
        self._follower = self._bundle_follower(router)
        self.forms = forms_in_use(
            daemon.in_force.settings,
            forms,
            records=FleetRecords(store, self._names, clock.now),
            telemetry=telemetry,
            judge=daemon.forms_disagree,
        )
        self._expose_levels(telemetry)
        daemon.in_force.follow(self._follow)

    @property
    def store(self) -> RedisStore:
        """The store."""
        return self._store

    @property
    def names(self) -> StoreKeys:
        """The names of the store's keys."""
        return self._names

    def _tracing(self) -> "Tracing | None":
        if not self._started.traces.endpoint:
            return None
        from sidecar.daemon.tracing import Tracing  # noqa: PLC0415 - only where there are traces

        return Tracing(self._daemon.in_force, self._daemon.telemetry, self._sidecar)

    def _ports(self, router: NewsRouter) -> Ports:
        daemon, store = self._daemon, self._store
        return Ports(
            in_force=daemon.in_force,
            names=self._names,
            sidecar=self._sidecar,
            # So that an operator can see who works on what: in Kubernetes the pod's name.
            worker=f"{socket.gethostname()[:64]}/{new_id()[:8]}",
            bound=lambda: daemon.shares.sessions,
            store=store,
            news=self.news,
            router=router,
            queues=RedisQueues(store),
            backlogs=RedisBacklogs(store, self._names, sealing=self._sealing),
            verifier=daemon.trust.verifier,
            place_of=daemon.geography.place,
            telemetry=daemon.telemetry,
            clock=clock.now,
            new_id=new_id,
            new_fact_id=new_fact_id,
            written=daemon.telemetry.written,
            away=lambda: store.away,
            crowded=lambda: store.crowded,
            spool=self.spool,
            outbox=self.transmission.outbox if self.transmission is not None else None,
            shared_table=self._shared_memory(),
            decision_log=self.decisions.log,
            tracer=None if self.tracing is None else self.tracing.tracer,
            may_judge=self.bundles.turnover.passes if self.bundles is not None else None,
            lost_state=self._lost_state,
            refuses_writes=daemon.store_refuses,
        )

    def _bundles(self) -> "BundledPolicies | None":
        """Return what takes up signed bundles, where policies come from these."""
        if not self._started.policies.bundle.enabled:
            return None
        from sidecar.daemon.configuration.bundled_policies import (  # noqa: PLC0415 - only where there are any
            BundledPolicies,
        )

        return BundledPolicies(
            in_force=self._daemon.in_force,
            environ=self._daemon.environ,
            store=self._store,
            names=self._names,
            sidecar=self._sidecar,
            telemetry=self._daemon.telemetry,
            health=self._daemon.health,
        )

    def _bundle_follower(self, router: NewsRouter) -> "BundleFollower | None":
        if self.bundles is None:
            return None
        self.bundles.sets.reloader = self.reloader
        if self.wired.publisher is not None:
            self.bundles.on_turn(self.wired.publisher.suspend)
        follower = self.bundles.follower(self.news)
        router.connect_policies(follower)
        return follower

    def _shared_memory(self) -> SharedMemory | None:
        table = self._started.shared_table
        if not table.enabled:
            return None
        with naming_key(self._daemon.in_force.configuration.file, "shared_table", path="enabled"):
            boot = boot_id()
        path = table.path or path_of(self._started.socket.path)
        files = TableFiles(path, table.group or self._started.socket.group)
        return SharedMemory(files, time.monotonic_ns, boot, os.urandom)

    def _spool_of(self, settings: SpoolSettings) -> FileSpool | None:
        if not settings.dir:
            return None
        return FileSpool(
            settings,
            on_incident=self._daemon.telemetry.record,
            on_state=self._spool_state,
            share_of=lambda source: share_of(self._daemon.in_force.settings(), source).spool,
            sealing=self._sealing,
        )

    def _reception(self) -> Reception:
        return Reception(
            self._started,
            events=self.events_at("receiver"),
            store=self._store,
            names=self._names,
            telemetry=self._daemon.telemetry,
            sidecar=self._sidecar,
            current=self._daemon.in_force.settings,
            judged=self._judge_transmitters,
        )

    def _outside(self) -> Outside:
        return Outside(
            self._started,
            events=self.events_at("intake"),
            acknowledger=self.wired.intake.acknowledger,
            speakers=self.speakers,
            trust=self._daemon.trust,
            store=self._store,
            view=self.wired.view.view,
            names=self._names,
            telemetry=self._daemon.telemetry,
            new_id=new_id,
            current=self._daemon.in_force.settings,
        )

    def events_at(self, door: str) -> DurableEvents:
        """Return what takes the events of a door."""
        events = self.wired.intake.events
        return events if self.tracing is None else self.tracing.at(door, events)

    def _reloader(self) -> Reloader:
        daemon = self._daemon
        return Reloader(
            daemon.in_force,
            daemon.environ,
            geography=daemon.geography,
            trust=daemon.trust,
            telemetry=daemon.telemetry,
            health=daemon.health,
            rescore_all=self.wired.audit.rescore_all,
            rescore=self.view_rescore,
            transmission=self.transmission,
            reconnect=self._reconnect,
        )

    def _expose_levels(self, telemetry: PrometheusTelemetry) -> None:
        """Have each scrape ask for what there is at that moment."""
        wired, intake, audit = self.wired, self.wired.intake, self.wired.audit
        view, rescore_all, fan_out = wired.view.view, audit.rescore_all, audit.fan_out
        telemetry.level(ScrapedLevel.SESSIONS, lambda: len(view))
        telemetry.level(ScrapedLevel.VIEW_SESSIONS, lambda: len(view))
        telemetry.level(ScrapedLevel.VIEW_LIMIT, lambda: view.limit)
        telemetry.level(ScrapedLevel.TOKENS_LIMIT, lambda: self._daemon.trust.verifier.limit)
        telemetry.level(ScrapedLevel.MARKS_ACTIVE, lambda: audit.sweeper.active_marks)
        telemetry.level(ScrapedLevel.WATCHERS, lambda: len(wired.view.watches))
        if (publisher := wired.publisher) is not None:
            telemetry.level(ScrapedLevel.SHARED_CALLS, lambda: publisher.live)
        telemetry.level(ScrapedLevel.STORE_STALENESS, lambda: _finite(view.staleness()))
        telemetry.stale(self._is_stale)
        telemetry.level(ScrapedLevel.RESCORE_DONE, lambda: rescore_all.progress.done)
        telemetry.level(ScrapedLevel.RESCORE_EXPECTED, lambda: rescore_all.progress.expected)
        telemetry.level(ScrapedLevel.FAN_OUT_DONE, lambda: fan_out.outlook.done)
        telemetry.level(ScrapedLevel.FAN_OUT_EXPECTED, lambda: fan_out.outlook.expected)
        telemetry.level(ScrapedLevel.DEAD_LETTERS, lambda: intake.letters.waiting)
        telemetry.level(ScrapedLevel.WORK_LOG, lambda: intake.worklog.waiting)
        telemetry.queue("rescore", lambda: audit.auditor.waiting)
        telemetry.queue("settle-waits", lambda: intake.acknowledger.waiting)
        if (spool := self.spool) is not None:
            telemetry.level(ScrapedLevel.SPOOL_EVENTS, lambda: spool.waiting)

    async def _reconnect(self, after: Settings) -> None:
        """Show the store who we are anew, where that is another than before."""
        if self._daemon.store_credentials.replace(after.store):
            await self._store.reconnect()

    def _judge_transmitters(self, trouble: str) -> None:
        if trouble:
            self._daemon.health.limping(TRANSMITTERS, trouble)
        elif self._daemon.in_force.settings().receiver.transmitters:
            self._daemon.health.good(TRANSMITTERS)

    def _spool_state(self, trouble: str) -> None:
        if trouble:
            self._daemon.health.limping("spool", trouble)
        else:
            self._daemon.health.good("spool")

    def _follow(self, swap: Swap) -> None:
        """Have those take up another snapshot who derive something from it."""
        after, settings = swap.after, swap.after.settings
        view, checker = self.wired.view.view, self.wired.checker
        if swap.before.settings.tokens.namespaces.all != settings.tokens.namespaces.all:
            view.keep_namespaces()
        if after.evaluator is not swap.before.evaluator:
            view.use(after.evaluator)
        checker.replace(settings, after.routes)
        checker.want_claims(after.claims)
        self.decisions.follow(swap)
        if self.tracing is not None:
            self.tracing.follow(swap)
        if self.wired.publisher is not None:
            self.wired.publisher.replace(settings)
        self.wired.view.guard.remind()
        sessions, tokens, _ = self._daemon.shares
        if swap.before.settings.sessions.view != settings.sessions.view or (
            swap.before.settings.tokens.cache != settings.tokens.cache
        ):
            self.memory_guard.replace((sessions, tokens, KEPT_BOUND, KEPT_FOLDS))
        if self.spool is not None:
            self.spool.replace(settings.spool)
        self.reception.replace()
        self.outside.replace()
        if self.transmission is not None:
            self.transmission.replace(settings)

    def keys_refreshed(self, issuer: str) -> None:
        """Have no token believed, also by who does not ask, whose key its issuer has withdrawn."""
        publisher, source = self.wired.publisher, self._daemon.trust.keys_of(issuer)
        if publisher is not None and source is not None:
            publisher.use_keys(issuer, source.generation)

    def _lost_state(self, trouble: str) -> None:
        if trouble:
            self._daemon.health.limping("losses", trouble)
        else:
            self._daemon.health.good("losses")

    def _is_stale(self, context: str) -> bool:
        return self.wired.view.view.staleness() > self._daemon.in_force.settings().max_staleness(
            context
        )

    def lagging(self, reason: str) -> str:
        """Say for how long news may have been missed, why, and which calls that concerns."""
        staleness = self.wired.view.view.staleness()
        settings = self._daemon.in_force.settings()
        stale = [name for name in settings.contexts if self._is_stale(name)]
        words = f"news may be missed, since {staleness:.0f} s: {reason}"
        if stale:
            words += f"; calls in {', '.join(stale)} are answered as when_unknown says"
        return words

    async def restored(self) -> None:
        """Read what may have been missed, as the link for news is whole again."""
        if self._follower is not None:
            await (
                self._follower.look()
            )  # by which policies, before any session is known to be fresh
        await self.wired.router.restored()
        self._daemon.telemetry.record(LinkState(state=LinkStatus.RESTORED))
        self._daemon.health.good("view")

    async def start(self, work: trio.Nursery) -> None:
        """Start the workers. Raises `ConfigError` where another daemon has the spool."""
        if self.spool is not None and self.wired.intake.spool_fallback is not None:
            with naming_key(self._daemon.in_force.configuration.file, "spool", path="dir"):
                await work.start(self.spool.run)
            await work.start(self.wired.intake.spool_fallback.run)
        await self.decisions.start(work)
        if self.tracing is not None:
            await self.tracing.start(work)
        await self._start_audit(work)
        if self.wired.publisher is not None:
            with naming_key(self._daemon.in_force.configuration.file, "shared_table"):
                await work.start(self.wired.publisher.run)
        await work.start(self.memory_guard.run)
        await work.start(self.view_rescore.run)
        await work.start(self.watcher.run)
        if self._follower is not None:
            await work.start(self._follower.run)
            prefetch = None if self.bundles is None else self.bundles.prefetch()
            if prefetch is not None:
                await work.start(prefetch.run)
        await self.reloader.name_generation()
        self.reloader.record_configuration()
        await self.reloader.warn()
        await work.start(self.wired.audit.rescore_all.run)
        await work.start(self.wired.audit.fan_out.run)
        await work.start(self.wired.intake.acknowledger.run)
        await work.start(self.wired.intake.acknowledger.answer)
        if self.transmission is not None:
            await self.transmission.load()
            await self.transmission.start(work)
        await self.reception.start(work)

    async def _start_audit(self, work: trio.Nursery) -> None:
        """Start what keeps the view, and logs what becomes of its sessions."""
        of, audit = self.wired.view, self.wired.audit
        await work.start(of.view.run)
        await work.start(self.forms.run)
        await work.start(audit.write_back.run)
        await work.start(of.history.run)
        await work.start(of.guard.run)
        for _ in range(self._started.work.workers):
            await work.start(audit.auditor.run)
        await work.start(audit.auditor.keep_marking)
        await work.start(self.wired.intake.worklog.run)
        await work.start(audit.sweeper.run)

    async def finish(self) -> None:
        """Save and log what is left, before the store goes. What is spooled may stay so."""
        await self.decisions.finish()
        try:
            await self._finish_work()
        finally:
            if self.tracing is not None:
                await self.tracing.finish()

    async def _finish_work(self) -> None:
        view, audit, intake = self.wired.view.view, self.wired.audit, self.wired.intake
        with trio.move_on_after(self._daemon.in_force.settings().work.drain_timeout):
            if intake.spool_fallback is not None:
                await intake.spool_fallback.replay()
            await audit.sweeper.finish()
            while view.has_unsaved or audit.auditor.waiting:  # noqa: ASYNC110 - two parts
                await trio.sleep(0.01)
            try:
                await self.wired.view.history.flush()
                await audit.auditor.mark()
                await intake.worklog.strike_out()
            except (Unavailable, Overloaded):
                return  # others claim it, and log it again


def new_id() -> str:
    """Return an id for a fact or event that came without one."""
    return uuid.uuid4().hex


def new_fact_id() -> str:
    """Return an id for what a call shows: nine random bytes, as twelve characters.

    Every session has some, so they are short. They keep apart what is of one microsecond and one
    user, for which 72 bits are plenty.
    """
    return secrets.token_urlsafe(9)


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 1e9
