"""The two forms of each port: in memory, as the tests of services have it, and on a real server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.news import RedisNews
from sidecar.adapters.redis.queues import RedisQueues
from sidecar.adapters.redis.store import RedisStore
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import GuardedStore, News, Queues
from tests.adapters.servers import Server, impatient
from tests.service.memory import MemoryNews, MemoryStore

FORMS = ("memory", "real")

Deliver = Callable[[bytes, Record], None]


class Form(NamedTuple):
    """A store with its queues; `follow` opens a link for news, `pass_time` has time pass for it."""

    store: GuardedStore
    queues: Queues
    follow: Callable[[Deliver], Awaitable[News]]
    pass_time: Callable[[float], Awaitable[None]]


@asynccontextmanager
async def opened(form: str, server: Server) -> AsyncIterator[Form]:
    """Open one of `FORMS`; a real one is as it was left by whoever used the server before."""
    if form == "memory":
        yield _in_memory()
        return
    settings = impatient(server.url, retries=0)
    store = RedisStore(links_of(settings), settings)
    async with trio.open_nursery() as nursery:

        async def follow(deliver: Deliver) -> News:
            news = RedisNews(
                links_of(settings),
                settings,
                deliver=deliver,
                lost=lambda _: None,
                restored=trio.lowlevel.checkpoint,
                ping=0.05,
            )
            await nursery.start(news.run)
            return news

        await nursery.start(store.run)
        yield Form(store, RedisQueues(store), follow, trio.sleep)
        nursery.cancel_scope.cancel()


def _in_memory() -> Form:
    store = MemoryStore()

    async def follow(deliver: Deliver) -> News:
        await trio.lowlevel.checkpoint()
        return MemoryNews(store, deliver)

    async def pass_time(seconds: float) -> None:
        store.now += seconds
        await trio.lowlevel.checkpoint()

    return Form(store, store.queues, follow, pass_time)
