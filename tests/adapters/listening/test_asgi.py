"""The places of hypercorn's listeners: who keeps one, and who makes room."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import h2.config
import h2.connection
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.listening.acceptor import CrowdOutcome
from sidecar.adapters.listening.application import body_of
from sidecar.adapters.listening.asgi import READ_SIZE, Listener, listener_of
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.wire.settings.settings import Admin, Settings
from tests.waiting import until

LIMIT = 8
MOST = 6
WHOLE = b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
HALF_HEAD = b"GET /wait HTTP/1.1\r\nHost:"
HALF_BODY = b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"


class Site:
    """A listener whose application answers once it may, and its clients."""

    def __init__(self) -> None:
        self.crowding: list[CrowdOutcome] = []
        self.broken: list[Exception] = []
        self.may_answer = trio.Event()
        self.working = self.asked = 0
        self.answer = Response(b"here")
        self.sizes: list[int] = []
        routes = [
            Route("/wait", self._wait, methods=["GET", "POST"]),
            Route("/sizes", self._measure, methods=["POST"]),
        ]
        app: Any = Starlette(routes=routes)
        self.listener = Listener(
            "127.0.0.1:0",
            app,
            limit=LIMIT,
            on_crowding=self.crowding.append,
            on_broken=self.broken.append,
        )
        self.port = 0
        self._open = AsyncExitStack()

    async def _wait(self, request: Request) -> Response:
        await body_of(request, 100)
        self.working += 1
        self.asked += 1
        await self.may_answer.wait()
        self.working -= 1
        return self.answer

    async def _measure(self, request: Request) -> Response:
        self.sizes = [len(chunk) async for chunk in request.stream()]
        return self.answer

    async def clients(self, count: int, said: bytes, source: str = "127.0.0.1") -> Any:
        return [await self.client(said, source) for _ in range(count)]

    async def client(self, said: bytes = b"", source: str = "127.0.0.1") -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=source)
        await self._open.enter_async_context(stream)
        await stream.send_all(said)
        return stream

    async def close(self) -> None:
        self.listener.stop()
        await self._open.aclose()


@pytest.fixture
async def site(nursery: trio.Nursery) -> AsyncIterator[Site]:
    site = Site()
    (url,) = await nursery.start(site.listener.run)
    site.port = int(url.rpartition(":")[2])
    with trio.fail_after(30):
        yield site
    site.may_answer.set()
    await site.close()


async def read(stream: trio.SocketStream) -> bytes:
    """Return what comes until the other end closes, or until `here` came."""
    came = b""
    with trio.fail_after(10):
        try:
            while b"here" not in came and (more := await stream.receive_some(65536)):
                came += more
        except trio.BrokenResourceError:
            pass
    return came


@pytest.mark.parametrize("said", [b"", HALF_HEAD, HALF_BODY])
async def test_connections_without_a_whole_request_make_room(site: Site, said: bytes) -> None:
    site.may_answer.set()
    await site.clients(3 * LIMIT, said)
    assert (await read(await site.client(WHOLE))).startswith(b"HTTP/1.1 200")
    assert set(site.crowding) == {CrowdOutcome.MADE_ROOM}


async def test_a_whole_request_keeps_its_place_and_others_have_theirs(site: Site) -> None:
    mine = await site.clients(MOST, WHOLE)
    await until(lambda: site.working == MOST)
    assert await read(await site.client(WHOLE)) == b""  # more than its share
    theirs = await site.clients(LIMIT - MOST, WHOLE, "127.0.0.2")
    await until(lambda: site.working == LIMIT)
    assert await read(await site.client(WHOLE, "127.0.0.3")) == b""
    assert site.crowding == [CrowdOutcome.REFUSED] * 2
    site.may_answer.set()
    for stream in (*mine, *theirs):
        assert b"here" in await read(stream)


async def test_who_has_been_answered_waits_and_who_does_not_read_makes_room(site: Site) -> None:
    site.answer = Response(b"x" * 50_000_000)
    site.may_answer.set()
    await site.clients(LIMIT, WHOLE)
    site.answer = Response(b"here")
    for _ in range(LIMIT):
        assert (await read(await site.client(WHOLE, "127.0.0.2"))).startswith(b"HTTP/1.1 200")
    assert set(site.crowding) == {CrowdOutcome.MADE_ROOM}


@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_connection_is_one_request_at_a_time(site: Site, upgrade: bool) -> None:
    """No HTTP/2, neither with prior knowledge nor after an upgrade (RFC 9113, section 3)."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration())
    asked, first = b"", 1
    if upgrade:
        settings = peer.initiate_upgrade_connection() or b""
        upgrading = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
        asked, first = WHOLE[:-2] + upgrading + settings + b"\r\n\r\n", 3
    else:
        peer.initiate_connection()
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/wait")]
    for number in range(first, 9, 2):
        peer.send_headers(number, head, end_stream=True)
    stream = await site.client(asked + peer.data_to_send())
    site.may_answer.set()
    answered = await read(stream)
    assert site.asked <= upgrade
    assert b"HTTP/1.1 200" not in answered


async def test_what_comes_at_once_is_taken_in_pieces_between_which_others_get_their_turn(
    site: Site,
) -> None:
    head = b"POST /sizes HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    assert b"here" in await read(await site.client(head + bytes(200_000)))
    assert sum(site.sizes) == 200_000
    assert max(site.sizes) <= READ_SIZE


def upgrade(to: bytes, *fields: bytes) -> bytes:
    """Return a request that asks for another protocol on this connection."""
    lines = (b"Connection: Upgrade", b"Upgrade: " + to, *fields)
    return WHOLE[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


WEBSOCKET = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
MALFORMED = {
    "settings that are no base64": upgrade(b"h2c", b"HTTP2-Settings: A"),
    "settings that are cut off": upgrade(b"h2c", b"HTTP2-Settings: AAAA"),
    "settings that are out of bounds": upgrade(b"h2c", b"HTTP2-Settings: AAT_____"),
    "more priorities than are kept": PREFACE
    + b"".join(
        bytes((0, 0, 5, 2, 0)) + number.to_bytes(4) + bytes(5) for number in range(1, 2101, 2)
    ),
    "bytes that are no text": upgrade(b"websocket", *WEBSOCKET, b"Sec-WebSocket-Protocol: \xff"),
    "a body": upgrade(b"websocket", *WEBSOCKET, b"Content-Length: 5") + b"hello",
    "a frame before the answer": upgrade(b"websocket", *WEBSOCKET) + b"\x81\x80\0\0\0\0",
}
"""What hypercorn does not expect of a peer."""


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED.keys())
async def test_no_peer_ends_the_listener_by_what_hypercorn_does_not_expect(
    site: Site, said: bytes
) -> None:
    site.may_answer.set()
    await read(await site.client(said))
    await until(lambda: bool(site.broken))
    assert (await read(await site.client(WHOLE))).startswith(b"HTTP/1.1 200")


async def test_a_broken_connection_is_counted_and_logged_once_a_minute_without_its_text(
    nursery: trio.Nursery,
) -> None:
    log = io.BytesIO()
    telemetry = PrometheusTelemetry(Settings(), LogLines(log))
    app: Any = Starlette()
    listener = listener_of(Admin(bind="127.0.0.1:0"), app, telemetry, "admin")
    (url,) = await nursery.start(listener.run)
    for _ in range(3):
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            await stream.send_all(upgrade(b"h2c", b"Authorization: Secret", b"HTTP2-Settings: A"))
            await read(stream)
    counted = b'sidecar_door_incidents_total{door="admin",incident="malformed"} 3.0'
    await until(lambda: counted in telemetry.expose().body)
    listener.stop()
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert (line["event"], line["door"], line["error"]) == ("connection-broken", "admin", "Error")
    assert "Secret" not in log.getvalue().decode()
