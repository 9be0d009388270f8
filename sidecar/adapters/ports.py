"""What the doors ask of the journeys."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from sidecar.service.ports.calls import Answer, Call, StandingChange


class Checks(Protocol):
    """Decides whether calls may pass."""

    async def check(self, call: Call) -> Answer:
        """Return the answer, also to a bad token. Raises `Overloaded` and `Unavailable`."""


class Watching(Protocol):
    """Tells of changes of standing."""

    def watch(
        self, sessions: frozenset[str] | None
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[StandingChange]]:
        """Changes of these sessions (None: of all) from now on; the channel ends if any is lost.

        Raises `Overloaded` and `Unavailable`.
        """
