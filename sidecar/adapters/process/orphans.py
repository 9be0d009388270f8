"""The duty of process 1: to take up the ends of processes whose parents have gone.

In a container the daemon is process 1, and what a `kubectl exec` leaves behind becomes its child.
Whose end nobody takes up stays in the table of processes (a "zombie") until the container ends.
"""

import os
import signal
from collections.abc import Callable, Collection

import trio

_FIRST = 1
_OURS_PAUSE = 0.1
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Orphans:
    """Takes up the ends of children that we did not start; `ours` gives those that we did."""

    def __init__(self, ours: Callable[[], Collection[int]]) -> None:
        self._ours = ours

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do so until cancelled, where this is process 1. Only in the process's main thread."""
        if os.getpid() != _FIRST:
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGCHLD) as ended:
            task_status.started()
            await self._take_up()
            async for _ in ended:
                await self._take_up()

    async def _take_up(self) -> None:
        while True:
            try:
                # Looked at and not yet taken: the end of one of ours is for whoever started it.
                found = os.waitid(os.P_ALL, 0, _LOOK)  # noqa: ASYNC222 - it waits for nothing
            except ChildProcessError:
                return  # there are no children
            if found is None:
                return
            if found.si_pid in self._ours():
                await trio.sleep(_OURS_PAUSE)  # it hides what comes after it
                continue
            os.waitpid(found.si_pid, os.WNOHANG)  # noqa: ASYNC222 - it has ended
            await trio.lowlevel.checkpoint()
