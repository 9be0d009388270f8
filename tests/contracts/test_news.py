"""The port for news: what grows on a followed channel is delivered, in memory as by a server."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import redis
import trio

from sidecar.domain.values.lattice import Record
from sidecar.service.ports.store import BEGAN, Join, News
from tests.adapters.servers import Server
from tests.contracts.forms import FORMS, Form, opened

FAR, NOW = 4_000_000_000_000, 3_900_000_000_000
KEY, CHANNEL, OTHER = b"t:{u}:f", b"t:{u}:c", b"t:{u}:other"
GIVE_UP = 30.0


class Link:
    """A store, and a link for its news that remembers what was delivered."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.heard: list[tuple[bytes, Record]] = []
        self._changed = trio.Event()
        self.news: News

    async def open(self) -> None:
        self.news = await self._form.follow(self._deliver)

    def _deliver(self, key: bytes, fields: Record) -> None:
        self.heard.append((key, dict(fields)))
        self._changed.set()
        self._changed = trio.Event()

    async def publish(self, value: bytes, channel: bytes | None = CHANNEL, **fields: bytes) -> None:
        said = {b"a:1": value, **{b"b:%s" % k.encode(): v for k, v in fields.items()}}
        await self._form.store.join(Join(KEY, said, FAR, NOW, publish=channel))

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(GIVE_UP):
            while not holds():
                await self._changed.wait()

    def values(self) -> list[bytes]:
        return [fields[b"a:1"] for _, fields in self.heard if b"a:1" in fields]


@pytest.fixture(params=FORMS)
async def link(
    request: pytest.FixtureRequest, valkey_server: Server, valkey: redis.Redis
) -> AsyncIterator[Link]:
    async with opened(request.param, valkey_server) as form:
        link = Link(form)
        await link.open()
        yield link


async def test_what_grew_is_delivered_with_its_record_and_nothing_else(link: Link) -> None:
    await link.news.follow(CHANNEL)
    await link.publish(b"1", x=b"x")
    await link.publish(b"1", x=b"w", y=b"y")
    await link.publish(b"0")
    await link.publish(b"2")
    await link.until(lambda: link.values()[-1:] == [b"2"])
    assert link.heard == [
        (KEY, {b"a:1": b"1", b"b:x": b"x", BEGAN: b""}),  # there was no such record
        (KEY, {b"b:y": b"y"}),
        (KEY, {b"a:1": b"2"}),
    ]


async def test_what_is_published_elsewhere_or_nowhere_is_not_delivered(link: Link) -> None:
    await link.publish(b"1")
    await link.news.follow(CHANNEL)
    await link.publish(b"2", OTHER)
    await link.publish(b"3", None)
    await link.publish(b"4")
    await link.until(lambda: bool(link.heard))
    assert link.values() == [b"4"]


async def test_a_channel_is_followed_until_the_last_has_left_and_can_be_followed_again(
    link: Link,
) -> None:
    for _ in range(2):
        await link.news.follow(CHANNEL)
    link.news.unfollow(CHANNEL)
    await link.publish(b"001")
    await link.until(lambda: link.values() == [b"001"])
    link.news.unfollow(CHANNEL)
    await link.news.follow(OTHER)  # by which it shows that what went before has been delivered
    for n in range(2, 1000):
        heard = len(link.heard)
        await link.publish(b"%03d" % n)
        await link.publish(b"%03d" % n, OTHER, mark=b"%03d" % n)
        mark = (KEY, {b"b:mark": b"%03d" % n})
        await link.until(partial(link.heard.__contains__, mark))
        if len(link.heard) == heard + 1:  # the mark alone: a server is reported a little later
            break
        await trio.sleep(0.01)  # the pace at which it is looked whether that was done
    else:
        pytest.fail("the channel is followed still")
    await link.news.follow(CHANNEL)
    await link.publish(b"999")
    await link.until(lambda: link.values()[-1:] == [b"999"])


async def test_a_link_that_is_whole_is_hardly_stale(link: Link) -> None:
    assert 0 <= link.news.staleness() < GIVE_UP
