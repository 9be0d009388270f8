"""Serves the console: pages for operators at `/console/` of the admin listener.

All of it is made here and by templates; nothing is loaded from elsewhere, and no page has a script
or a style in itself (`POLICY`). Names are in queries and never in paths, so that none of them can
lead to another page. What changes anything is a form, which shows the token of its sign-in and is
sent by a page of this listener.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sidecar import __version__
from sidecar.adapters.admin.acts import ActDoor
from sidecar.adapters.admin.credential import Credential, holder_of
from sidecar.adapters.admin.queries import query_of
from sidecar.adapters.console import openid_sign_in, rendering, replay_pages, requests
from sidecar.adapters.console.act_forms import act_of
from sidecar.adapters.console.event_stream import EventStream
from sidecar.adapters.console.openid_sign_in import OpenIdSignIn
from sidecar.adapters.console.rendering import Renderer
from sidecar.adapters.console.replay_files import ReplayFiles
from sidecar.adapters.console.sign_ins import SignIn, SignIns
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.application import (
    SECURITY,
    Application,
    Observed,
    RequestRefused,
    address_of,
    overloaded,
    retry_after,
    unavailable,
)
from sidecar.domain.policy.conditional_access import ROUTINE
from sidecar.service.admin.inspection import InvalidQuery, SessionQuery
from sidecar.service.console.devices import DeviceBook, DeviceQuery
from sidecar.service.console.feed import Feed
from sidecar.service.console.overview import Overview
from sidecar.service.console.rewind import Rewinder, RewindQuery, Rewound
from sidecar.service.console.session_list import SessionList
from sidecar.service.history.reader import HistoryPage, HistoryQuery
from sidecar.service.observations.observations import CredentialRefused
from sidecar.service.observations.operator import ConsoleSignIn, ConsoleStep
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.view.watchers import Watches
from sidecar.wire.checks.admin import RETURN
from sidecar.wire.console.curves import Drawing, draw
from sidecar.wire.console.openid import role_of
from sidecar.wire.console.replay_reports import InvalidReport
from sidecar.wire.console.suppositions import SUPPOSED
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.names import InvalidName
from sidecar.wire.settings.admin import ConsoleSettings, OpenIdSettings
from sidecar.wire.settings.settings import Settings

HOME, SIGN_IN, SIGN_OUT = "/console/", "/console/sign-in", "/console/sign-out"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = (
    *((name, value) for name, value in SECURITY if name != b"content-security-policy"),
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
REQUESTS = 48
"""Requests at a time, streams among them."""

SHOWN = 200
"""Lines of a user's history that a page has at most; the latest."""


class HistoryBook(Protocol):
    """Shows what happened to whom."""

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Return one page, the oldest first. Raises `InvalidQuery`, `Unavailable`."""


class ConsoleParts(NamedTuple):
    """The services behind the pages, and the door by which operators act."""

    sessions: SessionList
    rewinder: Rewinder
    devices: DeviceBook
    overview: Overview
    history: HistoryBook
    feed: Feed
    watches: Watches
    act_door: ActDoor


_Page = Callable[[Request, SignIn], Awaitable[Response]]


class ConsoleApp(Application):
    """Answers browsers. `credentials` gives those of operators as of now."""

    def __init__(  # noqa: PLR0913 - ports, by name
        self,
        *,
        parts: ConsoleParts,
        telemetry: Observed,
        credentials: Callable[[], tuple[Credential, ...]],
        guesses: GuessLimit,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._observed = telemetry
        self._credentials = credentials
        self._guesses = guesses
        self._settings = settings
        self._renderer = Renderer()
        self._sign_ins = SignIns(credentials, self._own_settings, clock)
        self._key = secrets.token_bytes(32)
        self._replays = ReplayFiles(lambda: self._own_settings().replays)
        self._openid = OpenIdSignIn(self._provider_settings, telemetry, guesses, clock)
        super().__init__(
            "console",
            self._all_routes(),
            telemetry,
            causes={
                InvalidQuery: lambda error: RequestRefused(400, str(error)),
                InvalidSignal: lambda error: RequestRefused(400, str(error)),
                InvalidName: lambda error: RequestRefused(400, str(error)),
                Overloaded: overloaded,
                Unavailable: unavailable,
            },
            render=self._refusal,
            headers=HEADERS,
            limit=REQUESTS,
        )

    def _own_settings(self) -> ConsoleSettings:
        return self._settings().admin.console

    def _provider_settings(self) -> OpenIdSettings:
        return self._own_settings().openid

    def _all_routes(self) -> list[Route]:
        pages: dict[str, _Page] = {
            HOME: self._home,
            "/console/sessions": self._session_list,
            "/console/session": self._session,
            "/console/user": self._user,
            "/console/device": self._device,
            "/console/policies": self._policies,
            "/console/what-if": self._what_if,
            "/console/replays": self._replay,
            "/console/health": self._health,
            "/console/events": self._events,
        }
        return [
            Route("/console", _to_home, name="/console"),
            Route(SIGN_IN, self._sign_in_page, methods=["GET"], name=SIGN_IN),
            Route(SIGN_IN, self._sign_in, methods=["POST"], name=SIGN_IN),
            Route(openid_sign_in.BEGIN, self._openid.begin, name=openid_sign_in.BEGIN),
            Route(RETURN, self._sign_in_person, name=RETURN),
            Route(SIGN_OUT, self._sign_out, methods=["POST"], name=SIGN_OUT),
            Route("/console/act", self._act, methods=["POST"], name="/console/act"),
            Route("/console/static/{file}", self._static, name="/console/static/{file}"),
            *(Route(path, self._signed_in(page), name=path) for path, page in pages.items()),
        ]

    # Who asks

    def _signed_in(self, page: _Page) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that shows a page to whoever has signed in, and the way to others."""

        async def endpoint(request: Request) -> Response:
            requests.check_site(request)
            sign_in = self._sign_in_of(request)
            if sign_in is None:
                if request.headers.get("sec-fetch-mode", "navigate") != "navigate":
                    raise RequestRefused(401, "you are not signed in any more")
                return RedirectResponse(SIGN_IN, 303)
            request.scope["sign_in"] = sign_in
            return await page(request, sign_in)

        return endpoint

    def _sign_in_of(self, request: Request) -> SignIn | None:
        name = requests.cookie_name(request, requests.PLAIN_COOKIE)
        return self._sign_ins.of(request.cookies.get(name, ""))

    async def _sign_in_page(self, request: Request) -> Response:
        requests.check_site(request)
        if self._sign_in_of(request) is not None:
            return RedirectResponse(HOME, 303)
        return self._form_to_sign_in(request)

    def _form_to_sign_in(self, request: Request, status: int = 200, notice: str = "") -> Response:
        """Return the form, bound to this browser by a cookie of its own."""
        name = requests.cookie_name(request, requests.BEFORE_COOKIE)
        cookie = request.cookies.get(name) or secrets.token_urlsafe(16)
        token = requests.token_before(self._key, cookie)
        values = {
            "token": token,
            "notice": notice,
            "by_credential": bool(self._credentials()),
            "provider": self._provider_settings().issuer,
        }
        response = self._page_of("sign-in.html", values, status)
        self._set_cookie(request, response, name, cookie)
        return response

    async def _sign_in(self, request: Request) -> Response:
        """Sign in whoever shows a credential. What they showed is in no answer and in no log."""
        requests.check_own(request)
        form = await requests.form_of(request)
        before = request.cookies.get(requests.cookie_name(request, requests.BEFORE_COOKIE), "")
        token = requests.token_before(self._key, before).encode()
        if not before or not hmac.compare_digest(requests.field_of(form, "token").encode(), token):
            return self._form_to_sign_in(request, 403, "this form is of another page: try again")
        address = address_of(request)
        if not self._guesses.left(address):
            self._observed.record(CredentialRefused(door="admin", address=address))
            raise RequestRefused(429, "too many wrong credentials; try again later", retry_after(1))
        credentials = self._credentials()
        found = holder_of(requests.field_of(form, "credential").strip(), credentials)
        if found is None:
            self._guesses.wrong(address)
            if not all(one.text for one in credentials):
                raise Unavailable("an admin credential cannot be read: see the log")
            self._observed.record(CredentialRefused(door="admin", address=address))
            return self._form_to_sign_in(request, 403, "this is nobody's admin credential")
        if (other := self._sign_in_of(request)) is not None:
            self._sign_ins.end(other)
        response = RedirectResponse(HOME, 303)
        text = self._sign_ins.begin(found)
        name = requests.cookie_name(request, requests.PLAIN_COOKIE)
        self._set_cookie(request, response, name, text)
        step = ConsoleSignIn(step=ConsoleStep.IN, operator=found.operator, address=address)
        self._observed.record(step)
        return response

    async def _sign_in_person(self, request: Request) -> Response:
        """Sign in whom the provider sends back.

        The cookie is set by a page that leads on. A redirect would be followed for the provider's
        page, and so without the cookie.
        """
        person = await self._openid.finish(request)
        text = self._sign_ins.begin_as(
            person.operator, lambda: role_of(person, self._provider_settings())
        )
        response = self._page_of("signed-in.html", {"operator": person.operator})
        name = requests.cookie_name(request, requests.PLAIN_COOKIE)
        is_tls = self._provider_settings().redirect_uri.startswith("https:")
        self._set_cookie(request, response, name, text, secure=is_tls)
        step = ConsoleSignIn(
            step=ConsoleStep.IN,
            operator=person.operator,
            address=address_of(request),
            subject=person.subject,
        )
        self._observed.record(step)
        return response

    async def _sign_out(self, request: Request) -> Response:
        sign_in, _ = await self._form_of(request)
        self._sign_ins.end(sign_in)
        step = ConsoleSignIn(
            step=ConsoleStep.OUT, operator=sign_in.operator, address=address_of(request)
        )
        self._observed.record(step)
        response = RedirectResponse(SIGN_IN, 303)
        name = requests.cookie_name(request, requests.PLAIN_COOKIE)
        secure = requests.is_secure(request)
        response.delete_cookie(name, path=_path_of(request), secure=secure, samesite="strict")
        return response

    def _set_cookie(
        self, request: Request, response: Response, name: str, value: str, *, secure: bool = False
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=int(self._own_settings().lifetime),
            path=_path_of(request),
            secure=secure or requests.is_secure(request),
            httponly=True,
            samesite="strict",
        )

    async def _form_of(self, request: Request) -> tuple[SignIn, Mapping[str, list[str]]]:
        """Return who sent a form, and its fields. Raises `RequestRefused`."""
        requests.check_own(request)
        sign_in = self._sign_in_of(request)
        if sign_in is None:
            raise RequestRefused(401, "you are not signed in any more")
        form = await requests.form_of(request)
        if not sign_in.is_shown(requests.field_of(form, "token")):
            raise RequestRefused(403, "this form is of another sign-in: open its page again")
        request.scope["sign_in"] = sign_in
        return sign_in, form

    # Pages

    async def _home(self, _: Request, sign_in: SignIn) -> Response:
        parts = await self._parts.overview.all_parts()
        marked = await self._parts.sessions.page(SessionQuery(standing="step_up", limit=10))
        values = {"parts": parts, "latest": self._parts.feed.latest, "marked": marked}
        return self._page_of("home.html", values, sign_in=sign_in)

    async def _session_list(self, request: Request, sign_in: SignIn) -> Response:
        query = query_of(request, _ListQuery, blank=False)
        page = await self._parts.sessions.page(SessionQuery(**msgspec.structs.asdict(query)))
        return self._page_of("sessions.html", {"query": query, "page": page}, sign_in=sign_in)

    async def _session(self, request: Request, sign_in: SignIn) -> Response:
        query = query_of(request, RewindQuery, blank=False)
        found = await self._rewound(query)
        values = {
            "query": query,
            "found": found,
            "drawing": self._drawn((found,), found.at, _happened(found)),
            "steps": _steps_beside(found),
            **self._choices(),
        }
        return self._page_of("session.html", values, sign_in=sign_in)

    async def _user(self, request: Request, sign_in: SignIn) -> Response:
        query = query_of(request, RewindQuery, blank=False)
        if not query.user:
            raise InvalidQuery("user", "is required")
        found = await self._parts.rewinder.user(query)
        history = await self._parts.history.history(
            HistoryQuery(user=query.user, issuer=query.issuer, limit=1000)
        )
        if found is None and not history.entries:
            raise RequestRefused(404, "there is no user of this name, as far as it is known")
        entries = history.entries[-SHOWN:]
        moments = [(one.time, one.kind, one.sentence) for one in entries]
        drawing = self._drawn(found.sessions, found.at, moments) if found else None
        values = {
            "query": query,
            "found": found,
            "entries": entries,
            "more": len(history.entries) > SHOWN or bool(history.cursor),
            "drawing": drawing,
            **self._choices(),
        }
        return self._page_of("user.html", values, sign_in=sign_in)

    async def _device(self, request: Request, sign_in: SignIn) -> Response:
        query = query_of(request, DeviceQuery, blank=False)
        found = await self._parts.devices.device(query)
        if not found:
            raise RequestRefused(404, "there is no device of this name, as far as it is known")
        listed = SessionQuery(device=query.device, issuer=query.issuer, limit=50)
        values = {
            "query": query,
            "found": found,
            "issuer": found[0].issuer if len(found) == 1 else query.issuer,
            "page": await self._parts.sessions.page(listed),
            **self._choices(),
        }
        return self._page_of("device.html", values, sign_in=sign_in)

    async def _policies(self, _: Request, sign_in: SignIn) -> Response:
        values = {"counts": self._parts.overview.policies()}
        return self._page_of("policies.html", values, sign_in=sign_in)

    async def _what_if(self, request: Request, sign_in: SignIn) -> Response:
        query = query_of(request, RewindQuery, blank=False)
        found, trouble = None, ""
        if query.session:
            try:
                found = await self._rewound(query)
            except (InvalidQuery, InvalidSignal) as error:
                trouble = str(error)
            except RequestRefused as refused:
                trouble = refused.detail
        values = {
            "query": query,
            "found": found,
            "trouble": trouble,
            "supposed": SUPPOSED,
            **self._choices(),
        }
        return self._page_of("what-if.html", values, 400 if trouble else 200, sign_in=sign_in)

    async def _replay(self, request: Request, sign_in: SignIn) -> Response:
        if not self._replays.configured:
            raise RequestRefused(404, "no directory of reports is configured here")
        query = query_of(request, _ReplayQuery, blank=False)
        listing = await self._replays.listing()
        names = [one.name for one in listing.files]
        file = query.file or (names[0] if names else "")
        report, trouble = None, ""
        if file and file not in names:
            trouble = "there is no such report"
        elif file:
            try:
                report = await self._replays.report(file)
            except InvalidReport as error:
                trouble = str(error)
        values = {
            "listing": listing,
            "file": file,
            "trouble": trouble,
            **await trio.to_thread.run_sync(replay_pages.values_of, report),
        }
        status = 404 if file not in names and query.file else 200
        return self._page_of("replays.html", values, status, sign_in=sign_in)

    async def _health(self, _: Request, sign_in: SignIn) -> Response:
        values = {"parts": await self._parts.overview.all_parts()}
        return self._page_of("health.html", values, sign_in=sign_in)

    async def _events(self, _: Request, sign_in: SignIn) -> Response:
        def is_valid() -> bool:
            return self._sign_ins.is_valid(sign_in)

        return EventStream(self._parts.feed, self._parts.watches, sign_in.operator, is_valid)

    async def _act(self, request: Request) -> Response:
        sign_in, form = await self._form_of(request)
        act = act_of(form)
        if not sign_in.role.acts:
            self._parts.act_door.forbid(act.where, sign_in.operator)
        answer = await self._parts.act_door.answer(
            act.where, sign_in.operator, "application/json", act.body
        )
        done = msgspec.json.decode(bytes(answer.body))
        where = "; kept on this sidecar's disk, as the store is away" if done.get("spooled") else ""
        count = done.get("sessions")
        concerned = "" if count is None else f", live sessions: {count}"
        sign_in.notice = f"{done['act']}: done{concerned}{where}"
        return RedirectResponse(_page_after(form), 303)

    async def _static(self, request: Request) -> Response:
        file = self._renderer.files.get(request.path_params["file"])
        if file is None:
            raise RequestRefused(404, "there is nothing here")
        headers = {"cache-control": "private, max-age=300"}
        return Response(file.body, headers=headers, media_type=file.media_type)

    # Making pages

    async def _rewound(self, query: RewindQuery) -> Rewound:
        found = await self._parts.rewinder.session(query) if query.session else None
        if found is None:
            raise RequestRefused(404, "there is no live session of this name")
        return found

    def _drawn(self, sessions: Any, at: float, happened: Any) -> Drawing:
        thresholds = self._settings().risk.thresholds
        levels = (("0", 0.0), ("medium", thresholds.medium), ("high", thresholds.high))
        begins = min(one.begins for one in sessions)
        span = begins, max(one.now for one in sessions)
        return draw([(one.name, one.curve) for one in sessions], span, at, levels, happened)

    def _choices(self) -> dict[str, object]:
        settings = self._settings()
        named = {name: one.name for name, one in settings.contexts.items()}
        levels = [level.name for level in settings.assurance.levels]
        return {"contexts": named, "levels": levels, "routine": ROUTINE}

    def _page_of(
        self,
        template: str,
        values: Mapping[str, object],
        status: int = 200,
        *,
        sign_in: SignIn | None = None,
    ) -> Response:
        about = {
            "me": sign_in,
            "said": sign_in.take_notice() if sign_in is not None else "",
            "here": template.removesuffix(".html"),
            "version": __version__,
            "app": self._settings().app.id,
            "replays": self._replays.configured,
        }
        return Response(
            self._renderer.render(template, {**about, **values}), status, media_type="text/html"
        )

    def _refusal(self, refused: RequestRefused) -> Response:
        values = {"status": refused.status_code, "detail": refused.detail}
        response = self._page_of("refused.html", values, refused.status_code)
        for name, value in (refused.headers or {}).items():
            response.headers[name] = value
        return response


class _ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of the list: see `SessionQuery`."""

    user: str = ""
    device: str = ""
    standing: str = ""
    limit: int = 50
    cursor: str = ""
    issuer: str = ""


class _ReplayQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report, by its file's name; empty: the latest."""

    file: str = ""


async def _to_home(_: Request) -> Response:
    return RedirectResponse(HOME, 308)


def _path_of(request: Request) -> str:
    """Return the paths that a cookie is for: `__Host-` cookies are for all."""
    return "/" if requests.is_secure(request) else "/console"


def _page_after(form: Mapping[str, list[str]]) -> str:
    """Return the page of whom an act was on."""
    on, name = requests.field_of(form, "on"), requests.field_of(form, "name")
    more = {one: requests.field_of(form, one) for one in ("user", "issuer")}
    if on == "session":
        return rendering.link("/console/session", session=name, **more)
    if on == "user":
        return rendering.link("/console/user", user=name, issuer=more["issuer"])
    return rendering.link("/console/device", device=name, issuer=more["issuer"])


def _happened(found: Rewound) -> list[tuple[float, str, str]]:
    return [(one.time, one.kind, one.text) for one in found.timeline]


def _steps_beside(found: Rewound) -> dict[str, float]:
    """Return the moments before and after the one that is shown, at which something happened."""
    moments = sorted({one.time for one in found.timeline if found.begins <= one.time <= found.now})
    before = [one for one in moments if one < found.at - 1e-3]
    after = [one for one in moments if one > found.at + 1e-3]
    return {"before": before[-1] if before else 0.0, "after": after[0] if after else 0.0}
