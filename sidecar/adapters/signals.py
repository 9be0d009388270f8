"""The signals of the process: SIGHUP reloads, SIGTERM and SIGINT end it."""

import signal
from collections.abc import Callable

import trio


class Signals:
    """Calls `reload` for each SIGHUP, `stop` for the first SIGTERM or SIGINT, then `stop_now`.

    The callbacks are synchronous and short: they set events.
    """

    def __init__(
        self,
        *,
        reload: Callable[[], None],
        stop: Callable[[], None],
        stop_now: Callable[[], None],
    ) -> None:
        self._reload = reload
        self._stop = stop
        self._stop_now = stop_now

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Only in the process's main thread."""
        stopping = False
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as received:
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP:
                    self._reload()
                elif stopping:
                    self._stop_now()
                else:
                    stopping = True
                    self._stop()
