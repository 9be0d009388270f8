"""Serves the intake listener, at which others than the pod itself post, over TLS.

| path | who | answers |
| --- | --- | --- |
| `POST /v1/events` | a source with its credential | as the data listener's |
| `POST /v1/logout` | a provider, by Back-Channel Logout | 200, 400 |
| `POST /v1/global-token-revocation` | a provider, as Okta's Universal Logout | 204, 400 to 422 |

All three may also get 429, as many wrong credentials of this address were (a right one is taken
all the same), 413 and 408 for the body, and 503 with `Retry-After`: it is to be sent again.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.listening.application import (
    JSON,
    Application,
    Observed,
    address_of,
    body_of,
    media_type_of,
    whole_request,
)
from sidecar.adapters.listening.asgi import Listener, TlsFiles, listener_of
from sidecar.service.observations.observations import DoorIncident
from sidecar.wire.settings.intake import IntakeSettings

EVENTS, LOGOUT, REVOCATION = "/v1/events", "/v1/logout", "/v1/global-token-revocation"
DOOR = "intake"


class PostedRequest(msgspec.Struct, frozen=True):
    """A request whose body was read; `authorization` is None if there is none, or two."""

    body: bytes
    content_type: str
    authorization: str | None
    address: str


class LogoutRequests(Protocol):
    """Answers requests of identity providers to end sessions."""

    async def logout(self, posted: PostedRequest) -> Response:
        """Answer a logout token."""

    async def revocation(self, posted: PostedRequest) -> Response:
        """Answer a request for global token revocation."""


class IntakeApp(Application):
    """Answers what sources and providers post."""

    def __init__(
        self,
        settings: IntakeSettings,
        *,
        events: EventDoor,
        logouts: LogoutRequests,
        telemetry: Observed,
    ) -> None:
        self._settings = settings
        self._events = events
        self._observed = telemetry
        routes = [
            self._route(EVENTS, self._take_events),
            self._route(LOGOUT, lambda request, body: logouts.logout(_posted(request, body))),
            self._route(
                REVOCATION, lambda request, body: logouts.revocation(_posted(request, body))
            ),
        ]
        super().__init__(DOOR, routes, telemetry, limit=settings.max_requests)

    def _route(self, path: str, answer: Callable[[Request, bytes], Awaitable[Response]]) -> Route:
        """Return a route whose requests are answered once their body was read."""

        async def endpoint(request: Request) -> Response:
            settings = self._settings
            slow = partial(self._observed.record, DoorIncident(door=DOOR, incident="slow-request"))
            body = await body_of(request, settings.max_body_bytes, settings.request_timeout, slow)
            return await answer(request, body)

        return Route(path, endpoint, methods=["POST"], name=path)

    async def _take_events(self, request: Request, body: bytes) -> Response:
        answer = await self._events.handle(whole_request(request, body))
        return Response(answer.body, answer.status, dict(answer.fields), JSON)


def intake_listener(settings: IntakeSettings, app: IntakeApp, telemetry: Observed) -> Listener:
    """Return the listener at the intake's address. Raises `UnusableCertificate`."""
    tls = TlsFiles(settings.tls_cert_file, settings.tls_key_file, "intake.tls_key_file")
    return listener_of(settings, app, telemetry, DOOR, tls=tls)


def _posted(request: Request, body: bytes) -> PostedRequest:
    shown = request.headers.getlist("authorization")
    return PostedRequest(
        body=body,
        content_type=media_type_of(request),
        authorization=shown[0] if len(shown) == 1 else None,
        address=address_of(request),
    )
