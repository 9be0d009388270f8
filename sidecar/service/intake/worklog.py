"""The work log: what an event did to its sessions is logged, whoever dies first.

An event is in force as soon as it is joined. What is left to do is to log and count the marks that
it brought, once of all sidecars (`entries`). The sidecar that takes the event enters it here in
the same round trip, and strikes it out when all is logged; so each event that was acknowledged is
logged or entered. What has been in somebody's hands for `OVERDUE` seconds is claimed by another:
its taker died. Who has too much to do keeps in hand what it still works on, so that it is not done
twice, which would be more to do yet. Of two that claim, one gets it; and if both should work on it,
an audit entry is claimed once.

An entry whose work fails for its own sake, time and again, goes to the dead letters. Where a part
of the log is full, an event is not entered, which is counted: it is in force all the same, and
logged when one of its sessions is next read.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, assert_never

import trio

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.service.intake.dead_letters import DeadLetters, describe
from sidecar.service.observations.observations import (
    DeadReason,
    QueueRejected,
    Telemetry,
    WorkClaimed,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.ports.store import Append, Claim, Finish, Hold, Length, Queues, Store
from sidecar.service.records.writes import Began, Write, Written, written
from sidecar.wire.store.event_keys import event_key
from sidecar.wire.store.keys import SessionName, StoreKeys, listed_name, parse_name
from sidecar.wire.store.worklog import (
    InvalidEntry,
    Letter,
    Work,
    decode_work,
    disclose,
    encode_entry,
)

GROUP = b"sidecars"
OVERDUE = 3.0
"""Seconds after which an entry that is not struck out is another's to claim."""

LOOK = 2.0
"""Seconds between two looks for what is overdue; jittered."""

IDLE_LOOK = 8.0
"""The same, where nobody had anything to do at the look before."""

STRIKE = 0.05
"""Seconds for which what is done gathers, to be struck out together."""

HELD = 1.0
"""Seconds after which it is said again that an entry is worked on."""

HELD_FOR = 30.0
"""Seconds for which that is said of one at most: whatever becomes of it, others have it then."""

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

    @property
    def key(self) -> str:
        """The event's key, its id within all sources."""
        return event_key(disclose(self._work.signal))

    def begun(self) -> None:
        """Have the entry kept in hand: it waits here for its turn."""
        self._log.keep(self._handle)

    def done(self) -> None:
        """Have the entry struck out, soon: all is logged."""
        self._log.strike(self._handle)

    def left(self) -> None:
        """Leave the entry for whoever claims it: nobody here works on it any more."""
        self._log.leave(self._handle)

    async def failed(self, error: Exception) -> None:
        """Leave the entry for another try, or bury it: the work failed."""
        await self._log.failed(self._handle, self._work, error)


class WorkLog:
    """The work log of one sidecar.

    `work` audits an event's sessions, or raises. `tries` are made before an entry becomes a dead
    letter; a part of the log holds `bound` entries. `beside`: a queue that is looked at in the same
    round trip, and who is to know if there is anything in it.
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
        beside: tuple[bytes, Callable[[], None]] | None = None,
    ) -> None:
        self._beside = beside
        self.began: Began = lambda _, __: None
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
        self._held: dict[Handle, tuple[float, float]] = {}  # since when, and when it was last said
        self._has_held = trio.Event()
        self._is_busy = False
        self.waiting = 0

    async def add(self, work: Work, *writes: Write) -> tuple[WorkEntry | None, list[Written]]:
        """Join, and enter the event in the log, in one round trip.

        Raises `Unavailable`, `Overloaded`.

        None: the log is full.
        """
        key = self._names.work_log(work.of)
        one = Append(key, encode_entry(work), self._bound(), GROUP)
        joins = [write.join for write in writes]
        appended, joined = await self._queues.append(one, *joins)
        return self._entry(key, work, appended.id), written(joins, joined, self.began)

    async def add_all(
        self, works: Sequence[tuple[Work, Sequence[Write]]]
    ) -> list[tuple[WorkEntry | None, list[Written]] | Unavailable]:
        """Do as `add` does for each, all in one round trip; each fails alone.

        Raises `Overloaded`.
        """
        bound = self._bound()
        batch = [
            (
                Append(self._names.work_log(work.of), encode_entry(work), bound, GROUP),
                [write.join for write in writes],
            )
            for work, writes in works
        ]
        entered: list[tuple[WorkEntry | None, list[Written]] | Unavailable] = []
        answers = await self._queues.append_all(batch)
        for (work, _), (one, joins), answer in zip(works, batch, answers, strict=True):
            if isinstance(answer, Unavailable):
                entered.append(answer)
                continue
            appended, joined = answer
            answers_of = written(joins, joined, self.began)
            entered.append((self._entry(one.key, work, appended.id), answers_of))
        return entered

    def _entry(self, key: bytes, work: Work, name: bytes) -> WorkEntry | None:
        """Return an entry of the log, by its id there; None: the log is full."""
        if name:
            return WorkEntry(self, Handle(key, name, 1), work)
        self._telemetry.record(QueueRejected(queue="work-log"))
        return None

    def strike(self, handle: Handle) -> None:
        """Have an entry struck out, soon: all of it is logged."""
        self.leave(handle)
        self._done.append(handle)
        self._has_done.set()

    def keep(self, handle: Handle) -> None:
        """Keep an entry in hand until it is done or left."""
        now = trio.current_time()
        self._held[handle] = now, now
        self._has_held.set()

    def leave(self, handle: Handle) -> None:
        """Keep an entry in hand no longer."""
        self._held.pop(handle, None)

    async def hold(self) -> None:
        """Keep in hand what this sidecar has not done yet. Raises `Unavailable`, `Overloaded`."""
        now = trio.current_time()
        by_key: dict[bytes, list[bytes]] = {}
        for handle, (since, said) in list(self._held.items()):
            if now - since >= HELD_FOR:
                self.leave(handle)
            elif now - said >= HELD:
                self._held[handle] = since, now
                by_key.setdefault(handle.key, []).append(handle.id)
        if by_key:
            await self._queues.hold(*(Hold(key, tuple(ids), GROUP) for key, ids in by_key.items()))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Strike out what is done, and claim what is overdue, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_striking)
            nursery.start_soon(self._keep_holding)
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

    async def _keep_holding(self) -> None:
        while True:
            await self._has_held.wait()
            await trio.sleep(HELD)
            if not self._held:
                self._has_held = trio.Event()
                continue
            try:
                await self.hold()
            except (Unavailable, Overloaded):
                continue  # then others may claim them, who find what is left to log

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
            look = LOOK if self._is_busy else IDLE_LOOK
            await trio.sleep(look * (0.5 + self._jitter()))
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
        beside = () if self._beside is None else (self._beside[0],)
        asked = (*keys, *beside, self._names.dead_letters())
        *lengths, self._letters.waiting = await self._queues.lengths(*map(Length, asked))
        self._is_busy = any(lengths)
        if self._beside is not None and lengths.pop():
            self._beside[1]()
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
        self.leave(handle)
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
        names = [name for member in found.keys if (name := listed_name(index, member))]
        await self._work(work.cause, names, work.event)
