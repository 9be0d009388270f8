"""WSGI: checks the requests of any WSGI app (PEP 3333).

    app = StepUpMiddleware(app, contexts=("c1",))

A call that passes reaches the app with `environ["sidecar"]`, the `Decision`. Any other is answered
here: with the status, `WWW-Authenticate` and problem details that the sidecar asks for. A
`text/event-stream` ends before its next chunk once its session has lost its standing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from stepup_client.connection.protocol import Decision
from stepup_client.enforcement.doors import SyncDoor
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

Environ: TypeAlias = MutableMapping[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

KEY = "sidecar"


class StepUpMiddleware:
    """Checks every request for `contexts`, and for those that the sidecar's own routes add.

    `public` are paths that need no token: exact ones, and `/static/*` for all below.
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
        self.door = SyncDoor(gate or Gate())
        self._contexts = tuple(contexts)
        self._public = Public(public)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Check, and run the app or answer."""
        environ.pop(KEY, None)
        incoming = incoming_of(environ)
        found: Decision | Reply | bool = self._public.judge(incoming)
        if found is True:
            return self.app(environ, start_response)
        if found is False:
            incoming = with_kept(self.door.gate, incoming, environ)
            found = self.door.ask(incoming, self._contexts)
        if isinstance(found, Reply):
            start_response(status_line(found.status), list(found.headers))
            return [] if incoming.method == "HEAD" else [found.body]
        environ[KEY] = found
        return self._guarded(environ, start_response, incoming, found)

    def _guarded(
        self,
        environ: Environ,
        start_response: StartResponse,
        incoming: Incoming,
        decision: Decision,
    ) -> Iterable[bytes]:
        streams: list[bool] = []

        def watched(
            status: str, headers: list[tuple[str, str]], *more: object
        ) -> Callable[[bytes], object]:
            kinds = [value for name, value in headers if name.lower() == "content-type"]
            streams.append(any(map(is_event_stream, kinds)))
            return start_response(status, headers, *more)

        def guarded(chunks: Iterable[bytes]) -> Iterable[bytes]:
            contexts, session = self._contexts, decision.session
            return self.door.while_standing(chunks, incoming, contexts, session)

        chunks = self.app(environ, watched)
        if not streams:
            return _when_begun(chunks, streams, guarded)
        return guarded(chunks) if streams[-1] else chunks


def _when_begun(
    chunks: Iterable[bytes],
    streams: list[bool],
    guarded: Callable[[Iterable[bytes]], Iterable[bytes]],
) -> Iterator[bytes]:
    """Guard a generator, if it is a stream: it calls `start_response` with its first chunk."""
    coming = iter(chunks)
    try:
        begun = list(islice(coming, 1))
        rest = chain(begun, coming)
        yield from guarded(rest) if streams and streams[-1] else rest
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


def status_line(status: int) -> str:
    """Return a status with its phrase: `401 Unauthorized`."""
    return f"{status} {HTTPStatus(status).phrase}"


def incoming_of(environ: MutableMapping[str, Any]) -> Incoming:
    """Read a request, as far as a check is concerned."""

    def values(name: str) -> tuple[str, ...]:
        value = environ.get(name)
        return () if value is None else (str(value),)

    method = str(environ.get("REQUEST_METHOD", ""))
    path = str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", ""))
    return Incoming(
        method,
        # PEP 3333: each character is a byte. What the app's routing reads is UTF-8.
        path.encode("latin-1", "replace").decode("utf-8", "replace") or "/",
        str(environ.get("REMOTE_ADDR") or ""),
        values("HTTP_AUTHORIZATION"),
        values("HTTP_COOKIE"),
        values("HTTP_X_FORWARDED_FOR"),
        str(environ.get("HTTP_USER_AGENT", "")),
        is_preflight(method, values("HTTP_ORIGIN"), values("HTTP_ACCESS_CONTROL_REQUEST_METHOD")),
        # Not in PEP 3333, but most servers give it under one of these names.
        str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""),
        is_overriding(
            (name.removeprefix("HTTP_") for name in environ if name.startswith("HTTP_X_")),
            str(environ.get("QUERY_STRING") or ""),
        ),
    )


def decision_of(environ: Environ) -> Decision:
    """Return the decision by which this call passed; raise KeyError if it was not checked."""
    decision: Decision = environ[KEY]
    return decision
