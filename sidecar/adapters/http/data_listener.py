"""The data listener: checks and events over HTTP, for the pod's own app and proxy.

| target | does |
| --- | --- |
| `/v1/check`, any method | a check of the call that the configured gateway describes |
| `/v1/ext_authz/...`, any method | the same for Envoy, whose original path follows |
| `POST /v1/events` | takes one event, or NDJSON of them |

Targets are compared as they came, never normalised: what follows `/v1/ext_authz` is the client's.
"""

from collections.abc import Callable, Mapping

import trio

from sidecar.adapters.events.intake import (
    DurableEvents,
    FleetAcknowledgements,
    OnInvalid,
    ignore_invalid,
)
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.check_calls import HttpCalls, OnUnasked, ignore_unasked
from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.http.server import Handler, HttpIncident, LeanServer, OnHttpIncident
from sidecar.adapters.listening.acceptor import ten_seconds
from sidecar.adapters.ports import Checks
from sidecar.wire.http.gateway_calls import (
    EXT_AUTHZ,
    InvalidCall,
    asked_call,
    asked_contexts,
    ext_authz_call,
)
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Gateway, Http
from sidecar.wire.settings.tokens import Binding

NO_BINDING = Binding()

_CHECK = b"/v1/check"
_EVENTS = b"/v1/events"
_EXT_AUTHZ_BELOW = EXT_AUTHZ + b"/"


def _ignore(incident: HttpIncident, error: Exception | None) -> None:
    """Do nothing."""


def _redirects(settings: Http) -> bool:
    return settings.gateway is not Gateway.NGINX  # it passes on 401 and 403 alone


class DataListener:
    """Routes requests to checks and events. `others` adds handlers by their exact path.

    `clock` gives the time of events without one, `new_id` their ids, and `skew` how far in the
    future an event's own time may lie.
    """

    def __init__(  # noqa: PLR0913 - ports and settings, by name
        self,
        settings: Http,
        *,
        checks: Checks,
        events: DurableEvents,
        speakers: Speakers,
        clock: Callable[[], float],
        skew: Callable[[], float],
        new_id: Callable[[], str],
        acknowledger: FleetAcknowledgements | None = None,
        binding: Binding = NO_BINDING,
        others: Mapping[bytes, Handler] | None = None,
        on_incident: OnHttpIncident = _ignore,
        on_invalid: OnInvalid = ignore_invalid,
        on_unasked: OnUnasked = ignore_unasked,
    ) -> None:
        """Read the trusted proxies. Raises ValueError for one that is no address or network."""
        self._calls = HttpCalls(
            checks,
            settings,
            clock,
            binding=binding,
            redirects=_redirects(settings),
            on_unasked=on_unasked,
        )
        self._gateway = settings.gateway
        self._events = EventDoor(
            events,
            acknowledger,
            settings=settings,
            speakers=speakers,
            foreign=ForeignCalls(settings),
            clock=clock,
            skew=skew,
            new_id=new_id,
            on_crash=lambda error: on_incident(HttpIncident.CRASHED, error),
            on_invalid=on_invalid,
        )
        self._handlers: dict[bytes, Handler] = {
            **(others or {}),
            _CHECK: self._check,
            _EVENTS: self._events.handle,
        }
        self._server = LeanServer(self.handle, settings, clock=clock, on_incident=on_incident)

    def replace(self, settings: Http, binding: Binding) -> None:
        """Answer as is configured now; where it listens stays, and so do the bounds."""
        self._gateway = settings.gateway
        self._calls.replace(settings, binding, redirects=_redirects(settings))
        self._events.replace(settings, ForeignCalls(settings))
        self._server.settings = settings

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

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        handler = self._handlers.get(request.path)
        if handler is not None:
            return await handler(request)
        target = request.target
        if target.startswith(_EXT_AUTHZ_BELOW) or request.path == EXT_AUTHZ:
            return await self._ext_authz(request)
        return problem(Problem.NOT_FOUND)

    async def _check(self, request: Request) -> Response:
        try:
            original, contexts = asked_call(request, self._gateway)
            return await self._calls.answer(request, original, contexts)
        except InvalidCall as error:
            return self._calls.refuse(request, error)

    async def _ext_authz(self, request: Request) -> Response:
        # Any other gateway describes the call in headers; then the path is the client's to choose.
        if self._gateway not in (Gateway.ENVOY, Gateway.NONE):
            return problem(Problem.NOT_FOUND, f"http.gateway is {self._gateway.value}, not envoy")
        try:
            original = ext_authz_call(request)
            return await self._calls.answer(request, original, asked_contexts(request))
        except InvalidCall as error:
            return self._calls.refuse(request, error)
