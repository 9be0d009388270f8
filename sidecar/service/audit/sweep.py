"""The sweep for what time alone changes: scores fade, hours of the day pass, sessions expire.

A sweep goes through the view in short turns, so that it never holds the event loop. It notifies
watchers, drops what has expired, and passes to the `Auditor` what nobody has logged.
"""

from collections.abc import Awaitable, Callable

import trio

from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View

SHARE = 0.2
"""Part of the time that a sweep takes at most, however large the view is."""

PENDING_PASSES = 2
"""How many sweeps the sidecar that took an event gets to log it before others do."""


class Sweeper:
    """Sweeps the view every `interval` seconds."""

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
        self._pending: dict[Live, int] = {}
        self.active_marks = 0
        self.passes = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep for ever."""
        task_status.started()
        while True:
            await self._pause()
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="sweep", error=error))

    async def sweep(self) -> None:
        """Go through the view once."""
        pending: dict[Live, int] = {}
        marks = 0
        turns = Turns(SHARE)
        for live in self._view:
            marks += self._look(live, pending)
            await turns.give_way()
        self.active_marks = marks
        self._pending = pending
        overdue = [live for live, passes in pending.items() if passes >= PENDING_PASSES]
        self._auditor.put("sweep", [live.name for live in overdue])
        for live in overdue:
            pending[live] = 0
        self.passes += 1

    async def finish(self) -> None:
        """Have everything logged that is pending: this sidecar is about to end."""
        names = []
        turns = Turns(share=1)  # no check waits any more, and a drain must not take long
        for live in self._view:
            if live.state.established and self._auditor.has_pending(live):
                names.append(live.name)
            await turns.give_way()
        self._auditor.put("sweep", names)

    def _look(self, live: Live, pending: dict[Live, int]) -> int:
        now = self._clock()
        if live.expires_at and now > live.expires_at:
            self._view.drop(live)
            return 0
        self._view.note(live)
        if live.state.established and self._auditor.has_pending(live):
            pending[live] = self._pending.get(live, 0) + 1
        standing = live.standing(self._view.evaluator, now)
        return sum(demand.is_mark and not demand.is_met(now) for demand in standing.demands)
