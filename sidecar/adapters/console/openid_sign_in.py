"""Signs operators in by an OpenID provider: sends browsers there, and takes them back.

A browser that begins gets a cookie, of which the secrets of its attempt follow by a key of this
process (`state`, `nonce`, the code verifier). So nothing is kept for whoever just begins, and an
answer counts in the browser that began, once, for `PATIENCE`. The cookie is `SameSite=Lax`, since
the provider's page brings the browser back; that of the sign-in itself, which another site's link
shall not carry, is shown first by a page of this listener (`signed-in.html`).
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sidecar.adapters.console import requests
from sidecar.adapters.console.openid_provider import OpenIdProvider, ProviderRefused
from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.application import RequestRefused, address_of, retry_after
from sidecar.service.observations.observations import CredentialRefused, Observation
from sidecar.service.observations.operator import ConsoleRefusal, ConsoleRefused
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.console.openid import (
    Attempt,
    InvalidReturn,
    ProviderPerson,
    answer_of,
    error_word,
    is_of,
    question_of,
    role_of,
)
from sidecar.wire.settings.admin import OpenIdSettings
from sidecar.wire.tokens.claims import InvalidToken

BEGIN = "/console/sign-in/openid"
COOKIE = "sidecar_console_openid"

PATIENCE = 600.0
"""Seconds in which somebody has to sign in at the provider."""

MOST_OVER = 4096
"""Attempts that are known to be over; the oldest leave first: of these the code is used up."""

_AGAIN = "again"
_CREDENTIAL = "who has an admin credential can sign in by it"


class Recorder(Protocol):
    """Takes observations."""

    def record(self, observation: Observation, /) -> None:
        """Count it, and log it."""


class OpenIdSignIn:
    """Has browsers sign in. `openid` gives the settings as of now."""

    def __init__(
        self,
        openid: Callable[[], OpenIdSettings],
        telemetry: Recorder,
        guesses: GuessLimit,
        clock: Callable[[], float],
    ) -> None:
        self._openid = openid
        self._observed = telemetry
        self._guesses = guesses
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._provider = OpenIdProvider(openid())
        self._over: OrderedDict[str, None] = OrderedDict()

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider. Raises `RequestRefused`."""
        requests.check_site(request)
        provider = self._current()
        openid = provider.openid
        home = urlsplit(openid.redirect_uri)
        elsewhere = request.headers.get("host", "").lower() != home.netloc.lower()
        if elsewhere and request.scope["query_string"] != _AGAIN.encode():
            # Cookies are of a host: one that is set here would not come back there.
            return RedirectResponse(f"{home.scheme}://{home.netloc}{BEGIN}?{_AGAIN}", 303)
        try:
            endpoints = await provider.endpoints()
        except Unavailable as error:
            self._refuse(request, ConsoleRefusal.UNAVAILABLE, str(error))
        cookie = f"{int(self._clock())}.{secrets.token_urlsafe(32)}"
        response = RedirectResponse(question_of(openid, endpoints, self._attempt(cookie)), 303)
        response.set_cookie(
            requests.cookie_name(request, COOKIE),
            cookie,
            max_age=int(PATIENCE),
            path="/" if requests.is_secure(request) else "/console",
            secure=requests.is_secure(request) or home.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def finish(self, request: Request) -> ProviderPerson:
        """Return who comes back from the provider, and has a role. Raises `RequestRefused`."""
        requests.check_site(request)
        provider = self._current()
        openid = provider.openid
        address = address_of(request)
        if not self._guesses.left(address):
            self._observed.record(CredentialRefused(door="admin", address=address))
            raise RequestRefused(429, "too many wrong answers; try again later", retry_after(1))
        try:
            answer = answer_of(request.scope["query_string"])
        except InvalidReturn as error:
            self._refuse(request, ConsoleRefusal.STATE, f"the answer is none: {error}")
        attempt = self._begun(request, answer.state)
        try:
            if not is_of(answer, openid.issuer, await provider.endpoints()):
                self._refuse(
                    request, ConsoleRefusal.ISSUER, "the answer is of another issuer, or of none"
                )
            if answer.error:
                words = f"the provider signs nobody in: {error_word(answer.error)}"
                self._refuse(request, ConsoleRefusal.PROVIDER, words, is_own=True)
            now = self._clock()
            person = await provider.redeem(answer.code, attempt.verifier, attempt.nonce, now)
        except Unavailable as error:
            self._refuse(request, ConsoleRefusal.UNAVAILABLE, str(error))
        except ProviderRefused as error:
            self._refuse(request, ConsoleRefusal.PROVIDER, f"the provider gives no token: {error}")
        except InvalidToken as error:
            words = f"the ID token is not to be believed: {error.description}"
            self._refuse(request, ConsoleRefusal.CLAIMS, words)
        if role_of(person, openid) is None:
            words = (
                f"{person.operator} has no role here: none of {openid.roles_claim} stands for one"
            )
            self._refuse(request, ConsoleRefusal.ROLE, words, person.operator, is_own=True)
        return person

    def _current(self) -> OpenIdProvider:
        """Return the provider as it is configured now; raises `RequestRefused` if there is none."""
        openid = self._openid()
        if not openid.issuer:
            raise RequestRefused(404, "no OpenID provider is configured here")
        if openid != self._provider.openid:
            self._provider = OpenIdProvider(openid)
        return self._provider

    def _attempt(self, cookie: str) -> Attempt:
        return Attempt(*(self._derived(what, cookie) for what in ("state", "nonce", "verifier")))

    def _derived(self, what: str, cookie: str) -> str:
        text = f"{what} {cookie}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def _begun(self, request: Request, state: str) -> Attempt:
        """Return the attempt that this browser began, and end it. Raises `RequestRefused`."""
        cookie = request.cookies.get(requests.cookie_name(request, COOKIE), "")
        attempt = self._attempt(cookie)
        if not cookie or not hmac.compare_digest(
            attempt.state.encode(), state.encode("utf-8", "surrogateescape")
        ):
            self._refuse(request, ConsoleRefusal.STATE, "this browser did not begin this sign-in")
        # The state fits, so the cookie was made here: it begins with a number.
        if self._clock() - int(cookie.partition(".")[0]) > PATIENCE:
            words = "this sign-in was begun too long ago"
            self._refuse(request, ConsoleRefusal.STATE, words, is_own=True)
        if attempt.state in self._over:
            self._refuse(request, ConsoleRefusal.STATE, "this sign-in is over already")
        self._over[attempt.state] = None
        while len(self._over) > MOST_OVER:
            self._over.popitem(last=False)
        return attempt

    def _refuse(
        self,
        request: Request,
        reason: ConsoleRefusal,
        detail: str,
        operator: str = "",
        *,
        is_own: bool = False,
    ) -> NoReturn:
        """Count and log a refusal; raises `RequestRefused`.

        `is_own`: it is of the attempt that this browser began here, and of its provider. Nobody
        guesses by it, and who changes their mind keeps out nobody else behind the same address.
        """
        address = address_of(request)
        self._observed.record(
            ConsoleRefused(reason=reason, address=address, detail=detail, operator=operator)
        )
        if reason is ConsoleRefusal.UNAVAILABLE:
            words = f"the provider cannot be asked ({detail}); {_CREDENTIAL}"
            raise RequestRefused(503, words, retry_after(1))
        if not is_own:
            self._guesses.wrong(address)
        raise RequestRefused(403, detail)
