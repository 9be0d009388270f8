"""The second half of the write path: logs and counts what events and checks did to sessions.

Enforcement does not wait for this: every sidecar that serves a session derives its standing from
the facts themselves as their news arrives. Here each session that an event touches is read, put
together and logged (see `entries`), in batches, by the sidecar that took the event.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import trio

from sidecar.domain.evaluation.announcement import Present
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.session.standing import Standing
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.announcer import Announcer
from sidecar.service.audit.claims import AuditClaims, DueEntries
from sidecar.service.audit.entries import AuditEntry, RecordedEntries, Whose, pending_entries
from sidecar.service.audit.prompt_budget import Budget, Prompted
from sidecar.service.audit.turns import Turns
from sidecar.service.history.history import History
from sidecar.service.history.transitions import LookedAt
from sidecar.service.observations.observations import (
    QueueRejected,
    Rescored,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.records.fact_reader import SessionRecord, StoredSession
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.writes import Write
from sidecar.service.view.fold_records import (
    Culprit,
    assemble,
    checkpoint_of,
    forgotten,
)
from sidecar.service.view.live_session import Live, Tracked
from sidecar.service.view.view import View
from sidecar.wire.store.keys import SessionName
from sidecar.wire.store.records import last_logged_of

BATCH = 256

TOGETHER = 32
"""Events whose sessions are looked at together, where so many wait."""

LEFT_SHARE = 0.25
"""Part of the time that it takes at most to log what others left, or what is of many sessions."""


class OpenWork(Protocol):
    """An event's entry in the work log, which wants to know how its work ended."""

    @property
    def event(self) -> str:
        """The event's id."""

    @property
    def key(self) -> str:
        """The event's key, its id within all sources."""

    def begun(self) -> None:
        """Note that it waits for its turn here, so that nobody else need do it."""

    def done(self) -> None:
        """Note that all of the event is logged."""

    def left(self) -> None:
        """Note that nobody here works on it any more, though it is not done."""

    async def failed(self, error: Exception) -> None:
        """Note that the work went wrong."""


class RescoreTraces(Protocol):
    """Records the way of events."""

    def rescored(self, work: OpenWork, cause: str, sessions: int, began: float) -> None:
        """Record that the sessions of an event were looked at."""


class Task:
    """Sessions to look at, and why: `cause` is an event type or what was reloaded."""

    __slots__ = ("cause", "names", "work")

    def __init__(
        self, cause: str, names: Sequence[SessionName], work: OpenWork | None = None
    ) -> None:
        self.cause = cause
        self.names = names
        self.work = work


class UnreadableError(Exception):
    """A field of a record is damaged, or of another version."""


class _Audited(NamedTuple):
    """A session as it is audited: as what it is known, what it was folded to, how it stands."""

    whose: Whose
    record: Record
    state: State
    standing: Standing
    culprits: tuple[Culprit, ...]


class _Findings:
    """The findings of an audit of several sessions."""

    def __init__(self) -> None:
        self.sessions = 0
        self.due: list[DueEntries] = []
        self.checkpoints: list[Write] = []
        self.prompted: list[Prompted] = []
        self.troubles: list[Exception] = []


class Auditor:
    """Logs and counts what has become of sessions.

    Its queue is bounded: when it is full, the sessions are left to the work log, and to the sweeps
    of the sidecars that serve them, which find what is not logged yet.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        records: FactRecords,
        view: View,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        queue: int,
        written: Callable[[], Awaitable[None]],
        history: History,
        announcer: Announcer | None = None,
        budget: Budget | None = None,
        way: RescoreTraces | None = None,
    ) -> None:
        self._way = way
        self._announcer = announcer
        self._history = history
        self._budget = budget
        self._records = records
        self._view = view
        self._telemetry = telemetry
        self._clock = clock
        self._claims = AuditClaims(
            records=records,
            view=view,
            telemetry=telemetry,
            clock=clock,
            new_id=new_id,
            written=written,
            marked=self._look_again,
        )
        self._bound = queue
        self._send, self._receive = trio.open_memory_channel[Task](queue)
        self._working = 0

    @property
    def announces(self) -> bool:
        """Return whether others are sent what becomes of sessions."""
        return self._announcer is not None

    @property
    def waiting(self) -> int:
        """Return how many tasks wait or are being worked on."""
        return self._receive.statistics().current_buffer_used + self._working

    @property
    def crowded(self) -> float:
        """Return which part of the queue is filled."""
        return self._receive.statistics().current_buffer_used / self._bound

    def put(self, cause: str, names: Iterable[SessionName], work: OpenWork | None = None) -> None:
        """Have these sessions looked at, soon."""
        wanted = tuple(names)
        if not wanted:
            return
        try:
            self._send.send_nowait(Task(cause, wanted, work))
        except trio.WouldBlock:
            self._telemetry.record(QueueRejected(queue="rescore"))
        else:
            if work is not None:
                work.begun()

    async def saved(self, tracked: Tracked) -> None:
        """Have sessions of a record that was saved audited, where anything is yet to be logged."""
        names = []
        turns = Turns()
        for live in tuple(tracked.lives):
            if live.state.established and self.has_pending(live):
                names.append(live.name)
            await turns.give_way()
        self.put("session-presented", names)

    async def drain(self) -> None:
        """Do what waits, and return."""
        while True:
            while self.waiting:
                await self._do(self._receive.receive_nowait())
            await self._claims.mark()  # by which more may be to do
            if not self.waiting:
                return

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work for ever. Several may run at once, and `keep_marking` beside them."""
        task_status.started()
        async for task in self._receive.clone():
            tasks = [task, *self._more()]
            self._working += len(tasks)
            try:
                await self._try_all(tasks)
            finally:
                self._working -= len(tasks)

    async def _try_all(self, tasks: Sequence[Task]) -> None:
        """Do what can be done: the rest stays in the records; the work log or a sweep finds it."""
        try:
            left = await self._do_together(tasks)
        except (Unavailable, Overloaded):
            _leave(tasks)
            await trio.sleep(0.1)
            return
        for place, task in enumerate(left):
            if place:
                await trio.lowlevel.checkpoint()  # of a session in the view nothing is waited for
            try:
                await self._do(task)
            except (Unavailable, Overloaded):
                _leave([task])
                await trio.sleep(0.1)

    def _more(self) -> list[Task]:
        """Take more of what waits, without waiting for it."""
        more: list[Task] = []
        while len(more) + 1 < TOGETHER:
            try:
                more.append(self._receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return more

    async def _do_together(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Do events of one session each that the view holds; return what is left, to do by itself.

        That is also whatever goes wrong: doing a task again finds the same, and logs it once. A
        session of several events is looked at once, as it has them all. Raises `Unavailable`,
        `Overloaded`.
        """
        if len(tasks) == 1:
            return tasks
        began = self._clock()
        findings, done, left = _Findings(), list[Task](), list[Task]()
        seen: set[SessionName] = set()
        turns = Turns()
        for task in tasks:
            await turns.give_way()
            live = self._view.held(task.names[0]) if len(task.names) == 1 else None
            if live is None or live.culprits:
                left.append(task)
                continue
            if live.name not in seen:
                seen.add(live.name)
                self._examine(live, "", findings)
            done.append(task)
        if findings.troubles:
            return tasks
        try:
            await self._record(findings, patient=True)
        except StoreRefused:
            return tasks
        self._count(done)
        for task in done:
            self._trace(task, began)
            if task.work is not None:
                self._claims.then(task.work.done)
        await trio.lowlevel.checkpoint()
        return left

    def _count(self, done: Iterable[Task]) -> None:
        for cause, sessions in Counter(task.cause for task in done).items():
            self._telemetry.record(Rescored(cause=cause, sessions=sessions))

    async def _do(self, task: Task) -> None:
        """Do a task. Raises `Unavailable` and `Overloaded`; what else goes wrong is logged."""
        began = self._clock()
        try:
            event = task.work.event if task.work else ""
            await self.rescore(task.cause, task.names, event, at_hand=True)
        except (Unavailable, Overloaded) as error:
            if task.work is None or not isinstance(error, StoreRefused):
                raise
            await task.work.failed(error)
        except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
            if task.work is None:
                self._telemetry.record(WorkerFailed(where="rescore", error=error))
            else:
                await task.work.failed(error)
        else:
            self._trace(task, began)
            if task.work is not None:
                self._claims.then(task.work.done)

    def _trace(self, task: Task, began: float) -> None:
        if self._way is not None and task.work is not None:
            self._way.rescored(task.work, task.cause, len(task.names), began)

    async def rescore(
        self, cause: str, names: Sequence[SessionName], event: str = "", *, at_hand: bool = False
    ) -> None:
        """Look at these sessions now, in batches that give way to others.

        `at_hand`: this sidecar has accepted the event, so sessions in its view are current and need
        not be read. Otherwise all are read: facts that another sidecar joined may be missing here.

        What goes wrong with one of them is logged, or for an `event` raised when the others are
        done; so is that what the event said had to be set aside. On return all is marked as logged,
        but what is `at_hand` soon after (`AuditClaims.then`).
        """
        troubles: list[Exception] = []
        for start in range(0, len(names), BATCH):
            batch: Sequence[SessionName] = names[start : start + BATCH]
            findings = _Findings()
            if at_hand:
                batch = await self._examine_held(batch, event, findings)
            left = await self.read(batch)
            await self._examine_all(
                left, event, findings, Turns() if at_hand else Turns(LEFT_SHARE)
            )
            # What leads here is struck out when this is done: so others' claims are waited for.
            await self._record(findings, patient=not at_hand or bool(event))
            troubles += findings.troubles
            self._telemetry.record(Rescored(cause=cause, sessions=findings.sessions))
            if start + BATCH < len(names):
                await trio.lowlevel.checkpoint()
        if not at_hand:
            await self._claims.mark()
        if troubles and event:
            raise troubles[0]
        for error in troubles:
            self._telemetry.record(WorkerFailed(where="rescore", error=error))

    async def judge_anew(self, cause: str, sessions: Sequence[StoredSession]) -> None:
        """Audit sessions that were read: not for an event, but as they are judged otherwise."""
        findings = _Findings()
        # Whoever has these judged rests between their pages.
        await self._examine_all(sessions, "", findings, Turns(share=1))
        await self._record(findings, by_event=False, patient=True)
        for error in findings.troubles:
            self._telemetry.record(WorkerFailed(where="rescore-all", error=error))
        await self._claims.mark()
        self._telemetry.record(Rescored(cause=cause, sessions=len(sessions)))

    async def read(self, names: Sequence[SessionName]) -> list[StoredSession]:
        """Read sessions with all their records. Raises `Unavailable`, `Overloaded`."""
        return await self._records.load_sessions(names)

    async def _examine_held(
        self, names: Sequence[SessionName], event: str, findings: _Findings
    ) -> list[SessionName]:
        """Audit those of these sessions that the view holds, as it has folded them.

        Return the others. Whether all of a session is held is asked anew for each: checks go on
        while this gives way, and what they find is not in the store yet.
        """
        left = []
        turns = Turns()
        for name in names:
            await turns.give_way()
            live = self._view.held(name)
            if live is None:
                left.append(name)
            else:
                self._examine(live, event, findings)
        return left

    async def _examine_all(
        self, sessions: Iterable[StoredSession], event: str, findings: _Findings, turns: Turns
    ) -> None:
        """Audit sessions that were read."""
        for session in sessions:
            await turns.give_way()
            self._examine(session, event, findings)

    def _examine(self, session: Live | StoredSession, event: str, findings: _Findings) -> None:
        """Find what is yet to be logged of a session, and whether it is time for a checkpoint."""
        now, evaluator = self._clock(), self._view.evaluator
        findings.sessions += 1
        try:
            if isinstance(session, Live):
                audited = _of_live(evaluator, session, now)
                checkpoint = session.checkpoint(evaluator)
            else:
                audited = _of_stored(evaluator, session, now)
                checkpoint = _checkpoint_of(evaluator, session, audited)
                self._note_as_of(session, event, audited)
                self._note(session.name, audited, now)
            missing = self._missing(evaluator, audited, now) if audited.state.established else []
        except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
            findings.troubles.append(error)
            return
        name = session.name
        findings.troubles += _choked(audited.culprits, event)
        findings.due += [DueEntries(name, entry) for entry in missing]
        findings.prompted.append(_prompted(name, audited.whose, missing))
        if checkpoint is not None:
            write = self._records.amend((checkpoint,), of=SessionRecord(name))
            findings.checkpoints.append(write)

    def _note(self, name: SessionName, audited: _Audited, now: float) -> None:
        """Have the history know what the state of a session shows."""
        whose, _, state, standing, _ = audited
        looked = LookedAt(whose.session, state, standing, int(now * MICROSECONDS))
        self._history.look(name, self._view.evaluator, looked)

    def _note_as_of(self, session: StoredSession, event: str, audited: _Audited) -> None:
        """Have the history know what an event has made of a session, if others came later."""
        if not event or audited.state.last.id == event or not self._history.enabled:
            return
        then = _as_of(self._view.evaluator, session, event)
        if then is not None:
            state, standing = then
            before = audited._replace(state=state, standing=standing)
            self._note(session.name, before, state.last.time / MICROSECONDS)

    def _missing(self, evaluator: Evaluator, audited: _Audited, now: float) -> list[AuditEntry]:
        whose, record, state, standing, _ = audited
        logged = last_logged_of(record)
        policies = [policy.id for policy in evaluator.policies]
        missing = pending_entries(RecordedEntries(whose, logged, policies), state, standing, now)
        if self._announcer is None:
            return missing
        present = Present(evaluator, state, standing, int(now * MICROSECONDS))
        return self._announcer.with_news(whose, logged, present, missing)

    async def _record(self, findings: _Findings, *, by_event: bool = True, patient: bool) -> None:
        """Write, log and count what was found. Raises `Unavailable`, `Overloaded`."""
        due = findings.due
        if self._budget is not None:
            # Before the claims, as it can be done again: nothing is lost with a sidecar that dies.
            await self._budget.count(findings.prompted, self._clock())
        if findings.checkpoints:
            await self._records.join(*findings.checkpoints)
            self._view.learn(*findings.checkpoints)
        # Likewise: whatever is logged is in the history, whoever dies in between.
        await self._history.flush()
        if due and self._announcer is not None:
            # Before the claims: what is claimed has been recorded, whoever dies in between.
            behind = await self._announcer.record([one.entry for one in due])
            due = [one for one in due if one.entry.news_id not in behind]
        await self._claims.log(due, by_event=by_event, patient=patient)

    async def keep_marking(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Mark what was logged as such, for ever."""
        await self._claims.run(task_status=task_status)

    async def mark(self) -> None:
        """Mark what was logged as such, now. Raises `Unavailable`, `Overloaded`."""
        await self._claims.mark()

    async def _look_again(self, names: Iterable[SessionName]) -> None:
        """Have those of these sessions audited of which something is yet to be logged."""
        wanted = []
        turns = Turns(share=1)
        for name in names:
            live = self._view.held(name)
            try:
                if live is not None and live.state.established and self.has_pending(live):
                    wanted.append(name)
            except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
                self._telemetry.record(WorkerFailed(where="rescore", error=error))
            await turns.give_way()
        self.put("sweep", wanted)

    def has_pending(self, live: Live) -> bool:
        """Return whether something of a session in the view is yet to be logged."""
        now = self._clock()
        evaluator = self._view.evaluator
        standing = live.standing(evaluator, now)
        if live.audited == live.standing_number:
            return False
        logged = last_logged_of(live.own.record)
        policies = [policy.id for policy in evaluator.policies]
        whose = Whose(live.session, live.user, live.namespace)
        missing = pending_entries(
            RecordedEntries(whose, logged, policies), live.state, standing, now
        )
        announcer = self._announcer
        if announcer is not None and not missing:
            present = Present(evaluator, live.state, standing, int(now * MICROSECONDS))
            missing = announcer.with_news(whose, logged, present, ())
        if missing:
            return True
        timed = any(demand.lapses for demand in standing.enforced)
        if announcer is not None:
            timed |= announcer.fades(logged) or not all(d.binds(now) for d in standing.enforced)
        if not timed:
            live.audited = live.standing_number  # nothing can be missing until that is another
        return False


def _leave(tasks: Iterable[Task]) -> None:
    for task in tasks:
        if task.work is not None:
            task.work.left()


def _of_live(evaluator: Evaluator, live: Live, now: float) -> _Audited:
    """Return a session as the view has folded it."""
    whose = Whose(live.session, live.user, live.namespace)
    standing = live.standing(evaluator, now)
    return _Audited(whose, live.own.record, live.state, standing, live.culprits)


def _of_stored(evaluator: Evaluator, session: StoredSession, now: float) -> _Audited:
    """Fold a session that was read."""
    namespace, user, identifier, _ = session.identified
    records = (session.record, session.others)
    folded = assemble(evaluator, session.name.session, *records, issuer=namespace)
    folded.state.lost = forgotten(evaluator, session.slot, (session.record, *session.others))
    standing = evaluator.standing(folded.state, int(now * MICROSECONDS))
    whose = Whose(identifier, user, namespace)
    return _Audited(whose, session.record, folded.state, standing, folded.culprits)


def _as_of(
    evaluator: Evaluator, session: StoredSession, event: str
) -> tuple[State, Standing] | None:
    """Fold a session up to an event; None where its facts are not there any more."""
    namespace = session.namespace
    records = (session.record, session.others)
    folded = assemble(evaluator, session.name.session, *records, issuer=namespace)
    until = max((f.stamp for f in folded.facts if f.stamp.id == event), default=None)
    if until is None or (folded.checkpoint and folded.checkpoint.state.last >= until):
        return None
    facts = [fact for fact in folded.facts if fact.stamp <= until]
    state = evaluator.fold(
        session.name.session, facts, checkpoint=folded.checkpoint, issuer=namespace
    )
    return state, evaluator.standing(state, until.time)


def _checkpoint_of(
    evaluator: Evaluator, session: StoredSession, audited: _Audited
) -> Checkpoint | None:
    return checkpoint_of(
        evaluator,
        session.name.session,
        session.record,
        session.others,
        lambda: (audited.state, audited.culprits),
        issuer=session.namespace,
    )


def _prompted(name: SessionName, whose: Whose, missing: Iterable[AuditEntry]) -> Prompted:
    """Return the prompts among what is yet to be logged of a session."""
    moments = {entry.prompt for entry in missing if entry.prompt is not None}
    return Prompted(name, whose.subject, tuple(sorted(moments)), whose.issuer)


def _choked(culprits: Iterable[Culprit], event: str) -> list[Exception]:
    """Return the errors of those facts of an event that could not be folded."""
    return [
        one.error or UnreadableError("what the event said cannot be read back")
        for one in culprits
        if event and one.stamp.id == event
    ]
