"""Keeps what goes to an output until it is written, where nobody waits for it.

The queue is bounded: what does not fit is counted, and noted by the writer before the next of what
fits. A task of its own writes some at a time, after a moment in which more may come. What the
output does with it, and what that costs, is the writer's.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import trio

from sidecar.service.observations.observations import Telemetry, WorkerFailed

T = TypeVar("T")


class OutputWriter(Protocol[T]):
    """Writes what waits. Only one call of `write` is under way at a time."""

    def overflowed(self, count: int) -> None:
        """Note that so many did not fit the queue."""

    async def write(self, waiting: deque[T]) -> None:
        """Take some of what waits, the first of it, and write it; nothing may be there."""


class OutputQueue(Generic[T]):
    """The bounded queue of one output. `worker` is the name under which our faults are counted."""

    def __init__(
        self,
        writer: OutputWriter[T],
        *,
        bound: int,
        gather: float,
        worker: str,
        telemetry: Telemetry,
    ) -> None:
        self._writer = writer
        self._bound = bound
        self._gather = gather
        self._worker = worker
        self._telemetry = telemetry
        self._waiting: deque[T] = deque()
        self._has_waiting = trio.Event()
        self._is_woken = False
        self._writing = trio.Lock()
        self._overflowed = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def put(self, one: T) -> None:
        """Take one. Neither waits nor raises."""
        if len(self._waiting) >= self._bound:
            self._overflowed += 1
        else:
            self._waiting.append(one)
        if not self._is_woken:
            self._is_woken = True
            self._has_waiting.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what was taken, for ever."""
        task_status.started()
        while True:
            await self._has_waiting.wait()
            await trio.sleep(self._gather)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where=self._worker, error=error))

    async def flush(self) -> None:
        """Write all that waits now."""
        async with self._writing:
            self._has_waiting, self._is_woken = trio.Event(), False
            while self._waiting or self._overflowed:
                overflowed, self._overflowed = self._overflowed, 0
                if overflowed:
                    self._writer.overflowed(overflowed)
                await self._writer.write(self._waiting)


class OutputState:
    """The state of an output: it takes what it is given, or not. `record` takes what is news."""

    def __init__(self, record: Callable[[bool, str], None]) -> None:
        self._record = record
        self._is_up: bool | None = None

    def judge(self, trouble: str) -> None:
        """Note what is wrong now; empty: nothing."""
        if self._is_up is not (not trouble):
            self._is_up = not trouble
            self._record(self._is_up, trouble)
