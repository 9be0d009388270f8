"""The intake listener: what others than the pod itself say, over TLS.

| path | who | answers |
| --- | --- | --- |
| `POST /v1/events` | a source with its credential | as the data listener's |
| `POST /v1/logout` | a provider, by Back-Channel Logout | 200, 400 |
| `POST /v1/global-token-revocation` | a provider, as Okta's Universal Logout | 204, 400 to 422 |

All three may also get 429, as many wrong credentials of this address were (a right one is taken
all the same), 413 and 408 for the body, and 503 with `Retry-After`: it is to be sent again.
"""

from http import HTTPStatus
from typing import Protocol

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.listening.asgi import (
    BodyRefused,
    Listener,
    Reply,
    body_of,
    dispatch,
    problem,
    recorded,
    reply_to,
)
from sidecar.adapters.listening.certificates import Certificate
from sidecar.service.observations.observations import (
    DoorIncident,
    Observation,
    SecretRead,
    WorkerFailed,
)
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.http.messages import Request, header_pairs
from sidecar.wire.settings.intake import Intake

EVENTS, LOGOUT, REVOCATION = "/v1/events", "/v1/logout", "/v1/global-token-revocation"
_PATHS = frozenset({EVENTS, LOGOUT, REVOCATION})


class Observed(Protocol):
    """What the listener asks of telemetry."""

    def answered(self, route: str, status: int) -> None:
        """Count a request."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


class Posted(msgspec.Struct, frozen=True):
    """A request whose body has been read; `authorization` is None where there is none, or two."""

    body: bytes
    content_type: str
    authorization: str | None
    address: str


class Answers(Protocol):
    """Answers what a provider posts."""

    async def logout(self, posted: Posted) -> Reply:
        """Answer a logout token."""

    async def revocation(self, posted: Posted) -> Reply:
        """Answer a request for global token revocation."""


class IntakeApp:
    """The ASGI application."""

    def __init__(
        self, settings: Intake, *, events: EventDoor, logouts: Answers, telemetry: Observed
    ) -> None:
        self._settings = settings
        self._events = events
        self._logouts = logouts
        self._telemetry = telemetry
        self._working = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request and refuse a WebSocket."""
        await dispatch(scope, send, lambda http: self._serve(http, receive, send))

    async def _serve(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        path = scope["raw_path"].decode("latin-1")
        if self._working >= self._settings.max_requests:
            self._telemetry.record(DoorIncident(door="intake", incident="refused"))
            reply = problem(503, "too many requests at a time", ((b"retry-after", b"1"),))
        else:
            self._working += 1
            try:
                reply = await self._answer(path, scope, receive)
            except Exception as error:  # noqa: BLE001 - the door: count, log, go on
                self._telemetry.record(WorkerFailed(where="intake", error=error))
                reply = problem(500, "something broke in here; the log says what")
            finally:
                self._working -= 1
        route = path if path in _PATHS else "nowhere"
        self._telemetry.answered(f"intake {route}", reply.status)
        await reply_to(scope, reply, send)

    async def _answer(self, path: str, scope: HTTPScope, receive: ASGIReceiveCallable) -> Reply:
        if path not in _PATHS:
            return problem(404, "there is nothing here")
        if scope["method"] != "POST":
            return problem(405, "only POST", ((b"allow", b"POST"),))
        try:
            settings = self._settings
            body = await body_of(receive, settings.max_body_bytes, settings.request_timeout)
        except BodyRefused as error:
            if error.status == HTTPStatus.REQUEST_TIMEOUT:
                self._telemetry.record(DoorIncident(door="intake", incident="slow-request"))
            return problem(error.status, str(error))
        if path == EVENTS:
            return await self._take_events(scope, body)
        posted = _posted(scope, body)
        if path == LOGOUT:
            return await self._logouts.logout(posted)
        return await self._logouts.revocation(posted)

    async def _take_events(self, scope: HTTPScope, body: bytes) -> Reply:
        response = await self._events.handle(_request(scope, body))
        headers = dict(header_pairs(response.fields))
        kind = headers.pop(b"content-type", b"application/json").decode()
        return Reply(response.status, response.body, kind, tuple(headers.items()))


class IntakeListener:
    """Serves the application at the intake's address."""

    def __init__(self, settings: Intake, app: IntakeApp, telemetry: Observed) -> None:
        """Raises `UnusableCertificate`."""

        def say(reason: str) -> None:
            telemetry.record(SecretRead(field="intake.tls_key_file", reason=reason))

        files = settings.tls_cert_file, settings.tls_key_file
        certificate = Certificate(*files, say) if settings.tls_cert_file else None
        self._listener = Listener(
            binds_of(settings),
            app,
            limit=settings.max_connections,
            certificate=certificate,
            on_crowding=recorded(telemetry, "intake"),
        )

    async def run(
        self,
        *,
        draining: trio.Event,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` or cancelled. Starts with the URLs; raises `CannotListen`."""
        await self._listener.run(draining=draining, task_status=task_status)


def _posted(scope: HTTPScope, body: bytes) -> Posted:
    address, _ = scope["client"] or ("", 0)
    shown = _values(scope, b"authorization")
    kind = _values(scope, b"content-type")
    return Posted(
        body=body,
        content_type=kind[0].partition(";")[0].strip().lower() if len(kind) == 1 else "",
        authorization=shown[0] if len(shown) == 1 else None,
        address=address,
    )


def _values(scope: HTTPScope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _request(scope: HTTPScope, body: bytes) -> Request:
    address, _ = scope["client"] or ("", 0)
    headers: dict[bytes, bytes] = {}
    repeated: dict[bytes, tuple[bytes, ...]] = {}
    for name, value in scope["headers"]:
        if name in headers:
            repeated[name] = (*repeated.get(name, (headers[name],)), value)
        headers.setdefault(name, value)
    return Request(
        method=scope["method"],
        target=scope["raw_path"],
        host=headers.get(b"host", b""),
        headers=headers,
        body=body,
        peer=address or "unknown",
        repeated=repeated,
    )
