"""Serves metrics and health, and to operators with a credential sessions, policies and acts.

The listener closes at once on shutdown, so the daemon closes it last: `/readyz` says "draining"
until then. No body is read but that of an act, and only after its credential.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol
from urllib.parse import unquote

import msgspec
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from prometheus_client import exposition
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.admin import bundles, dead_letters
from sidecar.adapters.admin.acts import ActDoor
from sidecar.adapters.admin.bundles import FleetPolicies
from sidecar.adapters.admin.credential import Credential, holder_of
from sidecar.adapters.admin.dead_letters import Letters
from sidecar.adapters.admin.queries import MOST, given_in, query_of
from sidecar.adapters.admin.scrapes import Scrapes
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.application import (
    JSON,
    Admitted,
    Application,
    Observed,
    RequestRefused,
    address_of,
    authorization_of,
    body_of,
    overloaded,
    retry_after,
    unavailable,
)
from sidecar.adapters.listening.asgi import Listener, TlsFiles, listener_of
from sidecar.adapters.process.later_modules import execute
from sidecar.adapters.telemetry.metrics import Exposition, ScrapeFormat
from sidecar.domain.facts import fact_kinds
from sidecar.service.admin.health import Health, HealthReport
from sidecar.service.admin.inspection import ExplainQuery, InvalidQuery, SessionQuery
from sidecar.service.history.reader import HistoryQuery
from sidecar.service.observations.observations import CredentialRefused
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.bundles.generations import PolicyAct
from sidecar.wire.events import operator_acts
from sidecar.wire.events.operator_acts import Act, Where
from sidecar.wire.http.form_fields import UnreadableFields, fields_of
from sidecar.wire.settings.admin import Admin, Role

execute(exposition)  # so that the first scrape does not stop the loop with it


class Inspection(Protocol):
    """Shows operators what is known. Results are values that msgspec encodes.

    Raises `Unavailable` where the store is away.
    """

    async def sessions(self, query: SessionQuery) -> object:
        """Return one page of sessions. Raises `InvalidQuery`."""

    async def session(self, session: str, /) -> object | None:
        """Return a session with its score, marks, reasons and timeline; None if there is none."""

    async def explain(self, session: str, query: ExplainQuery, /) -> object | None:
        """Return why a call of a session is answered so; None if there is none.

        Raises `InvalidQuery`.
        """

    async def policies(self) -> object:
        """Return the policies in force."""

    async def rescore(self) -> object:
        """Return how far the re-score of all sessions is."""


class HistoryBook(Protocol):
    """Shows operators what happened to whom."""

    async def history(self, query: HistoryQuery) -> object:
        """Return one page, the oldest first. Raises `InvalidQuery`, `Unavailable`."""


class AdminTelemetry(Observed, Protocol):
    """Counts and logs, and renders the metrics."""

    def expose(self, form: ScrapeFormat) -> Exposition:
        """Return all metrics in this form."""


_Look = Callable[[Inspection, Request], Awaitable[object | None]]
_READING = ("GET", "HEAD")
CONSOLE = b"/console"
"""Where the console is, if there is one."""


class AdminApp(Application):
    """Answers operators, Prometheus and probes; `credentials` gives those of operators as of now.

    If one of them cannot be read, whoever shows none of the others gets 503: it may be right.

    `console` gives the application that has the pages, once somebody asks for one; None: there are
    none.

    Without a credential, or with nothing to inspect, nothing but metrics and probes exists: all
    else gets 404.
    """

    def __init__(  # noqa: PLR0913 - ports by name
        self,
        health: Health,
        telemetry: AdminTelemetry,
        inspection: Inspection | None,
        credentials: Callable[[], tuple[Credential, ...]] = lambda: (),
        letters: Letters | None = None,
        *,
        guesses: GuessLimit | None = None,
        act_door: ActDoor | None = None,
        history: HistoryBook | None = None,
        console: Callable[[], Awaitable[ASGIFramework | None]] | None = None,
        policies: FleetPolicies | None = None,
    ) -> None:
        self._console = console
        self._health = health
        self._observed = telemetry
        self._scrapes = Scrapes(telemetry.expose)
        self._inspection = inspection
        self._letters = letters
        self._credentials = credentials
        self._guesses = guesses or GuessLimit()
        self._acts = act_door
        self._history = history
        self._policies = policies
        routes = (*self._probes(), *self._looks(), *self._letter_looks(), *self._act_routes())
        super().__init__(
            "admin",
            routes,
            telemetry,
            causes={
                InvalidQuery: lambda error: RequestRefused(400, str(error)),
                Overloaded: overloaded,
                Unavailable: unavailable,
            },
        )

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request, or have the console answer it, where there is one."""
        if self._console is not None and scope["type"] == "http":
            path = scope["raw_path"]
            if path == CONSOLE or path.startswith(CONSOLE + b"/"):
                console = await self._console()
                if console is not None:
                    await console(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)

    def _probes(self) -> list[Route]:
        """Return the routes that ask for no credential."""
        return [
            Route("/metrics", self._metrics, name="/metrics"),
            Route("/livez", self._live, name="/livez"),
            Route("/readyz", self._ready, name="/readyz"),
            Route("/startupz", self._started, name="/startupz"),
        ]

    def _looks(self) -> list[Route]:
        return [
            self._looking("/v1/policies", lambda book, _: book.policies()),
            self._looking("/v1/rescore", lambda book, _: book.rescore()),
            self._looking("/v1/sessions", _sessions),
            self._looking("/v1/sessions/{id}", _session),
            self._looking("/v1/history", self._happened, what="history"),
            self._looking(bundles.PAGE, self._bundles, what="bundle"),
            *(
                self._looking(path, partial(self._order_bundle, act), methods=("POST",))
                for path, act in bundles.ACTS.items()
            ),
        ]

    def _letter_looks(self) -> list[Route]:
        looking = partial(self._looking, what="dead letter")
        return [
            looking(dead_letters.LIST, self._letter_page),
            looking(dead_letters.ONE, self._letter),
            looking(dead_letters.ONE, self._drop_letter, methods=("DELETE",)),
            looking(dead_letters.RETRY, self._retry_letter, methods=("POST",)),
        ]

    def _act_routes(self) -> list[Route]:
        return [
            Admitted(path, partial(self._act, path, *what), self._admit, methods=("POST",))
            for path, what in operator_acts.ROUTES.items()
        ]

    async def _live(self, _: Request) -> Response:
        return _probe(self._health.live())

    async def _started(self, _: Request) -> Response:
        return _probe(self._health.started())

    async def _ready(self, request: Request) -> Response:
        try:
            asked = fields_of(request.scope["query_string"], MOST, blank=False)
        except UnreadableFields as error:
            raise RequestRefused(400, f"the query {error.words}") from None
        names = {name for field, name in asked if field == "tolerate"}
        if names - self._health.conditions.keys():
            known = ", ".join(self._health.conditions)
            words = f"tolerate: there is no such condition; there are {known}"
            raise RequestRefused(400, words)
        return _probe(self._health.ready(names))

    async def _metrics(self, request: Request) -> Response:
        accept, encoding = (request.headers.get(x, "") for x in ("accept", "accept-encoding"))
        exposition = await self._scrapes.take(accept, encoding)
        headers = {"vary": "accept, accept-encoding"}
        if exposition.encoding:
            headers["content-encoding"] = exposition.encoding
        return Response(exposition.body, headers=headers, media_type=exposition.content_type)

    # What is an operator's

    def _admit(self, request: Request) -> None:
        """Note the credentials of now. Raises `RequestRefused` if there are none."""
        request.scope["credentials"] = credentials = self._credentials()
        if not credentials:
            raise RequestRefused(404, "there is nothing here")

    def _looking(
        self,
        path: str,
        look: _Look,
        *,
        what: str = "live session",
        methods: tuple[str, ...] = _READING,
    ) -> Route:
        """Return a route that answers with what `look` finds."""

        async def endpoint(request: Request) -> Response:
            who = self._who(request)
            if request.method not in _READING and who.role is not Role.ADMIN:
                words = f"this takes the role {Role.ADMIN}, and {who.operator} is {who.role}"
                raise RequestRefused(403, words)
            if self._inspection is None:
                raise RequestRefused(404, "there is nothing to inspect here")
            found = await look(self._inspection, request)
            if found is None:
                raise RequestRefused(404, f"no {what} has this id")
            return Response(msgspec.json.encode(found), media_type=JSON)

        return Admitted(path, endpoint, self._admit, methods=methods)

    def _who(self, request: Request) -> Credential:
        """Return whose credential the request shows.

        After too many wrong ones no credential of an address is looked at. Raises `RequestRefused`
        if it is nobody's (RFC 6750, section 3), `Unavailable` if it may be one that cannot be read.
        """
        scheme, _, given = authorization_of(request).partition(" ")
        if scheme.lower() != "bearer":
            challenge = {"www-authenticate": 'Bearer realm="sidecar admin"'}
            raise RequestRefused(401, "an admin credential is asked for", challenge)
        address = address_of(request)
        if not self._guesses.left(address):
            self._observed.record(CredentialRefused(door="admin", address=address))
            raise RequestRefused(429, "too many wrong credentials; try again later", retry_after(1))
        credentials: tuple[Credential, ...] = request.scope["credentials"]
        shown = given.strip().encode("latin-1").decode("utf-8", "surrogateescape")
        found = holder_of(shown, credentials)
        if found is not None:
            return found
        self._guesses.wrong(address)
        if not all(one.text for one in credentials):
            raise Unavailable("an admin credential cannot be read: see the log")
        self._observed.record(CredentialRefused(door="admin", address=address))
        challenge = {"www-authenticate": 'Bearer realm="sidecar admin", error="invalid_token"'}
        raise RequestRefused(401, "this is not the admin credential", challenge)

    async def _act(
        self, route: str, scope: fact_kinds.Scope, act: Act, request: Request
    ) -> Response:
        who = self._who(request)
        if self._acts is None:
            raise RequestRefused(404, "there is nothing to act on here")
        where = Where(route, act, scope, request.path_params["id"])
        if not who.role.acts:
            self._acts.forbid(where, who.operator)
        body = await body_of(request, operator_acts.MAX_BODY)
        kind = request.headers.get("content-type", "")
        return await self._acts.answer(where, who.operator, kind, body)

    async def _happened(self, _: Inspection, request: Request) -> object | None:
        query = query_of(request, HistoryQuery)
        return await self._history.history(query) if self._history else None

    async def _bundles(self, _: Inspection, __: Request) -> object:
        return await bundles.page(self._policies)

    async def _order_bundle(self, act: PolicyAct, _: Inspection, request: Request) -> object:
        return await bundles.order(self._policies, act, self._who(request).operator, request)

    async def _letter_page(self, _: Inspection, request: Request) -> object | None:
        query = dead_letters.page_of(given_in(request))
        return await self._letters.page(*query) if self._letters else None

    async def _letter(self, _: Inspection, request: Request) -> object | None:
        return await self._letters.find(request.path_params["id"]) if self._letters else None

    async def _retry_letter(self, _: Inspection, request: Request) -> object | None:
        return await self._letters.retry(request.path_params["id"]) if self._letters else None

    async def _drop_letter(self, _: Inspection, request: Request) -> object | None:
        letter = request.path_params["id"]
        dropped = self._letters is not None and await self._letters.drop(letter)
        return {"id": letter, "dropped": True} if dropped else None


def admin_listener(settings: Admin, app: AdminApp, telemetry: Observed) -> Listener:
    """Return the listener at the admin address. Raises `UnusableCertificate`."""
    tls = TlsFiles(settings.tls.certificate, settings.tls.key, "admin.tls.certificate")
    return listener_of(settings, app, telemetry, "admin", tls=tls)


async def _sessions(inspection: Inspection, request: Request) -> object:
    return await inspection.sessions(query_of(request, SessionQuery))


async def _session(inspection: Inspection, request: Request) -> object | None:
    """Return a session, or why a call of it is answered so; None if there is none."""
    name = unquote(request.path_params["id"])
    if not request.scope["query_string"]:
        return await inspection.session(name)
    return await inspection.explain(name, query_of(request, ExplainQuery))


def _probe(report: HealthReport) -> Response:
    body = {
        "status": "ok" if report.ok else "failing",
        "checks": [
            {"name": check.name, "state": check.state, "reason": check.reason}
            for check in report.checks
        ],
    }
    return Response(msgspec.json.encode(body), 200 if report.ok else 503, media_type=JSON)
