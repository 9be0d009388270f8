"""One stack for each gateway, which all tests of it share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.adapters.servers import serving
from tests.system.gateways.programs import GATEWAYS
from tests.system.gateways.stack import Stack, standing


@pytest.fixture(scope="package", params=GATEWAYS)
def stack(request: Any) -> Iterator[Stack]:
    """A gateway before the app that takes every upgrade; skipped where it is not installed.

    With a store of its own: it lives on while tests of other files empty theirs, and its sidecar
    would say theirs of a loss. Its sidecar is a thread of this process, and must not outlive the
    tests of gateways: where others list all objects of the process (`gc.get_objects`) just while it
    makes a tuple of a generator, Python gives it a SystemError.
    """
    if not GATEWAYS[request.param].installed:
        pytest.skip(f"{request.param} is not installed")
    with serving() as server, standing(request.param, server.url) as one:
        yield one
