"""The feed of what happens, for those who look on: signals, marks, acts, changes of standings.

It is what this sidecar takes and logs, and what becomes of the sessions that it serves. Followers
are few, and each has a short queue: who does not read is dropped, and what happens waits for none.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import trio

from sidecar.service.observations.observations import (
    Cleared,
    EventOutcome,
    EventTaken,
    Marked,
    Observation,
    RevokedSession,
)
from sidecar.service.observations.operator import OperatorActed
from sidecar.service.ports.calls import Overloaded, StandingChange

FOLLOWERS = 24
"""Who may look on at a time; the next one is refused."""

EACH = 4
"""How many of these may be of one operator."""

WAITING = 64
"""Items that may wait for one follower. One that falls further behind is dropped."""

LATEST = 30
"""Items that are kept for whoever comes later."""

HEARD = (Marked, Cleared, RevokedSession, OperatorActed, EventTaken)
"""What the feed is made of, beside changes of standings."""

_TAKEN = frozenset({EventOutcome.ACCEPTED, EventOutcome.SPOOLED})


class FeedItem(msgspec.Struct, frozen=True):
    """One thing that happened at `time` (seconds), in words.

    `session` empty: to none in particular. `number` grows with each item of this sidecar.
    """

    number: int
    time: float
    kind: str
    text: str
    session: str = ""
    user: str = ""
    issuer: str = ""
    policy: str = ""


class _Follower:
    """Somebody who looks on: whose sign-in it is, and what waits for them."""

    def __init__(self, operator: str) -> None:
        self.operator = operator
        self.send, self.receive = trio.open_memory_channel[FeedItem](WAITING)


class Feed:
    """Hands what happens to all who follow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._followers: dict[_Follower, None] = {}
        self._latest: deque[FeedItem] = deque(maxlen=LATEST)

    @property
    def latest(self) -> tuple[FeedItem, ...]:
        """The latest items, the newest first."""
        return tuple(reversed(self._latest))

    def __len__(self) -> int:
        return len(self._followers)

    @asynccontextmanager
    async def follow(self, operator: str) -> AsyncIterator[trio.MemoryReceiveChannel[FeedItem]]:
        """Follow what happens from now on, until it is left.

        The channel ends (`trio.EndOfChannel`) for a follower that falls `WAITING` items behind.
        Raises `Overloaded` where too many follow.
        """
        own = sum(one.operator == operator for one in self._followers)
        if len(self._followers) >= FOLLOWERS or own >= EACH:
            raise Overloaded(5, "too many look on already")
        follower = _Follower(operator)
        self._followers[follower] = None
        try:
            async with follower.receive:
                yield follower.receive
        finally:
            self._followers.pop(follower, None)
            follower.send.close()

    def hear(self, seen: Observation) -> None:
        """Take up an observation that is of the feed."""
        match seen:
            case Marked(again=False):
                kind = "would-be-marked" if seen.report_only else "marked"
                self._say(kind, seen.text, seen.session, seen.subject, seen.issuer, seen.policy)
            case Cleared(again=False):
                text = f"the mark was cleared ({seen.reason.value})"
                self._say("cleared", text, seen.session, seen.subject, seen.issuer, seen.policy)
            case RevokedSession(again=False):
                self._say("revoked", seen.reason, seen.session, seen.subject, seen.issuer)
            case OperatorActed(reason=reason):
                text = f"{seen.act} of a {seen.on} by {seen.operator}: {seen.outcome}"
                text += f" ({reason})" if reason else ""
                self._say("act", text, seen.session, seen.user, seen.issuer)
            case EventTaken() if seen.outcome in _TAKEN:
                by = f" by {seen.source}" if seen.source else ""
                self._say("signal", f"{seen.type} was taken{by}")
            case _:
                pass

    def item_of(self, change: StandingChange) -> FeedItem:
        """Return the item that says that a session of this sidecar's view stands otherwise now.

        Whoever follows watches the standings beside the feed: it keeps none of them.
        """
        why = "; ".join(
            f"{one.policy}: {one.text}" if one.policy else one.text for one in change.reasons
        )
        text = f"stands {change.standing.replace('_', '-')}" + (f": {why}" if why else "")
        return FeedItem(next(self._numbers), self._clock(), "standing", text, change.session)

    def _say(  # noqa: PLR0913, PLR0917 - an item's members, in their order
        self,
        kind: str,
        text: str,
        session: str = "",
        user: str = "",
        issuer: str = "",
        policy: str = "",
    ) -> None:
        item = FeedItem(
            next(self._numbers), self._clock(), kind, text, session, user, issuer, policy
        )
        self._latest.append(item)
        for follower in tuple(self._followers):
            try:
                follower.send.send_nowait(item)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._followers.pop(follower, None)
                follower.send.close()
