"""ASGI: checks the requests of any ASGI app, on asyncio or trio.

    app = StepUpMiddleware(app, contexts=("c1",))            # or Starlette's add_middleware

A call that passes reaches the app with `scope["sidecar"]`, the `Decision`. Any other is answered
here: with the status, `WWW-Authenticate` and problem details that the sidecar asks for. A WebSocket
or a `text/event-stream` whose session loses its standing while it is open is ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from stepup_client.connection.protocol import Decision
from stepup_client.enforcement.doors import AsyncDoor
from stepup_client.gate import (
    Gate,
    Incoming,
    Public,
    Reply,
    is_event_stream,
    is_overriding,
    is_preflight,
    with_kept,
)

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY = "sidecar"
POLICY_VIOLATION = 1008
"""RFC 6455, section 7.4.1."""


class StepUpMiddleware:
    """Checks every request for `contexts`, and for those that the sidecar's own routes add.

    `public` are paths that need no token: exact ones, and `/static/*` for all below. Have a CORS
    middleware outside of this one, so that preflights, which carry no token, are answered there.
    """

    def __init__(
        self,
        app: App,
        contexts: Collection[str] = (),
        *,
        gate: Gate | None = None,
        public: Iterable[str] = (),
    ) -> None:
        if isinstance(contexts, str):
            contexts = (contexts,)
        self.app = app
        self.passage = Passage(AsyncDoor(gate or Gate()), tuple(contexts))
        self._public = Public(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, and run the app or answer."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, partial(self._send_lifespan, send))
            return
        scope.pop(KEY, None)
        passes = self._public.judge(incoming_of(scope))
        if isinstance(passes, Reply):
            await answer(passes, scope, receive, send)
        elif passes:
            await self.app(scope, receive, send)
        else:
            await self.passage.run(self.app, scope, receive, send)

    async def _send_lifespan(self, send: Send, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            self.passage.door.close()
        await send(message)


class Passage:
    """The check of calls in some contexts.

    `incoming`: the call, where its framework has read it; else it is read from the scope.
    """

    def __init__(
        self, door: AsyncDoor, contexts: Collection[str], incoming: Incoming | None = None
    ) -> None:
        self.door = door
        self.contexts = contexts
        self._incoming = incoming

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Check an ASGI call, then run the app or answer."""
        found = await self.door.ask(self._read(scope), self.contexts)
        if isinstance(found, Reply):
            await answer(found, scope, receive, send)
            return
        scope[KEY] = found
        await self.guard(app, scope, receive, send)

    async def guard(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app for a call that has passed; end its stream when it would not pass again."""
        session = decision_of(scope).session  # an inner guard may put another decision there
        ending = _Ending(send)
        async with self.door.client.loop.cutting() as cut:

            async def watched(message: Message) -> None:
                await ending.send(message)
                if ending.is_stream and not ending.is_over:
                    cut.watch(partial(self.why_lost, scope, session))

            await app(scope, receive, watched)
        if cut.why:
            await ending.end(cut.why)

    async def why_lost(self, scope: Scope, session: str) -> str:
        """Return when the call would not pass any more: why, as the end of a problem's URN."""
        return (await self.door.until_lost(self._read(scope), self.contexts, session)).kind

    def _read(self, scope: Scope) -> Incoming:
        return self._incoming or with_kept(self.door.gate, incoming_of(scope), scope)


class _Ending:
    """Follows what an app sends, so as to end it well."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_socket = False
        self.is_stream = False
        self.is_over = False

    async def send(self, message: Message) -> None:
        """Send a message of the app's."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.is_stream = self._is_socket = True
        elif kind == "http.response.start":
            fields = {
                bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())
            }
            self.is_stream = is_event_stream(fields.get(b"content-type", b"").decode("latin-1"))
        elif kind == "websocket.close" or (
            kind == "http.response.body" and not message.get("more_body")
        ):
            self.is_over = True
        await self._send(message)

    async def end(self, why: str) -> None:
        """Say the last word in the app's place."""
        if self.is_over:
            return
        if self._is_socket:
            close = {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": why}
            await self._send(close)
        else:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def answer(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in the app's place. A WebSocket is turned away before it is one."""
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers]
    kind = "http"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reply.kind})
            return
        kind = "websocket.http"
    start = {"type": f"{kind}.response.start", "status": reply.status, "headers": headers}
    await send(start)
    body = b"" if scope.get("method") == "HEAD" else reply.body
    await send({"type": f"{kind}.response.body", "body": body, "more_body": False})


def incoming_of(scope: Scope) -> Incoming:
    """Read a request, as far as a check is concerned."""
    headers = [(bytes(name), bytes(value).decode("latin-1")) for name, value in scope["headers"]]

    def values(name: bytes) -> tuple[str, ...]:
        return tuple(value for key, value in headers if key.lower() == name)

    client = scope.get("client")
    method = scope.get("method", "GET")  # a WebSocket begins as a GET
    return Incoming(
        method,
        scope["path"],
        str(client[0]) if client else "",
        values(b"authorization"),
        values(b"cookie"),
        values(b"x-forwarded-for"),
        "".join(values(b"user-agent")[:1]),
        is_preflight(method, values(b"origin"), values(b"access-control-request-method")),
        target_of(scope),
        is_overriding(
            (key.decode("latin-1") for key, _ in headers),
            bytes(scope.get("query_string") or b"").decode("latin-1"),
        ),
    )


def target_of(scope: Scope) -> str:
    """Return the undecoded path, empty where the server does not give it."""
    return bytes(scope.get("raw_path") or b"").decode("latin-1")


def decision_of(scope: Scope) -> Decision:
    """Return the decision by which this call passed; raise KeyError if it was not checked."""
    decision: Decision = scope[KEY]
    return decision
