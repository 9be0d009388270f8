"""Only a WebSocket is upgraded: calls in any other tunnel would be calls that nobody judged."""

from itertools import product

import pytest

from tests.stories.running import token, unique
from tests.system.gateways.stack import PLAIN, App, Seen, Stack, bearer, serving
from tests.system.gateways.tunnels import H2C, HANDSHAKE, KEY, SETTINGS, Fields, Link, head

HOST = ("Host", "shop.example")
FORGED: Fields = (("X-Sidecar-Subject", "admin"), ("X-Sidecar-Decision", "allow"))
WEBSOCKET = (("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY))
UPGRADES: dict[str, Fields] = {
    "h2c": H2C,
    "h2c, without its settings": (("Connection", "Upgrade"), ("Upgrade", "h2c")),
    "h2c, in capitals": (("Connection", "UPGRADE, HTTP2-SETTINGS"), ("Upgrade", "H2C"), H2C[2]),
    "h2c before websocket": (("Connection", "Upgrade"), ("Upgrade", "h2c, websocket"), *WEBSOCKET),
    "websocket before h2c": (*H2C, *HANDSHAKE),
    "two lines": (("Connection", "Upgrade"), H2C[1], ("Upgrade", "websocket"), *WEBSOCKET),
    "websocket and more": (("Connection", "Upgrade"), ("Upgrade", "websocket2"), *WEBSOCKET),
    "TLS": (("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")),
    "HTTP/2.0": (("Connection", "Upgrade"), ("Upgrade", "HTTP/2.0"), ("HTTP2-Settings", SETTINGS)),
    "not named in Connection": (("Upgrade", "h2c"), ("HTTP2-Settings", SETTINGS)),
}
EXTENDED = ((":method", "CONNECT"), (":protocol", "h2c"))
"""RFC 8441: what a gateway may make an upgrade of."""
HOP = {"connection", "upgrade", "http2-settings"}


@pytest.fixture
def weak() -> str:
    return token(unique("user"), unique("session"))


def paths(seen: list[Seen]) -> set[str]:
    return {one.target for one in seen}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", UPGRADES)
def test_this_app_takes_every_upgrade_and_answers_in_the_tunnel(name: str, method: str) -> None:
    app = App()
    with serving(app), Link(app.port) as link:
        link.send(head(method, "/public", [HOST, *UPGRADES[name]]))
        answer = link.response()
        assert answer.status == 101
        link.smuggle(answer.fields["upgrade"].lower(), "PUT", "/pay/7", FORGED)
        assert ("/pay/7" in paths(app.seen)) is (answer.fields["upgrade"].lower() != "websocket")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_a_websocket_survives_of_all_upgrades(stack: Stack, weak: str, method: str) -> None:
    for name, fields in UPGRADES.items():
        calls = len(stack.app.seen)
        with Link(stack.ports.gateway) as link:
            link.send(head(method, "/public", [HOST, bearer(weak), *fields]))
            answer = link.response()
            if answer.status == 101:
                link.smuggle(answer.fields["upgrade"].lower(), "PUT", "/pay/7", FORGED)
                assert answer.fields["upgrade"].lower() == "websocket", name
        heard = [seen for seen in stack.app.seen[calls:] if seen.target == "/public"]
        assert len(heard) == (answer.status in {101, 200}), (name, answer)
        for seen in heard:
            hop = {
                (key.lower(), value.lower()) for key, value in seen.headers if key.lower() in HOP
            }
            websocket = {("connection", "upgrade"), ("upgrade", "websocket")}
            closing = {("connection", "close"), ("connection", "keep-alive")}
            assert hop == websocket if answer.status == 101 else hop <= closing, (name, hop)
        assert "/pay/7" not in paths(stack.app.seen[calls:]), name


def test_connect_is_refused(stack: Stack, weak: str) -> None:
    for target in ("shop.example:443", "127.0.0.1:1", "/public", "http://shop.example/public"):
        calls = len(stack.app.seen)
        for fields in ((), HANDSHAKE):
            with Link(stack.ports.gateway) as link:
                link.send(head("CONNECT", target, [HOST, bearer(weak), *fields]))
                answer = link.response()
                assert 400 <= answer.status < 600, (target, answer)
        assert len(stack.app.seen) == calls, target


def test_behind_an_upgrade_that_the_app_declines_each_call_is_asked_about(
    stack: Stack, weak: str
) -> None:
    calls = len(stack.app.seen)
    for fields in (HANDSHAKE, *UPGRADES.values()):
        with Link(stack.ports.gateway) as link:
            first = head("GET", PLAIN, [HOST, bearer(weak), *fields])
            # In one piece, so that it is there before the app has answered.
            link.send(first + head("PUT", "/pay/7", [HOST, ("Connection", "close"), *FORGED]))
            answer = link.response()
            assert answer.status in {200, 400, 403}, answer
            if answer.status == 200:
                assert link.response().status in {0, 401}
            link.rest()
    assert "/pay/7" not in paths(stack.app.seen[calls:])


def test_the_body_of_a_handshake_is_no_call(stack: Stack, weak: str) -> None:
    """A gateway that takes what follows a handshake for the tunnel's must not lose its length."""
    hidden = head("PUT", "/pay/7", [HOST, ("Content-Length", "0"), *FORGED])
    bodies = (
        (("Content-Length", str(len(hidden))), hidden),
        (("Transfer-Encoding", "chunked"), b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)),
        (("Content-Length", "0"), hidden),
    )
    calls = len(stack.app.seen)
    for target, (length, body), upgrade in product((PLAIN, "/public"), bodies, (HANDSHAKE, H2C)):
        if stack.name.startswith("envoy") and upgrade is HANDSHAKE and length == bodies[0][0]:
            continue  # it holds the body back until there is a tunnel, and the app waits for it
        with Link(stack.ports.gateway) as link:
            link.send(head("GET", target, [HOST, bearer(weak), *upgrade, length]) + body)
            answer = link.response()
            if answer.status not in {0, 101} and length[1] == "0":
                assert link.response().status in {0, 401}
            link.rest()
    assert "/pay/7" not in paths(stack.app.seen[calls:])


def test_a_websocket_over_http2_passes_where_it_is_announced(stack: Stack, weak: str) -> None:
    """RFC 8441: HAProxy announces it, so that browsers use it there; the others do not."""
    call = (
        *(EXTENDED[0], (":protocol", "websocket"), (":path", "/public"), (":scheme", "http")),
        *((":authority", "shop.example"), ("authorization", f"Bearer {weak}")),
    )
    calls = len(stack.app.seen)
    with Link(stack.ports.gateway) as link:
        passed = link.over_h2([call], end_stream=False) == {0: 200}
    assert passed is (stack.name == "haproxy")
    assert [seen.heard("Upgrade") for seen in stack.app.seen[calls:]] == [["websocket"]] * passed


def test_over_http2_each_call_is_asked_about_and_no_tunnel_opened(stack: Stack, weak: str) -> None:
    """Envoy and HAProxy take HTTP/2 without TLS from whoever begins with its preface."""
    calls = len(stack.app.seen)
    host = ((":scheme", "http"), (":authority", "shop.example"))
    allowed = ("authorization", f"Bearer {weak}")
    forged = tuple((name.lower(), value) for name, value in FORGED)
    with Link(stack.ports.gateway) as link:
        statuses = link.over_h2(
            [
                ((":method", "GET"), (":path", "/public"), *host, allowed),
                ((":method", "PUT"), (":path", "/pay/7"), *host, *forged),
                ((":method", "CONNECT"), host[1], allowed),
                (
                    (":method", "CONNECT"),
                    (":protocol", "h2c"),
                    (":path", "/public"),
                    *host,
                    allowed,
                ),
            ]
        )
    heard = stack.app.seen[calls:]
    assert statuses == {} or (statuses[0], statuses[1]) == (200, 401)
    assert statuses.get(2, 400) >= 400
    # HAProxy makes a GET of the last, which was asked about as such, and its upgrade is stripped.
    assert {(seen.method, seen.target) for seen in heard} <= {("GET", "/public")}
    assert not {name.lower() for seen in heard for name, _ in seen.headers} & {"upgrade"}
