"""Keeps a sidecar within its memory, whatever a session costs.

How many sessions fit is reckoned at the start from what one costs on average; sessions with long
histories or many groups cost more. So the memory that is really held is looked at, and where it
nears the limit fewer sessions and tokens are kept: the least recently used leave, and are read from
the store when they are asked for.

The system seldom gets memory back that was let go: what comes next is put there. So fewer are kept
only where what is held has grown since the last time, or is more than there may be; where it stays,
what comes fits into what was let go.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from sidecar.service.observations.observations import DaemonEvent, Telemetry, WorkerFailed

INTERVAL = 1.0
HIGH, LOW = 0.9, 0.75
"""Parts of the limit: from the one on fewer are kept, below the other again more."""

STEP = 0.005
"""Part of the limit by which what is held must have grown before again fewer are kept."""

RECLAIM_EVERY = 3600.0
"""Seconds between two looks for unreachable memory: each stops everything while it lasts."""

LEAST = 100
LOGGED_EVERY = 60.0


class Bounded(Protocol):
    """Something that keeps `limit` entries at most."""

    limit: int

    def __len__(self) -> int:
        """Return how many it keeps."""


class MemoryGuard:
    """Moves the limits of what is kept, between `LEAST` and where they are at the start.

    `resident` gives the bytes that the process holds, of the `most` that it may. `reclaim` frees
    what nobody uses any more and is held all the same; it comes before anything else is let go.
    """

    def __init__(
        self,
        kept: tuple[Bounded, ...],
        *,
        most: int | None,
        resident: Callable[[], int],
        telemetry: Telemetry,
        reclaim: Callable[[], object] = lambda: None,
    ) -> None:
        self._kept = [(one, one.limit) for one in kept]
        self._reclaim = reclaim
        self._reclaimed_at = -RECLAIM_EVERY
        self._most = most
        self._resident = resident
        self._telemetry = telemetry
        self._logged_at = -LOGGED_EVERY
        self._borne = 0.0

    def replace(self, limits: Iterable[int]) -> None:
        """Keep so many at most from now on, in the order of what is kept."""
        self._kept = [(one, at_most) for (one, _), at_most in zip(self._kept, limits, strict=True)]
        for one, at_most in self._kept:
            one.limit = at_most

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every second, where there is a limit, until cancelled."""
        task_status.started()
        while self._most is not None:
            await trio.sleep(INTERVAL)
            try:
                self.look(self._most)
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="memory", error=error))

    def look(self, most: int) -> None:
        """Look once."""
        held = self._resident()
        if held > most * HIGH and trio.current_time() - self._reclaimed_at >= RECLAIM_EVERY:
            self._reclaimed_at = trio.current_time()
            self._reclaim()
            held = self._resident()
        if held > most * HIGH:
            if held > min(self._borne, most):
                self._borne = held + most * STEP
                for one, _ in self._kept:
                    one.limit = max(LEAST, min(one.limit, len(one)) * 7 // 8)
            self._log(held, most)
            return
        self._borne = 0.0
        if held < most * LOW:
            for one, at_most in self._kept:
                one.limit = min(at_most, one.limit + max(1, one.limit // 16))

    def _log(self, held: int, most: int) -> None:
        now = trio.current_time()
        if now - self._logged_at >= LOGGED_EVERY:
            self._logged_at = now
            fields = {
                "resident_bytes": held,
                "limit_bytes": most,
                "sessions": self._kept[0][0].limit,
            }
            self._telemetry.record(
                DaemonEvent(event="memory-short", fields=dict(fields), warning=True)
            )
