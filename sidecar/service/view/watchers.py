"""The watchers of sessions: apps that hear when a session loses or regains its standing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from sidecar.domain.evaluation.decision import STANDINGS, coarse, open_marks
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.session.standing import Standing
from sidecar.service.checks.responses import reasons_of
from sidecar.service.compact.namesakes import Namesakes
from sidecar.service.ports.calls import StandingChange
from sidecar.service.view.live_session import Live

Bring = Callable[[str], Awaitable[None]]

BACKLOG = 1024
"""Changes that may wait for one watcher. One that falls further behind is cut off."""


class Watches:
    """The watchers of each session. `bring` has a session taken into the view, if it is known.

    `begun` is called as the first of them comes, before it hears of any change.
    """

    def __init__(self, bring: Bring | None = None) -> None:
        self.bring = bring
        self.begun: Callable[[], None] = lambda: None
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
        if not self._watchers:
            self.begun()
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


class Words:
    """The words for how the sessions of a view stand, and what watchers hear of their changes.

    How a session stands as it comes into the view is worked out where somebody watches; else only
    once that is asked for, as nobody hears of what was there before.
    """

    def __init__(
        self,
        watches: Watches,
        namesakes: Namesakes,
        evaluator: Callable[[], Evaluator],
        clock: Callable[[], float],
    ) -> None:
        self._watches = watches
        self._namesakes = namesakes
        self._evaluator = evaluator
        self._clock = clock
        self._unknown: dict[Live, None] = {}
        watches.begun = self._find_all

    def begin(self, live: Live) -> None:
        """Take up a session that was read."""
        live.coarse = ""
        self._unknown[live] = None
        if len(self._watches):
            self._find_all()

    def leave(self, live: Live) -> None:
        """Let go of a session."""
        self._unknown.pop(live, None)

    def note(self, live: Live, standing: Standing, now: float) -> None:
        """Notify watchers if a session stands otherwise than when it was last looked at.

        They know sessions by their names alone: of several that bear it, the one counts that stands
        worst.
        """
        self._unknown.pop(live, None)
        word, before = coarse(standing, now), live.coarse
        if word == before:
            return
        live.coarse = word
        if before and len(self._watches):
            worst = max(
                (live, *self._namesakes.of(live.session)),
                key=lambda one: STANDINGS.index(one.coarse),
            )
            worst_standing = worst.standing(self._evaluator(), now)
            change = change_of(live.session, worst.coarse, worst_standing, now)
            self._watches.notify(change)

    def _find_all(self) -> None:
        """Find out of all: from now on somebody hears of what changes."""
        evaluator, now = self._evaluator(), self._clock()
        while self._unknown:
            self._unknown.popitem()[0].word(evaluator, now)


def change_of(session: str, word: str, standing: Standing, now: float) -> StandingChange:
    """Return what watchers learn of a session that now stands so, in a `word`."""
    waiting = open_marks(standing, now)
    contexts = {c for demand in waiting for c in demand.contexts.include or ()}
    reasons = reasons_of(waiting)
    return StandingChange(session, word, tuple(sorted(contexts)), reasons)
