"""Starlette: `@step_up("c1")` before an endpoint.

    @step_up("c1")
    async def pay(request): ...

The endpoint runs if the call passes, with the `Decision` in `request.scope["sidecar"]`. A WebSocket
endpoint, and a `text/event-stream` that an endpoint returns, are ended when their session loses its
standing. For FastAPI see `stepup_client.fastapi`; for whole apps `stepup_client.asgi`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from stepup_client.asgi import (
    KEY,
    POLICY_VIOLATION,
    Passage,
    Receive,
    Scope,
    Send,
    answer,
    incoming_of,
)
from stepup_client.connection.protocol import Decision
from stepup_client.enforcement.decorator import Doors, named
from stepup_client.gate import Gate, Incoming, Reply, is_event_stream, with_kept

F = TypeVar("F", bound=Callable[..., Any])


class StepUp:
    """The decorator for one gate: `step_up = StepUp(Gate(cookie="token"))`."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.doors = Doors(gate)

    @property
    def gate(self) -> Gate:
        """Return the settings by which calls are checked."""
        return self.doors.gate

    def __call__(self, *contexts: str) -> Callable[[F], F]:
        """Protect an endpoint; without contexts as a routine call."""
        names = named(contexts)

        def decorate(endpoint: F) -> F:
            if inspect.iscoroutinefunction(endpoint):
                return cast("F", self._on_loop(endpoint, names))
            return cast("F", self._in_thread(endpoint, names))

        return decorate

    def _on_loop(self, endpoint: Callable[..., Any], contexts: tuple[str, ...]) -> Any:
        door = self.doors.on_loop

        @wraps(endpoint)
        async def protected(*args: Any, **kwargs: Any) -> Any:
            connection = connection_of(args, kwargs)
            incoming = incoming_from(self.gate, connection)
            passage = Passage(door, contexts, incoming)
            found = await door.ask(incoming, contexts)
            if isinstance(connection, WebSocket):
                run = partial(endpoint, *args, **kwargs)
                return await _converse(connection, found, passage, run)
            if isinstance(found, Reply):
                return Refusal(found)
            connection.scope[KEY] = found
            return guarded(await endpoint(*args, **kwargs), passage)

        return protected

    def _in_thread(self, endpoint: Callable[..., Any], contexts: tuple[str, ...]) -> Any:
        door = self.doors.sync

        @wraps(endpoint)
        def protected(*args: Any, **kwargs: Any) -> Any:
            connection = connection_of(args, kwargs)
            incoming = incoming_from(self.gate, connection)
            found = door.ask(incoming, contexts)
            if isinstance(found, Reply):
                return Refusal(found)
            connection.scope[KEY] = found
            passage = Passage(self.doors.on_loop, contexts, incoming)
            return guarded(endpoint(*args, **kwargs), passage)

        return protected


async def _converse(
    socket: WebSocket,
    found: Decision | Reply,
    passage: Passage,
    run: Callable[[], Awaitable[Any]],
) -> None:
    """Run a WebSocket's endpoint until its session loses its standing, or turn it away."""
    if isinstance(found, Reply):
        await answer(found, socket.scope, socket.receive, socket.send)
        return
    socket.scope[KEY] = found
    async with passage.door.client.loop.cutting() as cut:
        cut.watch(partial(passage.why_lost, socket.scope, found.session))
        await run()
    if cut.why and socket.application_state is not WebSocketState.DISCONNECTED:
        await socket.close(POLICY_VIOLATION, cut.why)


def guarded(result: Any, passage: Passage) -> Any:
    """Return an event stream that ends when its session loses its standing; else the result."""
    if not isinstance(result, Response):
        return result
    if not is_event_stream(result.headers.get("content-type", "")):
        return result
    return _Guarded(result, passage)


class Refusal(Response):
    """A `Reply` as a response."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply
        self.status_code = reply.status
        self.init_headers(dict(reply.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await answer(self._reply, scope, receive, send)


class _Guarded(Response):
    """A stream that ends when its session loses its standing."""

    def __init__(self, stream: Response, passage: Passage) -> None:
        super().__init__()
        self._stream = stream
        self._passage = passage
        self.status_code = stream.status_code
        self.raw_headers = stream.raw_headers
        self.background = stream.background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. Its own background tasks run as it would have run them."""
        self._stream.background = self.background
        await self._passage.guard(self._stream, scope, receive, send)


def incoming_from(gate: Gate, connection: HTTPConnection) -> Incoming:
    """Return the request as this gate reads it."""
    return with_kept(gate, incoming_of(connection.scope), connection)


def connection_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection:
    """Return the request or WebSocket among an endpoint's arguments."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, (Request, WebSocket)):
            return value
    raise TypeError("a protected endpoint takes the request; in FastAPI use stepup_client.fastapi")


step_up = StepUp()

__all__ = ("Gate", "StepUp", "step_up")
