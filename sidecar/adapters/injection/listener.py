"""Serves the webhook that adds the sidecar to pods, over TLS.

`POST /inject` takes an AdmissionReview of `admission.k8s.io/v1` and answers with its response; what
is none gets 400, 408, 413 or 415.

It asks for no credential: the answer says nothing but what the question and the manifests say.
"""

from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.listening.application import (
    JSON,
    Application,
    Observed,
    RequestRefused,
    body_of,
    media_type_of,
)
from sidecar.adapters.listening.asgi import Listener, TlsFiles, listener_of
from sidecar.service.observations.injection import InjectionOutcome, PodReviewed
from sidecar.service.observations.observations import DoorIncident
from sidecar.wire.injection.additions import Names
from sidecar.wire.injection.reviews import LONGEST_REVIEW, InvalidReview, admit

DOOR = "injector"
PATH = "/inject"
MOST_REVIEWS = 64
"""Reviews that are answered at a time; one more is refused, and the API server may ask again."""


class InjectorSection(msgspec.Struct, frozen=True):
    """The listener's settings, as a section of the configuration has them."""

    bind: str
    max_connections: int = 256


class InjectorApp(Application):
    """Answers the API server."""

    def __init__(self, names: Names, telemetry: Observed) -> None:
        self._names = names
        self._observed = telemetry
        routes = [Route(PATH, self._inject, methods=["POST"], name=PATH)]
        super().__init__(DOOR, routes, telemetry, limit=MOST_REVIEWS)

    async def _inject(self, request: Request) -> Response:
        if media_type_of(request) != JSON:
            raise RequestRefused(415, f"a review is {JSON}")
        slow = partial(self._observed.record, DoorIncident(door=DOOR, incident="slow-request"))
        body = await body_of(request, LONGEST_REVIEW, on_slow=slow)
        try:
            admission = admit(body, self._names)
        except InvalidReview as error:
            invalid = PodReviewed(outcome=InjectionOutcome.INVALID, detail=str(error))
            self._observed.record(invalid)
            raise RequestRefused(400, f"no review of a pod: {error}") from None
        self._observed.record(
            PodReviewed(
                outcome=InjectionOutcome(admission.outcome),
                namespace=admission.namespace,
                detail=admission.detail,
            )
        )
        return Response(admission.body, media_type=JSON)


def injector_listener(bind: str, app: InjectorApp, telemetry: Observed, tls: TlsFiles) -> Listener:
    """Return the listener of the webhook. Raises `UnusableCertificate`."""
    return listener_of(InjectorSection(bind), app, telemetry, DOOR, tls=tls)
