"""A link for news asks nothing where it hears what this sidecar publishes itself."""

from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from sidecar.adapters.redis.commands import decode_news, encode_news
from sidecar.adapters.redis.connection import RedisSocket
from sidecar.adapters.redis.subscription import Line

OWN = b"t:{tag}:b:a"
PING, PACE = 2.5, 1.75


class Server(RedisSocket):
    """A server that answers at once, and publishes at our pace while we are heard."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._send, self._replies = trio.open_memory_channel[list[Any]](1000)

    async def send(self, *commands: tuple[bytes, ...]) -> None:
        for name, *rest in commands:
            self.asked.append(name)
            reply = [b"pong", b""] if name == b"PING" else [b"ssubscribe", rest[0], 1]
            self._send.send_nowait([reply])

    async def receive(self) -> list[Any]:
        return await self._replies.receive()

    def publish(self) -> None:
        news = encode_news(OWN, {b"beat:signs": b"1"})
        self._send.send_nowait([[b"smessage", OWN, news]])


async def test_a_link_that_hears_us_is_not_pinged_and_one_that_does_not_is(
    autojump_clock: MockClock,
) -> None:
    server, sent = Server(), [0.0]
    line = Line(
        server,
        [],
        interest=(),
        deliver=lambda _, __: None,
        ping=PING,
        patience=1.0,
        own=[OWN],
        heard_since=lambda _: sent[0],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.listen)
        nursery.start_soon(line.talk)
        await line.ready.wait()
        for _ in range(100):
            sent[0] = trio.current_time()
            server.publish()
            await trio.sleep(PACE)
            assert trio.current_time() - line.proven <= PACE
        assert server.asked == [b"SSUBSCRIBE", b"PING"]
        await trio.sleep(10 * PING)
        assert server.asked.count(b"PING") > 5
        assert trio.current_time() - line.proven <= PING
        nursery.cancel_scope.cancel()


@given(key=st.binary(), fields=st.dictionaries(st.binary(), st.binary()))
def test_news_say_what_was_put_into_them(key: bytes, fields: dict[bytes, bytes]) -> None:
    assert decode_news(encode_news(key, fields)) == (key, fields)
