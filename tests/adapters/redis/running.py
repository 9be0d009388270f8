"""A store that runs against a server, and remembers the calls of its hooks."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.store import (
    Join,
)
from sidecar.wire.settings.settings import StoreSettings

FAR = 4_000_000_000_000
GIVE_UP = 30.0


class Watch:
    """The calls of the store's hooks."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.ups: list[bool] = []
        self._changed = trio.Event()

    def observe(self, operation: str, seconds: float) -> None:
        assert seconds >= 0
        self.operations[operation] += 1

    def on_up(self, up: bool, cause: str) -> None:
        assert bool(cause) is not up
        self.ups.append(up)
        self._changed.set()
        self._changed = trio.Event()

    async def until_up(self, up: bool) -> None:
        with trio.fail_after(GIVE_UP):
            while self.ups[-1:] != [up]:
                await self._changed.wait()


@asynccontextmanager
async def running(settings: StoreSettings) -> AsyncIterator[tuple[RedisStore, Watch]]:
    watch = Watch()
    store = RedisStore(links_of(settings), settings, observe=watch.observe, on_up=watch.on_up)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store, watch
        nursery.cancel_scope.cancel()


def join(key: bytes, value: bytes = b"x") -> Join:
    return Join(key, {b"a:1": value}, FAR, 0)
