"""What the synchronous clients have in common: each request as a method."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from sidecar.client.protocol import (
    MARGIN,
    Decision,
    Receipt,
    check_request,
    decision_of,
    event_request,
    ping_request,
    receipt_of,
)


class Calls(ABC):
    """The requests, by way of `ask`."""

    @abstractmethod
    def ask(self, request: Mapping[str, Any], timeout: float | None = None) -> Mapping[str, Any]:
        """Send a request and read its reply, within `timeout` seconds (None: the client's own)."""

    def ping(self) -> None:
        """Return if the sidecar answers."""
        self.ask(ping_request())

    def check(  # noqa: PLR0913 - the fields of the request
        self,
        token: str,
        *,
        context: str | Iterable[str] = "",
        method: str = "",
        host: str = "",
        path: str = "",
        ip: str = "",
        user_agent: str = "",
    ) -> Decision:
        """May a call with this token pass? Raises `Refused` for a token that is not believed."""
        request = check_request(
            token,
            context=context,
            method=method,
            host=host,
            path=path,
            ip=ip,
            user_agent=user_agent,
        )
        return decision_of(self.ask(request))

    def event(
        self, event: Mapping[str, Any], *, wait_everywhere: bool = False, timeout: float = 5.0
    ) -> Receipt:
        """Push an event; returns once it is durable.

        With `wait_everywhere` once every live sidecar has taken it, or after `timeout` seconds.
        """
        request = event_request(event, wait_everywhere=wait_everywhere, timeout=timeout)
        return receipt_of(self.ask(request, timeout + MARGIN if wait_everywhere else None))
