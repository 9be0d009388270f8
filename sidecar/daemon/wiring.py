"""The journeys of one daemon, wired to its store, its news and its configuration."""

import math
import socket
import uuid
from collections.abc import Mapping
from typing import Protocol

import trio

from sidecar.adapters import clock
from sidecar.adapters.events.intake import Events
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.files.spool import Spool
from sidecar.adapters.files.watcher import FileWatcher
from sidecar.adapters.geography.geography import Geography
from sidecar.adapters.process.memory import resident
from sidecar.adapters.redis.backlog import RedisBacklogs
from sidecar.adapters.redis.news import News
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.adapters.redis_server.credentials import StoreCredentials
from sidecar.adapters.telemetry.metrics import Level
from sidecar.adapters.telemetry.telemetry import Telemetry
from sidecar.daemon.configuration.in_force import InForce
from sidecar.daemon.configuration.loading import Configuration
from sidecar.daemon.configuration.offering import Offering
from sidecar.daemon.configuration.unusable import naming_key
from sidecar.daemon.forms import forms_in_use
from sidecar.daemon.intake_wiring import Outside
from sidecar.daemon.reloading import Reloader
from sidecar.daemon.trust import Trust
from sidecar.domain.facts.signal import Signal
from sidecar.domain.sources.source import Sources
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.admin.acts import Acts
from sidecar.service.admin.health import TRANSMITTERS, Health
from sidecar.service.admin.inspection import Inspector
from sidecar.service.audit.auditor import Rescorer
from sidecar.service.audit.fan_out import FanOut
from sidecar.service.audit.prompt_budget import Budget
from sidecar.service.audit.rescore_all import Resweeper
from sidecar.service.audit.sweep import Sweeper
from sidecar.service.checks.checker import Checker
from sidecar.service.checks.single_use import Spender
from sidecar.service.intake.admission import Admission
from sidecar.service.intake.dead_letters import DeadLetters
from sidecar.service.intake.ended_users import RequestIds
from sidecar.service.intake.fleet_ack import Settler
from sidecar.service.intake.intake import Intake
from sidecar.service.intake.spool_fallback import Spooling
from sidecar.service.intake.worklog import WorkLog
from sidecar.service.observations.observations import (
    CredentialRefused,
    LinkState,
    LinkStatus,
    WorkerFailed,
)
from sidecar.service.ports.calls import Accepted, Overloaded, Unavailable
from sidecar.service.records.facts import FactRecords
from sidecar.service.view.memory_guard import MemoryGuard
from sidecar.service.view.spooled_facts import Pending
from sidecar.service.view.store_epoch import BEAT, Guard
from sidecar.service.view.view import View
from sidecar.service.view.watchers import Watches
from sidecar.service.view.write_back import Saver
from sidecar.shared_signals.receiver_wiring import Reception
from sidecar.shared_signals.transmitter_wiring import Transmission
from sidecar.wire.config.memory_shares import Shares
from sidecar.wire.events.sources import share_of
from sidecar.wire.privacy.sealing import UNSEALED, Forms, Sealing, names_under
from sidecar.wire.settings.settings import Eviction, Settings
from sidecar.wire.settings.settings import Spool as SpoolSettings
from sidecar.wire.store.keys import Names


class Parts(Protocol):
    """What the journeys take from the daemon they are part of."""

    configuration: Configuration
    in_force: InForce
    environ: Mapping[str, str]
    telemetry: Telemetry
    health: Health
    geography: Geography
    trust: Trust
    offering: Offering
    store_credentials: StoreCredentials
    memory: int | None
    shares: Shares

    def store_refuses(self, reason: str) -> None:
        """The store takes no writes; empty: it does."""

    def forms_disagree(self, trouble: str, newcomer: bool) -> None:  # noqa: FBT001 - a hook's
        """Sidecars write what others do not read; empty: they all read each other's."""


class Journeys:
    """The journeys of one daemon, on its store."""

    def __init__(self, daemon: Parts, store: RedisStore, forms: Forms | None = None) -> None:
        self._daemon = daemon
        self._store = store
        self._forms = forms
        self._sealing: Sealing = forms or UNSEALED
        self.watches = Watches()
        self.events: Events
        self.spool: Spool | None = None
        self.spooling: Spooling | None = None
        self.transmission: Transmission | None = None

    def wire(self, news: News) -> None:
        """Build everything that needs the store and its news."""
        daemon, store = self._daemon, self._store
        configuration, current = daemon.in_force.configuration, daemon.in_force.settings
        settings = current()
        telemetry = daemon.telemetry
        names = names_under(settings.store.prefix, self._forms)
        self.records = FactRecords(store, names, clock.now, lambda: current().sessions)
        # What waits in the spool is known here already.
        self.pending = Pending(store)
        self.view = View(
            store=self.pending if settings.spool.dir else store,
            news=news,
            names=names,
            evaluator=configuration.evaluator,
            watches=self.watches,
            telemetry=telemetry,
            clock=clock.now,
            bound=daemon.shares.sessions,
            namespaces=self._namespaces,
            waiting=self.pending.waiting,
        )
        self.watches.bring = self.view.bring
        if settings.transmitter.issuer:
            self.transmission = Transmission(settings, store, telemetry, new_id, self._sealing)
        announcer = self.transmission.announcer if self.transmission else None
        budget = Budget(
            settings=lambda: current().friction,
            store=store,
            names=names,
            telemetry=telemetry,
        )
        self.rescorer = Rescorer(
            store=store,
            view=self.view,
            names=names,
            telemetry=telemetry,
            clock=clock.now,
            new_id=new_id,
            queue=settings.work.queue,
            written=telemetry.written,
            announcer=announcer,
            budget=budget,
        )
        backlogs = RedisBacklogs(store, names, sealing=self._sealing)
        # So that an operator can tell who works on what: in Kubernetes the pod's name.
        worker = f"{socket.gethostname()[:64]}/{new_id()[:8]}"
        self.fan_out = FanOut(
            sidecar=worker,
            store=store,
            backlogs=backlogs,
            rescorer=self.rescorer,
            telemetry=telemetry,
            clock=clock.now,
        )
        self.resweeper = Resweeper(
            sidecar=worker,
            store=store,
            backlogs=backlogs,
            rescorer=self.rescorer,
            names=names,
            place_of=daemon.geography.place,
            telemetry=telemetry,
            clock=clock.now,
            share=lambda: current().work.rescore_share,
        )
        self.checker = Checker(
            settings=settings,
            routes=configuration.routes,
            verifier=daemon.trust.verifier,
            view=self.view,
            names=names,
            place_of=daemon.geography.place,
            telemetry=telemetry,
            clock=clock.now,
            new_id=new_id,
            spender=Spender(store=store, view=self.view, telemetry=telemetry, new_id=new_id),
        )
        self.checker.want_claims(configuration.claims)
        self.settler = Settler(
            sidecar=new_id(),
            store=store,
            news=news,
            view=self.view,
            names=names,
            telemetry=telemetry,
            clock=clock.now,
            max_staleness=lambda: current().longest_staleness,
        )
        self.guard = Guard(
            sidecar=new_id(),
            store=store,
            view=self.view,
            names=names,
            telemetry=telemetry,
            clock=clock.now,
            new_id=new_id,
            ttl=lambda: current().sessions.facts_ttl,
            max_staleness=lambda: current().sessions.max_staleness,
            revalidate_interval=lambda: current().sessions.revalidate_interval,
            accepts_eviction=lambda: current().store.eviction is Eviction.ACCEPT,
            trouble=self._lost_state,
            refused=self._daemon.store_refuses,
            listens=lambda: news.staleness() < 3 * BEAT,
        )
        self.view.witness = self.guard
        queues = RedisQueues(store)
        self.letters = DeadLetters(
            queues=queues,
            names=names,
            telemetry=telemetry,
            clock=clock.now,
            bound=lambda: current().work.dead_letters,
            take=self._take_again,
        )
        self.worklog = WorkLog(
            queues=queues,
            store=store,
            names=names,
            letters=self.letters,
            fan_out=self.fan_out.add,
            telemetry=telemetry,
            work=self.rescorer.rescore,
            clock=clock.now,
            tries=lambda: current().work.tries,
            bound=lambda: current().work.log,
        )
        self.intake = Intake(
            records=self.records,
            view=self.view,
            rescorer=self.rescorer,
            fan_out=self.fan_out.add,
            worklog=self.worklog,
            place_of=daemon.geography.place,
            placed=self.settler.remember,
            namespaces=self._namespaces,
            sources=self._sources,
            lacks=lambda: self.guard.lacks,
        )
        self._wire_admission(names)
        self.reception = Reception(
            settings,
            events=self.events,
            store=store,
            names=names,
            telemetry=telemetry,
            sidecar=new_id(),
            current=current,
            judged=self._judge_transmitters,
        )
        self.outside = Outside(
            settings,
            events=self.events,
            settling=self.settler,
            speakers=self.speakers,
            trust=daemon.trust,
            store=store,
            view=self.view,
            names=names,
            telemetry=telemetry,
            new_id=new_id,
            current=current,
        )
        self.acts = Acts(
            store=self.pending if self.spool is not None else store,
            view=self.view,
            names=names,
            settings=self._daemon.in_force.settings,
            ids=RequestIds(
                store=store,
                names=names,
                clock=clock.now,
                life=lambda: current().sessions.facts_ttl,
            ),
            clock=clock.now,
            new_id=new_id,
        )
        self.saver = Saver(
            view=self.view,
            store=store,
            clock=clock.now,
            ttl=lambda: current().sessions.min_ttl,
            telemetry=telemetry,
            saved=self.rescorer.saved,
        )
        self.sweeper = Sweeper(
            view=self.view,
            rescorer=self.rescorer,
            clock=clock.now,
            pause=lambda: daemon.in_force.pause(lambda now: now.sessions.sweep_interval),
            telemetry=telemetry,
        )
        self.memory_guard = MemoryGuard(
            (self.view, daemon.trust.verifier),
            most=daemon.memory,
            resident=resident,
            telemetry=telemetry,
        )
        self.inspector = Inspector(
            store=store,
            view=self.view,
            rescorer=self.rescorer,
            names=names,
            clock=clock.now,
            resweeper=self.resweeper,
            fan_out=self.fan_out,
            settings=self._daemon.in_force.settings,
        )
        self.reloader = Reloader(
            daemon.in_force,
            daemon.environ,
            view=self.view,
            checker=self.checker,
            geography=daemon.geography,
            trust=daemon.trust,
            telemetry=telemetry,
            health=daemon.health,
            configured=telemetry.configured,
            resweeper=self.resweeper,
            clock=clock.now,
            new_id=new_id,
            transmission=self.transmission,
            taken_up=self._taken_up,
            reconnect=self._reconnect,
        )
        self.watcher = FileWatcher(configuration.watched, self.reloader.changed, telemetry)
        self.reloader.watcher = self.watcher
        self.forms = forms_in_use(
            current,
            self._forms,
            store=store,
            names=names,
            telemetry=telemetry,
            judge=daemon.forms_disagree,
        )
        self._expose_levels(telemetry)

    def _expose_levels(self, telemetry: Telemetry) -> None:
        """Have each scrape ask for what there is at that moment."""
        telemetry.level(Level.SESSIONS, lambda: len(self.view))
        telemetry.level(Level.VIEW_SESSIONS, lambda: len(self.view))
        telemetry.level(Level.VIEW_LIMIT, lambda: self.view.limit)
        telemetry.level(Level.TOKENS_LIMIT, lambda: self._daemon.trust.verifier.limit)
        telemetry.level(Level.MARKS_ACTIVE, lambda: self.sweeper.active_marks)
        telemetry.level(Level.WATCHERS, lambda: len(self.watches))
        telemetry.level(Level.STORE_STALENESS, lambda: _finite(self.view.staleness()))
        telemetry.stale(self._is_stale)
        telemetry.level(Level.RESCORE_DONE, lambda: self.resweeper.progress.done)
        telemetry.level(Level.RESCORE_EXPECTED, lambda: self.resweeper.progress.expected)
        telemetry.level(Level.FAN_OUT_DONE, lambda: self.fan_out.outlook.done)
        telemetry.level(Level.FAN_OUT_EXPECTED, lambda: self.fan_out.outlook.expected)
        telemetry.level(Level.DEAD_LETTERS, lambda: self.letters.waiting)
        telemetry.level(Level.WORK_LOG, lambda: self.worklog.waiting)
        telemetry.queue("rescore", lambda: self.rescorer.waiting)
        telemetry.queue("settle-waits", lambda: self.settler.waiting)

    async def _reconnect(self, after: Settings) -> None:
        """Show the store who we are anew, where that is another than before."""
        if self._daemon.store_credentials.replace(after.store):
            await self._store.reconnect()

    def _namespaces(self) -> Namespaces:
        return self._daemon.in_force.settings().tokens.namespaces

    async def _take_again(self, signal: Signal) -> Accepted:
        return await self.intake.accept(signal)

    def _wire_spool(self, settings: SpoolSettings) -> None:
        daemon, store = self._daemon, self._store
        spool = Spool(
            settings,
            tell=daemon.telemetry.record,
            on_state=self._spool_state,
            share_of=lambda source: share_of(self._daemon.in_force.settings(), source).spool,
            sealing=self._sealing,
        )
        self.spooling = Spooling(
            intake=self.intake,
            spool=spool,
            pending=self.pending,
            away=lambda: store.away,
            telemetry=daemon.telemetry,
            letters=self.letters,
            tries=lambda: daemon.in_force.settings().work.tries,
        )
        self.spool, self.events = spool, self.spooling
        daemon.telemetry.level(Level.SPOOL_EVENTS, lambda: spool.waiting)

    def _sources(self) -> Sources:
        return self.admission.sources

    def _wire_admission(self, names: Names) -> None:
        """Put between the doors and the write path who may say what."""
        self.events = self.intake
        spool = self._daemon.configuration.settings.spool
        if spool.dir:
            self._wire_spool(spool)
        telemetry = self._daemon.telemetry
        self.speakers = Speakers(
            self._daemon.in_force.settings,
            telemetry.record,
            lambda owner: telemetry.record(CredentialRefused(door="events", address=owner)),
        )
        self.events = self.admission = Admission(
            events=self.events,
            view=self.view,
            store=self.pending if self.spool is not None else self._store,
            names=names,
            namespaces_of=self.intake.namespaces_of,
            settings=self._daemon.in_force.settings,
            clock=clock.now,
            telemetry=telemetry,
        )

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

    def _taken_up(self, configuration: Configuration) -> None:
        self.guard.remind()
        self._daemon.offering.use(configuration)
        self.reception.replace(self._daemon.in_force.settings())

    def _lost_state(self, trouble: str) -> None:
        if trouble:
            self._daemon.health.limping("losses", trouble)
        else:
            self._daemon.health.good("losses")

    def _is_stale(self, context: str) -> bool:
        return self.view.staleness() > self._daemon.in_force.settings().max_staleness(context)

    def lagging(self, reason: str) -> str:
        """In words: for how long news may have been missed, why, and which calls that concerns."""
        staleness = self.view.staleness()
        settings = self._daemon.in_force.settings()
        stale = [name for name in settings.contexts if self._is_stale(name)]
        words = f"news may be missed, since {staleness:.0f} s: {reason}"
        if stale:
            words += f"; calls in {', '.join(stale)} are answered as when_unknown says"
        return words

    def own_channel(self, tag: str) -> bytes:
        """The channel on which this daemon hears itself, at the server of this tag's slot."""
        return self.guard.channel(tag)

    def learn(self, key: bytes, fields: dict[bytes, bytes]) -> None:
        """Take up news; never raises."""
        try:
            if self.settler.heard(key, fields):
                self.guard.heard(fields)
            elif not self.guard.has_heard(key):
                self.view.hear(key, fields)
        except Exception as error:  # noqa: BLE001 - a door: counted, and on
            self._daemon.telemetry.record(WorkerFailed(where="news", error=error))

    async def restored(self) -> None:
        """The link for news is whole again: read what may have been missed."""
        await self.guard.check()
        await self.view.revalidate()
        self._daemon.telemetry.record(LinkState(state=LinkStatus.RESTORED))
        self._daemon.health.good("view")

    async def start(self, work: trio.Nursery) -> None:
        """Start the workers. Raises `ConfigError` where another daemon has the spool."""
        if self.spool is not None and self.spooling is not None:
            with naming_key(self._daemon.configuration.file, "spool", path="dir"):
                await work.start(self.spool.run)
            await work.start(self.spooling.run)
        await work.start(self.view.run)
        await work.start(self.forms.run)
        await work.start(self.saver.run)
        await work.start(self.guard.run)
        for _ in range(self._daemon.configuration.settings.work.workers):
            await work.start(self.rescorer.run)
        await work.start(self.rescorer.keep_marking)
        await work.start(self.worklog.run)
        await work.start(self.sweeper.run)
        await work.start(self.memory_guard.run)
        await work.start(self.reloader.run)
        await work.start(self.watcher.run)
        await self.reloader.name_generation()
        self.reloader.tell_configuration()
        await self.reloader.warn()
        await work.start(self.resweeper.run)
        await work.start(self.fan_out.run)
        await work.start(self.settler.run)
        await work.start(self.settler.answer)
        if self.transmission is not None:
            await self.transmission.load()
            await self.transmission.start(work)
        await self.reception.start(work)

    async def finish(self) -> None:
        """Save and tell what is left, before the store goes. What is spooled may stay so."""
        with trio.move_on_after(self._daemon.configuration.settings.work.drain_timeout):
            if self.spooling is not None:
                await self.spooling.replay()
            await self.sweeper.finish()
            while self.view.has_unsaved or self.rescorer.waiting:  # noqa: ASYNC110 - two parts
                await trio.sleep(0.01)
            try:
                await self.rescorer.mark()
                await self.worklog.strike_out()
            except (Unavailable, Overloaded):
                return  # others claim it, and tell it again


def new_id() -> str:
    """An id for a fact or event that came without one."""
    return uuid.uuid4().hex


def _finite(seconds: float) -> float:
    return seconds if math.isfinite(seconds) else 1e9
