"""The requests as methods, of clients that block and of those on event loops.

`check = blocking(requests.check)` gives a client the method `check` with the same arguments, which
sends the request by `ask` and returns what its reply says. `awaiting` makes a coroutine method.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from stepup_client.connection import requests

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


def blocking(make: Callable[P, requests.Request[T]]) -> Callable[Concatenate[Any, P], T]:
    """Make a method that sends a request and returns what its reply says."""

    def method(client: Calls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client.ask(make(*args, **kwargs))

    _describe(method, make)
    return method


def awaiting(
    make: Callable[P, requests.Request[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that sends a request and returns what its reply says."""

    async def method(client: AsyncCalls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client.ask(make(*args, **kwargs))

    _describe(method, make)
    return method


def _describe(method: Any, make: Callable[..., Any]) -> None:
    """Give a method the name, documentation and parameters of what makes its request."""
    method.__name__, method.__doc__ = make.__name__, make.__doc__
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = inspect.signature(make).parameters.values()
    method.__signature__ = inspect.Signature([client, *parameters])


class Calls(ABC):
    """The requests of a client that blocks its thread."""

    @abstractmethod
    def ask(self, request: requests.Request[T]) -> T:
        """Send a request and return what its reply says."""

    ping = blocking(requests.ping)
    check = blocking(requests.check)
    event = blocking(requests.event)


class AsyncCalls(ABC):
    """The requests of a client on an event loop."""

    @abstractmethod
    async def ask(self, request: requests.Request[T]) -> T:
        """Send a request and return what its reply says."""

    ping = awaiting(requests.ping)
    check = awaiting(requests.check)
    event = awaiting(requests.event)
