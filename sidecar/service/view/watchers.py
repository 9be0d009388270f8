"""The watchers of sessions: apps that hear when a session loses or regains its standing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from sidecar.domain.evaluation.decision import open_marks
from sidecar.domain.session.standing import Standing
from sidecar.service.checks.responses import reasons_of
from sidecar.service.ports.calls import StandingChange

Bring = Callable[[str], Awaitable[None]]

BACKLOG = 1024
"""Changes that may wait for one watcher. One that falls further behind is cut off."""


class Watches:
    """The watchers of each session. `bring` has a session taken into the view, if it is known."""

    def __init__(self, bring: Bring | None = None) -> None:
        self.bring = bring
        self._watchers: dict[trio.MemorySendChannel[StandingChange], frozenset[str] | None] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    @asynccontextmanager
    async def watch(
        self, sessions: frozenset[str] | None
    ) -> AsyncIterator[trio.MemoryReceiveChannel[StandingChange]]:
        """Changes of these sessions (None: of all that this sidecar serves), until it is left.

        The channel ends (`trio.EndOfChannel`) for a watcher that falls `BACKLOG` changes behind.
        """
        send, receive = trio.open_memory_channel[StandingChange](BACKLOG)
        self._watchers[send] = sessions
        try:
            async with receive:
                if self.bring is not None:
                    for session in sessions or ():
                        await self.bring(session)
                yield receive
        finally:
            self._watchers.pop(send, None)
            send.close()

    def wants(self, session: str) -> bool:
        """Return whether somebody watches this very session: then it stays in the view."""
        return any(
            sessions is not None and session in sessions for sessions in self._watchers.values()
        )

    def notify(self, change: StandingChange) -> None:
        """Notify everybody who watches this session."""
        for send, sessions in tuple(self._watchers.items()):
            if sessions is not None and change.session not in sessions:
                continue
            try:
                send.send_nowait(change)
            except trio.WouldBlock:
                self._watchers.pop(send, None)
                send.close()
            except trio.BrokenResourceError:
                self._watchers.pop(send, None)


def change_of(session: str, word: str, standing: Standing, now: float) -> StandingChange:
    """Return what watchers learn of a session that now stands so, in a `word`."""
    waiting = open_marks(standing, now)
    contexts = {c for demand in waiting for c in demand.contexts.include or ()}
    reasons = reasons_of(waiting)
    return StandingChange(session, word, tuple(sorted(contexts)), reasons)
