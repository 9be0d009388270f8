"""One client's resets concern no other's calls, though both are asked about on one connection."""

from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import pytest

from tests.adapters.servers import Server
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack, bearer, standing
from tests.system.gateways.tunnels import Link
from tests.waiting import eventually

NAME = "envoy-grpc"
RESETS = 320
"""On one connection: Envoy closes one of which more than half of 500 streams were reset."""
COUNTED = 'sidecar_door_incidents_total{door="grpc",incident="many-resets"}'


@pytest.fixture(scope="module")
def stack(valkey_server: Server) -> Iterator[Stack]:
    if not GATEWAYS[NAME].installed:
        pytest.skip(f"{NAME} is not installed")
    with standing(NAME, valkey_server.url) as one:
        yield one


def resets() -> bytes:
    """A connection's calls, each reset at once."""
    end = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    end.initiate_connection()
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example")]
    for number in range(1, 2 * RESETS, 2):
        end.send_headers(number, [*head, (":path", "/public/x")], end_stream=True)
        end.reset_stream(number)
    return end.data_to_send()


def links(port: int) -> set[str]:
    """The addresses of whoever is connected to a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[2] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"}


def test_another_clients_calls_are_answered(stack: Stack) -> None:
    allowed = bearer(token(unique("user"), unique("session")))
    flood = resets()
    assert stack.get("/public/x", allowed).status == 200
    before = links(stack.ports.grpc)
    assert before
    for _ in range(12):
        with Link(stack.ports.gateway) as link:
            link.send(flood)
            # On a busy machine the time that Envoy gives a check may be over: that ends no link.
            answered = eventually(
                lambda: stack.get("/public/x", allowed).status, lambda status: status == 200
            )
            assert answered == 200
    assert before <= links(stack.ports.grpc)
    assert stack.sidecar.metric(COUNTED) > 0
