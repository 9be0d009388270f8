"""One client's resets concern no other's calls, though both are asked about on one connection."""

from collections.abc import Iterator

import h2.config
import h2.connection
import pytest

from tests.adapters.servers import Server
from tests.stories.running import token, unique
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack, bearer, standing
from tests.system.gateways.tunnels import Link

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


def test_another_clients_calls_are_answered(stack: Stack) -> None:
    allowed = bearer(token(unique("user"), unique("session")))
    flood = resets()
    statuses = []
    for _ in range(12):
        with Link(stack.ports.gateway) as link:
            link.send(flood)
            statuses.append(stack.get("/public/x", allowed).status)
    assert statuses == [200] * len(statuses)
    assert stack.sidecar.metric(COUNTED) > 0
