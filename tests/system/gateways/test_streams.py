"""Streams of an app on Hypercorn with our middleware, through the real gateways, and their end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from stepup_client.asgi import POLICY_VIOLATION, App, Receive, Scope, Send, StepUpMiddleware
from stepup_client.gate import Gate

from tests.adapters.servers import Server
from tests.client.servers import on_trio
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack, bearer, standing
from tests.system.gateways.tunnels import H2C, HANDSHAKE, Link, head

HOST = ("Host", "shop.example")
LOSSES = {
    "revoked": ("/public/live", "session-revoked", {"reason": "lost"}),
    "marked": ("/pay/live", "network-change", {"segment": "restricted"}),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo over a WebSocket; else one event, and then silence for as long as it is let."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    event = b"data: first\n\n"
    goes_on = scope["path"].endswith("/live")
    await send({"type": "http.response.body", "body": event, "more_body": goes_on})
    if goes_on:
        await trio.sleep_forever()


@contextmanager
def protected(socket: str) -> Iterator[int]:
    """Serve the app behind the middleware, which asks at a sidecar's socket."""
    guarded: App = StepUpMiddleware(app, gate=Gate(socket=socket, trusted_proxies=1))
    with on_trio(guarded) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture(scope="module", params=GATEWAYS)
def stack(request: Any, valkey_server: Server) -> Iterator[Stack]:
    if not GATEWAYS[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    with standing(request.param, valkey_server.url, protected) as one:
        yield one


def lose(stack: Stack, session: str, loss: str) -> None:
    _, event, data = LOSSES[loss]
    assert stack.sidecar.client.event(event, {"session": session}, data=data)["ok"]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_websocket_passes_and_ends_with_its_session(stack: Stack, loss: str) -> None:
    session = unique("session")
    opening = head("GET", LOSSES[loss][0], [HOST, bearer(token("u1", session)), *HANDSHAKE])
    with Link(stack.ports.gateway) as link:
        link.send(opening)
        assert link.response().status == 101
        for text in ("one", "two"):
            link.say(text)
            assert link.hear() == text
        lose(stack, session, loss)
        assert link.hear() == POLICY_VIOLATION
    with Link(stack.ports.gateway) as link:
        link.send(opening)
        assert link.response().status == 401


@pytest.mark.parametrize("loss", LOSSES)
def test_events_reach_the_client_as_they_come_until_the_session_is_lost(
    stack: Stack, loss: str
) -> None:
    session = unique("session")
    accept = ("Accept", "text/event-stream")
    opening = head("GET", LOSSES[loss][0], [HOST, bearer(token("u1", session)), accept])
    with Link(stack.ports.gateway) as link:
        link.send(opening)
        begun = link.begun()
        assert (begun.status, begun.fields["content-type"]) == (200, "text/event-stream")
        assert link.chunk() == b"data: first\n\n"
        lose(stack, session, loss)
        assert link.chunk() == b""
    with Link(stack.ports.gateway) as link:
        link.send(opening)
        assert link.response().status == 401


def test_hypercorn_takes_h2c_from_whoever_asks_for_it() -> None:
    with on_trio(app, keep_alive_timeout=0.1) as url, Link(int(url.rpartition(":")[2])) as link:
        link.send(head("GET", "/public", [HOST, *H2C]))
        assert link.response().status == 101
        link.smuggle("h2c", "GET", "/public", ())


def test_hypercorn_is_not_asked_for_h2c_behind_a_gateway(stack: Stack) -> None:
    allowed = bearer(token("u1", unique("session")))
    with Link(stack.ports.gateway) as link:
        link.send(head("GET", "/public", [HOST, allowed, *H2C]))
        answer = link.response()
        assert (answer.status, answer.body) == (200, b"data: first\n\n")
