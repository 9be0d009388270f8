"""The data listener: checks and events over HTTP, for the pod's own app and proxy.

| target | does |
| --- | --- |
| `/v1/check`, any method | a check of the call that the configured gateway describes |
| `/v1/ext_authz/...`, any method | the same for Envoy, whose original path follows |
| `POST /v1/events` | takes one event, or NDJSON of them |

Targets are compared as they came, never normalised: what follows `/v1/ext_authz` is the client's.
"""

from collections.abc import Callable, Mapping, Sequence

import trio

from sidecar.adapters.events.intake import (
    DurableEvents,
    FleetAcknowledgements,
    OnInvalid,
    ignore_invalid,
)
from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.check_calls import (
    CHECK,
    CheckDoor,
    HttpCalls,
    OnUnasked,
    ignore_unasked,
    is_ext_authz,
    redirects_pass,
)
from sidecar.adapters.http.events import EventDoor
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.http.handlers import (
    AtOnce,
    Handler,
    HttpIncident,
    OnHttpIncident,
    Prepare,
    ignore_incident,
)
from sidecar.adapters.http.server import LeanServer
from sidecar.adapters.listening.acceptor import ten_seconds
from sidecar.adapters.ports import Checks
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http
from sidecar.wire.settings.tokens import Binding

NO_BINDING = Binding()

_EVENTS = b"/v1/events"


class DataListener:
    """Routes requests to checks and events. `others` adds handlers by their exact path.

    `others_at_once` has what prepares some of them, so that they are answered without waiting.
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
        others_at_once: Mapping[bytes, Prepare] | None = None,
        on_incident: OnHttpIncident = ignore_incident,
        on_invalid: OnInvalid = ignore_invalid,
        on_unasked: OnUnasked = ignore_unasked,
    ) -> None:
        """Read the trusted proxies. Raises ValueError for one that is no address or network."""
        calls = HttpCalls(
            checks,
            settings,
            clock,
            binding=binding,
            redirects=redirects_pass(settings),
            on_unasked=on_unasked,
        )
        self._checks = checks
        self._door = CheckDoor(calls, settings.gateway)
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
            CHECK: self._door.check,
            _EVENTS: self._events.handle,
        }
        self._prepares: dict[bytes, Prepare] = {
            **(others_at_once or {}),
            CHECK: self._door.prepare,
        }
        self._server = LeanServer(
            self.handle,
            settings,
            clock=clock,
            prepare=self.prepare,
            gather=self.gather,
            on_incident=on_incident,
        )

    def replace(self, settings: Http, binding: Binding) -> None:
        """Answer as is configured now; where it listens stays, and so do the bounds."""
        self._door.replace(settings, binding)
        self._events.replace(settings, ForeignCalls(settings))
        self._server.replace(settings)

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
        if is_ext_authz(request):
            return await self._door.ext_authz(request)
        return problem(Problem.NOT_FOUND)

    def prepare(self, request: Request) -> AtOnce | None:
        """Return what answers a request without waiting; None: `handle` must."""
        prepare = self._prepares.get(request.path)
        return self._door.prepare(request) if prepare is None else prepare(request)

    async def gather(
        self,
        requests: Sequence[Request],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Get ready what the checks among requests wait for; see `Checks.gather`."""
        calls = [call for each in requests if (call := self._door.call(each)) is not None]
        if len(calls) > 1:
            await self._checks.gather(calls, task_status=task_status)
        else:
            task_status.started()
