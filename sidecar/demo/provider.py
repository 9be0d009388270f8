"""A small OpenID provider: the authorization code flow with PKCE, over real HTTP, for the demo.

| target | does |
| --- | --- |
| `/.well-known/openid-configuration` | metadata (OpenID Connect Discovery 1.0) |
| `/jwks` | the signing key |
| `/authorize` | signs a person in, gives a code (RFC 6749, section 4.1; RFC 7636, RFC 9207) |
| `/token` | gives tokens for a code, once |

What it leaves out is the login page: whoever `login_hint` names signs in at once, by the means that
`acr_values` asks for. All else is as in earnest: `acr_values` and `max_age` (OpenID Connect Core
1.0, section 3.1.2.1) decide whether the sign-in that the cookie remembers will do, and a stronger
or fresher one keeps the session's `sid`.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

import trio

from sidecar.adapters.http.handlers import Handler
from sidecar.adapters.http.server import LeanServer
from sidecar.demo.people import METHODS, PASSWORD, PEOPLE, Method
from sidecar.demo.requests import (
    Authorization,
    Client,
    Redemption,
    RefusedRequest,
    cookie_of,
    decode_authorization,
    decode_redemption,
    destination_of,
    parameters_of,
)
from sidecar.demo.token_signer import ALGORITHM, ProviderSignIn, TokenSigner
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.settings.settings import Http

CODE_LIFE = 60
MOST_HELD = 10_000
"""Codes and sessions that are kept; the oldest leave first."""

_COOKIE = "op_session"
_Held = TypeVar("_Held")


class _Code(NamedTuple):
    authorization: Authorization
    sign_in: ProviderSignIn
    expires_at: float


class Provider:
    """The provider for one client. `audience` is whom its access tokens are for."""

    def __init__(
        self,
        client: Client,
        audience: str,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.issuer = ""
        self._client = client
        self._audience = audience
        self._clock = clock
        self._signer = TokenSigner(clock)
        self._codes: dict[str, _Code] = {}
        self._sessions: dict[str, ProviderSignIn] = {}
        self._handlers: dict[bytes, Handler] = {
            b"/.well-known/openid-configuration": self._metadata,
            b"/jwks": self._keys,
            b"/authorize": self._authorize,
            b"/token": self._token,
        }

    def add(self, path: bytes, handler: Handler) -> None:
        """Serve something else at this exact path."""
        self._handlers[path] = handler

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port of the loopback address until cancelled; starts with the issuer."""
        server = LeanServer(self._handle, Http(bind="127.0.0.1:0"), clock=self._clock)
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(server.run)
            self.issuer = f"http://{bound}"
            task_status.started(self.issuer)

    async def _handle(self, request: Request) -> Response:
        handler = self._handlers.get(request.path)
        return _json(404, {"error": "not_found"}) if handler is None else await handler(request)

    async def _metadata(self, _request: Request) -> Response:
        return _json(
            200,
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "scopes_supported": ["openid"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["none"],
                "code_challenge_methods_supported": ["S256"],
                "acr_values_supported": list(METHODS),
                "prompt_values_supported": ["none", "login"],
                "claims_supported": ["sub", "sid", "auth_time", "acr", "amr"],
                "authorization_response_iss_parameter_supported": True,
            },
        )

    async def _keys(self, _request: Request) -> Response:
        return _body(200, self._signer.key_set(), "application/jwk-set+json")

    async def _authorize(self, request: Request) -> Response:
        try:
            parameters = parameters_of(request, "GET", "POST")
            destination = destination_of(parameters, self._client)
        except RefusedRequest as error:
            # Nobody can be sent back to an address that is not known (RFC 6749, 4.1.2.1).
            return _refused(error)
        answer = {"state": parameters.get("state", ""), "iss": self.issuer}
        fields: list[tuple[str, str]] = []
        try:
            authorization = decode_authorization(parameters)
            cookie = cookie_of(request, _COOKIE)
            sign_in = self._sign_in(self._sessions.get(cookie), authorization)
            if cookie not in self._sessions:
                cookie = secrets.token_urlsafe(24)  # never one that the other end made up
            _keep(self._sessions, cookie, sign_in)
            fields = [("Set-Cookie", f"{_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax")]
            answer["code"] = self._new_code(authorization, sign_in)
        except RefusedRequest as error:
            answer |= {"error": error.code, "error_description": error.description}
        query = urlencode({name: value for name, value in answer.items() if value})
        location = ("Location", f"{destination}?{query}")
        return Response(302, (location, ("Cache-Control", "no-store"), *fields))

    def _sign_in(self, before: ProviderSignIn | None, asked: Authorization) -> ProviderSignIn:
        """Return the sign-in that the cookie remembers, where it will do; else a new one."""
        now = int(self._clock())
        wanted = _method(asked)
        if before is not None and asked.login_hint in ("", before.person.name):
            fresh = asked.max_age is None or now - before.auth_time <= asked.max_age
            # `max_age=0` is `prompt=login` (OpenID Connect Core 1.0, section 3.1.2.1).
            again = asked.prompt == "login" or asked.max_age == 0
            if fresh and not again and before.method.strength >= wanted.strength:
                return before
        else:
            before = None
        if asked.prompt == "none":
            raise RefusedRequest("login_required", "the person would have to sign in")
        person = PEOPLE.get(asked.login_hint) if before is None else before.person
        if person is None:
            raise RefusedRequest("access_denied", "there is nobody of this name")
        sid = f"{person.name}-{secrets.token_hex(4)}" if before is None else before.sid
        return ProviderSignIn(person, sid, wanted, now)

    def _new_code(self, authorization: Authorization, sign_in: ProviderSignIn) -> str:
        code = secrets.token_urlsafe(24)
        _keep(self._codes, code, _Code(authorization, sign_in, self._clock() + CODE_LIFE))
        return code

    async def _token(self, request: Request) -> Response:
        try:
            redemption = decode_redemption(parameters_of(request, "POST"), self._client)
            code = self._redeem(redemption)
        except RefusedRequest as error:
            return _refused(error)
        authorization, sign_in, _ = code
        client = self._client.name
        answer: dict[str, object] = {
            "access_token": self._signer.access_token(self.issuer, self._audience, client, sign_in),
            "token_type": "Bearer",
            "expires_in": self._signer.lifetime,
        }
        if "openid" in authorization.scope:
            nonce = authorization.nonce
            answer["id_token"] = self._signer.id_token(self.issuer, client, nonce, sign_in)
        return _json(200, answer)

    def _redeem(self, redemption: Redemption) -> _Code:
        # Taken out before anything is looked at: a code is for one attempt.
        code = self._codes.pop(redemption.code, None)
        if code is None or self._clock() >= code.expires_at:
            raise RefusedRequest("invalid_grant", "the code is unknown, used or too old")
        digest = hashlib.sha256(redemption.verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not hmac.compare_digest(challenge, code.authorization.challenge):
            raise RefusedRequest("invalid_grant", "the code verifier does not fit the challenge")
        return code


def _method(asked: Authorization) -> Method:
    """Return the first of `acr_values` that can be had; a password where nothing is asked for."""
    if not asked.acr_values:
        return PASSWORD
    for acr in asked.acr_values:
        if acr in METHODS:
            return METHODS[acr]
    # OpenID Connect Core Error Code unmet_authentication_requirements 1.0
    raise RefusedRequest("unmet_authentication_requirements", "none of acr_values can be had")


def _keep(held: dict[str, _Held], key: str, value: _Held) -> None:
    held.pop(key, None)
    held[key] = value
    while len(held) > MOST_HELD:
        held.pop(next(iter(held)))


def _refused(error: RefusedRequest) -> Response:
    status = 405 if error.code == "method_not_allowed" else 400
    return _json(status, {"error": error.code, "error_description": error.description})


def _json(status: int, members: Mapping[str, object]) -> Response:
    return _body(status, json.dumps(members).encode(), "application/json")


def _body(status: int, body: bytes, kind: str) -> Response:
    return Response(status, (("Content-Type", kind), ("Cache-Control", "no-store")), body)
