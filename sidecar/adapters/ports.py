"""The ports through which the doors ask the services."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import Answer, Call, StandingChange


class Checks(Protocol):
    """Decides whether calls may pass."""

    def check_at_once(self, call: Call) -> RepeatedAnswer | None:
        """Return the answer where it is at hand; None: nothing was done, ask `check`."""

    def judge_at_once(self, call: Call) -> Answer | None:
        """Return what `check` would where it need not wait; None: ask that."""

    async def gather(
        self,
        calls: Iterable[Call],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Get ready, all at once, what the checks of these calls wait for; `check` must follow.

        It decides nothing, and never raises. Started once it is under way.
        """

    async def check(self, call: Call) -> Answer:
        """Return the answer, also to a bad token. Raises `Overloaded` and `Unavailable`."""


class StandingChanges(Protocol):
    """Publishes changes of standing."""

    def watch(
        self, sessions: frozenset[str] | None
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[StandingChange]]:
        """Yield a channel of the changes of these sessions (None: all); it ends if one is lost.

        Raises `Overloaded` and `Unavailable`.
        """
