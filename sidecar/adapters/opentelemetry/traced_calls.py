"""Gives calls to others the context of the span that they are made in, and records them."""

import httpx

from sidecar.adapters import clock
from sidecar.service.traces.current import CURRENT
from sidecar.wire.traces.spans import Attribute
from sidecar.wire.traces.trace_context import PARENT, STATE, written_parent


class TracedClient(httpx.AsyncClient):
    """A client of others; where there are no traces, one as any."""

    async def send(self, request: httpx.Request, **options: object) -> httpx.Response:
        """Send a request; its span ends with the header of the answer."""
        scope = CURRENT.get()
        if scope is None:
            return await super().send(request, **options)  # type: ignore[arg-type]  # httpx's own
        context = scope.spans.outgoing(scope)
        request.headers[PARENT] = written_parent(context)
        if context.state:
            request.headers[STATE] = context.state
        began, failure = clock.now(), "cancelled"
        said: dict[str, Attribute] = {
            "http.request.method": request.method,
            "server.address": request.url.host,
            "server.port": request.url.port or (443 if request.url.scheme == "https" else 80),
        }
        try:
            response = await super().send(request, **options)  # type: ignore[arg-type]  # likewise
            said["http.response.status_code"] = response.status_code
            failure = f"status {response.status_code}" if response.status_code >= 400 else ""
        except Exception as error:
            failure = type(error).__name__
            raise
        finally:
            scope.spans.called(
                scope, context, method=request.method, began=began, attributes=said, failure=failure
            )
        return response
