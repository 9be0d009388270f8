"""FastAPI: a requirement of a path operation, as a dependency: `Depends(requires("c1"))`.

A dependency alone would be asked too late: FastAPI reads and parses the body before any, and it
does not document the answers that a dependency gives. So `get_route_handler`, which FastAPI's
documents name as the place to do something before a request is handled, is extended when this is
imported: a route that has requirements, its own or its router's, is checked before its body is
read and before any other dependency runs, and its answers stand in the OpenAPI document.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from fastapi import Security, WebSocketException, routing
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import HTTPException
from fastapi.openapi.models import APIKey, HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket, WebSocketState

from stepup_client.asgi import KEY, POLICY_VIOLATION, Passage
from stepup_client.connection.protocol import Decision
from stepup_client.gate import Gate, Reply
from stepup_client.starlette import Refusal, StepUp, guarded, incoming_from

CONNECTION = "sidecar_connection"
_CHECKED = "sidecar.checked"
_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}
_CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}}}

RESPONSES: Mapping[int, Mapping[str, Any]] = {
    400: {"description": "More than one token, or a path of two readings", "content": _PROBLEM},
    401: {
        "description": "No valid token, or a stronger or fresher sign-in is required (RFC 9470)",
        "headers": _CHALLENGE,
        "content": _PROBLEM,
    },
    403: {"description": "Access is denied", "content": _PROBLEM},
    503: {"description": "This cannot be decided now", "headers": _RETRY, "content": _PROBLEM},
}
"""The answers of a protected operation besides its own (RFC 9457)."""


class _Scheme(SecurityBase):
    """An entry of the OpenAPI document: where the token is. It reads nothing itself."""

    def __init__(self, name: str, model: Any) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        """Do nothing: the requirement reads the token."""


_BEARER = _Scheme("bearer", HTTPBearer(description="The access token that the sidecar checks"))


def _schemes(gate: Gate) -> Iterator[_Scheme]:
    yield _BEARER
    if gate.cookie:
        yield _Scheme("cookie", APIKey.model_validate({"in": "cookie", "name": gate.cookie}))


@dataclass(frozen=True)
class Requirement:
    """A dependency that lets a call pass in some contexts, and gives its `Decision`."""

    step_up: StepUp
    contexts: tuple[str, ...]

    @property
    def __signature__(self) -> inspect.Signature:
        """Return the parameters that FastAPI is to fill in."""
        keyword = inspect.Parameter.KEYWORD_ONLY
        asked = [inspect.Parameter(CONNECTION, keyword, annotation=HTTPConnection)]
        asked += [
            inspect.Parameter(f"sidecar_{scheme.scheme_name}", keyword, default=Security(scheme))
            for scheme in _schemes(self.step_up.gate)
        ]
        return inspect.Signature(asked)

    async def __call__(self, **values: Any) -> AsyncIterator[Decision]:
        """Give the decision; end a WebSocket when its session loses its standing."""
        connection: HTTPConnection = values[CONNECTION]
        if self in connection.scope.get(_CHECKED, ()):  # before the body was read
            yield connection.scope[KEY]
            return
        door = self.step_up.doors.on_loop
        found = await door.ask(incoming_from(self.step_up.gate, connection), self.contexts)
        if isinstance(found, Reply):
            if isinstance(connection, WebSocket):
                raise WebSocketException(POLICY_VIOLATION, found.kind)
            raise HTTPException(found.status, found.kind, _own_headers(found))
        connection.scope[KEY] = found
        if not isinstance(connection, WebSocket):
            yield found
            return
        passage = Passage(door, self.contexts, incoming_from(self.step_up.gate, connection))
        async with door.client.loop.cutting() as cut:
            cut.watch(partial(passage.why_lost, connection.scope, found.session))
            yield found
        if cut.why and connection.application_state is not WebSocketState.DISCONNECTED:
            await connection.close(POLICY_VIOLATION, cut.why)


def _own_headers(reply: Reply) -> dict[str, str]:
    return {k: v for k, v in reply.headers if k not in ("Content-Type", "Content-Length")}


def requirements_of(dependant: Dependant) -> Iterator[Requirement]:
    """Return the requirements of an operation: of its routers, its route and its own parameters."""
    for one in dependant.dependencies:
        if isinstance(one.call, Requirement):
            yield one.call
        yield from requirements_of(one)


def is_routed(operation: Callable[..., Any]) -> bool:
    """Return whether some route runs this very function already.

    A route's decorator gives back what it was given, so that only the route itself shows it.
    """
    holders = gc.get_referrers(operation)
    if any(isinstance(one, BaseRoute) for one in holders):
        return True
    return any(
        isinstance(one, dict) and one.get("endpoint") is operation and "path_regex" in one
        for one in holders
    )


Handler = Callable[[Request], Awaitable[Response]]


def _checked(handler: Handler, required: list[Requirement], overrides: Any) -> Handler:
    """Ask before the handler does anything at all."""
    by_gate: dict[StepUp, list[Requirement]] = {}
    for one in required:
        by_gate.setdefault(one.step_up, []).append(one)

    async def checked(request: Request) -> Response:
        replaced = getattr(overrides, "dependency_overrides", None) or {}
        ends: list[Callable[[Response], Any]] = []
        for step_up, all_asked in by_gate.items():
            asked = [one for one in all_asked if one not in replaced]
            if not asked:
                continue
            contexts = tuple(dict.fromkeys(name for one in asked for name in one.contexts))
            incoming = incoming_from(step_up.gate, request)
            found = await step_up.doors.on_loop.ask(incoming, contexts)
            if isinstance(found, Reply):
                return Refusal(found)
            request.scope[KEY] = found
            request.scope.setdefault(_CHECKED, set()).update(asked)
            ends.append(
                partial(guarded, passage=Passage(step_up.doors.on_loop, contexts, incoming))
            )
        response = await handler(request)
        for end in ends:
            response = end(response)
        return response

    return checked


_get_route_handler = routing.APIRoute.get_route_handler
_inclusion = getattr(routing, "_effective_route_context_var", None)


@wraps(_get_route_handler)
def _route_handler(self: routing.APIRoute) -> Any:
    route: Any = self
    # Newer versions build a route anew where its router is included, with what that one requires.
    included = None if _inclusion is None else _inclusion.get()
    if included is not None and included.original_route is self:
        route = included
    handler = _get_route_handler(self)
    required = list(requirements_of(route.dependant))
    if not required:
        return handler
    theirs = {str(status) for status in route.responses}
    ours = {code: dict(answer) for code, answer in RESPONSES.items() if str(code) not in theirs}
    route.responses = {**route.responses, **ours}
    return _checked(handler, required, route.dependency_overrides_provider)


routing.APIRoute.get_route_handler = _route_handler  # type: ignore[method-assign] # see above
