"""FastAPI: `@step_up("c1")` before a path operation, under its route's decorator.

    @app.post("/pay")
    @step_up("c1")
    async def pay(order: Order): ...

As in `stepup_client.starlette`, but the operation need not take the request. FastAPI has then read
the body and run the dependencies already. As a dependency, of an operation, a router or the app,

    @app.post("/pay", dependencies=[Depends(requires("c1"))])
    async def pay(order: Order): ...

it is checked before any of that, and stands in the OpenAPI document.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from stepup_client.enforcement.decorator import named
from stepup_client.enforcement.requirement import CONNECTION, Requirement, is_routed
from stepup_client.gate import Gate
from stepup_client.starlette import F
from stepup_client.starlette import StepUp as StarletteStepUp


class StepUp(StarletteStepUp):
    """The decorator for one gate: `step_up = StepUp(Gate(cookie="token"))`."""

    def __call__(self, *contexts: str) -> Callable[[F], F]:
        """Protect an operation; without contexts as a routine call.

        What it gives may also be used as a dependency, like that of `requires`. As a decorator it
        raises TypeError above the route's own, since the route would run the operation unprotected.
        """
        protect = super().__call__(*contexts)
        requirement = self.requires(*contexts)

        def decorate(operation: F, /) -> F:
            if is_routed(operation):
                raise TypeError(
                    f"{operation.__qualname__} is the operation of a route already, which would"
                    " run it unprotected: write @step_up(...) below the route's decorator"
                )
            protected = protect(_without_connection(operation))
            # FastAPI fills in what the signature asks for: so that the request is always at hand.
            asked = inspect.Parameter(
                CONNECTION, inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection
            )
            own = inspect.signature(operation)
            rest = list(own.parameters.values())
            variable = [one for one in rest if one.kind is inspect.Parameter.VAR_KEYWORD]
            before = [one for one in rest if one not in variable]
            changed = own.replace(parameters=[*before, asked, *variable])
            protected.__signature__ = changed  # type: ignore[attr-defined] # read by `inspect`
            return protected

        def decorate_or_give(operation: Any = None, /, *, sidecar_decision: Any = None) -> Any:
            # FastAPI calls a dependency with what its signature asks for.
            return sidecar_decision if operation is None else decorate(operation)

        asked = inspect.Parameter(
            "sidecar_decision", inspect.Parameter.KEYWORD_ONLY, default=Depends(requirement)
        )
        decorate_or_give.__signature__ = inspect.Signature([asked])  # type: ignore[attr-defined] # read by `inspect`
        return decorate_or_give

    def requires(self, *contexts: str) -> Requirement:
        """Require as a dependency, `Depends(requires("c1"))`, that a call may pass in contexts.

        Without contexts it is a routine call. It gives the `Decision`, which also is in
        `request.scope["sidecar"]`.
        """
        return Requirement(self, named(contexts))


def _without_connection(operation: F) -> F:
    if inspect.iscoroutinefunction(operation):

        @wraps(operation)
        async def on_loop(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop(CONNECTION, None)
            return await operation(*args, **kwargs)

        return cast("F", on_loop)

    @wraps(operation)
    def in_thread(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop(CONNECTION, None)
        return operation(*args, **kwargs)

    return cast("F", in_thread)


step_up = StepUp()
requires = step_up.requires

__all__ = ("Gate", "Requirement", "StepUp", "requires", "step_up")
