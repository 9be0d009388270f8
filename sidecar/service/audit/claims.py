"""Claims, by which one sidecar of all logs and counts an entry: claimed, logged, marked as logged.

Theory. Whoever writes a claim first logs; all others find it taken. The claim alone would log
nothing twice and lose what its owner, killed in between, had not logged yet. So what was logged is
marked as such in the record, once it is in the log (`entries`), and a claim without that mark that
is older than `STALE` is nobody's: the next turn of it is claimed in the same way, and what is then
logged says that it may have been logged before (`again`).

So of what a sidecar that dies has claimed nothing is lost, and no more is logged twice than what it
had logged and not yet marked: that of the last `GATHER` seconds, and of the store's answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
import trio

from sidecar.service.audit.entries import AuditEntry
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import (
    Cleared,
    Marked,
    Observation,
    RevokedSession,
    Telemetry,
)
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.records.fact_reader import SessionRecord
from sidecar.service.records.facts import FactRecords, LogEntry
from sidecar.service.records.writes import Write
from sidecar.service.view.view import View
from sidecar.wire.store.keys import SessionName
from sidecar.wire.store.records import claimed_in, logged_in

STALE = 3.0
"""Seconds after which what is claimed and not marked as logged is another's to log."""

GATHER = 0.01
"""Seconds for which what was logged gathers, to be marked together."""

WRITTEN, STALLED = 1.0, 0.02
"""Seconds for which the log's reader is waited for, at first and once it has stalled."""

REFUSED, REFUSALS = 1.0, 16
"""Seconds until what the store refuses to mark is tried again; so many are asked for one by one."""

BOUND = 8192
"""Entries that may wait to be marked while the store is away; the oldest may be logged again."""

_FIRST_LOOK, _LAST_LOOK = 0.02, 0.25


_Name: TypeAlias = tuple[SessionName, str, bytes]
_Turn: TypeAlias = tuple[SessionName, str, bytes, int]


class DueEntries(NamedTuple):
    """An entry that is yet to be logged of a session, and which turn of it this is."""

    session: SessionName
    entry: AuditEntry
    turn: int = 1

    @property
    def name(self) -> _Name:
        """Return what it is known by, whichever turn it is."""
        return self.session, self.entry.policy, self.entry.claimed

    @property
    def log_entry(self) -> LogEntry:
        """Return it as the session's record has it."""
        entry = self.entry
        return LogEntry(self.session, entry.policy, entry.value, entry.claimed)


class AuditClaims:
    """The claims of one sidecar. `written` returns once what was recorded is in the log.

    `marked` is called with the sessions of which something was marked as logged. What they have
    come to meanwhile is news only of what was logged before: that a mark has ended is none without.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        records: FactRecords,
        view: View,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        written: Callable[[], Awaitable[None]],
        marked: Callable[[Iterable[SessionName]], Awaitable[None]],
    ) -> None:
        self._on_marked = marked
        self._records = records
        self._view = view
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._written = written
        self._unmarked: dict[_Name, DueEntries] = {}
        self._then: list[Callable[[], None]] = []
        self._has_logged = trio.Event()
        self._marking = trio.Lock()
        self._patience = WRITTEN

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Mark what was logged, for ever."""
        task_status.started()
        while True:
            await self._has_logged.wait()
            await trio.sleep(GATHER)
            try:
                await self.mark()
            except (Unavailable, Overloaded):
                await trio.sleep(10 * GATHER)
            if self._unmarked and not self._has_logged.is_set():
                await trio.sleep(REFUSED)
                self._has_logged.set()

    async def log(self, due: Sequence[DueEntries], *, by_event: bool = True, patient: bool) -> None:
        """Claim, and log what is ours. Raises `Unavailable`, `Overloaded`.

        What others have claimed and left is claimed anew; `patient`: what they have only just
        claimed is waited for, until it is logged or left.
        """
        pause, seen = _FIRST_LOOK, dict[_Turn, float]()
        wanted = [one for one in due if one.name not in self._unmarked]
        while wanted:
            taken = await self._claim(wanted, by_event=by_event)
            wanted, fresh = await self._look(taken, seen)
            if patient and fresh:
                await trio.sleep(pause)
                pause = min(_LAST_LOOK, 2 * pause)
                wanted += fresh

    def then(self, done: Callable[[], None]) -> None:
        """Call this once all that was logged until now is marked."""
        if not self._unmarked:  # as after most events, which change nobody's standing
            done()
            return
        self._then = [*self._then, done][-BOUND:]
        self._has_logged.set()

    async def mark(self) -> None:
        """Mark what was logged. Raises `Unavailable` and `Overloaded`, with nothing lost.

        What the store refuses stays, to be tried again, and holds up nothing else.
        """
        async with self._marking:
            logged, then = list(self._unmarked.values()), self._then
            self._then, self._has_logged = [], trio.Event()
            try:
                if logged:
                    with trio.move_on_after(self._patience) as waited:
                        await self._written()
                    self._patience = STALLED if waited.cancelled_caught else WRITTEN
                    logged = await self._marked(logged)
            except BaseException:
                self._then = then + self._then
                self._has_logged.set()
                raise
            with trio.CancelScope(shield=True):  # what waits for this has nobody else to call it
                turns = Turns(share=1)
                for one in logged:
                    self._unmarked.pop(one.name, None)
                    self._view.learn(self._records.log(one.log_entry))
                    await turns.give_way()
                await self._on_marked(dict.fromkeys(one.session for one in logged))
            for done in then:
                done()

    async def _marked(self, logged: Sequence[DueEntries]) -> list[DueEntries]:
        """Write that these were logged; return those of which the store takes that."""
        writes = [self._records.log(one.log_entry) for one in logged]
        try:
            await self._records.join(*writes)
        except StoreRefused:
            pass  # some of them, and it does not say which
        else:
            return list(logged)
        taken: list[DueEntries] = []
        refused = 0
        for one, write in zip(logged, writes, strict=True):
            try:
                await self._records.join(write)
            except StoreRefused:
                refused += 1
                if refused == REFUSALS:
                    break
            else:
                taken.append(one)
        return taken

    async def _claim(self, due: Sequence[DueEntries], *, by_event: bool) -> list[DueEntries]:
        """Claim these and log what is ours; return those that another has claimed."""
        answers = await self._records.join(*map(self._claiming, due))
        taken = []
        turns = Turns(share=1)
        for one, answer in zip(due, answers, strict=True):
            await turns.give_way()
            if not answer.joined:
                taken.append(one)
            elif one.entry.observation is None:
                self._view.learn(self._records.log(one.log_entry))
            else:
                self._telemetry.record(
                    _as_logged(one.entry.observation, again=one.turn > 1, by_event=by_event)
                )
                self._unmarked[one.name] = one
                self._has_logged.set()
        while len(self._unmarked) > BOUND:
            del self._unmarked[next(iter(self._unmarked))]
        return taken

    def _claiming(self, one: DueEntries) -> Write:
        """Make the write of a claim.

        What is news alone is recorded before it is claimed, so that the claim is all there is.
        """
        is_news_alone = one.entry.observation is None
        return self._records.claim(one.log_entry, one.turn, self._new_id(), logs=is_news_alone)

    async def _look(
        self, taken: Sequence[DueEntries], seen: dict[_Turn, float]
    ) -> tuple[list[DueEntries], list[DueEntries]]:
        """Split what others have claimed and not logged into what they left, and what is theirs.

        What they have had for `STALE` by their own clock is left, or by ours: since when it is
        known here is in `seen`.
        """
        left: list[DueEntries] = []
        fresh: list[DueEntries] = []
        if not taken:
            return left, fresh
        now = trio.current_time()
        oldest = int((self._clock() - STALE) * 1000)
        records = await self._records.load(*(SessionRecord(one.session) for one in taken))
        for one, record in zip(taken, records, strict=True):
            policy = one.entry.policy
            logged = logged_in(record, policy)
            if logged >= one.entry.value:
                self._view.learn(self._records.log(one.log_entry._replace(value=logged)))
                continue
            turn, at = claimed_in(record, policy, one.entry.claimed, one.turn)
            known = now - seen.setdefault((*one.name, turn), now)
            if at <= oldest or known >= STALE:
                left.append(one._replace(turn=turn + 1))
            else:
                fresh.append(one._replace(turn=turn))
        return left, fresh


def _as_logged(observation: Observation, *, again: bool, by_event: bool) -> Observation:
    """Return an observation as it is logged and counted.

    Where no event led here, or another sidecar before, the time since the one that began it says
    nothing of how fast events are dealt with.
    """
    if isinstance(observation, Marked) and (again or not by_event):
        observation = msgspec.structs.replace(observation, signal_to_mark_seconds=None)
    if again and isinstance(observation, Marked | Cleared | RevokedSession):
        return msgspec.structs.replace(observation, again=True)
    return observation
