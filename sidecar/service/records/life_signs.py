"""The signs of a sidecar's life at one server: whether what they come to lacks one of them."""

import math
from collections.abc import Callable

COUNTED_AGAIN = 16
"""How often a sign may have been counted before that counts for none of ours."""


class LifeSigns:
    """The signs of one sidecar at one server, added up, each with a step of its own.

    Steps are drawn by lot, so that what a count is beyond an earlier one says which signs it has. A
    sign may have been counted several times, as its answer was lost; none may be missing.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._count: int | None = None
        self._before = self.step = self._next()
        self.turn = -1
        self.sent = self.heard = -math.inf
        self.is_lost = False

    def _next(self) -> int:
        return 1 + int(self._draw() * 2**32)

    def begin(self, now: float) -> None:
        """Draw a step for another sign, which is about to be sent now (monotonic seconds)."""
        self._before, self.step = self.step, self._next()
        self.turn += 1
        self.sent = now

    def have(self, count: int) -> bool:
        """Return whether none is missing in what was counted: at least all acknowledged are there.

        Of a sign that was not acknowledged, and of the one before, nobody knows how often they are.
        """
        if self._count is None:
            return True
        beyond = (count - self._count - often * self._before for often in range(COUNTED_AGAIN))
        return any(left >= 0 and left % self.step == 0 for left in beyond)

    def acknowledged(self, count: int) -> None:
        """Take up what the last one has come to, or that one before it is missing."""
        self.is_lost = self.is_lost or count < self.step or not self.have(count - self.step)
        if not self.is_lost:
            self._count = count

    def found(self, count: int) -> None:
        """Take up what they come to by a look, with which nothing is amiss."""
        self._count = count

    def forget(self) -> None:
        """Begin anew: they are lost, or have expired."""
        self._count, self.is_lost = None, False
