"""Django: `@step_up("c1")` before a view, synchronous or not.

    @step_up("c1")
    def pay(request): ...

    @method_decorator(step_up("c1"), name="dispatch")
    class Pay(View): ...

The view runs if the call passes, with the `Decision` in `request.sidecar`. A `text/event-stream`
that it returns ends before its next chunk once its session has lost its standing. For whole sites
see `stepup_client.wsgi` and `stepup_client.asgi`, around `application`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from stepup_client.asgi import target_of
from stepup_client.enforcement.decorator import Doors, named
from stepup_client.gate import Gate, Incoming, Reply, is_event_stream, with_kept
from stepup_client.wsgi import incoming_of

F = TypeVar("F", bound=Callable[..., Any])


class StepUp:
    """The decorator for one gate: `step_up = StepUp(Gate(cookie="token"))`."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.doors = Doors(gate)

    def __call__(self, *contexts: str) -> Callable[[F], F]:
        """Protect a view; without contexts as a routine call."""
        names = named(contexts)

        def decorate(view: F) -> F:
            is_async = inspect.iscoroutinefunction(view)
            return cast("F", self._on_loop(view, names) if is_async else self._sync(view, names))

        return decorate

    def _sync(self, view: Callable[..., Any], contexts: tuple[str, ...]) -> Any:
        @wraps(view)
        def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            incoming = with_kept(self.doors.gate, _incoming(request), request)
            found = self.doors.sync.ask(incoming, contexts)
            if isinstance(found, Reply):
                return _refusal(found)
            request.sidecar = found
            return self._guarded(view(request, *args, **kwargs), incoming, contexts, found.session)

        return protected

    def _on_loop(self, view: Callable[..., Any], contexts: tuple[str, ...]) -> Any:
        @wraps(view)
        async def protected(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            incoming = with_kept(self.doors.gate, _incoming(request), request)
            found = await self.doors.on_loop.ask(incoming, contexts)
            if isinstance(found, Reply):
                return _refusal(found)
            request.sidecar = found
            response = await view(request, *args, **kwargs)
            return self._guarded(response, incoming, contexts, found.session)

        return protected

    def _guarded(
        self, response: Any, incoming: Incoming, contexts: tuple[str, ...], session: str
    ) -> Any:
        if not isinstance(response, StreamingHttpResponse):
            return response
        if not is_event_stream(response.headers.get("Content-Type", "")):
            return response
        chunks = response.streaming_content
        if response.is_async:
            door = self.doors.on_loop
            response.streaming_content = door.while_standing(
                cast("AsyncIterator[bytes]", chunks), incoming, contexts, session
            )
        else:
            response.streaming_content = self.doors.sync.while_standing(
                chunks, incoming, contexts, session
            )
        return response


def _incoming(request: HttpRequest) -> Incoming:
    # META is a WSGI environ in both of Django's worlds, but for the path, which it has decoded.
    incoming = incoming_of(request.META)._replace(
        method=request.method or "", path=request.path or "/"
    )
    scope = getattr(request, "scope", None)  # an ASGI request's
    return incoming if scope is None else incoming._replace(target=target_of(scope))


def _refusal(reply: Reply) -> HttpResponse:
    response = HttpResponse(reply.body, status=reply.status)
    for name, value in reply.headers:
        response.headers[name] = value
    return response


step_up = StepUp()

__all__ = ("Gate", "StepUp", "step_up")
