"""A site of the HTTP data server, without a checker behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import trio

from sidecar.adapters.http.handlers import AtOnce
from sidecar.adapters.http.server import LeanServer
from sidecar.adapters.listening.acceptor import ten_seconds
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.settings.settings import Http
from tests.adapters.doors import Incidents, Wire, clock, connect, running

in_turns = False
"""Whether requests are answered at once, but for slow ones, and clients come with one answered."""

OK = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = {"max_header_bytes": 4096, "max_body_bytes": 10_000}


class Site:
    """A server whose handler says what it was asked; some paths misbehave."""

    def __init__(self, **settings: Any) -> None:
        self.requests: list[Request] = []
        self.incidents = Incidents()
        self.gate = trio.Event()
        self.address = ""
        self.clients: list[Wire] = []
        settings = {"bind": "127.0.0.1:0", **LIMITS, **settings}
        self.prepared = 0
        self.server = LeanServer(
            self.handle,
            Http(**settings),
            clock=clock,
            prepare=self.prepare,
            on_incident=self.incidents,
        )

    def prepare(self, request: Request) -> AtOnce | None:
        self.prepared += 1
        if not in_turns or request.path == b"/slow":
            return None
        if request.target == b"/crash?early":
            raise ZeroDivisionError("secret")

        def at_once() -> Response:
            self.requests.append(request)
            return self.response(request)

        return at_once

    async def handle(self, request: Any) -> Any:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if request.path == b"/slow":
            await self.gate.wait()
        return self.response(request)

    def response(self, request: Request) -> Response:
        if request.path == b"/crash":
            raise ZeroDivisionError("secret")
        if request.path == b"/unknown":
            return Response(299)
        if request.path == b"/large":
            return Response(200, (), b"x" * 20_000_000)
        body = b"%b %b %b" % (request.method.encode(), request.target, request.body)
        return Response(200, (("X-Test", "1"),), body)

    async def client(self, *, begun: bool = True) -> Any:
        client = await connect(self.address)
        self.clients.append(client)
        if in_turns and begun:  # a connection begins in its own task
            seen = len(self.requests)
            await client.send(OK)
            await answer(client)
            del self.requests[seen:]
        return client

    async def talk(self, data: Any) -> Any:
        """Return everything that comes back when just this is sent."""
        client = await self.client()
        await client.send(data)
        await client.stream.send_eof()
        return await client.rest()

    def close(self) -> None:
        for client in self.clients:
            client.stream.socket.close()


@asynccontextmanager
async def serving(
    *,
    draining: Any = None,
    drain_timeout: Any = ten_seconds,
    **settings: Any,
) -> AsyncIterator[Any]:
    site = Site(**settings)
    async with running(site.server.run, draining=draining, drain_timeout=drain_timeout) as bound:
        site.address = bound[0].removeprefix("unix:")
        with closing(site):  # first, so that nobody waits for us
            yield site


async def answer(client: Any) -> Any:
    """Read one response: its status, headers and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.line() + b"\n"
    first, *lines = head.decode().split("\r\n")[:-2]
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await client.exactly(int(fields.get("content-length", 0)))
    return int(first.split()[1]), fields, body
