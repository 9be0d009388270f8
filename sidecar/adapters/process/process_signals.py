"""The signals of the process: SIGHUP reloads, SIGTERM and SIGINT end it.

SIGUSR1 and SIGUSR2, which some programs take for "open your log anew", do nothing here.
"""

import signal
from collections.abc import Callable

import trio

from sidecar.adapters.process.held_signals import HARMLESS, RECEIVED, released_signals


class ProcessSignals:
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
        """Listen until cancelled, also to what was held. Only in the process's main thread."""
        stopping = False
        with trio.open_signal_receiver(*RECEIVED) as received, released_signals():
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP:
                    self._reload()
                elif number in HARMLESS:
                    continue
                elif stopping:
                    self._stop_now()
                else:
                    stopping = True
                    self._stop()
