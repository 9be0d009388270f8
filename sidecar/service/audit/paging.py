"""One page of shared work: sessions looked at in slices, each of which gives way to others."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from sidecar.service.audit.auditor import Rescorer
from sidecar.service.audit.backlog import STALE, Backlogs, Taken
from sidecar.wire.store.keys import SessionName

SLICE = 64
"""Sessions that are read at once, judged one by one, and followed by a rest."""

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
        rescorer: Rescorer,
        share: Callable[[], float],
    ) -> None:
        self._sidecar = sidecar
        self._backlogs = backlogs
        self._rescorer = rescorer
        self._share = share

    async def work(
        self,
        backlog: str,
        item: Taken,
        names: Sequence[SessionName],
        judge: Callable[[Sequence[SessionName]], Awaitable[None]],
    ) -> None:
        """Have these sessions judged, and be done with the item; or leave it to who has it now."""
        kept = trio.current_time()
        for start in range(0, len(names), SLICE):
            begun = trio.current_time()
            if begun - kept > STALE / 4:
                kept = begun
                if not await self._backlogs.keep(backlog, self._sidecar, item):
                    return
            await judge(names[start : start + SLICE])
            await self._give_way(trio.current_time() - begun)
        await self._backlogs.replace(backlog, item, done=len(names))

    async def _give_way(self, worked: float) -> None:
        """Rest in proportion to the work, and while fresh signals wait; but not for ever."""
        await trio.sleep(worked * (1 / self._share() - 1))
        with trio.move_on_after(PATIENCE):
            while self._rescorer.waiting:  # noqa: ASYNC110 - what waits is another's to know
                await trio.sleep(GLANCE)


class Pause:
    """How long to wait for what another has: little at first, then more, up to `longest`."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = GLANCE

    def reset(self) -> None:
        """There was something."""
        self._next = GLANCE

    def take(self) -> float:
        """Seconds to wait now."""
        now, self._next = self._next, min(self._longest, 2 * self._next)
        return now
