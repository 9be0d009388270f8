"""The duties that all applications of Starlette's routes share, at a real listener."""

import io
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.listening.application import (
    Admitted,
    Application,
    RequestRefused,
    authorization_of,
    body_of,
)
from sidecar.adapters.listening.asgi import Listener
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.wire.settings.settings import Settings
from tests import plain_http

MOST = 10


class Site:
    """An application of some routes, and how it is asked."""

    def __init__(self) -> None:
        self.telemetry = PrometheusTelemetry(Settings(), LogLines(io.BytesIO()))
        self.may_answer = trio.Event()
        self.may_answer.set()
        self.came = trio.Event()
        self.url = ""
        self.app = Application(
            "site",
            [
                Route("/things/{name}", self._thing, name="/things/{name}"),
                Admitted("/door", self._thing, self._admit, methods=["GET"]),
                Admitted("/door", self._thing, self._admit, methods=["DELETE"]),
                Route("/body", self._body, methods=["POST"], name="/body"),
            ],
            self.telemetry,
            causes={KeyError: lambda _: RequestRefused(409, "a cause")},
            limit=1,
        )
        self.listener = Listener("127.0.0.1:0", self.app)

    @staticmethod
    def _admit(request: Request) -> None:
        if not authorization_of(request):
            raise RequestRefused(401, "who is there?")

    async def _thing(self, request: Request) -> Response:
        self.came.set()
        await self.may_answer.wait()
        if request.path_params.get("name") == "cause":
            raise KeyError
        return Response("thing", headers={"cache-control": "public"})

    async def _body(self, request: Request) -> Response:
        return Response(await body_of(request, MOST, 0.2))

    async def ask(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=self.url, timeout=20, verify=plain_http.NO_CERTIFICATES
        ) as client:
            return await client.request(method, path, headers=headers)

    async def send(self, data: bytes) -> bytes:
        """Send this over a connection of its own, and return what comes back."""
        stream = await trio.open_tcp_stream("127.0.0.1", httpx.URL(self.url).port or 0)
        async with stream:
            await stream.send_all(data)
            came = b""
            with trio.fail_after(10):
                while more := await stream.receive_some(65536):
                    came += more
        return came


@pytest.fixture
async def site(nursery: trio.Nursery) -> AsyncIterator[Site]:
    site = Site()
    (site.url,) = await nursery.start(site.listener.run)
    yield site
    site.listener.stop()


async def test_a_path_is_compared_as_it_came(site: Site) -> None:
    for path, status in (
        ("/things/a", 200),
        ("/things/a%2Fb", 200),
        ("/things/a/b", 404),
        ("/things%2Fa", 404),
        ("/things/a/", 404),
        ("/things/", 404),
    ):
        reply = await site.ask(path)
        assert reply.status_code == status, path
        assert reply.history == [], "nobody is sent elsewhere"


async def test_who_asks_is_looked_at_before_the_method_and_all_methods_are_named(
    site: Site,
) -> None:
    assert (await site.ask("/door", "PUT")).status_code == 401
    reply = await site.ask("/door", "PUT", authorization="me")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, DELETE")
    assert reply.json()["detail"] == "only GET, DELETE"
    assert (await site.ask("/door", "HEAD", authorization="me")).status_code == 405
    assert (await site.ask("/door", "DELETE", authorization="me")).status_code == 200


async def test_an_answer_has_its_own_headers_and_those_of_all(site: Site) -> None:
    for method, body in (("GET", b"thing"), ("HEAD", b"")):
        reply = await site.ask("/things/a", method)
        assert reply.content == body
        assert reply.headers["content-length"] == "5"
        assert reply.headers.get_list("cache-control") == ["public"]
        assert reply.headers["x-frame-options"] == "DENY"


async def test_an_exception_is_answered_by_its_cause(site: Site) -> None:
    reply = await site.ask("/things/cause")
    assert reply.headers["content-type"] == "application/problem+json"
    title = "Conflict"
    known = {"type": "about:blank", "title": title, "status": 409, "detail": "a cause"}
    assert reply.json() == known


async def test_more_requests_than_the_limit_are_refused(site: Site, nursery: trio.Nursery) -> None:
    site.may_answer = trio.Event()
    nursery.start_soon(site.ask, "/things/a")
    await site.came.wait()
    reply = await site.ask("/things/b")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    site.may_answer.set()
    counted = site.telemetry.expose().body.decode()
    assert 'sidecar_http_requests_total{route="site /things/{name}",status="503"} 1.0' in counted
    assert 'door="site",incident="refused"} 1.0' in counted


@pytest.mark.parametrize(
    ("length", "sent", "status"),
    [
        (MOST, MOST, b"200"),
        (MOST + 1, MOST + 1, b"413"),
        (MOST, MOST - 1, b"408"),
    ],
)
async def test_a_body_is_bounded_in_size_and_time(
    site: Site, length: int, sent: int, status: bytes
) -> None:
    head = (
        f"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    came = await site.send(head.encode() + b"x" * sent)
    assert came.startswith(b"HTTP/1.1 " + status)


def test_starlette_is_loaded_where_something_listens_and_no_back_end_of_anyio_with_it() -> None:
    for module, loaded in (
        ("sidecar.daemon.lifecycle", set()),
        ("sidecar.adapters.admin.listener", {"starlette", "hypercorn"}),
    ):
        words = f"import sys, {module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True)
        modules = set(done.stdout.decode().split())
        assert modules & {"starlette", "hypercorn", "anyio._backends"} == loaded, module
