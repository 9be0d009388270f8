"""Folds the sessions that have fallen behind their records, one after the other.

One record may be that of thousands of sessions, which cannot all be folded at once.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import trio

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.service.audit.turns import Turns
from sidecar.service.view.live_session import Live

SHARE = 0.25
"""Part of the time that it takes at most to fold what nobody has asked for."""


class Lagging:
    """Has each of them folded by `catch_up`, soon, if nobody asks for it before."""

    def __init__(self, catch_up: Callable[[Live], None]) -> None:
        self._catch_up = catch_up
        self._behind: OrderedDict[Live, None] = OrderedDict()
        self._falls_behind = trio.Event()

    def leave(self, lives: Iterable[Live], evaluator: Evaluator) -> None:
        """Leave what has come for these sessions for later; most may be behind yet."""
        current = [live for live in lives if not live.is_behind]
        for live in current:
            live.fall_behind(evaluator)
        self._behind.update(dict.fromkeys(current))
        self._falls_behind.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fold what has fallen behind, for ever, and give way meanwhile."""
        task_status.started()
        while True:
            await self._falls_behind.wait()
            self._falls_behind = trio.Event()
            turns = Turns(SHARE)
            while self._behind:
                self._catch_up(self._behind.popitem(last=False)[0])
                await turns.give_way()
