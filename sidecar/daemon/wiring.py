"""Wires the services of one sidecar to its ports; the daemon and the tests call the same `wire`.

    ports --> view --> audit --> intake --> admin
                '----> checks

Each room of services is built by a function of its own from the ports and the rooms before it.
Nothing is started here, and nothing here knows an adapter.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
from sidecar.service.audit.fan_out import BACKLOG, FanOut
from sidecar.service.audit.prompt_budget import Budget
from sidecar.service.audit.rescore_all import AllSessionsRescorer
from sidecar.service.audit.sweep import Sweeper
from sidecar.service.checks.checker import Checker, Verifier
from sidecar.service.checks.decision_ids import DecisionIds
from sidecar.service.checks.decision_takers import DecisionTaker
from sidecar.service.checks.single_use import ProofConsumer
from sidecar.service.history.history import History
from sidecar.service.history.reader import HistoryReader
from sidecar.service.intake.admission import Admission, Crowding
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
from sidecar.service.records.fact_reader import FactReader
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.fleet import FleetRecords
from sidecar.service.records.spooled_facts import Pending
from sidecar.service.shared_table.publisher import Clocks, Publisher, TableDirectory
from sidecar.service.view.news_router import NewsRouter
from sidecar.service.view.store_epoch import BEAT, Guard
from sidecar.service.view.view import View
from sidecar.service.view.watchers import Watches
from sidecar.service.view.write_back import WriteBack
from sidecar.wire.settings.settings import Eviction, Settings
from sidecar.wire.store.keys import StoreKeys

if TYPE_CHECKING:
    from sidecar.service.traces.event_spans import EventWay, TracedWorkLog
    from sidecar.service.traces.tracer import Tracer


class SharedMemory(NamedTuple):
    """The port to memory that apps read: its place, the clocks that they have, the machine's boot.

    `random_bytes` gives what nobody can guess.
    """

    files: TableDirectory
    monotonic: Callable[[], int]
    boot: bytes
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports of one sidecar's services to the outside, and their configuration.

    `sidecar` is an id of this life of the process; `worker` says in words who works on what.
    `router` gets the news of `news`. `bound` gives how many sessions the view holds. `written`
    returns once what was recorded before is on its way out. `spool` keeps events while the store is
    `away`; None: there is no spool. `crowded` says which part of the store's queue is filled.
    `outbox` takes announcements for recipients; None: there are none.
    `shared_table` is the memory in which apps find what they need not ask; None: they ask.
    `decision_log` takes decisions; None: they are not logged. `tracer` takes spans; None: there are
    no traces. `may_judge` says whether the policies in force are those of a moment; None: always.
    `lost_state` and `refuses_writes` are called with what is wrong in words; empty: nothing.
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
    new_fact_id: Callable[[], str]
    jitter: Callable[[], float] = random.random
    written: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    away: Callable[[], bool] = lambda: False
    crowded: Callable[[], float] = float
    spool: Spool | None = None
    outbox: Outbox | None = None
    shared_table: SharedMemory | None = None
    decision_log: DecisionTaker | None = None
    tracer: "Tracer | None" = None
    may_judge: Callable[[float], bool] | None = None
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
    history: History
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
    history: HistoryReader
    acts: Acts


@dataclass(frozen=True, kw_only=True)
class Services:
    """All services of one sidecar, by their rooms; `router` hands them the news."""

    router: NewsRouter
    view: ViewServices
    audit: AuditServices
    intake: IntakeServices
    publisher: Publisher | None
    checker: Checker
    admin: AdminServices


def wire(ports: Ports) -> Services:
    """Build all services of one sidecar upon these ports."""
    view = _wire_view(ports)
    audit = _wire_audit(ports, view)
    intake = _wire_intake(ports, view, audit)
    ports.router.connect(
        view=view.view,
        guard=view.guard,
        acknowledger=intake.acknowledger,
        way=_way_of_events(ports),
    )
    publisher = _wire_publisher(ports, view)
    return Services(
        router=ports.router,
        view=view,
        audit=audit,
        intake=intake,
        publisher=publisher,
        checker=_wire_checker(ports, view, publisher),
        admin=_wire_admin(ports, view, audit),
    )


def _way_of_events(ports: Ports) -> "EventWay | None":
    if ports.tracer is None:
        return None
    from sidecar.service.traces.event_spans import EventWay  # noqa: PLC0415 - where there are traces

    return EventWay(ports.tracer, ports.clock)


def _traced(ports: Ports, worklog: WorkLog) -> "WorkLog | TracedWorkLog":
    if ports.tracer is None:
        return worklog
    from sidecar.service.traces.event_spans import TracedWorkLog  # noqa: PLC0415 - likewise

    return TracedWorkLog(worklog, ports.tracer, ports.clock)


def _wire_view(ports: Ports) -> ViewServices:
    history = History(
        store=ports.store,
        names=ports.names,
        telemetry=ports.telemetry,
        clock=ports.clock,
        settings=lambda: ports.settings().history,
    )
    records = FactRecords(
        ports.store,
        ports.names,
        ports.clock,
        lambda: ports.settings().sessions,
        history.of_signal,
    )
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
    records.has_room, records.began = view.has_room, view.began
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
    view.stepped = history.step
    return ViewServices(
        records=records,
        history=history,
        fleet=fleet,
        pending=pending,
        watches=watches,
        view=view,
        guard=guard,
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
        history=of.history,
        announcer=Announcer(ports.outbox, ports.telemetry) if ports.outbox is not None else None,
        way=_way_of_events(ports),
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
        worker=ports.worker,
        policy_set=lambda: ports.in_force.policy_set,
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
    worklog.began = of.view.began
    intake = Intake(
        records=of.records,
        view=of.view,
        auditor=audit.auditor,
        fan_out=audit.fan_out.add,
        worklog=_traced(ports, worklog),
        place_of=ports.place_of,
        placed=acknowledger.remember,
        namespaces=ports.namespaces,
        sources=lambda: events.sources,
        lacks=lambda: of.guard.lacks,
    )
    spool_fallback = _wire_spool_fallback(ports, of.pending, intake, letters)
    events = _wire_admission(ports, of, audit.auditor, intake, spool_fallback)
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
        beside=(ports.names.backlog(BACKLOG), audit.fan_out.look_again),
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
    ports: Ports,
    of: ViewServices,
    auditor: Auditor,
    intake: Intake,
    spool_fallback: SpoolFallback | None,
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
        crowding=lambda: Crowding(ports.crowded(), auditor.crowded),
    )


def _wire_publisher(ports: Ports, of: ViewServices) -> Publisher | None:
    memory = ports.shared_table
    if memory is None:
        return None
    return Publisher(
        settings=ports.settings(),
        view=of.view,
        files=memory.files,
        clocks=Clocks(ports.clock, memory.monotonic),
        boot=memory.boot,
        random_bytes=memory.random_bytes,
        telemetry=ports.telemetry,
    )


def _wire_checker(ports: Ports, of: ViewServices, publisher: Publisher | None) -> Checker:
    configuration = ports.in_force.configuration
    checker = Checker(
        settings=configuration.settings,
        routes=configuration.routes,
        verifier=ports.verifier,
        view=of.view,
        place_of=ports.place_of,
        telemetry=ports.telemetry,
        clock=ports.clock,
        new_id=ports.new_fact_id,
        decision_ids=DecisionIds(ports.new_id()),
        proof_consumer=ProofConsumer(
            records=of.records, view=of.view, telemetry=ports.telemetry, new_id=ports.new_fact_id
        ),
        refused=of.history.refuse,
        publisher=publisher,
        decision_log=ports.decision_log,
        traces=ports.tracer,
        may_judge=ports.may_judge,
    )
    checker.want_claims(configuration.claims)
    return checker


def _wire_admin(ports: Ports, of: ViewServices, audit: AuditServices) -> AdminServices:
    history = HistoryReader(
        telemetry=ports.telemetry,
        store=ports.store,
        records=of.records,
        names=ports.names,
        clock=ports.clock,
        settings=ports.settings,
    )
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
            history=history.of_session,
        ),
        history=history,
        acts=Acts(
            records=FactReader(of.pending, ports.names, ports.clock),
            view=of.view,
            settings=ports.settings,
            ids=RequestIds(records=of.fleet, life=lambda: ports.settings().sessions.facts_ttl),
            clock=ports.clock,
            new_id=ports.new_id,
        ),
    )
