"""The work log: what an event did to its sessions is logged, whoever dies first.

An event is in force as soon as it is joined. What is left to do is to log and count the marks that
it brought, once of all sidecars (`entries`). The sidecar that takes the event enters it here in
the same round trip, and strikes it out when all is logged; so each event that was acknowledged is
logged or entered. What has been in somebody's hands for `OVERDUE` seconds is claimed by another:
its taker died, or has too much to do. Of two that claim, one gets it; and if both should work on
it, an audit entry is claimed once.

An entry whose work fails for its own sake, time and again, goes to the dead letters. Where a part
of the log is full, an event is not entered, which is counted: it is in force all the same, and
logged when one of its sessions is next read.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, assert_never

import trio

from sidecar.domain.facts.facts import Scope
from sidecar.service.intake.dead_letters import DeadLetters, describe
from sidecar.service.observations.observations import (
    DeadReason,
    QueueRejected,
    Telemetry,
    WorkClaimed,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.ports.store import Append, Claim, Finish, Length, Queues, Store
from sidecar.service.records.writes import Write, Written, written
from sidecar.wire.store.keys import SessionName, StoreKeys, parse_name
from sidecar.wire.store.worklog import InvalidEntry, Letter, Work, decode_work, encode_entry

GROUP = b"sidecars"
OVERDUE = 3.0
"""Seconds after which an entry that is not struck out is another's to claim."""

LOOK = 2.0
"""Seconds between two looks for what is overdue; jittered."""

STRIKE = 0.05
"""Seconds for which what is done gathers, to be struck out together."""

CLAIMED = 32
"""Entries that are claimed at a time of one part of the log."""


class Handle(NamedTuple):
    """An entry in this sidecar's hands: its queue, its id, and how often it was taken."""

    key: bytes
    id: bytes
    times: int


class WorkEntry:
    """An event of this sidecar's own in the log: `service.audit.auditor.OpenWork`."""

    __slots__ = ("_handle", "_log", "_work")

    def __init__(self, log: "WorkLog", handle: Handle, work: Work) -> None:
        self._log = log
        self._handle = handle
        self._work = work

    @property
    def event(self) -> str:
        """The event's id."""
        return self._work.event

    def done(self) -> None:
        """Have the entry struck out, soon: all is logged."""
        self._log.strike(self._handle)

    async def failed(self, error: Exception) -> None:
        """Leave the entry for another try, or bury it: the work failed."""
        await self._log.failed(self._handle, self._work, error)


class WorkLog:
    """The work log of one sidecar.

    `work` audits an event's sessions, or raises. `tries` are made before an entry becomes a dead
    letter; a part of the log holds `bound` entries.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        queues: Queues,
        store: Store,
        names: StoreKeys,
        letters: DeadLetters,
        fan_out: Callable[[str, bytes], Awaitable[None]],
        telemetry: Telemetry,
        work: Callable[[str, Sequence[SessionName], str], Awaitable[None]],
        clock: Callable[[], float],
        tries: Callable[[], int],
        bound: Callable[[], int],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queues = queues
        self._store = store
        self._names = names
        self._letters = letters
        self._fan_out = fan_out
        self._telemetry = telemetry
        self._work = work
        self._clock = clock
        self._tries = tries
        self._bound = bound
        self._jitter = jitter
        self._done: list[Handle] = []
        self._has_done = trio.Event()
        self.waiting = 0

    async def add(self, work: Work, *writes: Write) -> tuple[WorkEntry | None, list[Written]]:
        """Join, and enter the event in the log, in one round trip.

        Raises `Unavailable`, `Overloaded`.

        None: the log is full.
        """
        key = self._names.work_log(work.of)
        one = Append(key, encode_entry(work), self._bound(), GROUP)
        appended, joined = await self._queues.append(one, *(write.join for write in writes))
        answers = written(joined)
        if not appended.id:
            self._telemetry.record(QueueRejected(queue="work-log"))
            return None, answers
        return WorkEntry(self, Handle(key, appended.id, 1), work), answers

    def strike(self, handle: Handle) -> None:
        """Have an entry struck out, soon: all of it is logged."""
        self._done.append(handle)
        self._has_done.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Strike out what is done, and claim what is overdue, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_striking)
            nursery.start_soon(self._keep_looking)
            task_status.started()

    async def _keep_striking(self) -> None:
        while True:
            await self._has_done.wait()
            await trio.sleep(STRIKE)
            try:
                await self.strike_out()
            except (Unavailable, Overloaded):
                await trio.sleep(LOOK)  # they are claimed by others, who find nothing to log

    async def strike_out(self) -> None:
        """Strike out what is done. Raises `Unavailable`, with nothing lost."""
        done, self._done = self._done, []
        self._has_done = trio.Event()
        by_key: dict[bytes, list[bytes]] = {}
        for handle in done:
            by_key.setdefault(handle.key, []).append(handle.id)
        finishes = [Finish(key, tuple(ids), GROUP) for key, ids in by_key.items()]
        if not finishes:
            return
        try:
            await self._queues.finish(*finishes)
        except BaseException:
            self._done = (done + self._done)[-self._bound() :]
            self._has_done.set()
            raise

    async def _keep_looking(self) -> None:
        while True:
            await trio.sleep(LOOK * (0.5 + self._jitter()))
            try:
                while await self.look():
                    await trio.lowlevel.checkpoint()
            except (Unavailable, Overloaded):
                continue
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="work-log", error=error))

    async def look(self) -> bool:
        """Claim what is overdue and do it; True where there may be more of it."""
        keys = self._names.work_logs()
        asked = (*keys, self._names.dead_letters())
        *lengths, self._letters.waiting = await self._queues.lengths(*map(Length, asked))
        self.waiting = sum(lengths)
        held = [key for key, length in zip(keys, lengths, strict=True) if length]
        if not held:
            return False
        answers = await self._queues.claim(*(Claim(key, GROUP, OVERDUE, CLAIMED) for key in held))
        claimed = [
            (Handle(key, entry.id, entry.times), entry.payload)
            for key, answer in zip(held, answers, strict=True)
            for entry in answer.entries
        ]
        if claimed:
            self._telemetry.record(WorkClaimed(entries=len(claimed)))
        for handle, payload in claimed:
            await self._redo(handle, payload)
        return any(len(answer.entries) == CLAIMED for answer in answers)

    async def _redo(self, handle: Handle, payload: bytes) -> None:
        try:
            work = decode_work(payload)
        except InvalidEntry as error:
            letter = Letter(0.0, "", "", 0, "", "", payload)
            await self._give_up(handle, DeadReason.DAMAGED, str(error), letter)
            return
        try:
            await self._do(work)
        except Exception as error:  # noqa: BLE001 - a worker loop: logged, and on
            await self.failed(handle, work, error)
        else:
            self.strike(handle)

    async def failed(self, handle: Handle, work: Work, error: Exception) -> None:
        """Leave an entry whose work failed for another try, unless it had enough of them."""
        if isinstance(error, Overloaded | Unavailable) and not isinstance(error, StoreRefused):
            return  # that is no fault of the entry
        self._telemetry.record(WorkerFailed(where="rescore", error=error))
        if handle.times < self._tries():
            return
        refused = isinstance(error, StoreRefused)
        reason = DeadReason.REFUSED if refused else DeadReason.FAILED
        letter = Letter(0.0, "", "", 0, work.cause, work.event, work.signal)
        words = str(error) if refused else describe(error)
        await self._give_up(handle, reason, words, letter)

    async def _give_up(
        self, handle: Handle, reason: DeadReason, error: str, letter: Letter
    ) -> None:
        try:
            if await self._letters.bury(reason, error, handle.times, letter):
                self.strike(handle)
        except (Unavailable, Overloaded):
            return  # it is claimed again

    async def _do(self, work: Work) -> None:
        match work.scope:
            case Scope.SESSION:
                name = parse_name(work.of.encode())
                await self._work(work.cause, [name] if name is not None else [], work.event)
            case Scope.USER:
                await self._do_all(work, self._names.user_index(work.of))
            case Scope.DEVICE:
                await self._do_all(work, self._names.device_index(work.of))
            case _:
                assert_never(work.scope)

    async def _do_all(self, work: Work, index: bytes) -> None:
        """Look at the sessions of an index; of a large one this is left to the backlog."""
        found = await self._store.members(index, int(self._clock() * 1000))
        if found.bookmark:
            await self._fan_out(work.cause, index)
            return
        names = [name for member in found.keys if (name := parse_name(member))]
        await self._work(work.cause, names, work.event)
