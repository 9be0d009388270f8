"""Puts a recording into the order of its stamps, within a window, and lets an event id count once.

A whole recording need not fit into memory: what is a window older than the newest seen is in
order. What comes later than that is late: it is left out and counted, since replay moves forward
only. (The daemon takes late facts up; a recording is better sorted first.)
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.tuning.recording.repeated_lines import Recounted

BOUND = 500_000
"""Occurrences that wait at most; a denser recording has a shorter window."""


class OccurrenceOrder:
    """Orders occurrences; `window` in seconds. `late` and `repeated` count what was left out."""

    def __init__(self, window: float, bound: int = BOUND) -> None:
        self.late = 0
        self.repeated = 0
        self._window = int(window * MICROSECONDS)
        self._bound = bound
        self._waiting: list[tuple[Stamp, int, Recounted]] = []
        self._newest = 0
        self._released = Stamp(0, "")
        self._ids: set[str] = set()
        self._recent: deque[Stamp] = deque()
        self._count = 0

    def sorted(self, occurrences: Iterable[Recounted]) -> Iterator[Recounted]:
        """Yield the occurrences in order, each once."""
        for occurrence in occurrences:
            yield from self.put(occurrence)
        while self._waiting:
            if (one := self._next()) is not None:
                yield one

    def put(self, occurrence: Recounted) -> Sequence[Recounted]:
        """Take one; return those that nothing can come before any more."""
        stamp = occurrence.stamp
        if stamp < self._released:
            self.late += 1
            return ()
        self._count += 1
        waiting = self._waiting
        heapq.heappush(waiting, (stamp, self._count, occurrence))
        self._newest = max(self._newest, stamp.time)
        horizon = self._newest - self._window
        released: list[Recounted] = []
        while waiting and (waiting[0][0].time < horizon or len(waiting) > self._bound):
            if (one := self._next()) is not None:
                released.append(one)
        return released

    def _next(self) -> Recounted | None:
        """Release the first that waits; None where its id has counted before."""
        stamp, _, occurrence = heapq.heappop(self._waiting)
        self._released = stamp
        recent, ids = self._recent, self._ids
        oldest = stamp.time - self._window
        while recent and recent[0].time < oldest:
            ids.discard(recent.popleft().id)
        if stamp.id in ids:
            self.repeated += 1
            return None
        ids.add(stamp.id)
        recent.append(stamp)
        return occurrence
