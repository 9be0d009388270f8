"""One stack for each gateway, which all tests of it share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.adapters.servers import Server
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack, standing


@pytest.fixture(scope="session", params=GATEWAYS)
def stack(request: Any, valkey_server: Server) -> Iterator[Stack]:
    """A gateway before the app that takes every upgrade; skipped where it is not installed."""
    if not GATEWAYS[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    with standing(request.param, valkey_server.url) as one:
        yield one
