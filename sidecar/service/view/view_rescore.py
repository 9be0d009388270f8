"""Re-scores the sessions of this sidecar's view, and finds where they now are, after a reload."""

from collections.abc import Callable
from enum import StrEnum

import trio

from sidecar.domain.facts.relocation import relocated
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import DaemonEvent, Rescored, Telemetry
from sidecar.service.view.live_session import Live
from sidecar.service.view.view import View
from sidecar.wire.store.records import sighted_in

SLICE = 100
"""Sessions that are counted at a time."""


class ReloadCause(StrEnum):
    """The cause of a reload; after `GEOGRAPHY` the places of sessions are looked up anew."""

    GEOGRAPHY = "geography"
    POLICY = "policy"


class ViewRescore:
    """Re-scores the view whenever it is wanted. `place_of` looks up an address as data now has it.

    A check that comes first does not wait: it derives its session's standing anew itself.
    """

    def __init__(
        self,
        *,
        view: View,
        place_of: Callable[[str], Place],
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._view = view
        self._place_of = place_of
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._wanted: set[ReloadCause] = set()
        self._wake = trio.Event()

    def want(self, cause: ReloadCause) -> None:
        """Have all sessions of the view re-scored, soon."""
        self._wanted.add(cause)
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Re-score as is wanted, giving way to everything else, until cancelled."""
        task_status.started()
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            causes, self._wanted = self._wanted, set()
            await self._pass(relocates=ReloadCause.GEOGRAPHY in causes)

    async def _pass(self, *, relocates: bool) -> None:
        lives = tuple(self._view)
        cause = ReloadCause.GEOGRAPHY if relocates else ReloadCause.POLICY
        turns = Turns()
        for start in range(0, len(lives), SLICE):
            batch = lives[start : start + SLICE]
            for live in batch:
                await turns.give_way()
                if relocates:
                    self._relocate(live)
                self._view.note(live)
            self._telemetry.record(Rescored(cause=cause, sessions=len(batch)))
        if lives:
            done: dict[str, str | int | float | bool] = {"cause": cause, "sessions": len(lives)}
            self._telemetry.record(DaemonEvent(event="sessions-rescored", fields=done))

    def _relocate(self, live: Live) -> None:
        seen = (*sighted_in(live.own.record), *sighted_in(live.locator.record))
        stamp = Stamp(int(self._clock() * MICROSECONDS), self._new_id())
        sighted = relocated(seen, self._place_of, stamp)
        if sighted is not None:
            self._view.write((live.own, (sighted,)))
