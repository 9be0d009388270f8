"""What all tests share: one real server a run, emptied for each test that asks for it."""

import gc
from collections.abc import Iterator

import hypothesis
import pytest
import redis

from sidecar.adapters.process import collector
from tests.adapters.servers import Server, serving

# No test asserts how long something took: a busy machine is no fault of the code.
hypothesis.settings.register_profile(
    "sidecar", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("sidecar")


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    """Put the garbage collector back: a daemon that a test runs in this process settles it.

    Else no later test of the process finds an object that outlived a full collection.
    """
    thresholds, was_enabled, before = gc.get_threshold(), gc.isenabled(), set(gc.callbacks)
    yield
    ours = [one for one in gc.callbacks if one.__module__ == collector.__name__]
    gc.callbacks[:] = [one for one in gc.callbacks if one not in ours or one in before]
    gc.set_threshold(*thresholds)
    (gc.enable if was_enabled else gc.disable)()
    gc.unfreeze()


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
