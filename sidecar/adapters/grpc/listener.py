"""The gRPC listener: `envoy.service.auth.v3.Authorization/Check`, for the pod's own Envoy.

| method | does |
| --- | --- |
| `/envoy.service.auth.v3.Authorization/Check` | a check of the call that Envoy describes |
| `/grpc.health.v1.Health/Check` | says SERVING, so that Envoy can see whether we are there |

What is answered is what the data listener would answer: the same headers, statuses and bodies.
"""

from collections.abc import Callable

import trio

from sidecar.adapters.grpc.server import LeanGrpcServer
from sidecar.adapters.http.check_calls import HttpCalls, OnUnasked, ignore_unasked
from sidecar.adapters.http.handlers import OnHttpIncident
from sidecar.adapters.http.large_bodies import aside
from sidecar.adapters.listening.acceptor import ten_seconds
from sidecar.adapters.ports import Checks
from sidecar.wire.grpc.ext_authz import decode_request, encode_response
from sidecar.wire.grpc.messages import CallRefused, Code
from sidecar.wire.grpc.protobuf import MessageInvalid, number_field
from sidecar.wire.http.gateway_calls import (
    InvalidCall,
    asked_contexts,
    contexts_of,
    direct_call,
)
from sidecar.wire.settings.settings import Grpc, Http
from sidecar.wire.settings.tokens import Binding

NO_BINDING = Binding()

CHECK = b"/envoy.service.auth.v3.Authorization/Check"
HEALTH = b"/grpc.health.v1.Health/Check"

_SERVING = number_field(1, 1)  # HealthCheckResponse.ServingStatus.SERVING


class GrpcListener:
    """Answers Envoy's checks. `http` says where the token is and which proxies are believed."""

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        settings: Grpc,
        http: Http,
        *,
        checks: Checks,
        on_incident: OnHttpIncident,
        binding: Binding = NO_BINDING,
        on_unasked: OnUnasked = ignore_unasked,
    ) -> None:
        """Read the trusted proxies. Raises ValueError for one that is no address or network."""
        self._calls = HttpCalls(
            checks,
            http,
            binding=binding,
            from_gateway=True,
            on_unasked=on_unasked,
            listener="grpc",
        )
        self._server = LeanGrpcServer(
            {CHECK: self._check, HEALTH: self._health}, settings, on_incident=on_incident
        )

    def replace(self, http: Http, binding: Binding) -> None:
        """Answer as is configured now; where it listens stays, and so do the bounds."""
        self._calls.replace(http, binding, redirects=True)

    async def run(
        self,
        *,
        draining: trio.Event | None = None,
        drain_timeout: Callable[[], float] = ten_seconds,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` is set or cancelled; starts with the addresses bound."""
        await self._server.run(
            draining=draining, drain_timeout=drain_timeout, task_status=task_status
        )

    async def _health(self, _message: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return _SERVING

    async def _check(self, message: bytes) -> bytes:
        try:
            request, contexts = await aside(decode_request, message)
        except MessageInvalid as error:
            raise CallRefused(Code.INVALID_ARGUMENT, str(error)) from None
        try:
            asked = contexts_of((*asked_contexts(request), contexts))
            response = await self._calls.answer(request, direct_call(request), asked)
        except InvalidCall as error:
            response = self._calls.refuse(request, error)
        return encode_response(response, request.headers)
