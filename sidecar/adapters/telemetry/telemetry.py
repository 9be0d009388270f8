"""Observations become metrics and log lines here, and nowhere else.

Log lines tell what an operator or an auditor would ask for: marks, clearings and revocations
always, checks only where `log.checks` is set, and of refused tokens, which anybody can send, the
first of a kind in a minute with a count of those left out.
"""

import traceback
from collections.abc import Callable
from typing import Any, assert_never

import msgspec
import trio

from sidecar.adapters import clock
from sidecar.adapters.telemetry.configuration import ConfigurationRecord, Configured
from sidecar.adapters.telemetry.label_values import positions_of
from sidecar.adapters.telemetry.logs import Lines, Logger, logger
from sidecar.adapters.telemetry.metrics import PLAIN, Exposition, Form, Level, Metrics, Read
from sidecar.adapters.telemetry.operator import record_act
from sidecar.adapters.telemetry.private_lines import hiding
from sidecar.adapters.telemetry.receiver import Received, record_received
from sidecar.adapters.telemetry.sampled_lines import SampledLines
from sidecar.adapters.telemetry.transmitted import record_transmitted
from sidecar.domain.facts.facts import SIGNALS
from sidecar.domain.policy.policy import State
from sidecar.domain.values.causes import ungrouped
from sidecar.service.observations.observations import (
    BreakGlassUsed,
    Buried,
    Checked,
    ClaimMissing,
    Cleared,
    CredentialRefused,
    DoorIncident,
    EventNotAllowed,
    EventOutcome,
    EventTaken,
    FormsDisagree,
    GeographyFailed,
    GeographyLoaded,
    Introspected,
    KeysOutcome,
    KeysRefreshed,
    LinkState,
    LinkStatus,
    Marked,
    Observation,
    PassedUnasked,
    PromptBudgetExceeded,
    ProofSpent,
    QueueRejected,
    ReportedOnly,
    Rescored,
    RevokedSession,
    SpoolIncident,
    SpoolReplayed,
    SpoolTrouble,
    StoreEvicts,
    StoreLoss,
    StoreLost,
    StoreUp,
    StoreWrittenBack,
    TokenRefused,
    Told,
    ViewEvicted,
    WorkClaimed,
    WorkerFailed,
)
from sidecar.service.observations.operator import OperatorActed
from sidecar.service.observations.transmitter import Transmitted
from sidecar.wire.events.sources import local_source
from sidecar.wire.policies.explanation_log import shortened
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.claims import Flaw, Need

_TRACE_LIMIT = 12
_CAUSES = 16
"""So many causes are told of one outage of the store."""
_MORE_DESCRIPTORS = (
    "no connection can be accepted until one ends: raise the limit of open files (`ulimit -n`,"
    " LimitNOFILE, the container runtime's), or lower `max_connections`"
)
_LINE_EVERY = 60.0
"""Seconds between two log lines of the same source that wants more than it may."""


class Telemetry:
    """The `Telemetry` of `service.observations`, with what only daemon and adapters ask for.

    Run `run` in the outermost nursery: it takes the writing of log lines off the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        lines: Lines | None = None,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._lines = lines or Lines()
        self._hidden = hiding(settings.privacy)
        self._log: Logger = logger(settings.log, self._lines, now, self._hidden)
        self._logging, self._checks = settings.log, settings.log.checks
        self.metrics = Metrics(settings.contexts)
        self._configuration = ConfigurationRecord(self.metrics, settings, now)
        self._lines.on_drop = self.metrics.log_lines_dropped.inc
        self._sampled = SampledLines(
            lambda event, **told: self._log.info(event, **told)  # noqa: PLW0108 - as it then is
        )
        # The hot ones, without a step between.
        self.checked = self.metrics.checked
        self.stored = self.metrics.stored
        self._now = now
        self._issuers = positions_of(settings)
        self._sources = self._sources_of(settings)
        self._count_claims(settings)
        self._said: dict[tuple[str, ...], tuple[float, int]] = {}
        self._store_up: bool | None = None
        self._store_told: set[str] = set()  # why it is down, since it is
        self._lacking: set[tuple[str, str]] = set()  # issuers and claims that their tokens lack
        self._silent: set[str] = set()  # issuers that do not answer about tokens

    @property
    def log(self) -> Logger:
        """The logger as it is configured now."""
        return self._log

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write log lines in a thread, and tell of those that were left out, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._lines.run)
            nursery.start_soon(self._sampled.run)
            task_status.started()

    def configured(self, settings: Settings) -> None:
        """Take over what a reload may change: contexts, issuers and how to log."""
        if settings.log != self._logging:
            self._logging, self._checks = settings.log, settings.log.checks
            self._log = logger(settings.log, self._lines, self._now, self._hidden)
        self.metrics.configured(settings.contexts)
        self._issuers = positions_of(settings)
        self._sources = self._sources_of(settings)
        self._count_claims(settings)
        self._configuration.configured(settings)

    def _count_claims(self, settings: Settings) -> None:
        """Have a series of each claim that the tokens of an issuer may lack, from the start."""
        for position, issuer in enumerate(settings.tokens.issuers):
            names = (issuer.session_claim, issuer.auth_time_claim, issuer.acr_claim)
            for claim in (*names, issuer.groups_claim, issuer.roles_claim):
                self.metrics.claims_missing.labels(str(position), claim)

    def _sources_of(self, settings: Settings) -> dict[str, str]:
        """Return the sources that a metric may name, each of which has its series from now on."""
        named = [*(one.name for one in settings.sources), local_source(settings)]
        named += [one.name for one in settings.receiver.transmitters]
        for source in named:
            for kind in SIGNALS:
                self.metrics.not_allowed.labels(source, kind)
        return dict(zip(named, named, strict=True))

    def answered(self, route: str, status: int) -> None:
        """Count an HTTP request. `route` is the route's template or a fixed name, not the path."""
        self.metrics.http_requests.labels(route, status).inc()

    def level(self, level: Level, read: Read) -> None:
        """Ask `read` at each scrape; it must neither block nor raise."""
        self.metrics.level(level, read)

    def stale(self, is_stale: Callable[[str], bool]) -> None:
        """Ask at each scrape whether the view is too old for a context; it must not block."""
        self.metrics.stale(is_stale)

    def queue(self, name: str, depth: Read) -> None:
        """Ask `depth` at each scrape how much waits in a bounded queue."""
        self.metrics.queue(name, depth)

    def expose(self, form: Form = PLAIN) -> Exposition:
        """Render all metrics."""
        return self.metrics.expose(form)

    async def written(self) -> None:
        """Return once the lines of all that was recorded until now are written."""
        await self._lines.written()

    def record(self, observation: Observation) -> None:  # noqa: C901, PLR0912, PLR0915 - one a case
        """Count it and, where worth a line, log it. Safe to call from any thread."""
        if isinstance(observation, Received):
            record_received(observation, self.metrics.received, self._log)
            return
        if isinstance(observation, Configured):
            self._configuration.record(observation, self._log)
            return
        match observation:
            case Marked():
                self._marked(observation)
            case Cleared():
                self._cleared(observation)
            case RevokedSession():
                self._revoked(observation)
            case ReportedOnly():
                self._reported_only(observation)
            case BreakGlassUsed():
                self._break_glass(observation)
            case PromptBudgetExceeded():
                self._over_budget(observation)
            case EventTaken():
                self._event_taken(observation)
            case EventNotAllowed():
                self._not_allowed(observation)
            case Rescored():
                self._rescored(observation)
            case Checked():
                self._checked(observation)
            case StoreUp():
                self._store(observation)
            case StoreLost():
                self._store_lost(observation)
            case StoreWrittenBack():
                self._log.info("store-written-back", records=observation.records)
            case StoreEvicts():
                self._store_evicts(observation)
            case LinkState():
                self._link(observation)
            case ProofSpent():
                self.metrics.proofs_spent.labels(observation.outcome).inc()
            case PassedUnasked():
                self.metrics.unasked.labels(observation.reason).inc()
            case TokenRefused():
                self._token_refused(observation)
            case CredentialRefused():
                self._credential_refused(observation)
            case ClaimMissing():
                self._claim_missing(observation)
            case Introspected():
                self._introspected(observation)
            case Transmitted():
                record_transmitted(observation, self.metrics.transmitter, self._log)
            case KeysRefreshed():
                self._keys_refreshed(observation)
            case GeographyLoaded():
                self.metrics.geography_built.labels(observation.database).set(observation.built)
            case GeographyFailed():
                self._geography_failed(observation)
            case QueueRejected():
                self.metrics.queue_rejected.labels(observation.queue).inc()
            case ViewEvicted():
                self.metrics.view_evictions.inc(observation.sessions)
            case SpoolIncident():
                self._spool_incident(observation)
            case SpoolReplayed():
                self._spool_replayed(observation)
            case Buried():
                self._buried(observation)
            case OperatorActed():
                record_act(observation, self.metrics.operators, self._log)
            case WorkClaimed():
                self.metrics.work_claimed.inc(observation.entries)
            case DoorIncident():
                self._door_incident(observation)
            case WorkerFailed():
                self._worker_failed(observation)
            case FormsDisagree():
                self._log.error("privacy-forms-disagree", detail=observation.detail)
            case Told():
                write = self._log.warning if observation.warning else self._log.info
                write(observation.event, **observation.fields)
            case _:
                assert_never(observation)

    def _marked(self, mark: Marked) -> None:
        metrics = self.metrics
        policy, signal = metrics.policies[mark.policy], metrics.mark_signals[mark.signal]
        state = State.REPORT_ONLY if mark.report_only else State.ENABLED
        metrics.marks.labels(policy, signal, state).inc()
        if mark.signal_to_mark_seconds is not None:
            metrics.signal_to_mark.observe(mark.signal_to_mark_seconds)
        self._sampled.write(
            "session-would-be-marked" if mark.report_only else "session-marked",
            (mark.policy, *mark.by) if mark.by else (),
            session=mark.session,
            subject=mark.subject,
            **_issuer(mark.issuer),
            policy=mark.policy,
            signal=mark.signal,
            contexts=mark.contexts,
            since=mark.since,
            reason=mark.text,
            **_again(mark),
        )

    def _cleared(self, mark: Cleared) -> None:
        self.metrics.marks_cleared.labels(mark.reason).inc()
        self._sampled.write(
            "mark-cleared",
            (mark.policy, mark.reason, *mark.by) if mark.by else (),
            session=mark.session,
            subject=mark.subject,
            **_issuer(mark.issuer),
            policy=mark.policy,
            cleared_by=mark.reason,
            reason=mark.text,
            **_again(mark),
        )

    def _revoked(self, revoked: RevokedSession) -> None:
        self.metrics.revocations.inc()
        self._sampled.write(
            "session-revoked",
            revoked.by,
            session=revoked.session,
            subject=revoked.subject,
            reason=revoked.reason,
            **_issuer(revoked.issuer),
            **_again(revoked),
        )

    def _reported_only(self, report: ReportedOnly) -> None:
        policy = self.metrics.policies[report.policy]
        self.metrics.report_only.labels(policy, report.decision, report.answered).inc()
        log = self._log.info if self._checks else self._log.debug
        log("would-have-decided", **_told(report))

    def _break_glass(self, used: BreakGlassUsed) -> None:
        self.metrics.break_glass.labels(used.decision).inc()
        self._log.warning("break-glass-used", **_told(used))

    def _over_budget(self, over: PromptBudgetExceeded) -> None:
        self.metrics.over_budget.inc()
        self._log.warning("prompt-budget-exceeded", **_told(over))

    def _event_taken(self, event: EventTaken) -> None:
        kind = self.metrics.event_types[event.type]
        self.metrics.events.labels(kind, event.outcome).inc()
        log = {
            EventOutcome.FAILED: self._log.error,
            EventOutcome.OVERLOADED: self._log.warning,
        }.get(event.outcome, self._log.debug)
        log(
            f"event-{event.outcome}",
            type=event.type,
            id=event.id,
            source=event.source,
            label=event.label,
            detail=event.detail,
        )

    def _not_allowed(self, refused: EventNotAllowed) -> None:
        """Count it, and log each source's first of a type in a minute: a flood is one line."""
        source = self._sources.get(refused.source, "other")
        kind = self.metrics.event_types[refused.type]
        self.metrics.not_allowed.labels(source, kind).inc()
        if self._unsaid("event-not-allowed", source, kind) is not None:
            self._log.warning("event-not-allowed", **msgspec.structs.asdict(refused))

    def _unsaid(self, event: str, *of: str) -> int | None:
        """Say how many lines were left out since the last; None: this one is to be left out, too.

        A line of each kind in a minute. `of`, like the event, is of a closed set.
        """
        now = self._now()
        said_at, unsaid = self._said.get((event, *of), (-_LINE_EVERY, 0))
        if now - said_at < _LINE_EVERY:
            self._said[event, *of] = said_at, unsaid + 1
            return None
        self._said[event, *of] = now, 0
        return unsaid

    def _door_incident(self, told: DoorIncident) -> None:
        self.metrics.incidents.labels(told.door, told.incident).inc()
        if told.incident != "no-descriptor":
            return
        unsaid = self._unsaid("descriptors-exhausted")
        if unsaid is not None:
            self._log.warning(
                "descriptors-exhausted", door=told.door, unsaid=unsaid, detail=_MORE_DESCRIPTORS
            )

    def _credential_refused(self, refused: CredentialRefused) -> None:
        self.metrics.incidents.labels(refused.door, "wrong-credential").inc()
        event = f"{refused.door}-credential-refused"
        unsaid = self._unsaid(event)
        if unsaid is not None:
            self._log.warning(event, address=refused.address, unsaid=unsaid)

    def _token_refused(self, refused: TokenRefused) -> None:
        """Count it, and log each issuer's first of a reason in a minute: a flood is one line."""
        self.metrics.invalid_tokens.labels(refused.reason).inc()
        position = self._issuers.get(refused.issuer, "other")
        unsaid = self._unsaid("token-refused", refused.reason, position)
        if unsaid is not None:
            ordinary = refused.reason == Flaw.EXPIRED  # the course of things
            log = self._log.info if ordinary else self._log.warning
            told = {"reason": refused.reason, **_issuer(refused.issuer), "detail": refused.detail}
            log("token-refused", **told, unsaid=unsaid)

    def _rescored(self, rescored: Rescored) -> None:
        cause = self.metrics.causes[rescored.cause]
        self.metrics.rescored.labels(cause).inc(rescored.sessions)
        self._log.debug("sessions-rescored", cause=rescored.cause, sessions=rescored.sessions)

    def _checked(self, check: Checked) -> None:
        if self._checks:
            told = check.explanation
            why = {} if told is None else {"explanation": shortened(told)}
            self._log.info(
                "checked",
                decision=check.verdict,
                context=check.context,
                session=check.session,
                subject=check.subject,
                **_issuer(check.issuer),
                status=check.status,
                seconds=round(check.seconds, 6),
                reasons=[f"{reason.policy}: {reason.text}" for reason in check.reasons],
                **why,
            )

    def _store(self, store: StoreUp) -> None:
        self.metrics.store_up.set(store.up)
        if store.up:
            if not self._store_up:
                self._log.info("store-up", detail=store.detail)
            self._store_told.clear()
        elif store.detail not in self._store_told and len(self._store_told) < _CAUSES:
            self._store_told.add(store.detail)
            self._log.error("store-down", detail=store.detail)
        self._store_up = store.up

    def _store_lost(self, lost: StoreLost) -> None:
        self.metrics.store_losses.labels(lost.loss).inc()
        log = self._log.warning if lost.loss is StoreLoss.TOLD else self._log.error
        log("store-lost", kind=lost.loss, floor=lost.floor, slots=_spans(lost.slots))

    def _store_evicts(self, evicts: StoreEvicts) -> None:
        slots = _spans(evicts.slots)
        if not evicts.policy:
            detail = "the user may not ask INFO: evicted records are noticed late, if at all"
            self._log.warning("store-eviction-unknown", slots=slots, detail=detail)
        elif evicts.policy == "noeviction":
            self._log.info("store-keeps", slots=slots)
        else:
            detail = "marks and revocations may be evicted; users are asked to sign in each time"
            policy = evicts.policy
            self._log.warning("store-evicts", maxmemory_policy=policy, slots=slots, detail=detail)

    def _buried(self, buried: Buried) -> None:
        self.metrics.dead_letters.labels(buried.reason).inc()
        self._log.error(
            "dead-letter",
            type=buried.type,
            id=buried.event,
            reason=buried.reason,
            error=buried.error,
            tries=buried.tries,
        )

    def _spool_incident(self, incident: SpoolIncident) -> None:
        self.metrics.spool_troubles.labels(incident.trouble).inc()
        torn = incident.trouble is SpoolTrouble.TORN
        log = self._log.warning if torn else self._log.error
        log("spool-trouble", trouble=incident.trouble, detail=incident.detail)

    def _spool_replayed(self, replayed: SpoolReplayed) -> None:
        self.metrics.spool_replayed.inc(replayed.events)
        self._log.info("spool-replayed", **msgspec.structs.asdict(replayed))

    def _link(self, link: LinkState) -> None:
        match link.state:
            case LinkStatus.LOST:
                self.metrics.link_up.set(0)
                self._log.warning("news-lost", detail=link.detail)
            case LinkStatus.RESTORED:
                self.metrics.link_up.set(1)
                self._log.info("news-restored", detail=link.detail)
            case _:
                assert_never(link.state)

    def _keys_refreshed(self, keys: KeysRefreshed) -> None:
        position = self._issuers.get(keys.issuer, "other")
        self.metrics.jwks_refreshes.labels(position, keys.outcome).inc()
        done = keys.outcome is KeysOutcome.DONE
        log = self._log.debug if done else self._log.warning
        event = "keys-refreshed" if done else "keys-not-refreshed"
        log(event, issuer=keys.issuer, outcome=keys.outcome, detail=keys.detail)

    def _claim_missing(self, missing: ClaimMissing) -> None:
        position = self._issuers.get(missing.issuer, "other")
        self.metrics.claims_missing.labels(position, missing.claim).inc()
        if (missing.issuer, missing.claim) in self._lacking:
            return  # told already
        self._lacking.add((missing.issuer, missing.claim))
        self._log.warning(
            "token-claim-missing",
            issuer=missing.issuer,
            claim=missing.claim,
            detail=_LACKING[missing.need],
        )

    def _introspected(self, asked: Introspected) -> None:
        position = self._issuers.get(asked.issuer, "other")
        self.metrics.introspections.labels(position, asked.outcome).inc()
        if asked.outcome == "skipped":
            return
        self.metrics.introspection_seconds.observe(asked.seconds)
        if asked.outcome == "invalid":
            # Of one token: whoever sends such ones must not fill the log.
            unsaid = self._unsaid("introspection-unclear", position)
            if unsaid is not None:
                told = {"issuer": asked.issuer, "detail": asked.detail}
                self._log.warning("introspection-unclear", **told, unsaid=unsaid)
            return
        answers = asked.outcome in ("active", "refused")
        if answers is not (asked.issuer in self._silent):
            return  # told already
        if answers:
            self._silent.discard(asked.issuer)
            self._log.info("introspection-restored", issuer=asked.issuer)
        elif self._unsaid("introspection-failed", position) is not None:
            self._silent.add(asked.issuer)
            self._log.warning("introspection-failed", issuer=asked.issuer, detail=asked.detail)

    def _geography_failed(self, failed: GeographyFailed) -> None:
        self.metrics.geography_errors.inc()
        self._log.debug("geography-lookup-failed", database=failed.database, detail=failed.detail)

    def _worker_failed(self, failed: WorkerFailed) -> None:
        self.metrics.worker_errors.labels(failed.where).inc()
        for error in ungrouped(failed.error):
            # Only what and where: a message may quote the payload it choked on.
            frames = traceback.extract_tb(error.__traceback__)[-_TRACE_LIMIT:]
            self._log.error(
                "worker-failed",
                where=failed.where,
                error=type(error).__name__,
                trace=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            )


_LACKING = {
    Need.SESSION: "sessions are known by what tokens.issuers[].session says instead",
    Need.AUTH_TIME: "its tokens prove nothing, and clear no mark: token-without-auth-time",
    Need.ASSURANCE: "neither acr nor amr: its sign-ins show no level of assurance",
    Need.GROUPS: "groups are unknown: see tokens.issuers[].groups_unknown and groups_absent",
    Need.ROLES: "roles are unknown: see tokens.issuers[].roles_unknown and roles_absent",
    Need.CLAIM: "a policy asks for it: where it is unknown, its condition does not hold",
}


def _issuer(issuer: str) -> dict[str, str]:
    """Whose names a line tells, where there is an issuer."""
    return {"issuer": issuer} if issuer else {}


def _again(seen: Marked | Cleared | RevokedSession) -> dict[str, bool]:
    """Say of a line that a sidecar which died may have written it before."""
    return {"again": True} if seen.again else {}


def _told(seen: msgspec.Struct) -> dict[str, Any]:
    """An observation as a line tells it."""
    fields = msgspec.structs.asdict(seen)
    return {name: value for name, value in fields.items() if name != "issuer" or value}


def _spans(slots: tuple[tuple[int, int], ...]) -> list[str]:
    return [f"{first}-{last}" for first, last in slots]
