"""News of records that grew, over Redis' sharded publish and subscribe.

A subscriber who was away gets none of the messages that it missed. So whoever holds records must
know two things: that a channel is followed (`follow` returns once the server has said so; load
the record after that, and there is no gap), and since when it can be certain that nothing was
missed (`staleness`). The link to each server is therefore pinged, unless what we publish ourselves
is heard all the time. When one breaks, all begin anew: `lost(reason)` is called; the channels are
subscribed again and acknowledged; `await restored()` is the moment to load again what is held;
then the link is whole.
"""

import math
import random
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AsyncExitStack
from functools import partial

import trio
from redis.exceptions import RedisError

from sidecar.adapters.redis.connection import connected
from sidecar.adapters.redis.links import Links
from sidecar.adapters.redis.subscription import Line
from sidecar.adapters.redis_server.causes import cause_of
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.backoff import doubled, spread
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.settings.settings import StoreSettings
from sidecar.wire.store.losses import tag_of

MOVES = 5.0
"""How often it is asked whether the servers have moved, in seconds."""


class RedisNews:
    """The port `service.ports.store.RedisNews`.

    `deliver(key, fields)` is called with a record's fields that grew; it must not raise or wait.
    `ping` is the interval between pings, in seconds; one that is not answered within
    `settings.timeout` breaks the link. What is heard of what we published is as good as a ping:
    `heard_since(channel)` says when that was sent. `on_trouble(reason)` is called if a link broke
    or cannot be had. `own(tag)` is a channel in the slot of this hash tag that is followed all the
    time, at each server: a link that may not even follow that is none.
    """

    def __init__(  # noqa: PLR0913 - what it needs, each by name
        self,
        links: Links,
        settings: StoreSettings,
        *,
        deliver: Callable[[bytes, Record], None],
        lost: Callable[[str], None],
        restored: Callable[[], Awaitable[None]],
        ping: float = 1.0,
        on_trouble: Callable[[str], None] = lambda _: None,
        jitter: Callable[[], float] = random.random,
        own: Callable[[str], bytes] | None = None,
        heard_since: Callable[[bytes], float] = lambda _: -math.inf,
    ) -> None:
        self._heard_since = heard_since
        self._links = links
        self._settings = settings
        self._own = own
        self._deliver = deliver
        self._lost = lost
        self._restored = restored
        self._ping = ping
        self._on_trouble = on_trouble
        self._jitter = jitter
        self._interest: dict[bytes, int] = {}
        self._lines: dict[str, Line] = {}
        self._scope = trio.CancelScope()
        self._open = False
        self._whole = False
        self._trouble = ""
        self._proven = -float("inf")

    async def follow(self, *channels: bytes) -> None:
        """Subscribe to channels; return once the servers have acknowledged all of them.

        Each channel is undone by one `unfollow`, unless this raised. Raises `Unavailable` while the
        link is down.
        """
        for channel in channels:
            self._interest[channel] = self._interest.get(channel, 0) + 1
        try:
            asked = [self._line_of(channel).ask(channel) for channel in channels]
            for wish in asked:
                await wish.granted()
        except BaseException:
            for channel in channels:
                self.unfollow(channel)
            raise

    def unfollow(self, channel: bytes) -> None:
        """Undo one `follow`; after the last of them, unsubscribe a little later."""
        left = self._interest[channel] - 1
        if left:
            self._interest[channel] = left
            return
        del self._interest[channel]
        for line in self._lines.values():
            line.unwanted.add(channel)

    def staleness(self) -> float:
        """Return for how many seconds news may have been missed; infinite before the first proof.

        Certain is what lay before a ping that was answered: what the server published earlier
        has arrived before the answer.
        """
        return trio.current_time() - self._last_proven()

    def _last_proven(self) -> float:
        if self._whole:
            return min([line.proven for line in self._lines.values()])  # faster than a generator
        return self._proven

    def _line_of(self, channel: bytes) -> Line:
        if not self._open:
            raise Unavailable("the link for news is down")
        line = self._lines.get(self._links.node_of(channel))
        if line is None:
            self._break("the servers have moved")
            raise Unavailable("the servers have moved")
        return line

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link, for ever. Started once it is whole, or the first try has failed."""
        tried = trio.Event()

        def started() -> None:
            if not tried.is_set():
                tried.set()
                task_status.started()

        failures = 0
        while True:
            if await self._live(started):
                failures = 0
                self._lost(self._trouble)
            started()
            self._on_trouble(self._trouble)
            pause = doubled(self._settings.retry_base, self._settings.retry_cap, failures)
            await trio.sleep(spread(pause, self._jitter()))
            failures += 1

    async def _live(self, on_whole: Callable[[], None]) -> bool:
        """Keep the link until it breaks; return whether it ever was whole."""
        self._trouble = ""
        try:
            async with AsyncExitStack() as stack:
                try:
                    where = await self._topology()
                    for node in self._links.nodes():
                        self._lines[node] = await self._line_to(node, stack)
                except Unavailable as error:
                    self._trouble = str(error)
                else:
                    await self._hold(where, on_whole)
        finally:
            self._proven = self._last_proven()
            was_whole, self._whole, self._open = self._whole, False, False
            for line in self._lines.values():
                line.close()
            self._lines.clear()
        return was_whole

    async def _line_to(self, node: str, stack: AsyncExitStack) -> Line:
        socket = await stack.enter_async_context(connected(self._links, node))
        return Line(
            socket,
            [channel for channel in self._interest if self._links.node_of(channel) == node],
            interest=self._interest.keys(),
            deliver=self._deliver,
            ping=self._ping,
            patience=self._settings.timeout,
            own=self._own_of(node),
            heard_since=self._heard_since,
        )

    def _own_of(self, node: str) -> list[bytes]:
        spans = self._links.spans(node)
        return [self._own(tag_of(spans[0][0]))] if self._own and spans else []

    async def _hold(self, where: Hashable, on_whole: Callable[[], None]) -> None:
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                for line in self._lines.values():
                    nursery.start_soon(self._guard, line.listen)
                    nursery.start_soon(self._guard, line.talk)
                nursery.start_soon(self._guard, partial(self._watch, where))
                await self._guard(self._make_whole)
                if self._whole:
                    on_whole()

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (Unavailable, Overloaded) as error:
            self._break(str(error))

    def _break(self, trouble: str) -> None:
        self._trouble = self._trouble or trouble
        self._scope.cancel()

    async def _make_whole(self) -> None:
        for line in self._lines.values():
            await line.ready.wait()
        self._open = True
        await self._restored()
        self._whole = True

    async def _watch(self, where: Hashable) -> None:
        while True:
            await trio.sleep(MOVES * (0.75 + 0.5 * self._jitter()))
            try:
                now = await self._topology()
            except Unavailable:
                continue  # the pings will show whether the servers themselves are gone
            if now != where:
                raise Unavailable("the servers have moved")

    async def _topology(self) -> Hashable:
        try:
            return await trio.to_thread.run_sync(self._links.topology)
        except (RedisError, OSError) as error:
            raise Unavailable(cause_of(error, self._links.where)) from error
