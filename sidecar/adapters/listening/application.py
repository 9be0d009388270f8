"""Builds ASGI applications of Starlette's routes, and does what all of them need.

A path is compared as it came and never decoded, so that an encoded slash does not divide it.
Answers carry the security headers, HEAD gets no body, and a refusal is answered with problem
details (RFC 9457) unless the application renders it in another way.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.listening.asgi import Records
from sidecar.service.observations.observations import DoorIncident, WorkerFailed
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.traces.current import SENDER
from sidecar.wire.http import messages
from sidecar.wire.http.problems import details
from sidecar.wire.traces.trace_context import sent_fields

BODY_TIMEOUT = 10.0
JSON = "application/json"
SECURITY = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""The headers of every answer that has none of the same name."""

_NOWHERE = "nowhere"


class RequestRefused(HTTPException):
    """A request is refused with this status, and for this reason."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


class BodyRefused(RequestRefused):
    """A body is too large (413), did not come in time (408), or will never come (400)."""


def problem_response(refused: RequestRefused) -> Response:
    """Return a refusal as problem details."""
    status = refused.status_code
    body = details("about:blank", HTTPStatus(status).phrase, status, refused.detail)
    return Response(body, status, refused.headers, "application/problem+json")


def retry_after(seconds: int) -> dict[str, str]:
    """Return the header that says when to ask again."""
    return {"retry-after": str(seconds)}


def overloaded(error: Overloaded) -> RequestRefused:
    """Refuse a request because too much is waiting."""
    return RequestRefused(503, str(error), retry_after(max(1, error.retry_after)))


def unavailable(error: Unavailable) -> RequestRefused:
    """Refuse a request because something outside is gone."""
    return RequestRefused(503, str(error), retry_after(1))


Cause: TypeAlias = Callable[[Any], RequestRefused]
"""Returns how a request is refused because of an exception of a class."""


class Observed(Records, Protocol):
    """Counts and logs for an application."""

    def answered(self, route: str, status: int) -> None:
        """Count a request."""


class Admitted(Route):
    """Routes a request of a path after `admit` has looked at who asks, and before its method.

    `admit` raises `RequestRefused`. GET does not bring HEAD: the methods are those that are named.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Any],
        admit: Callable[[Request], None],
        *,
        methods: Collection[str],
        name: str = "",
    ) -> None:
        super().__init__(path, endpoint, methods=methods, name=name)
        self.name = name or self.path_format
        self.methods = set(methods)
        self._admit = admit

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request of this path."""
        self._admit(Request(scope))
        await super().handle(scope, receive, send)


class Application:
    """Answers requests by these routes; `door` names the application in metrics and in the log.

    What a request says of its sender's trace is noted (`SENDER`), for the events that it brings.
    A route's name is its label in metrics. `causes` are the exceptions of endpoints that refuse a
    request, and `render` makes the answer to a refusal. More than `limit` requests at a time are
    refused. `worker` is the name under which faults of ours are counted, if it is not `door`.
    """

    def __init__(  # noqa: PLR0913 - what differs between applications, by name
        self,
        door: str,
        routes: Iterable[Route],
        telemetry: Observed,
        *,
        causes: Mapping[type[Exception], Cause] = MappingProxyType({}),
        render: Callable[[RequestRefused], Response] = problem_response,
        headers: Sequence[tuple[bytes, bytes]] = SECURITY,
        limit: int | None = None,
        worker: str = "",
    ) -> None:
        self._door = door
        self._worker = worker or door
        self._routes = tuple(routes)
        self._telemetry = telemetry
        self._render = render
        self._headers = headers
        self._limit = limit
        self._working = 0
        known = {RequestRefused: lambda error: error, Exception: self._broken, **causes}
        handlers: dict[Any, Any] = {kind: self._handler(cause) for kind, cause in known.items()}
        handlers[HTTPException] = self._unrouted
        self._app = Starlette(routes=self._routes, exception_handlers=handlers)
        self._app.router.redirect_slashes = False

    @property
    def routes(self) -> Sequence[Route]:
        """Return what is answered here."""
        return self._routes

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request and refuse a WebSocket."""
        if scope["type"] != "http":
            await self._app(cast("Any", scope), cast("Any", receive), cast("Any", send))
            return
        asked: dict[str, Any] = {**scope, "path": scope["raw_path"].decode("latin-1")}
        head = asked["method"] == "HEAD"
        SENDER.set(sent_fields(scope["headers"]))

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in message["headers"]}
                missing = (pair for pair in self._headers if pair[0] not in named)
                message = {**message, "headers": [*message["headers"], *missing]}
                self._telemetry.answered(f"{self._door} {self._label(asked)}", message["status"])
            elif head:
                message = {**message, "body": b""}
            await send(message)

        await self._bounded(asked, receive, answer)

    async def _bounded(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, if not too many are being answered."""
        if self._limit is not None and self._working >= self._limit:
            self._telemetry.record(DoorIncident(door=self._door, incident="refused"))
            refused = RequestRefused(503, "too many requests at a time", retry_after(1))
            await self._render(refused)(scope, receive, send)
            return
        self._working += 1
        try:
            with suppress(Exception):  # `_broken` has seen it; Starlette raises it once more
                await self._app(scope, receive, send)
        finally:
            self._working -= 1

    def _label(self, scope: Mapping[str, Any]) -> str:
        """Return the route as a template, so that the labels of the metric are bounded."""
        return next((route.name for route in self._at(scope["path"])), _NOWHERE)

    def _at(self, path: str) -> list[Route]:
        return [route for route in self._routes if route.path_regex.match(path)]

    def _handler(self, cause: Cause) -> Any:
        async def answer(_: Request, error: Exception) -> Response:
            return self._render(cause(error))

        return answer

    async def _unrouted(self, request: Request, error: HTTPException) -> Response:
        """Answer where Starlette found no route, or none for the method."""
        refused = RequestRefused(404, "there is nothing here")
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            found = self._at(request.scope["path"])
            methods = (one for route in found for one in sorted(route.methods or ()))
            allowed = ", ".join(dict.fromkeys(methods))
            refused = RequestRefused(405, f"only {allowed}", {"allow": allowed})
        return self._render(refused)

    def _broken(self, error: Exception) -> RequestRefused:
        self._telemetry.record(WorkerFailed(where=self._worker, error=error))
        return RequestRefused(500, "something broke in here; the log says what")


async def body_of(
    request: Request,
    most: int,
    within: float = BODY_TIMEOUT,
    on_slow: Callable[[], None] = lambda: None,
) -> bytes:
    """Return the body of a request. Raises `BodyRefused`, also where the client left meanwhile."""
    body = bytearray()
    try:
        with trio.fail_after(within):
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > most:
                        raise BodyRefused(413, f"a body has at most {most} bytes")
    except ClientDisconnect:
        raise BodyRefused(400, "the client left before all of its body had come") from None
    except trio.TooSlowError:
        on_slow()
        raise BodyRefused(408, "the body did not come in time") from None
    return bytes(body)


def authorization_of(request: Request) -> str:
    """Return the value of `Authorization`; empty where there is none, or more than one."""
    shown = request.headers.getlist("authorization")
    return shown[0] if len(shown) == 1 else ""


def media_type_of(request: Request) -> str:
    """Return the media type of the body in lower case; empty where none is named, or several."""
    named = request.headers.getlist("content-type")
    return named[0].partition(";")[0].strip().lower() if len(named) == 1 else ""


def address_of(request: Request) -> str:
    """Return the address of the other end."""
    return request.client.host if request.client else ""


def whole_request(request: Request, body: bytes) -> messages.Request:
    """Return a request as the handlers of the data listener take it."""
    headers: dict[bytes, bytes] = {}
    repeated: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in request.scope["headers"]:
        if name in headers:
            repeated[name] = (*repeated.get(name, (headers[name],)), value)
        headers.setdefault(name, value)
    return messages.Request(
        method=request.method,
        target=request.scope["raw_path"],
        host=headers.get(b"host", b""),
        headers=headers,
        body=body,
        peer=address_of(request) or "unknown",
        repeated=repeated,
    )
