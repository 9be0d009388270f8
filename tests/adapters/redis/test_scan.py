"""All keys, page by page, from any sidecar's bookmark."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.scan import Bookmark, Position, decode_bookmark, encode_bookmark
from sidecar.adapters.redis.store import RedisStore
from sidecar.service.ports.calls import Unavailable
from tests.adapters.servers import Server, impatient, serving

KEYS = {b"su:{u%d}:s:x" % n for n in range(5000)}
PATTERN = "su:{u*}:s:*"


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[RedisStore]:
    settings = impatient(server.url, retries=0)
    store = RedisStore(links_of(settings), settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


def fill(server: Server) -> None:
    with server.client() as client:
        client.mset({**dict.fromkeys(KEYS, "x"), b"other": "x"})


async def rest(store: RedisStore, bookmark: bytes) -> set[bytes]:
    found: set[bytes] = set()
    while True:
        page = await store.scan(PATTERN, bookmark)
        found.update(page.keys)
        bookmark = page.bookmark
        if not bookmark:
            return found


async def test_another_goes_on_from_a_bookmark_and_nothing_is_left_out() -> None:
    with serving() as server:
        fill(server)
        async with running(server) as one, running(server) as other:
            page = await one.scan(PATTERN)
            assert 0 < len(page.keys) < len(KEYS)
            left = await rest(other, page.bookmark)
            assert left | set(page.keys) == KEYS
            assert len(left) < len(KEYS)


async def test_a_bookmark_of_a_server_that_was_another_process_leads_to_the_beginning() -> None:
    with serving() as server:
        fill(server)
        async with running(server) as store:
            page = await store.scan(PATTERN)
            server.stop()
            server.path.unlink(missing_ok=True)
            with pytest.raises(Unavailable):
                await store.scan(PATTERN, page.bookmark)
            server.start()
            fill(server)
            assert await rest(store, page.bookmark) == KEYS


async def test_what_is_no_bookmark_leads_to_the_beginning() -> None:
    with serving() as server:
        fill(server)
        async with running(server) as store:
            assert await rest(store, b"no bookmark") == KEYS


MEMBERS = {b"member-%d" % n: 2000.0 for n in range(5000)}


async def through_index(store: RedisStore, bookmark: bytes) -> set[bytes]:
    found: set[bytes] = set()
    while True:
        page = await store.members(b"index", 1000, bookmark)
        found.update(page.keys)
        bookmark = page.bookmark
        if not bookmark:
            return found


async def test_an_index_is_read_page_by_page_from_any_bookmark_without_what_has_expired() -> None:
    with serving() as server:
        with server.client() as client:
            client.zadd("index", dict([*MEMBERS.items(), (b"expired", 999.0)]))
        async with running(server) as one, running(server) as other:
            page = await one.members(b"index", 1000)
            assert 0 < len(page.keys) < len(MEMBERS)
            left = await through_index(other, page.bookmark)
            assert left | set(page.keys) == set(MEMBERS)
            assert len(left) < len(MEMBERS)


async def test_a_bookmark_in_an_index_of_another_process_leads_to_its_beginning() -> None:
    with serving() as server:
        async with running(server) as store:
            with server.client() as client:
                client.zadd("index", dict(MEMBERS.items()))
            page = await store.members(b"index", 1000)
            server.stop()
            server.path.unlink(missing_ok=True)
            server.start()
            with server.client() as client:
                client.zadd("index", dict(MEMBERS.items()))
            assert await through_index(store, page.bookmark) == set(MEMBERS)


def test_pages_come_from_each_node_in_turn_until_it_is_done() -> None:
    nodes = ("a", "b", "c")
    left = {"a": 2, "b": 1, "c": 3}
    bookmark = Bookmark(b"", tuple(Position(node) for node in nodes))
    asked = []
    while bookmark.left:
        at = bookmark.left[0]
        asked.append(at.node)
        left[at.node] -= 1
        decoded = decode_bookmark(encode_bookmark(bookmark))
        assert decoded == bookmark
        bookmark = decoded.after(f"run of {at.node}", 7 if left[at.node] else 0)
    assert asked == ["a", "b", "c", "a", "c", "c"]
