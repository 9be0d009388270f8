"""Serves the central listener: checks for gateways that ask a Service.

`/v1/check` and `/v1/ext_authz/...`, as at the data listener; there is nothing else. Whoever asks
shows `X-Sidecar-Credential`, or a certificate in the handshake; all else gets 403 and is counted
(429 where an address has shown too many wrong ones; a right one is taken all the same).

An asker is a gateway of ours: it is believed what it says of the client, as a proxy of the pod is.
"""

from collections.abc import Sequence
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.central.askers import HEADER, Askers
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.http.check_calls import CheckDoor, is_ext_authz
from sidecar.adapters.listening.application import (
    Application,
    Observed,
    RequestRefused,
    address_of,
    body_of,
    retry_after,
    whole_request,
)
from sidecar.adapters.listening.asgi import CLIENT_NAMES, Listener, TlsFiles, listener_of
from sidecar.service.observations.observations import CredentialRefused, DoorIncident
from sidecar.wire.central.settings import CentralSettings
from sidecar.wire.http.messages import header_pairs

DOOR = "central"
MOST_BODY = 65536
"""Bytes of the longest body of a check: gateways send none, or say that there is none."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class CentralApp(Application):
    """Answers gateways that have shown who they are."""

    def __init__(
        self, settings: CentralSettings, checks: CheckDoor, askers: Askers, telemetry: Observed
    ) -> None:
        self._checks = checks
        self._askers = askers
        self._observed = telemetry
        self._guesses = GuessLimit()
        paths = ("/v1/check", "/v1/ext_authz", "/v1/ext_authz/{path:path}")
        routes = [Route(path, self._answer, name=path) for path in paths]
        for route in routes:
            route.methods = set(METHODS)
        super().__init__(DOOR, routes, telemetry, limit=settings.max_requests)

    async def _answer(self, request: Request) -> Response:
        self._admit(request)
        slow = partial(self._observed.record, DoorIncident(door=DOOR, incident="slow-request"))
        body = await body_of(request, MOST_BODY, on_slow=slow)
        # As over a unix socket: who asks is known, and is no client.
        asked = msgspec.structs.replace(whole_request(request, body), peer="")
        if is_ext_authz(asked):
            answer = await self._checks.ext_authz(asked)
        else:
            answer = await self._checks.check(asked)
        response = Response(answer.body, answer.status)
        response.raw_headers = [
            *((name, value) for name, value in response.raw_headers if name == b"content-length"),
            *header_pairs(answer.fields),
        ]
        return response

    def _admit(self, request: Request) -> None:
        """Return for a gateway that is known; raises `RequestRefused`."""
        names: Sequence[str] = request.scope.get(CLIENT_NAMES, ())
        if self._askers.by_certificate(names):
            return
        shown, address = request.headers.getlist(HEADER), address_of(request)
        if len(shown) == 1 and self._askers.by_credential(shown[0]):
            return
        self._observed.record(CredentialRefused(door=DOOR, address=address))
        if not self._guesses.left(address):
            raise RequestRefused(429, "too many wrong credentials", retry_after(1))
        self._guesses.wrong(address)
        raise RequestRefused(403, "this gateway is not known here")


def central_listener(settings: CentralSettings, app: CentralApp, telemetry: Observed) -> Listener:
    """Return the listener at the central address. Raises `UnusableCertificate`."""
    tls = TlsFiles(
        settings.tls_cert_file,
        settings.tls_key_file,
        "central.tls_key_file",
        settings.client_ca_file,
    )
    return listener_of(settings, app, telemetry, DOOR, tls=tls)
