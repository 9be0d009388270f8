"""The sweep for what time alone changes: scores fade, hours of the day pass, sessions expire.

A sweep looks at the sessions that have changed, and at those of which the moment has come at which
time may change them (`domain.evaluation.next_change`): of all others there is nothing to find.
It goes in short turns, so that it never holds the event loop. It notifies watchers, drops what has
expired, and passes to the `Auditor` what nobody has logged.
"""

import heapq
import math
from collections.abc import Awaitable, Callable, Iterator

import trio

from sidecar.domain.evaluation.next_change import NextChange
from sidecar.domain.session.standing import Standing
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.view.live_session import RESTANDING_INTERVAL, Live
from sidecar.service.view.view import View

SHARE = 0.2
"""Part of the time that a sweep takes at most, however many sessions it looks at."""

PENDING_PASSES = 2
"""How many sweeps the sidecar that took an event gets to log it before others do."""

LONGEST_REST = 60.0
"""Seconds after which it is looked at the clock again: it may have been set."""

_FEWEST = 64
"""Seconds for which no session waits that an agenda always may keep."""


class Agenda:
    """The sessions to look at, by the second in which they are to be."""

    def __init__(self) -> None:
        self._of_second: dict[int, set[Live]] = {}
        self._seconds: list[int] = []

    @property
    def next(self) -> float:
        """Return the first second that a session may wait for."""
        return self._seconds[0] if self._seconds else math.inf

    def put(self, live: Live, moment: float) -> None:
        """Have a session looked at once at that moment (infinite: not at all), and not before."""
        due = math.inf if moment == math.inf else math.ceil(moment)
        if due == live.due:
            return
        if live.due < math.inf:
            # Not left to wait there: a session that has gone would be held until then.
            self._remove(live, int(live.due))
        live.due = due
        if due < math.inf:
            self._add(live, int(due))

    def take(self, now: float) -> Live | None:
        """Return a session whose moment has come; None: there is none."""
        if self.next > now:
            return None
        second = self._seconds[0]
        waiting = self._of_second[second]
        live = waiting.pop()
        live.due = math.inf
        if not waiting:
            self._end(second)
        return live

    def _add(self, live: Live, second: int) -> None:
        waiting = self._of_second.get(second)
        if waiting is None:
            waiting = self._of_second[second] = set()
            heapq.heappush(self._seconds, second)
            if len(self._seconds) > _FEWEST + 2 * len(self._of_second):
                # Sessions come and go long before their second does.
                self._seconds = sorted(self._of_second)
        waiting.add(live)

    def _remove(self, live: Live, second: int) -> None:
        waiting = self._of_second[second]
        waiting.discard(live)
        if not waiting:
            self._end(second)

    def _end(self, second: int) -> None:
        del self._of_second[second]
        while self._seconds and self._seconds[0] not in self._of_second:
            heapq.heappop(self._seconds)


class Sweeper:
    """Sweeps the view, `pause` apart, as far as there is anything to look at."""

    def __init__(
        self,
        *,
        view: View,
        auditor: Auditor,
        clock: Callable[[], float],
        pause: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        self._view = view
        self._auditor = auditor
        self._clock = clock
        self._pause = pause
        self._telemetry = telemetry
        self._next_change = NextChange(view.evaluator, announces=auditor.announces)
        self._agenda = Agenda()
        self._pending: dict[Live, int] = {}
        self._marks: dict[Live, int] = {}
        self._swept_at = -math.inf
        self.active_marks = 0
        self.passes = 0
        self.looks = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep for ever."""
        task_status.started()
        while True:
            await self._pause()
            await self._something_to_do()
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="sweep", error=error))

    async def _something_to_do(self) -> None:
        """Wait until a session has changed, or the moment of the next one has come."""
        while not (self._pending or self._view.changes):
            now = self._clock()
            left = self._agenda.next - now
            if left <= 0 or now < self._swept_at - RESTANDING_INTERVAL:
                return
            with trio.move_on_after(min(left, LONGEST_REST)):
                await self._view.changes.wait()

    async def sweep(self) -> None:
        """Look once at what has changed, and at what time has changed."""
        if self._next_change.evaluator is not self._view.evaluator:
            # Before the first of them is looked at: what is folded meanwhile changes anew.
            self._next_change = NextChange(self._view.evaluator, announces=self._auditor.announces)
            self._view.changes.add_all()
        self._notice_clock()
        pending: dict[Live, int] = {}
        turns = Turns(SHARE)
        for live in self._to_look_at():
            try:
                self._look(live, pending)
            except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
                self._telemetry.record(WorkerFailed(where="sweep", error=error))
                self._view.drop(live)
            await turns.give_way()
        self._pending = pending
        overdue = [live for live, passes in pending.items() if passes >= PENDING_PASSES]
        self._auditor.put("sweep", [live.name for live in overdue])
        for live in overdue:
            pending[live] = 0
        self.passes += 1

    def _notice_clock(self) -> None:
        """Have all sessions looked at where the clock was set back.

        What was foreseen is the first change after a moment that is yet to come again.
        """
        now = self._clock()
        if now < self._swept_at - RESTANDING_INTERVAL:
            self._view.changes.add_all()
        self._swept_at = now

    def _to_look_at(self) -> Iterator[Live]:
        """Yield what is looked at in this sweep.

        A sweep may be so long that the moment of a session comes again meanwhile: that is left for
        the next one.
        """
        began = self._swept_at
        yield from self._pending
        yield from (one for one in self._view.changes.take() if one not in self._pending)
        yield from iter(lambda: self._agenda.take(min(began, self._clock())), None)

    async def finish(self) -> None:
        """Have everything logged that is pending: this sidecar is about to end."""
        names = []
        turns = Turns(share=1)  # no check waits any more, and a drain must not take long
        for live in self._view:
            if live.state.established and self._auditor.has_pending(live):
                names.append(live.name)
            await turns.give_way()
        self._auditor.put("sweep", names)

    def _look(self, live: Live, pending: dict[Live, int]) -> None:
        self.looks += 1
        now = self._clock()
        if not live.gone and live.expires_at and now > live.expires_at:
            self._view.drop(live)
        if live.gone:
            self._count(live, 0)
            self._agenda.put(live, math.inf)
            return
        self._view.note(live)
        if live.state.established and self._auditor.has_pending(live):
            pending[live] = self._pending.get(live, 0) + 1
        standing = live.standing(self._view.evaluator, now)
        self._count(live, sum(one.is_mark and not one.is_met(now) for one in standing.demands))
        self._foresee(live, standing, now)

    def _count(self, live: Live, marks: int) -> None:
        before = self._marks.pop(live, 0)
        self.active_marks += marks - before
        if marks:
            self._marks[live] = marks

    def _foresee(self, live: Live, standing: Standing, now: float) -> None:
        """Have a session looked at again when time may next change it."""
        # A standing may be so old: what time has changed since it was made is yet to be seen.
        made = int((now - RESTANDING_INTERVAL) * MICROSECONDS)
        moment = self._next_change.of(live.state, standing, made)
        due = now + LONGEST_REST  # not known yet
        if live.expires_at:
            due = math.nextafter(live.expires_at, math.inf)  # it lives in its last moment
        if moment is not None:
            due = min(due, max(moment / MICROSECONDS, now + RESTANDING_INTERVAL))
        self._agenda.put(live, due)
