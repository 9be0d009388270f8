"""The requests: what is sent, and how the reply is read.

Each client has `ping`, `check` and `event` as methods with these arguments (`calls`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Generic, TypeVar

from stepup_client.connection.protocol import Decision, Receipt, decision_of, receipt_of

MARGIN = 1.0
"""Seconds that an answer may come later than the time-out that the daemon was given."""

T = TypeVar("T")


@dataclass(frozen=True)
class Request(Generic[T]):
    """A request whose reply becomes a `T`. `patience`: seconds to wait; None: the client's own."""

    message: Mapping[str, Any]
    read: Callable[[Mapping[str, Any]], T]
    patience: float | None = None

    @property
    def may_repeat(self) -> bool:
        """Return whether twice does no more than once: an event counts once by its id."""
        return self.message.get("op") in {"check", "ping"} or bool(self.message.get("id"))


def ping() -> Request[None]:
    """Return if the sidecar answers."""
    return Request({"op": "ping"}, _nothing)


def check(  # noqa: PLR0913 - the fields of the request
    token: str,
    *,
    context: str | Iterable[str] = "",
    method: str = "",
    host: str = "",
    path: str = "",
    ip: str = "",
    user_agent: str = "",
) -> Request[Decision]:
    """Return whether a call with this token may pass. What is empty is not sent.

    Raises `Refused` for a token that is not believed.
    """
    contexts = context if isinstance(context, str) else list(context)
    asked = {"context": contexts, "method": method, "host": host, "path": path}
    asked |= {"ip": ip, "user_agent": user_agent}
    filled = {name: value for name, value in asked.items() if value}
    return Request({"op": "check", "token": token, **filled}, decision_of)


def event(
    event: Mapping[str, Any], *, wait_everywhere: bool = False, timeout: float = 5.0
) -> Request[Receipt]:
    """Push an event; return once it is durable.

    With `wait_everywhere` once every live sidecar has taken it, or after `timeout` seconds.
    """
    message = {**event, "op": "event"}
    if not wait_everywhere:
        return Request(message, receipt_of)
    message |= {"wait": "everywhere", "timeout": timeout}
    return Request(message, receipt_of, timeout + MARGIN)


def watch(sessions: Iterable[str] | None) -> Request[None]:
    """Watch the standing of these sessions; None: of all that the sidecar serves."""
    message: dict[str, Any] = {"op": "watch"}
    if sessions is not None:
        message["sessions"] = sorted(set(sessions))
    return Request(message, _nothing)


def _nothing(_: Mapping[str, Any]) -> None:
    """Read a reply that says nothing but that the request was accepted."""
