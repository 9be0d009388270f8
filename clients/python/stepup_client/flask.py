"""Flask: `@step_up("c1")` before a view, under its route's decorator.

    @app.post("/pay")
    @step_up("c1")
    def pay(): ...

The view runs if the call passes, with the `Decision` in `flask.g.sidecar`. A `text/event-stream`
that it returns ends before its next chunk once its session has lost its standing. For whole apps
see `stepup_client.wsgi`: `app.wsgi_app = StepUpMiddleware(app.wsgi_app)`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import wraps
from types import CellType, FunctionType
from typing import Any, TypeVar, cast

import flask

from stepup_client.enforcement.decorator import Doors, named
from stepup_client.gate import Gate, Reply, is_event_stream, with_kept
from stepup_client.wsgi import incoming_of

F = TypeVar("F", bound=Callable[..., Any])


class StepUp:
    """The decorator for one gate: `step_up = StepUp(Gate(cookie="token"))`."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.doors = Doors(gate)

    def __call__(self, *contexts: str) -> Callable[[F], F]:
        """Protect a view; without contexts as a routine call.

        Raises TypeError above the route's own decorator, where it would protect nothing.
        """
        names = named(contexts)

        def decorate(view: F) -> F:
            if _is_routed(view):
                raise TypeError(
                    f"{view.__qualname__} is the view of a route already, which would run it"
                    " unprotected: write @step_up(...) below the route's decorator"
                )

            @wraps(view)
            def protected(*args: Any, **kwargs: Any) -> Any:
                door = self.doors.sync
                incoming = incoming_of(flask.request.environ)
                incoming = with_kept(door.gate, incoming, flask.request)
                found = door.ask(incoming, names)
                if isinstance(found, Reply):
                    return flask.Response(found.body, found.status, list(found.headers))
                flask.g.sidecar = found
                result = flask.current_app.ensure_sync(view)(*args, **kwargs)
                if isinstance(result, flask.Response) and is_event_stream(
                    result.content_type or ""
                ):
                    chunks = cast("Iterable[bytes]", result.response)
                    result.response = door.while_standing(chunks, incoming, names, found.session)
                return result

            return cast("F", protected)

        return decorate


def _is_routed(view: Callable[..., Any]) -> bool:
    """Return whether an app, or a blueprint that waits for one, runs this function already.

    A route's decorator gives back what it was given, so that only the app itself shows it.
    """
    for holder in gc.get_referrers(view):
        if isinstance(holder, dict) and any(
            holder is getattr(one, "view_functions", None)
            or (isinstance(one, dict) and one.get("view_functions") is holder)
            for one in gc.get_referrers(holder)
        ):
            return True
        if isinstance(holder, CellType) and _is_flasks(holder):
            return True
    return False


def _is_flasks(cell: CellType) -> bool:
    """Return whether it belongs to what a blueprint will do, once it is registered."""
    return any(
        isinstance(one, FunctionType) and one.__module__.startswith("flask.")
        for closure in gc.get_referrers(cell)
        if isinstance(closure, tuple)
        for one in gc.get_referrers(closure)
    )


step_up = StepUp()

__all__ = ("Gate", "StepUp", "step_up")
