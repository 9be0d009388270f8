"""The write path's second half: what an event or a check did to sessions is logged and counted.

Enforcement does not wait for this: every sidecar that serves a session derives its standing from
the facts themselves as their news arrives. Here each session that an event touches is read, put
together and told of (see `entries`), in batches, by the sidecar that took the event.
"""

import operator
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import trio

from sidecar.domain.evaluation.announcement import Present
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.announcer import Announcer
from sidecar.service.audit.claims import Claims, Due
from sidecar.service.audit.entries import Known, Telling, Whose, tellings
from sidecar.service.audit.prompt_budget import Budget, Prompted
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import (
    QueueRejected,
    Rescored,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Refused, Unavailable
from sidecar.service.ports.store import Join, Load, Store
from sidecar.service.view.fold_records import (
    Culprit,
    assemble,
    checkpoint_of,
    devices_of,
    forgotten,
)
from sidecar.service.view.live_session import Live, Tracked
from sidecar.service.view.view import View
from sidecar.wire.store.keys import Names, SessionName, digest
from sidecar.wire.store.records import (
    WHO_ISSUER,
    WHO_SESSION,
    WHO_USER,
    told_of,
)

BATCH = 256

LEFT_SHARE = 0.25
"""Part of the time that it takes at most to tell what others left, or what is of many sessions."""


class Enlisted(Protocol):
    """An event's entry in the work log, which wants to know how its work ended."""

    @property
    def event(self) -> str:
        """The event's id."""

    def told(self) -> None:
        """All is told."""

    async def failed(self, error: Exception) -> None:
        """It went wrong."""


class Task:
    """Sessions to look at, and why: `cause` is an event type or what was reloaded."""

    __slots__ = ("cause", "enlisted", "names")

    def __init__(
        self, cause: str, names: Sequence[SessionName], enlisted: Enlisted | None = None
    ) -> None:
        self.cause = cause
        self.names = names
        self.enlisted = enlisted


class UnreadableError(Exception):
    """A field of a record is damaged, or of another version."""


class Assembled:
    """A session read from the store, with all its records; `slot` is where its own lies."""

    __slots__ = ("name", "others", "record", "slot")

    def __init__(self, name: SessionName, slot: int, record: Record, others: list[Record]) -> None:
        self.name = name
        self.slot = slot
        self.record = record
        self.others = others

    @property
    def namespace(self) -> str:
        """Whose names it is known by."""
        return self.record.get(WHO_ISSUER, b"").decode("utf-8", "replace")

    @property
    def of_user(self) -> Record:
        """What is known of the user: the record beside the locator's."""
        return self.others[1] if len(self.others) > 1 else {}


class Rescorer:
    """Tells what has become of sessions.

    Its queue is bounded: when it is full, the sessions are left to the work log, and to the sweeps
    of the sidecars that serve them, which find what is untold.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Store,
        view: View,
        names: Names,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        queue: int,
        written: Callable[[], Awaitable[None]],
        announcer: Announcer | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._announcer = announcer
        self._budget = budget
        self._store = store
        self._view = view
        self._names = names
        self._telemetry = telemetry
        self._clock = clock
        self._claims = Claims(
            store=store,
            view=view,
            telemetry=telemetry,
            clock=clock,
            new_id=new_id,
            written=written,
        )
        self._send, self._receive = trio.open_memory_channel[Task](queue)
        self._working = 0

    @property
    def waiting(self) -> int:
        """How many tasks wait or are being worked on."""
        return self._receive.statistics().current_buffer_used + self._working

    def put(
        self, cause: str, names: Iterable[SessionName], enlisted: Enlisted | None = None
    ) -> None:
        """Have these sessions looked at, soon."""
        wanted = tuple(names)
        if not wanted:
            return
        try:
            self._send.send_nowait(Task(cause, wanted, enlisted))
        except trio.WouldBlock:
            self._telemetry.record(QueueRejected(queue="rescore"))

    async def saved(self, tracked: Tracked) -> None:
        """A record of the view was saved: have its sessions looked at, if any is untold."""
        names = []
        turns = Turns()
        for live in tuple(tracked.lives):
            if live.state.established and self.untold(live):
                names.append(live.name)
            await turns.give_way()
        self.put("session-presented", names)

    async def drain(self) -> None:
        """Do what waits, and return."""
        while self.waiting:
            await self._do(self._receive.receive_nowait())
        await self._claims.mark()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work for ever. Several may run at once, and `keep_marking` beside them."""
        task_status.started()
        async for task in self._receive.clone():
            self._working += 1
            try:
                await self._do(task)
            except (Unavailable, Overloaded):
                # What is untold stays so in the records; the work log or a sweep finds it.
                await trio.sleep(0.1)
            finally:
                self._working -= 1

    async def _do(self, task: Task) -> None:
        """Do a task. Raises `Unavailable` and `Overloaded`; what else goes wrong is told."""
        try:
            event = task.enlisted.event if task.enlisted else ""
            await self.rescore(task.cause, task.names, event, at_hand=True)
        except (Unavailable, Overloaded) as error:
            if task.enlisted is None or not isinstance(error, Refused):
                raise
            await task.enlisted.failed(error)
        except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
            if task.enlisted is None:
                self._telemetry.record(WorkerFailed(where="rescore", error=error))
            else:
                await task.enlisted.failed(error)
        else:
            if task.enlisted is not None:
                self._claims.then(task.enlisted.told)

    async def rescore(
        self, cause: str, names: Sequence[SessionName], event: str = "", *, at_hand: bool = False
    ) -> None:
        """Look at these sessions now, in batches that give way to others.

        `at_hand`: what is to be told came in here, so that sessions which the view holds need not
        be read; what another left may not be known here yet.

        What goes wrong with one of them is told, or for an `event` raised when the others are
        done; so is that what the event said had to be set aside. On return all is marked as told,
        but what is `at_hand` soon after (`Claims.then`).
        """
        troubles: list[Exception] = []
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            sessions = self._held(batch) if at_hand else []
            held = {session.name for session in sessions}
            sessions += await self.read([name for name in batch if name not in held])
            # What leads here is struck out when this is done: so others' claims are waited for.
            patient = not at_hand or bool(event)
            turns = Turns() if at_hand else Turns(LEFT_SHARE)
            troubles += await self._tell(sessions, turns, event=event, patient=patient)
            self._telemetry.record(Rescored(cause=cause, sessions=len(sessions)))
            await trio.lowlevel.checkpoint()
        if not at_hand:
            await self._claims.mark()
        if troubles and event:
            raise troubles[0]
        for error in troubles:
            self._telemetry.record(WorkerFailed(where="rescore", error=error))

    async def judge_anew(self, cause: str, sessions: Sequence[Assembled]) -> None:
        """Look at sessions that were read: not for an event, but as they are judged otherwise."""
        # Whoever has these judged rests between their pages.
        turns = Turns(share=1)
        for error in await self._tell(sessions, turns, by_event=False, patient=True):
            self._telemetry.record(WorkerFailed(where="resweep", error=error))
        await self._claims.mark()
        self._telemetry.record(Rescored(cause=cause, sessions=len(sessions)))

    def _held(self, names: Sequence[SessionName]) -> list[Assembled]:
        sessions = []
        for live in filter(None, map(self._view.held, names)):
            others = [live.locator, live.users, *live.devices.values()]
            record = live.own.record
            others_of = [one.record for one in others]
            sessions.append(Assembled(live.name, live.own.slot, record, others_of))
        return sessions

    async def read(self, names: Sequence[SessionName]) -> list[Assembled]:
        """Sessions with all their records: two round trips, however many they are."""
        if not names:
            return []
        users = {name.user: self._names.user_record(name.user) for name in names}
        loads = [Load(self._names.session_record(name)) for name in names]
        loads += [Load(self._names.locator(name.session)) for name in names]
        loads += [Load(key) for key in users.values()]
        loaded = [answer.record for answer in await self._store.load(*loads)]
        count = len(names)
        of_user = dict(zip(users, loaded[2 * count :], strict=True))
        devices = [
            {
                digest(loaded[i].get(WHO_ISSUER, b"").decode("utf-8", "replace"), device)
                for device in devices_of(loaded[i]) | devices_of(loaded[count + i])
            }
            for i in range(count)
        ]
        wanted = sorted(set().union(*devices))
        answers = []
        if wanted:
            answers = await self._store.load(
                *(Load(self._names.device_record(device)) for device in wanted)
            )
        of_device = {d: answer.record for d, answer in zip(wanted, answers, strict=True)}
        return [
            Assembled(
                name,
                self._names.slot(self._names.session_record(name)),
                loaded[i],
                [loaded[count + i], of_user[name.user], *(of_device[d] for d in devices[i])],
            )
            for i, name in enumerate(names)
            if loaded[i]
        ]

    async def _tell(
        self,
        sessions: Iterable[Assembled],
        turns: Turns,
        *,
        event: str = "",
        by_event: bool = True,
        patient: bool,
    ) -> list[Exception]:
        """Tell what is untold of these sessions; gives what went wrong with single ones."""
        now = self._clock()
        evaluator = self._view.evaluator
        due: list[Due] = []
        checkpoints: list[Join] = []
        troubles: list[Exception] = []
        prompted: list[Prompted] = []
        for session in sessions:
            await turns.give_way()
            try:
                found = _untold(evaluator, session, now, self._announcer)
            except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
                troubles.append(error)
                continue
            troubles += _choked(found.culprits, event)
            key = self._names.session_record(session.name)
            channel = self._names.user_channel(session.name.user)
            due += [Due(key, channel, telling) for telling in found.missing]
            prompted.append(_prompted(session, found.missing))
            if found.checkpoint:
                checkpoints.append(
                    Join(
                        key,
                        found.checkpoint,
                        int(now * 1000) + 60_000,  # at least; a record's expiry only grows
                        int(now * 1000),
                        publish=channel,
                        want_record=False,
                    )
                )
        if self._budget is not None:
            # Before the claims, as it can be done again: nothing is lost with a sidecar that dies.
            await self._budget.count(prompted, now)
        if checkpoints:
            await self._store.join(*checkpoints)
            for join in checkpoints:
                self._view.hear(join.key, join.fields)
        if due and self._announcer is not None:
            # Before the claims: what is claimed has been recorded, whoever dies in between.
            behind = await self._announcer.record([one.telling for one in due])
            due = [one for one in due if one.telling.news_id not in behind]
        await self._claims.tell(due, by_event=by_event, patient=patient)
        return troubles

    async def keep_marking(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Mark what was told as such, for ever."""
        await self._claims.run(task_status=task_status)

    async def mark(self) -> None:
        """Mark what was told as such, now. Raises `Unavailable`, `Overloaded`."""
        await self._claims.mark()

    def untold(self, live: Live) -> bool:
        """Whether something of a session in the view is yet to be told."""
        now = self._clock()
        evaluator = self._view.evaluator
        standing = live.standing(evaluator, now)
        looked_at = (live.state, live.own.record, standing)
        if len(live.told) == len(looked_at) and all(map(operator.is_, live.told, looked_at)):
            return False
        told = told_of(live.own.record)
        policies = [policy.id for policy in evaluator.policies]
        whose = Whose(live.session, live.user, live.namespace)
        missing = tellings(Known(whose, told, policies), live.state, standing, now)
        announcer = self._announcer
        if announcer is not None and not missing:
            present = Present(evaluator, live.state, standing, int(now * MICROSECONDS))
            missing = announcer.tellings(whose, told, present, ())
        if missing:
            return True
        timed = any(demand.lapses for demand in standing.demands)
        if announcer is not None:
            timed |= announcer.fades(told) or not all(d.binds(now) for d in standing.demands)
        if not timed:
            live.told = looked_at  # nothing can be missing until one of these is another
        return False


def _prompted(session: Assembled, missing: Iterable[Telling]) -> Prompted:
    """The prompts among what is untold of a session."""
    subject = session.record.get(WHO_USER, b"").decode() or session.name.user
    moments = {telling.prompt for telling in missing if telling.prompt is not None}
    return Prompted(session.name, subject, tuple(sorted(moments)), session.namespace)


class _Untold(NamedTuple):
    """What is to be told of a session, its new checkpoint if it is time for one, what choked."""

    missing: list[Telling]
    checkpoint: Record
    culprits: tuple[Culprit, ...] = ()


def _choked(culprits: Iterable[Culprit], event: str) -> list[Exception]:
    """Why what an event said had to be set aside; empty where it had not."""
    return [
        one.error or UnreadableError("what the event said cannot be read back")
        for one in culprits
        if event and one.stamp.id == event
    ]


def _untold(
    evaluator: Evaluator, session: Assembled, now: float, announcer: Announcer | None
) -> _Untold:
    records, issuer = (session.record, session.others), session.namespace
    folded = assemble(evaluator, session.name.session, *records, issuer=issuer)
    folded.state.lost = forgotten(evaluator, session.slot, (session.record, *session.others))
    state, culprits = folded.state, folded.culprits
    if not state.established:
        return _Untold([], {}, culprits)
    standing = evaluator.standing(state, int(now * MICROSECONDS))
    whose = Whose(
        session.record.get(WHO_SESSION, b"").decode() or session.name.session,
        session.record.get(WHO_USER, b"").decode() or session.name.user,
        session.namespace,
    )
    policies = [policy.id for policy in evaluator.policies]
    told = told_of(session.record)
    missing = tellings(Known(whose, told, policies), state, standing, now)
    if announcer is not None:
        present = Present(evaluator, state, standing, int(now * MICROSECONDS))
        missing = announcer.tellings(whose, told, present, missing)
    checkpointed = checkpoint_of(evaluator, session.name.session, *records, issuer=issuer)
    return _Untold(missing, checkpointed, culprits)
