"""News over a real server: no gap after `follow`, and a lost link is known to be lost."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from sidecar.adapters.redis.commands import InvalidNews, decode_news
from sidecar.adapters.redis.connection import connected
from sidecar.adapters.redis.links import links_of
from sidecar.adapters.redis.news import RedisNews
from sidecar.domain.values.lattice import Record
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import StoreSettings
from tests.adapters.servers import free_ports, impatient, serving
from tests.waiting import until

GIVE_UP = 30.0
NEWS = b"3:k:1,3:a:1,1:x,"


class Heard:
    """The news and the states of the link, in order."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self._changed = trio.Event()
        self.failures = 0

    def _add(self, what: object) -> None:
        self.log.append(what)
        self._changed.set()
        self._changed = trio.Event()

    def deliver(self, key: bytes, fields: Record) -> None:
        self._add((key, fields))

    def lost(self, reason: str) -> None:
        assert reason
        self._add("lost")

    async def restored(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("what is held could not be loaded again")
        self._add("restored")

    def has_more_than(self, count: int) -> bool:
        return len(self.log) > count

    def is_in_turn(self) -> bool:
        """Return whether each loss of the link and each return came once, in turn."""
        return all(
            state == ("lost" if index % 2 else "restored") for index, state in enumerate(self.log)
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(GIVE_UP):
            while not holds():
                await self._changed.wait()


@asynccontextmanager
async def following(settings: StoreSettings) -> AsyncIterator[tuple[RedisNews, Heard]]:
    heard = Heard()
    news = RedisNews(
        links_of(settings),
        settings,
        deliver=heard.deliver,
        lost=heard.lost,
        restored=heard.restored,
        ping=0.05,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(news.run)
        yield news, heard
        nursery.cancel_scope.cancel()


async def test_what_is_published_after_follow_is_delivered(
    valkey_url: str, valkey: redis.Redis
) -> None:
    async with following(StoreSettings(url=valkey_url)) as (news, heard):
        await news.follow(b"c")
        assert valkey.spublish("c", NEWS) == 1
        await heard.until(lambda: len(heard.log) == 2)
        assert heard.log == ["restored", (b"k:1", {b"a:1": b"x"})]


async def test_follow_returns_only_once_the_server_knows(
    valkey_url: str, valkey: redis.Redis
) -> None:
    channels = [b"c%d" % n for n in range(2000)]
    receivers: list[int] = []

    async with following(StoreSettings(url=valkey_url)) as (news, heard):

        async def follow(channel: bytes) -> None:
            await news.follow(channel)
            receivers.append(valkey.spublish(channel.decode(), NEWS))

        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(follow, channel)
        await heard.until(lambda: len(heard.log) == 2001)
    assert receivers == [1] * 2000


async def test_a_channel_is_followed_until_the_last_has_left(
    valkey_url: str, valkey: redis.Redis
) -> None:
    async with following(StoreSettings(url=valkey_url)) as (news, _):
        await news.follow(b"c")
        await news.follow(b"c")
        await news.follow(b"other")
        news.unfollow(b"c")
        news.unfollow(b"other")
        await until(lambda: valkey.spublish("other", NEWS) == 0)
        assert valkey.spublish("c", NEWS) == 1
        news.unfollow(b"c")
        await until(lambda: valkey.spublish("c", NEWS) == 0)
        await news.follow(b"c")
        assert valkey.spublish("c", NEWS) == 1


async def test_a_change_of_mind_costs_no_subscription(valkey_url: str, valkey: redis.Redis) -> None:
    async with following(StoreSettings(url=valkey_url)) as (news, _):
        for _ in range(200):
            await news.follow(b"c")
            assert valkey.spublish("c", NEWS) == 1
            news.unfollow(b"c")
            await trio.sleep(0.001)  # so that pings fall into some of the changes


async def test_the_link_is_fresh_while_pings_are_answered(valkey_url: str) -> None:
    async with following(StoreSettings(url=valkey_url)) as (news, _):
        first = trio.current_time() - news.staleness()
        await until(lambda: trio.current_time() - news.staleness() > first)


async def test_a_silent_server_is_a_lost_link_and_restored_when_it_speaks() -> None:
    with serving() as server, server.client() as client:
        async with following(impatient(server.url)) as (news, heard):
            await news.follow(b"c")
            with server.paused():
                await heard.until(lambda: heard.log[-1] == "lost")
                proven = trio.current_time() - news.staleness()
                with pytest.raises(Unavailable):
                    await news.follow(b"d")
                assert trio.current_time() - news.staleness() == pytest.approx(proven, abs=1e-3)
            await heard.until(lambda: heard.log[-1] == "restored")
            assert heard.is_in_turn()
            assert client.spublish("c", NEWS) >= 1
            assert client.spublish("d", NEWS) == 0
            await heard.until(lambda: (b"k:1", {b"a:1": b"x"}) in heard.log)
            await until(lambda: trio.current_time() - news.staleness() > proven)


async def test_a_restarted_server_is_subscribed_to_again() -> None:
    with serving() as server:
        async with following(impatient(server.url)) as (news, heard):
            await news.follow(b"c")
            server.stop()
            await heard.until(lambda: heard.log[-1] == "lost")
            server.start()
            await heard.until(lambda: heard.log[-1] == "restored")
            with server.client() as client:
                assert client.spublish("c", NEWS) == 1


async def test_the_link_is_not_whole_until_what_is_held_was_loaded_again() -> None:
    with serving() as server:
        async with following(impatient(server.url)) as (_, heard):
            heard.failures = 2
            server.stop()
            await heard.until(lambda: heard.log[-1] == "lost")
            server.start()
            await heard.until(lambda: heard.log[-1] == "restored")
            assert heard.is_in_turn()
            assert heard.failures == 0


async def test_a_server_that_is_away_at_the_start_is_infinitely_stale() -> None:
    with serving() as server:
        server.stop()
        async with following(impatient(server.url)) as (news, heard):
            assert news.staleness() == math.inf
            with pytest.raises(Unavailable):
                await news.follow(b"c")
            server.start()
            await heard.until(lambda: heard.log == ["restored"])
            await news.follow(b"c")
            await until(lambda: news.staleness() < GIVE_UP)


async def test_a_channel_one_may_not_read_is_refused_alone() -> None:
    (port,) = free_ports(1)
    with serving(port=port) as server, server.client() as client:
        client.acl_setuser(
            "sidecar", enabled=True, passwords=["+s3cret"], commands=["+@all"], channels=["su:*"]
        )
        settings = impatient(f"redis://sidecar:s3cret@127.0.0.1:{port}")
        async with following(settings) as (news, heard):
            await news.follow(b"su:1")
            with pytest.raises(Unavailable, match="refuses"):
                await news.follow(b"another")
            assert client.spublish("su:1", NEWS) == 1
            await heard.until(lambda: len(heard.log) == 2)
            assert "lost" not in heard.log


async def test_what_is_no_news_is_passed_over(valkey_url: str, valkey: redis.Redis) -> None:
    async with following(StoreSettings(url=valkey_url)) as (news, heard):
        await news.follow(b"c")
        for payload in (b"", b"hello", b"3:k", b"-1:,", b"1:a,1:b,", b"99999999999999:", NEWS):
            valkey.spublish("c", payload)
        await heard.until(lambda: len(heard.log) == 2)
        assert heard.log[1] == (b"k:1", {b"a:1": b"x"})


@pytest.mark.parametrize("payload", [b"", b"x", b"1:a", b"1:a;", b"1:a,1:b,", b"-1:,", b":,"])
def test_a_payload_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidNews):
        decode_news(payload)


async def test_a_socket_without_a_server_is_unavailable(valkey_url: str) -> None:
    links = links_of(impatient(valkey_url + ".not"))
    with pytest.raises(Unavailable):
        async with connected(links, *links.nodes()):
            pass


async def test_a_link_that_breaks_again_and_again_comes_back_all_the_same() -> None:
    with serving() as server:
        settings = impatient(server.url, retry_base=1e-4, retry_cap=1e-4)
        with server.client() as client:
            async with following(settings) as (news, heard):
                for _ in range(110):  # redis-py would count a hundred connections, for good
                    before = len(heard.log)
                    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    await until(partial(heard.has_more_than, before + 1))
                await until(lambda: news.staleness() < math.inf)


async def test_a_link_that_cannot_be_had_is_tried_for_ever(tmp_path: Path) -> None:
    settings = impatient(f"unix://{tmp_path}/nobody", retry_base=1e-6, retry_cap=1e-6)
    tries = 0

    def count(_: str) -> None:
        nonlocal tries
        tries += 1

    heard = Heard()
    news = RedisNews(
        links_of(settings),
        settings,
        deliver=heard.deliver,
        lost=heard.lost,
        restored=heard.restored,
        on_trouble=count,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(news.run)
        await until(lambda: tries > 50)  # longer than pauses double
        nursery.cancel_scope.cancel()
