"""A lease: which one of the sidecars does a piece of work that one is enough for.

Time is cut into terms. Whoever first writes itself into the record of the present term has it,
and takes the next one with it, so that a living holder keeps the work and a dead one's is taken
over within two terms. Sidecars number terms by their own clocks: where these disagree by more
than a term, two of them may hold at a time. So a lease saves work; what is done under it must do
no harm when it is done twice.
"""

from collections.abc import Callable

from sidecar.service.records.fleet import FleetRecords

TERM = 5.0
"""Seconds of a term."""

LIFE = 600.0
"""Seconds for which a record of nothing but leases is kept after its last one."""


class Lease:
    """This sidecar's share in one lease, of the work of this name.

    `sidecar` names it, as no other is named. `life` in seconds: how long the record is kept.
    """

    def __init__(
        self,
        *,
        work: str,
        sidecar: str,
        records: FleetRecords,
        clock: Callable[[], float],
        life: float = LIFE,
    ) -> None:
        self._work = work
        self._sidecar = sidecar
        self._records = records
        self._clock = clock
        self._life = life
        self._held = 0

    @property
    def held(self) -> bool:
        """Return whether it is known to be ours for the present term; asks nobody."""
        return self._held >= self._term()

    async def holds(self) -> bool:
        """Return whether it is ours for this term; take this and the next where they are free.

        Nobody is asked while both are known to be ours. Raises `Unavailable`, `Overloaded`: then
        it is ours no longer than `held` says.
        """
        term = self._term()
        if self._held > term:
            return True
        if self._held < term and not await self._take(term):
            return False
        # Only who has this term reaches for the next, or whoever asks first in it would get it.
        self._held = term
        if await self._take(term + 1):
            self._held = term + 1
        return True

    async def _take(self, term: int) -> bool:
        return await self._records.take_term(self._work, term, self._sidecar, self._life)

    def _term(self) -> int:
        return int(self._clock() // TERM)
