"""The ports through which the doors ask the services."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from sidecar.service.ports.calls import Answer, Call, StandingChange


class Checks(Protocol):
    """Decides whether calls may pass."""

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
