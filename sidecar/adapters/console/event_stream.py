"""Streams what happens to a browser, as server-sent events (WHATWG HTML, section 9.2)."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import trio
from starlette.responses import Response

from sidecar.service.console.feed import Feed, FeedItem
from sidecar.service.view.watchers import Watches

BEAT = 15.0
"""Seconds after which a line without a meaning is sent, and the sign-in is looked at again."""

AGAIN = 3000
"""Milliseconds after which a browser asks again that has lost its stream."""


class EventStream(Response):
    """Sends items until the browser leaves, falls behind, or is signed in no more."""

    media_type = "text/event-stream"

    def __init__(
        self, feed: Feed, watches: Watches, operator: str, is_valid: Callable[[], bool]
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._feed = feed
        self._watches = watches
        self._operator = operator
        self._is_valid = is_valid
        self._turn = trio.Lock()

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        """Answer. Raises `Overloaded`, before anything is sent, where too many look on."""
        async with AsyncExitStack() as stack:
            items = await stack.enter_async_context(self._feed.follow(self._operator))
            changes = await stack.enter_async_context(self._watches.watch(None))
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_gone, receive, nursery.cancel_scope)
                nursery.start_soon(self._beat, send, nursery.cancel_scope)
                nursery.start_soon(self._watch, changes, send, nursery.cancel_scope)
                with suppress(trio.EndOfChannel):
                    while True:
                        await self._send(send, _event_of(await items.receive()))
                nursery.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, changes: Any, send: Any, scope: trio.CancelScope) -> None:
        with suppress(trio.EndOfChannel):
            while True:
                await self._send(send, _event_of(self._feed.item_of(await changes.receive())))
        scope.cancel()

    async def _beat(self, send: Any, scope: trio.CancelScope) -> None:
        await self._send(send, b"retry: %d\n\n" % AGAIN)
        while self._is_valid():
            await trio.sleep(BEAT)
            await self._send(send, b":\n\n")
        scope.cancel()

    async def _send(self, send: Any, body: bytes) -> None:
        async with self._turn:
            await send({"type": "http.response.body", "body": body, "more_body": True})


def _event_of(item: FeedItem) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (item.number, msgspec.json.encode(item))


async def _gone(receive: Any, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
