"""Wires the services of one sidecar to its ports; the daemon and the tests call the same `wire`.

    ports --> view --> audit --> intake --> admin
                '----> checks

Each room of services is built by a function of its own from the ports and the rooms before it.
Nothing is started here, and nothing here knows an adapter.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from sidecar.daemon.configuration.in_force import InForce
from sidecar.domain.facts.signal import Signal
from sidecar.domain.values.location import Place
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.admin.acts import Acts
from sidecar.service.admin.inspection import Inspector
from sidecar.service.audit.announcer import Announcer, Outbox
from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.backlog import Backlogs
from sidecar.service.audit.fan_out import FanOut
from sidecar.service.audit.prompt_budget import Budget
from sidecar.service.audit.rescore_all import AllSessionsRescorer
from sidecar.service.audit.sweep import Sweeper
from sidecar.service.checks.checker import Checker, Verifier
from sidecar.service.checks.single_use import ProofConsumer
from sidecar.service.intake.admission import Admission
from sidecar.service.intake.dead_letters import DeadLetters
from sidecar.service.intake.ended_users import RequestIds
from sidecar.service.intake.fleet_ack import FleetAcknowledger
from sidecar.service.intake.intake import Intake
from sidecar.service.intake.spool_fallback import Spool, SpoolFallback
from sidecar.service.intake.worklog import WorkLog
from sidecar.service.observations.observations import Telemetry
from sidecar.service.ports.calls import Accepted
from sidecar.service.ports.store import GuardedStore, News, Queues
from sidecar.service.records.epochs import EpochRecords
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.fleet import FleetRecords
from sidecar.service.records.reading import FactReader
from sidecar.service.records.spooled_facts import Pending
from sidecar.service.view.news_router import NewsRouter
from sidecar.service.view.store_epoch import BEAT, Guard
from sidecar.service.view.view import View
from sidecar.service.view.watchers import Watches
from sidecar.service.view.write_back import WriteBack
from sidecar.wire.settings.settings import Eviction, Settings
from sidecar.wire.store.keys import StoreKeys


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports of one sidecar's services to the outside, and their configuration.

    `sidecar` is an id of this life of the process; `worker` says in words who works on what.
    `router` gets the news of `news`. `bound` gives how many sessions the view holds. `written`
    returns once what was recorded before is on its way out. `spool` keeps events while the store is
    `away`; None: there is no spool. `outbox` takes announcements for recipients; None: there are
    none. `lost_state` and `refuses_writes` are called with what is wrong in words; empty: nothing.
    """

    in_force: InForce
    names: StoreKeys
    sidecar: str
    worker: str
    bound: Callable[[], int]
    store: GuardedStore
    news: News
    router: NewsRouter
    queues: Queues
    backlogs: Backlogs
    verifier: Verifier
    place_of: Callable[[str], Place]
    telemetry: Telemetry
    clock: Callable[[], float]
    new_id: Callable[[], str]
    jitter: Callable[[], float] = random.random
    written: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    away: Callable[[], bool] = lambda: False
    spool: Spool | None = None
    outbox: Outbox | None = None
    lost_state: Callable[[str], None] = lambda _: None
    refuses_writes: Callable[[str], None] = lambda _: None

    def settings(self) -> Settings:
        """Return the settings in force."""
        return self.in_force.settings()

    def namespaces(self) -> Namespaces:
        """Return the namespaces of the issuers in force."""
        return self.settings().tokens.namespaces


@dataclass(frozen=True, kw_only=True)
class ViewServices:
    """The sessions that this sidecar serves, and what keeps them whole."""

    records: FactRecords
    fleet: FleetRecords
    pending: Pending
    watches: Watches
    view: View
    guard: Guard


@dataclass(frozen=True, kw_only=True)
class AuditServices:
    """The services that log, count and publish each change of a session."""

    auditor: Auditor
    fan_out: FanOut
    rescore_all: AllSessionsRescorer
    sweeper: Sweeper
    write_back: WriteBack


@dataclass(frozen=True, kw_only=True)
class IntakeServices:
    """The services that take events; the doors hand them to `events`."""

    acknowledger: FleetAcknowledger
    letters: DeadLetters
    worklog: WorkLog
    intake: Intake
    spool_fallback: SpoolFallback | None
    events: Admission


@dataclass(frozen=True, kw_only=True)
class AdminServices:
    """The services for what operators look at, and for what they order."""

    inspector: Inspector
    acts: Acts


@dataclass(frozen=True, kw_only=True)
class Services:
    """All services of one sidecar, by their rooms; `router` hands them the news."""

    router: NewsRouter
    view: ViewServices
    audit: AuditServices
    intake: IntakeServices
    checker: Checker
    admin: AdminServices


def wire(ports: Ports) -> Services:
    """Build all services of one sidecar upon these ports."""
    view = _wire_view(ports)
    audit = _wire_audit(ports, view)
    intake = _wire_intake(ports, view, audit)
    ports.router.connect(view=view.view, guard=view.guard, acknowledger=intake.acknowledger)
    return Services(
        router=ports.router,
        view=view,
        audit=audit,
        intake=intake,
        checker=_wire_checker(ports, view),
        admin=_wire_admin(ports, view, audit),
    )


def _wire_view(ports: Ports) -> ViewServices:
    records = FactRecords(ports.store, ports.names, ports.clock, lambda: ports.settings().sessions)
    fleet = FleetRecords(ports.store, ports.names, ports.clock)
    # What waits in the spool is known here already.
    pending, watches = Pending(ports.store), Watches()
    view = View(
        store=pending,
        news=ports.news,
        names=ports.names,
        evaluator=ports.in_force.configuration.evaluator,
        watches=watches,
        telemetry=ports.telemetry,
        clock=ports.clock,
        bound=ports.bound(),
        namespaces=ports.namespaces,
        waiting=pending.waiting,
    )
    watches.bring = view.bring
    guard = Guard(
        sidecar=ports.sidecar,
        store=ports.store,
        view=view,
        records=EpochRecords(ports.store, ports.names, ports.clock, ports.sidecar),
        telemetry=ports.telemetry,
        clock=ports.clock,
        new_id=ports.new_id,
        ttl=lambda: ports.settings().sessions.facts_ttl,
        max_staleness=lambda: ports.settings().sessions.max_staleness,
        revalidate_interval=lambda: ports.settings().sessions.revalidate_interval,
        accepts_eviction=lambda: ports.settings().store.eviction is Eviction.ACCEPT,
        trouble=ports.lost_state,
        refused=ports.refuses_writes,
        listens=lambda: ports.news.staleness() < 3 * BEAT,
    )
    view.witness = guard
    return ViewServices(
        records=records, fleet=fleet, pending=pending, watches=watches, view=view, guard=guard
    )


def _wire_audit(ports: Ports, of: ViewServices) -> AuditServices:
    auditor = _wire_auditor(ports, of)
    return AuditServices(
        auditor=auditor,
        fan_out=FanOut(
            sidecar=ports.worker,
            store=ports.store,
            backlogs=ports.backlogs,
            auditor=auditor,
            telemetry=ports.telemetry,
            clock=ports.clock,
            jitter=ports.jitter,
        ),
        rescore_all=AllSessionsRescorer(
            sidecar=ports.worker,
            store=ports.store,
            records=of.records,
            fleet=of.fleet,
            backlogs=ports.backlogs,
            auditor=auditor,
            names=ports.names,
            place_of=ports.place_of,
            telemetry=ports.telemetry,
            clock=ports.clock,
            share=lambda: ports.settings().work.rescore_share,
            jitter=ports.jitter,
        ),
        sweeper=Sweeper(
            view=of.view,
            auditor=auditor,
            clock=ports.clock,
            pause=lambda: ports.in_force.pause(lambda now: now.sessions.sweep_interval),
            telemetry=ports.telemetry,
        ),
        write_back=WriteBack(
            view=of.view,
            records=of.records,
            telemetry=ports.telemetry,
            saved=auditor.saved,
        ),
    )


def _wire_auditor(ports: Ports, of: ViewServices) -> Auditor:
    return Auditor(
        records=of.records,
        view=of.view,
        telemetry=ports.telemetry,
        clock=ports.clock,
        new_id=ports.new_id,
        queue=ports.settings().work.queue,
        written=ports.written,
        announcer=Announcer(ports.outbox, ports.telemetry) if ports.outbox is not None else None,
        budget=Budget(
            settings=lambda: ports.settings().friction,
            records=of.records,
            telemetry=ports.telemetry,
        ),
    )


def _wire_intake(ports: Ports, of: ViewServices, audit: AuditServices) -> IntakeServices:
    acknowledger = FleetAcknowledger(
        sidecar=ports.sidecar,
        records=of.records,
        fleet=of.fleet,
        news=ports.news,
        view=of.view,
        telemetry=ports.telemetry,
        max_staleness=lambda: ports.settings().longest_staleness,
    )

    async def take_again(signal: Signal) -> Accepted:
        return await intake.accept(signal)

    letters = DeadLetters(
        queues=ports.queues,
        names=ports.names,
        telemetry=ports.telemetry,
        clock=ports.clock,
        bound=lambda: ports.settings().work.dead_letters,
        take=take_again,
    )
    worklog = _wire_worklog(ports, audit, letters)
    intake = Intake(
        records=of.records,
        view=of.view,
        auditor=audit.auditor,
        fan_out=audit.fan_out.add,
        worklog=worklog,
        place_of=ports.place_of,
        placed=acknowledger.remember,
        namespaces=ports.namespaces,
        sources=lambda: events.sources,
        lacks=lambda: of.guard.lacks,
    )
    spool_fallback = _wire_spool_fallback(ports, of.pending, intake, letters)
    events = _wire_admission(ports, of, intake, spool_fallback)
    return IntakeServices(
        acknowledger=acknowledger,
        letters=letters,
        worklog=worklog,
        intake=intake,
        spool_fallback=spool_fallback,
        events=events,
    )


def _wire_worklog(ports: Ports, audit: AuditServices, letters: DeadLetters) -> WorkLog:
    return WorkLog(
        queues=ports.queues,
        store=ports.store,
        names=ports.names,
        letters=letters,
        fan_out=audit.fan_out.add,
        telemetry=ports.telemetry,
        work=audit.auditor.rescore,
        clock=ports.clock,
        tries=lambda: ports.settings().work.tries,
        bound=lambda: ports.settings().work.log,
    )


def _wire_spool_fallback(
    ports: Ports, pending: Pending, intake: Intake, letters: DeadLetters
) -> SpoolFallback | None:
    if ports.spool is None:
        return None
    return SpoolFallback(
        intake=intake,
        spool=ports.spool,
        pending=pending,
        away=ports.away,
        telemetry=ports.telemetry,
        letters=letters,
        tries=lambda: ports.settings().work.tries,
        jitter=ports.jitter,
    )


def _wire_admission(
    ports: Ports, of: ViewServices, intake: Intake, spool_fallback: SpoolFallback | None
) -> Admission:
    """Put between the doors and the write path who may say what."""
    return Admission(
        events=intake if spool_fallback is None else spool_fallback,
        view=of.view,
        records=FactReader(of.pending, ports.names, ports.clock),
        namespaces_of=intake.namespaces_of,
        settings=ports.settings,
        clock=ports.clock,
        telemetry=ports.telemetry,
    )


def _wire_checker(ports: Ports, of: ViewServices) -> Checker:
    configuration = ports.in_force.configuration
    checker = Checker(
        settings=configuration.settings,
        routes=configuration.routes,
        verifier=ports.verifier,
        view=of.view,
        place_of=ports.place_of,
        telemetry=ports.telemetry,
        clock=ports.clock,
        new_id=ports.new_id,
        proof_consumer=ProofConsumer(
            records=of.records, view=of.view, telemetry=ports.telemetry, new_id=ports.new_id
        ),
    )
    checker.want_claims(configuration.claims)
    return checker


def _wire_admin(ports: Ports, of: ViewServices, audit: AuditServices) -> AdminServices:
    return AdminServices(
        inspector=Inspector(
            store=ports.store,
            records=of.records,
            view=of.view,
            auditor=audit.auditor,
            names=ports.names,
            clock=ports.clock,
            rescore_all=audit.rescore_all,
            fan_out=audit.fan_out,
            settings=ports.settings,
        ),
        acts=Acts(
            records=FactReader(of.pending, ports.names, ports.clock),
            view=of.view,
            settings=ports.settings,
            ids=RequestIds(records=of.fleet, life=lambda: ports.settings().sessions.facts_ttl),
            clock=ports.clock,
            new_id=ports.new_id,
        ),
    )
