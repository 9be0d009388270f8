"""Every client has the requests as methods, with one signature and one documentation."""

import inspect
from types import FunctionType

import pytest
from stepup_client.connection import requests
from stepup_client.connection.asynchronous import AsyncClient
from stepup_client.local import LocalClient
from stepup_client.pool import PooledClient


@pytest.mark.parametrize("client", [LocalClient, PooledClient, AsyncClient])
@pytest.mark.parametrize("make", [requests.ping, requests.check, requests.event])
def test_a_method_has_the_name_parameters_and_documentation_of_its_request(
    client: type, make: FunctionType
) -> None:
    method = getattr(client, make.__name__)
    itself, *parameters = inspect.signature(method).parameters.values()
    assert itself.name == "self"
    assert parameters == list(inspect.signature(make).parameters.values())
    assert method.__doc__ == make.__doc__
    assert inspect.iscoroutinefunction(method) is issubclass(client, AsyncClient)


def test_a_bound_method_shows_what_it_is_called_with() -> None:
    assert str(inspect.signature(PooledClient().check)).startswith("(token: 'str', *, context:")


@pytest.mark.parametrize(
    ("request_", "may"),
    [
        (requests.ping(), True),
        (requests.check("token"), True),
        (requests.event({"type": "session-revoked", "id": "e-1"}), True),
        (requests.event({"type": "session-revoked"}), False),
        (requests.watch(None), False),
    ],
)
def test_only_what_twice_is_the_same_as_once_may_be_repeated(
    request_: requests.Request[object], may: bool
) -> None:
    assert request_.may_repeat is may


def test_who_waits_for_every_sidecar_waits_a_little_longer_than_the_daemon() -> None:
    event = {"type": "session-revoked"}
    assert requests.event(event, timeout=3).patience is None
    assert requests.event(event, wait_everywhere=True, timeout=3).patience == 3 + requests.MARGIN
