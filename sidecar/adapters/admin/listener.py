"""The admin listener: metrics, health and, with a credential, sessions, policies and acts.

Its listener closes at once on shutdown, so the daemon lets this one die last: `/readyz` says
"draining" until the end. No body is read but that of an act, by the credential.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from sidecar.adapters.admin import dead_letters
from sidecar.adapters.admin.acts import ActDoor
from sidecar.adapters.admin.credential import Credential
from sidecar.adapters.admin.dead_letters import Letters
from sidecar.adapters.admin.scrapes import Scrapes
from sidecar.adapters.events.guesses import Guesses
from sidecar.adapters.listening.asgi import BodyRefused, Reply, body_of, dispatch, problem, reply_to
from sidecar.adapters.telemetry.metrics import Exposition, Form
from sidecar.service.admin.health import Health, Report
from sidecar.service.admin.inspection import ExplainQuery, InvalidQuery, SessionQuery
from sidecar.service.observations.observations import CredentialRefused, Observation, WorkerFailed
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.wire.events import operator_acts


class Inspection(Protocol):
    """What an operator may look at. Results are values that msgspec encodes.

    Raises `Unavailable` where the store is away.
    """

    async def sessions(self, query: SessionQuery) -> object:
        """One page. Raises `InvalidQuery`."""

    async def session(self, session: str, /) -> object | None:
        """One session with its score, marks, reasons and timeline; None where there is none."""

    async def explain(self, session: str, query: ExplainQuery, /) -> object | None:
        """Why a call of it gets what it gets; None likewise. Raises `InvalidQuery`."""

    async def policies(self) -> object:
        """The policies in force."""

    async def rescore(self) -> object:
        """How far the re-score of all sessions is."""


class Observed(Protocol):
    """What the listener asks of telemetry."""

    def expose(self, form: Form) -> Exposition:
        """Render all metrics."""

    def answered(self, route: str, status: int) -> None:
        """Count a request."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


class _Request(NamedTuple):
    path: str
    query: bytes


class AdminApp:
    """The ASGI application. `credentials` gives those of operators as they now are.

    Where one cannot be read, who shows none of the others is not let in, and may be: a 503.

    Without a credential, or with nothing to inspect, everything but metrics and probes does not
    exist (404).
    """

    def __init__(  # noqa: PLR0913, PLR0917 - ports
        self,
        health: Health,
        telemetry: Observed,
        inspection: Inspection | None,
        credentials: Callable[[], tuple[Credential, ...]] = lambda: (),
        letters: Letters | None = None,
        guesses: Guesses | None = None,
        act_door: ActDoor | None = None,
    ) -> None:
        self._health = health
        self._telemetry = telemetry
        self._scrapes = Scrapes(telemetry.expose)
        self._inspection = inspection
        self._letters = letters
        self._credentials = credentials
        self._guesses = guesses or Guesses()
        self._acts = act_door

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request and refuse a WebSocket."""
        await dispatch(scope, send, lambda http: self._serve(http, receive, send))

    async def _serve(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        route = _route(scope["raw_path"].decode("latin-1"))
        try:
            reply = await self._answer(route, scope, receive)
        except BodyRefused as error:
            reply = problem(error.status, str(error))
        except Unavailable as error:
            reply = problem(503, str(error), _retry(1))
        except Exception as error:  # noqa: BLE001 - the door: count, log, go on
            self._telemetry.record(WorkerFailed(where="admin", error=error))
            reply = problem(500, "something broke in here; the log says what")
        self._telemetry.answered(f"admin {route}", reply.status)
        await reply_to(scope, reply, send)

    async def _answer(self, route: str, scope: HTTPScope, receive: ASGIReceiveCallable) -> Reply:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        request = _Request(scope["raw_path"].decode("latin-1"), scope["query_string"])
        credentials = self._credentials() if route.startswith("/v1/") else ()
        if route == _NOWHERE or (route.startswith("/v1/") and not credentials):
            return problem(404, "there is nothing here")
        allowed = _METHODS.get(route, _READING)
        if scope["method"] not in allowed:
            names = ", ".join(allowed)
            return problem(405, f"only {names}", ((b"allow", names.encode()),))
        match route:
            case "/metrics":
                return await self._metrics(headers)
            case "/livez":
                return _probe(self._health.live())
            case "/readyz":
                return self._ready(request)
            case "/startupz":
                return _probe(self._health.started())
            case _:
                method = scope["method"]
                address, _ = scope["client"] or ("", 0)
                who = self._who(headers, address, credentials)
                if isinstance(who, Reply):
                    return who
                if route in operator_acts.ROUTES:
                    return await self._act(request, who, headers.get("content-type", ""), receive)
                if method not in _READING and not who.acts:
                    return problem(403, f"the credential of {who.operator} may only look")
                return await self._inspect(route, request, method)

    async def _act(
        self, request: _Request, who: Credential, kind: str, receive: ASGIReceiveCallable
    ) -> Reply:
        where = operator_acts.where_of(request.path)
        if self._acts is None or where is None:
            return problem(404, "there is nothing to act on here")
        if not who.acts:
            return self._acts.forbid(where, who.operator)
        body = await body_of(receive, operator_acts.MAX_BODY)
        return await self._acts.answer(where, who.operator, kind, body)

    def _ready(self, request: _Request) -> Reply:
        try:
            asked = parse_qsl(request.query.decode("latin-1"), max_num_fields=20)
        except ValueError:
            return problem(400, "the query has too many fields")
        names = {name for field, name in asked if field == "tolerate"}
        strange = sorted(names - self._health.conditions.keys())
        if strange:
            known = ", ".join(self._health.conditions)
            return problem(400, f"tolerate: there is no such condition; there are {known}")
        return _probe(self._health.ready(names))

    async def _metrics(self, headers: Mapping[str, str]) -> Reply:
        accept, encoding = headers.get("accept", ""), headers.get("accept-encoding", "")
        exposition = await self._scrapes.take(accept, encoding)
        extra = [(b"vary", b"accept, accept-encoding")]
        if exposition.encoding:
            extra.append((b"content-encoding", exposition.encoding.encode()))
        return Reply(200, exposition.body, exposition.content_type, tuple(extra))

    def _who(
        self, headers: Mapping[str, str], address: str, credentials: tuple[Credential, ...]
    ) -> Credential | Reply:
        """Whose credential is shown (RFC 6750, section 3 where it is nobody's).

        Of an address that has shown too many wrong ones none is looked at.
        """
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            challenge = b'Bearer realm="sidecar admin"'
            return problem(401, "an admin credential is asked for", _challenge(challenge))
        if not self._guesses.left(address):
            self._telemetry.record(CredentialRefused(door="admin", address=address))
            return problem(429, "too many wrong credentials; try again later", _retry(1))
        shown, found = given.strip().encode("latin-1"), None
        for one in credentials:  # all of them, whichever fits; of several who may only look
            fits = hmac.compare_digest(shown, one.text.encode()) and one.text
            if fits and (found is None or not one.acts):
                found = one
        if found is not None:
            return found
        self._guesses.wrong(address)
        if not all(one.text for one in credentials):
            raise Unavailable("an admin credential cannot be read: see the log")
        self._telemetry.record(CredentialRefused(door="admin", address=address))
        challenge = b'Bearer realm="sidecar admin", error="invalid_token"'
        return problem(401, "this is not the admin credential", _challenge(challenge))

    async def _inspect(self, route: str, request: _Request, method: str) -> Reply:
        where = dead_letters.where_of(request.path)
        inspection = self._inspection
        if inspection is None:
            return problem(404, "there is nothing to inspect here")
        try:
            if where is None:
                found = await _found(inspection, route, request)
            else:
                letters = self._letters
                found = letters and await dead_letters.answer(letters, where, method, request.query)
        except InvalidQuery as error:
            return problem(400, str(error))
        except Overloaded as error:
            return problem(503, str(error), _retry(error.retry_after))
        except Unavailable as error:
            return problem(503, str(error), _retry(1))
        if found is None:
            return problem(
                404, f"no {'live session' if where is None else 'dead letter'} has this id"
            )
        return Reply(200, msgspec.json.encode(found))


_READING = ("GET", "HEAD")
_NOWHERE = "nowhere"
_METHODS = {**dead_letters.METHODS, **dict.fromkeys(operator_acts.ROUTES, ("POST",))}
_ROUTES = frozenset(
    {
        *("/metrics", "/livez", "/readyz", "/startupz"),
        *("/v1/sessions", "/v1/policies", "/v1/rescore"),
    }
)


def _route(path: str) -> str:
    """The route as a template: bounded, for it is a metric's label."""
    if path in _ROUTES:
        return path
    where = dead_letters.where_of(path)
    if where is not None:
        return where.route
    act = operator_acts.where_of(path)
    if act is not None:
        return act.route
    name = path.removeprefix("/v1/sessions/")
    return "/v1/sessions/{id}" if name and name != path and "/" not in name else _NOWHERE


_Q = TypeVar("_Q", SessionQuery, ExplainQuery)


def _query(raw: bytes, kind: type[_Q]) -> _Q:
    given: dict[str, Any] = {}
    try:
        fields = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise InvalidQuery("query", "has too many fields") from error
    for name, value in fields:
        if name in given:
            raise InvalidQuery(name, "is given twice")
        given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidQuery("query", str(error)) from error


async def _found(inspection: Inspection, route: str, request: _Request) -> object | None:
    """What is looked at; None where there is no such session."""
    match route:
        case "/v1/policies":
            return await inspection.policies()
        case "/v1/rescore":
            return await inspection.rescore()
        case "/v1/sessions":
            return await inspection.sessions(_query(request.query, SessionQuery))
    name = unquote(request.path.removeprefix("/v1/sessions/"))
    if request.query:
        query = _query(request.query, ExplainQuery)
        return await inspection.explain(name, query)
    return await inspection.session(name)


def _probe(report: Report) -> Reply:
    body = {
        "status": "ok" if report.ok else "failing",
        "checks": [
            {"name": check.name, "state": check.state, "reason": check.reason}
            for check in report.checks
        ],
    }
    return Reply(200 if report.ok else 503, msgspec.json.encode(body))


def _challenge(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"www-authenticate", value),)


def _retry(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(seconds).encode()),)
