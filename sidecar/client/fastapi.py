"""FastAPI: `@step_up("c1")` before a path operation, under its route's decorator.

    @app.post("/pay")
    @step_up("c1")
    async def pay(order: Order): ...

As in `sidecar.client.starlette`, but the operation need not take the request.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from starlette.requests import HTTPConnection

from sidecar.client.gate import Gate
from sidecar.client.starlette import F
from sidecar.client.starlette import StepUp as StarletteStepUp

_CONNECTION = "sidecar_connection"


class StepUp(StarletteStepUp):
    """The decorator for one gate: `step_up = StepUp(Gate(cookie="token"))`."""

    def __call__(self, *contexts: str) -> Callable[[F], F]:
        """Protect an operation; without contexts as a routine call."""
        protect = super().__call__(*contexts)

        def decorate(operation: F) -> F:
            protected = protect(_without_connection(operation))
            # FastAPI fills in what the signature asks for: so that the request is always at hand.
            asked = inspect.Parameter(
                _CONNECTION, inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection
            )
            own = inspect.signature(operation)
            rest = list(own.parameters.values())
            variable = [one for one in rest if one.kind is inspect.Parameter.VAR_KEYWORD]
            before = [one for one in rest if one not in variable]
            changed = own.replace(parameters=[*before, asked, *variable])
            protected.__signature__ = changed  # type: ignore[attr-defined] # read by `inspect`
            return protected

        return decorate


def _without_connection(operation: F) -> F:
    if inspect.iscoroutinefunction(operation):

        @wraps(operation)
        async def on_loop(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop(_CONNECTION, None)
            return await operation(*args, **kwargs)

        return cast("F", on_loop)

    @wraps(operation)
    def in_thread(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop(_CONNECTION, None)
        return operation(*args, **kwargs)

    return cast("F", in_thread)


step_up = StepUp()

__all__ = ("Gate", "StepUp", "step_up")
