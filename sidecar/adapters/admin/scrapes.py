"""Renders the metrics for whoever asks, so that nobody who asks often takes the time of all.

To render them takes some milliseconds, in which nothing else is done, and anybody who reaches the
admin listener may ask. So they are rendered for one at a time, and those who have waited since
before it began share what was made; and after each no other is begun for `PAUSE` times as long as
it took of the processor: a machine that was busy with something else meanwhile has not been kept
from anything by it. What is shown is never older than the question.
"""

import time
from collections.abc import Callable

import trio

from sidecar.adapters.telemetry.metrics import Exposition, ScrapeFormat, form_of

PAUSE = 4.0


class Scrapes:
    """`render` makes an exposition of a form; `worked` says how long this thread has worked."""

    def __init__(
        self,
        render: Callable[[ScrapeFormat], Exposition],
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._render = render
        self._worked = worked
        self._turn = trio.Lock()
        self._latest: dict[ScrapeFormat, tuple[float, Exposition]] = {}
        self._free_at = 0.0

    async def take(self, accept: str, accept_encoding: str) -> Exposition:
        """Return the metrics as they are now, as these headers of a request want them."""
        form, came = form_of(accept, accept_encoding), trio.current_time()
        async with self._turn:
            began, exposition = self._latest.get(form, (-1.0, None))
            if exposition is not None and began >= came:
                return exposition
            await trio.sleep_until(self._free_at)
            began, before = trio.current_time(), self._worked()
            exposition = self._render(form)
            self._latest[form] = began, exposition
            self._free_at = trio.current_time() + PAUSE * (self._worked() - before)
            return exposition
