import os
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.adapters.http import server
from sidecar.adapters.http.connection import HttpConnection
from sidecar.adapters.http.handlers import HttpIncident
from sidecar.adapters.listening.readiness import AT_A_TIME
from sidecar.wire.http.messages import Request, Response
from tests import plain_http
from tests.adapters.doors import EPOCH
from tests.adapters.http import site as site_of_tests
from tests.adapters.http.site import OK, Site, answer, serving
from tests.waiting import until


@pytest.fixture(params=[False, True], ids=["own task", "in turns"], autouse=True)
def in_turns(request: Any, monkeypatch: Any) -> bool:
    monkeypatch.setattr(site_of_tests, "in_turns", request.param)
    return bool(request.param)


async def test_a_request_is_answered_and_the_connection_kept() -> None:
    async with serving() as site:
        client = await site.client()
        for _ in range(3):
            await client.send(OK)
            status, fields, body = await answer(client)
            assert (status, body) == (200, b"GET /hello ")
            assert fields["x-test"] == "1"
            assert "connection" not in fields
            assert parsedate_to_datetime(fields["date"]).timestamp() == EPOCH
    assert site.requests[0].peer == "127.0.0.1"


@pytest.mark.parametrize("kind", ["tcp", "unix", "ipv6"])
async def test_a_real_client_understands_the_answers(kind: str, tmp_path: Path) -> None:
    options = {"bind": "[::1]:0"} if kind == "ipv6" else {}
    path = str(tmp_path / "h.sock")
    if kind == "unix":
        options = {"bind": "", "unix": path}
    async with serving(**options) as site:
        transport = (
            httpx.AsyncHTTPTransport(uds=path, verify=plain_http.NO_CERTIFICATES)
            if kind == "unix"
            else None
        )
        base = "http://app" if kind == "unix" else f"http://{site.address}"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            assert (await client.get("/a?b=1")).text == "GET /a?b=1 "
            assert (await client.post("/a", content=b"hello")).text == "POST /a hello"
            head = await client.head("/a")
            assert (head.text, head.headers["content-length"]) == ("", "8")

            async def chunks() -> AsyncIterator[Any]:
                yield b"one "
                yield b"two"

            assert (await client.put("/a", content=chunks())).text == "PUT /a one two"
            assert (await client.get("/crash")).status_code == 500
        assert site.requests[0].peer == {"tcp": "127.0.0.1", "ipv6": "::1", "unix": ""}[kind]


async def test_both_addresses_serve_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "h.sock")
    async with serving(unix=path) as site:
        assert b"200 OK" in await site.talk(OK)
        site.address = path
        assert b"200 OK" in await site.talk(OK)


async def test_ten_thousand_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as site:
        client = await site.client()
        async with trio.open_nursery() as nursery:
            requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(10_000))
            nursery.start_soon(client.send, requests)
            for number in range(10_000):
                assert (await answer(client))[2] == b"GET /%d " % number


async def test_a_request_that_has_come_twice_is_not_read_again(in_turns: bool) -> None:
    async with serving() as site:
        client, other = await site.client(), await site.client()
        begun, again = site.prepared, b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n"
        for one in (client, other, client, other):
            await one.send(again)
            assert (await answer(one))[2] == b"GET /again "
        known = site.prepared - begun
        site.server.replace(site.server.settings)
        await client.send(again)
        assert (await answer(client))[2] == b"GET /again "
        assert [r.target for r in site.requests] == [b"/again"] * 5
        if in_turns:
            assert (known, site.prepared - begun) == (2, 3), "another configuration may read others"


async def test_one_connection_with_much_to_do_does_not_hold_up_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks while others are answered is answered after two turns of theirs at most."""
    respond = Site.response

    def meanwhile(site: Site, request: Request) -> Response:
        if len(site.requests) == 1:  # what is sent on a unix socket has come when that returns
            os.write(other.stream.socket.fileno(), OK)
        return respond(site, request)

    async with serving(bind="", unix=str(tmp_path / "h.sock")) as site:
        busy, other = await site.client(), await site.client()
        monkeypatch.setattr(Site, "response", meanwhile)
        await busy.send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n" * 450)
        await answer(other)
        before = [r.target for r in site.requests].index(b"/hello")
        assert before <= 2 * AT_A_TIME
        for _ in range(450):
            await answer(busy)


async def test_what_a_turn_has_read_counts_though_its_own_task_answers_it(
    in_turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [0]

    class Noted(HttpConnection):
        def turn(self, most: int) -> int:
            turns.append(super().turn(most))
            return turns[-1]

    monkeypatch.setattr(server, "HttpConnection", Noted)
    async with serving() as site:
        site.gate.set()
        client = await site.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
        for _ in range(300):
            await answer(client)
    assert max(turns) == (300 if in_turns else 0)


async def test_a_request_may_be_cut_anywhere() -> None:
    async with serving() as site:
        client = await site.client()
        for byte in b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + OK:
            await client.send(bytes([byte]))
        assert (await answer(client))[2] == b"POST /a hello"
        assert (await answer(client))[2] == b"GET /hello "


async def test_a_head_request_gets_the_length_without_the_body() -> None:
    async with serving() as site:
        got = await site.talk(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Content-Length: 12\r\n" in got
        assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "close"),
        (b"GET / HTTP/1.0\r\n\r\n", "close"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive"),
    ],
)
async def test_the_client_decides_whether_the_connection_stays(
    request_bytes: bytes, connection: str
) -> None:
    async with serving() as site:
        client = await site.client()
        await client.send(request_bytes)
        status, fields, _ = await answer(client)
        assert (status, fields["connection"]) == (200, connection)
        if connection == "close":
            assert await client.closed()
        else:
            await client.send(OK)
            assert (await answer(client))[0] == 200


async def test_what_follows_the_last_request_is_not_answered() -> None:
    async with serving() as site:
        got = await site.talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + OK)
        assert got.count(b"HTTP/1.1") == 1
        assert len(site.requests) == 1


async def test_a_client_that_waits_for_it_is_asked_to_continue() -> None:
    async with serving() as site:
        client = await site.client()
        head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        await client.send(head)
        assert await client.line() == b"HTTP/1.1 100 Continue\r"
        assert await client.line() == b"\r"
        await client.send(b"hi")
        assert (await answer(client))[2] == b"POST /a hi"
        await client.send(head + b"hi")
        assert (await answer(client))[2] == b"POST /a hi"


async def test_an_upgrade_is_ignored_and_what_follows_is_a_request() -> None:
    upgrade = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    async with serving() as site:
        got = await site.talk((b"GET /ws HTTP/1.1\r\n" + upgrade + b"\r\n") * 2 + OK)
        assert got.count(b"HTTP/1.1 200 OK") == 3
        assert len(site.requests) == 3


async def test_an_absolute_target_replaces_the_host() -> None:
    async with serving() as site:
        await site.talk(b"GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n")
        await site.talk(b"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [(r.host, r.target) for r in site.requests] == [(b"b:1", b"/x?y"), (b"b", b"/")]


async def test_headers_arrive_by_lower_name_with_all_their_values() -> None:
    async with serving() as site:
        await site.talk(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1 \t\r\nx-a:2\r\nX-B: \xff\r\n\r\n")
        (request,) = site.requests
    assert request.headers == {b"host": b"a", b"x-a": b"1", b"x-b": b"\xff"}
    assert request.values(b"x-a") == (b"1", b"2")
    assert request.values(b"x-b") == (b"\xff",)
    assert request.values(b"x-c") == ()


async def test_trailers_are_dropped() -> None:
    async with serving() as site:
        await site.talk(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nHost: evil\r\nX-Forwarded-Uri: /x\r\n\r\n" + OK
        )
        assert [request.body for request in site.requests] == [b"abc", b""]
        assert b"x-forwarded-uri" not in site.requests[0].headers


POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
        (POST + b"Content-Length: +5\r\n\r\nhello", 400),
        (POST + b"Content-Length: -5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5 5\r\n\r\nhello", 400),
        (POST + b"Content-Length:\r\n\r\nhello", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (POST + b"Content-Length: 10001\r\n\r\n", 413),
        (POST + b"Content-Length: 10001\r\nExpect: 100-continue\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2711\r\n" + b"x" * 10001, 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10001, 413),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 200_000, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 200_000, 431),
        (POST + b"Content-Length: 1\r\nExpect: magic\r\n\r\nx", 417),
        (POST + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi", 400),
        (POST + b"Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 4096 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 431),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET /" + b"x" * 1_000_000, 431),
        (b"\r\n" * 200_000, 431),
    ],
)
async def test_what_could_be_misread_or_is_too_large_is_refused(
    request_bytes: bytes, status: int
) -> None:
    async with serving() as site:
        client = await site.client()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with suppress(trio.BrokenResourceError):  # closed before it was all taken
                    await client.send(request_bytes + OK)

            nursery.start_soon(send)
            got, fields, body = await answer(client)
        assert got == status
        assert fields["connection"] == "close"
        assert fields["content-type"] == "application/problem+json"
        assert b'"type":"urn:stepup-sidecar:problem:' in body
        assert await client.closed()
        assert site.requests == []
        assert site.incidents == [HttpIncident.MALFORMED]
        assert b"200 OK" in await site.talk(OK)


async def test_requests_before_a_malformed_one_are_answered() -> None:
    async with serving() as site:
        got = await site.talk(OK + OK + b"nonsense\r\n\r\n")
        assert got.count(b"HTTP/1.1 200 OK") == 2
        assert got.count(b"HTTP/1.1 400") == 1


async def test_the_largest_body_is_not_too_large() -> None:
    async with serving() as site:
        await site.talk(POST + b"Content-Length: 10000\r\n\r\n" + b"x" * 10_000)
        assert site.requests[0].body == b"x" * 10_000


async def test_an_unforeseen_error_is_counted_and_says_nothing_to_the_client() -> None:
    async with serving() as site:
        client = await site.client()
        await client.send(b"GET /crash HTTP/1.1\r\nHost: a\r\n\r\n" + OK)
        status, _, body = await answer(client)
        assert status == 500
        assert b"secret" not in body
        assert b"ZeroDivision" not in body
        assert (await answer(client))[0] == 200
        ((incident, error),) = site.incidents
        assert incident is HttpIncident.CRASHED
        assert isinstance(error, ZeroDivisionError)


async def test_an_unforeseen_error_ends_its_own_connection_alone() -> None:
    async with serving() as site:
        other, client = await site.client(), await site.client()
        await client.send(b"GET /crash?early HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await answer(client))[0] == 500
        await client.send(b"GET /unknown HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.closed()
        crashes = [(what, type(error)) for what, error in site.incidents]
        assert crashes == [
            (HttpIncident.CRASHED, ZeroDivisionError),
            (HttpIncident.CRASHED, KeyError),
        ]
        await other.send(OK)
        assert (await answer(other))[0] == 200


SLOW = {"header_timeout": 0.2, "body_timeout": 0.2, "keep_alive_timeout": 0.2}


@pytest.mark.parametrize("start", [b"G", OK[:-2], POST + b"Content-Length: 5\r\n\r\nhel"])
async def test_a_request_that_never_gets_whole_times_out(start: bytes) -> None:
    async with serving(**SLOW) as site:
        client = await site.client()
        await client.send(start)
        assert (await answer(client))[0] == 408
        assert await client.closed()
        assert site.incidents == [HttpIncident.SLOW_REQUEST]


@pytest.mark.parametrize("start", [OK[:-2], POST + b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_drip_of_bytes_does_not_buy_time(start: bytes) -> None:
    drip = b"A: b\r\n" if start in OK else b"1\r\nx\r\n"
    async with serving(**SLOW) as site:
        client = await site.client()
        await client.send(start)

        async def keep_dripping() -> None:
            try:
                while True:
                    await client.send(drip)
                    await trio.sleep(0.02)  # the pace at which it drips
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_dripping)
            assert (await answer(client))[0] == 408
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("before", [b"", OK])
async def test_an_idle_connection_is_closed_without_a_word(before: bytes) -> None:
    async with serving(**SLOW) as site:
        client = await site.client()
        await client.send(before)
        if before:
            await answer(client)
        assert await client.closed()
        assert site.incidents == []


async def test_a_slow_handler_is_given_its_time() -> None:
    async with serving(**SLOW) as site:
        client = await site.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: site.requests)
        assert await (await site.client()).closed()  # who came later has had all the time there is
        site.gate.set()
        assert (await answer(client))[0] == 200


async def test_a_client_that_does_not_read_is_closed() -> None:
    async with serving(write_timeout=0.2) as site:
        client = await site.client()
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await site.incidents.wait_for(HttpIncident.SLOW_READER)
        assert len(await client.rest()) < 20_000_000


async def test_a_large_answer_arrives_whole() -> None:
    async with serving() as site:
        got = await site.talk(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(got.partition(b"\r\n\r\n")[2]) == 20_000_000


async def test_one_connection_too_many_is_answered_so() -> None:
    async with serving(max_connections=1) as site:
        first = await site.client()
        await first.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: site.requests)
        second = await site.client(begun=False)
        status, fields, _ = await answer(second)
        assert (status, fields["retry-after"]) == (503, "1")
        assert await second.closed()
        assert site.incidents == [HttpIncident.REFUSED]
        site.gate.set()
        assert (await answer(first))[0] == 200
        assert b"200 OK" in await site.talk(OK)


async def test_half_heads_make_room_and_connections_in_use_stay() -> None:
    async with serving(max_connections=4, header_timeout=60) as site:
        gateway = await site.client()
        await gateway.send(OK)
        await answer(gateway)
        halves = []
        for _ in range(12):
            halves.append(await site.client(begun=False))
            await halves[-1].send(b"GET / HTTP/1.1\r\nX: ")
        assert b"200 OK" in await site.talk(OK)
        await gateway.send(OK)
        assert (await answer(gateway))[0] == 200
        for half in halves[:10]:
            assert await half.closed()
        assert HttpIncident.REFUSED not in site.incidents
        assert site.incidents.count(HttpIncident.MADE_ROOM) >= 10


async def test_a_client_that_vanishes_harms_nobody() -> None:
    async with serving() as site:
        for _ in range(20):
            client = await site.client()
            await client.send(OK * 50)
            await client.stream.aclose()
        assert b"200 OK" in await site.talk(OK)
        assert site.incidents == []


@pytest.mark.parametrize("how", ["event", "cancel"])
async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new(how: str) -> None:
    site = Site()
    draining = trio.Event()
    scope = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[Any]) -> None:
        with scope:
            event = draining if how == "event" else None
            await site.server.run(draining=event, task_status=task_status)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            (site.address,) = await nursery.start(run)
            busy, idle, half = [await site.client() for _ in range(3)]
            await idle.send(OK)
            await answer(idle)
            await half.send(OK[:-2])
            await busy.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + OK)
            await until(lambda: len(site.requests) == 2)
            draining.set() if how == "event" else scope.cancel()
            assert await idle.closed()
            with pytest.raises(OSError, match="all attempts"):
                await site.client()
            site.gate.set()
            assert (await answer(busy))[0] == 200
            status, fields, _ = await answer(busy)
            assert (status, fields["connection"]) == (200, "close")
            await half.send(b"\r\n")
            status, fields, _ = await answer(half)
            assert (status, fields["connection"]) == (200, "close")
            assert await half.closed()
    site.close()


async def test_a_drain_does_not_wait_for_ever() -> None:
    draining = trio.Event()
    async with serving(draining=draining, drain_timeout=lambda: 0.1) as site:
        client = await site.client()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: site.requests)
        draining.set()
        assert await client.closed()


pieces = st.sampled_from(
    [
        OK,
        POST,
        b"GET ",
        b"POST ",
        b"/",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"http://h/",
        b"\x00",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(pieces | st.binary(max_size=20), max_size=10), min_size=1, max_size=10))
async def test_no_bytes_harm_the_server(conversations: Any) -> None:
    async with serving() as site:
        for conversation in conversations:
            got = await site.talk(b"".join(conversation))
            assert not got or got.startswith((b"HTTP/1.1 ",))
        assert b"200 OK" in await site.talk(OK)
        assert set(site.incidents) <= {HttpIncident.MALFORMED}
