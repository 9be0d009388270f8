"""Work in the background that gives way to checks: short turns, and rests between them.

Whatever is ready runs before what becomes ready meanwhile, so that a check waits for all turns that
others take at the time, and on a busy machine for as long as those have used up the processor's
patience. Counts do not bound that: of what is counted, one may cost a hundred times another.
"""

from time import perf_counter

import trio

TURN = 0.001
"""Seconds of work in a row."""

SHARE = 0.5
"""Part of the time that long work takes up."""


class Turns:
    """The turns of one piece of work, which takes up this `share` of the time.

    What is done within its first turn never rests.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._rest = 1 / share - 1
        self.begin()

    def begin(self) -> None:
        """Begin a turn: what was waited for until now was no work."""
        self._begun = perf_counter()

    async def give_way(self) -> None:
        """Let others have their turn, where this one has been long enough."""
        worked = perf_counter() - self._begun
        if worked >= TURN:
            await trio.sleep(worked * self._rest)
            self.begin()
