"""What all tests share: one real server a run, emptied for each test that asks for it."""

from collections.abc import Iterator

import hypothesis
import pytest
import redis

from tests.adapters.servers import Server, serving

# No test asserts how long something took: a busy machine is no fault of the code.
hypothesis.settings.register_profile(
    "sidecar", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("sidecar")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """The server of this run."""
    with serving() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Server) -> Iterator[redis.Redis]:
    """A plain client of an empty server."""
    with valkey_server.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def valkey_url(valkey_server: Server, valkey: redis.Redis) -> str:
    """The address of an empty server."""
    return valkey_server.url
