"""One page of shared work: sessions looked at in slices, each of which gives way to others."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import thread_time
from typing import TypeAlias

import trio

from sidecar.service.audit.auditor import Auditor
from sidecar.service.audit.backlog import STALE, Backlogs, TakenItem
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.store.keys import SessionName

Judge: TypeAlias = Callable[[Sequence[SessionName]], Awaitable[None]]
Choice: TypeAlias = Callable[[Sequence[SessionName]], Awaitable[Sequence[SessionName]]]

SLICE = 64
"""Sessions that are read at once, judged one by one, and followed by a rest."""

TOGETHER = 256
"""Sessions of which it is asked at once which are to be judged at all."""

PATIENCE = 1.0
"""Seconds for which a slice waits at most while fresh signals keep coming."""

GLANCE = 0.005
"""Seconds between looks at what another may be done with at once."""


class Pager:
    """Works on pages of one backlog for one sidecar, which gives `share` of its time to it."""

    def __init__(
        self,
        *,
        sidecar: str,
        backlogs: Backlogs,
        auditor: Auditor,
        share: Callable[[], float],
    ) -> None:
        self._sidecar = sidecar
        self._backlogs = backlogs
        self._auditor = auditor
        self._share = share

    async def work(
        self,
        backlog: str,
        item: TakenItem,
        names: Sequence[SessionName],
        judge: Judge,
        chosen: Choice | None = None,
    ) -> None:
        """Have these sessions judged, and be done with the item; or leave it to who has it now.

        `chosen`: only those that it returns.
        """
        failure: Exception | None = None
        lost = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, backlog, item, lost)
            try:
                if await self._in_slices(names, judge, chosen, lost):
                    await self._backlogs.replace(backlog, item, done=len(names))
            except Exception as error:  # noqa: BLE001 - raised below, as it is
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _in_slices(
        self, names: Sequence[SessionName], judge: Judge, chosen: Choice | None, lost: trio.Event
    ) -> bool:
        """Have these sessions judged; return whether all are, and the item was ours until then."""
        for batch in _parts(names, TOGETHER):
            begun = thread_time()
            left = batch if chosen is None else await chosen(batch)
            if lost.is_set():
                return False
            if chosen is not None:
                await self._give_way(thread_time() - begun)
            for part in _parts(left, SLICE):
                if lost.is_set():
                    return False
                begun = thread_time()
                await judge(part)
                await self._give_way(thread_time() - begun)
        return True

    async def _keep(self, backlog: str, item: TakenItem, lost: trio.Event) -> None:
        """Say that the item is worked on, however long a slice and its rest take."""
        while not lost.is_set():
            await trio.sleep(STALE / 4)
            try:
                if not await self._backlogs.keep(backlog, self._sidecar, item):
                    lost.set()
            except (Unavailable, Overloaded):
                continue  # whether another has it by now, the next look says

    async def _give_way(self, worked: float) -> None:
        """Rest in proportion to the work, and while fresh signals wait; but not for ever.

        Work is processor time, that of others among it, who have had less of it meanwhile; to wait
        for the store is none.
        """
        await trio.sleep(worked * (1 / self._share() - 1))
        with trio.move_on_after(PATIENCE):
            while self._auditor.waiting:  # noqa: ASYNC110 - what waits is another's to know
                await trio.sleep(GLANCE)


def _parts(names: Sequence[SessionName], size: int) -> Iterator[Sequence[SessionName]]:
    return (names[start : start + size] for start in range(0, len(names), size))


class Pause:
    """The pause before another look at what others have: short at first, up to `longest`."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = GLANCE

    def reset(self) -> None:
        """Begin with a short pause again: there was something."""
        self._next = GLANCE

    def take(self) -> float:
        """Return the seconds to wait now."""
        now, self._next = self._next, min(self._longest, 2 * self._next)
        return now
