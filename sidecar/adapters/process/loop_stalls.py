"""Measures how long the event loop stops: how long whoever becomes ready may wait for their turn.

Between two waits for input and output trio runs every task that is ready, each to its next
checkpoint. Whatever comes meanwhile is not noticed before all of them are done, whether they
computed, ran the garbage collector, or were kept from the processor by other processes.

An instrument costs about a microsecond for each round of the loop, and sees each of them. A task
that looks at the time now and then would wake an idle process, and miss what lies between.
"""

from collections.abc import Callable
from time import perf_counter

import trio

from sidecar.service.observations.observations import LoopStalled

LEAST = 0.001
"""Seconds: shorter rounds are not recorded. A busy loop has thousands of them in a second."""


class LoopStalls(trio.abc.Instrument):
    """Records each round of the event loop that is no shorter than `LEAST`."""

    def __init__(
        self,
        record: Callable[[LoopStalled], None],
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        self._record = record
        self._timer = timer
        self._begun = timer()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's
        """Begin a round."""
        self._begun = self._timer()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - likewise
        """End a round."""
        took = self._timer() - self._begun
        if took >= LEAST:
            self._record(LoopStalled(seconds=took))
