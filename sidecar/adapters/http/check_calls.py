"""Checks the calls that gateways ask about, over HTTP and gRPC alike."""

from collections.abc import Callable
from typing import TypeAlias

from sidecar.adapters import clock
from sidecar.adapters.http.check_responses import overloaded, redirected, response_of, unavailable
from sidecar.adapters.ports import Checks
from sidecar.service.ports.calls import (
    Answer,
    Call,
    Overloaded,
    TokenPresentation,
    Unavailable,
    Verdict,
)
from sidecar.wire.http.challenges import bearer
from sidecar.wire.http.cross_origin import CrossOrigin
from sidecar.wire.http.gateway_calls import (
    ClientAddresses,
    InvalidCall,
    InvalidCredentials,
    Original,
    TokenSources,
    dpop_proof,
)
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.http.redirects import Way, is_navigation, return_address, step_up_location
from sidecar.wire.http.unasked import Exemption, Unasked
from sidecar.wire.settings.settings import Http
from sidecar.wire.settings.tokens import Binding
from sidecar.wire.tokens.certificates import thumbprint

MAX_USER_AGENT = 1024
_UNASKED = Answer(Verdict.ALLOW, 200)
"""The answer to a call that is exempt from checks: it passes, without a session."""

OnUnasked: TypeAlias = Callable[[Exemption], None]
"""Takes the exemption of each call that passes without a check."""


def ignore_unasked(exemption: Exemption) -> None:
    """Do nothing."""


class HttpCalls:
    """Asks `checks`. `settings` say where the token is and which proxies are believed.

    `redirects`: the gateway passes a redirect of ours on to the client; for one that does not, a
    header says where it could send a browser itself. `from_gateway`: requests are the gateway's
    own, whatever their peer says.

    Raises ValueError for a trusted proxy that is no address or network.
    """

    def __init__(  # noqa: PLR0913 - what differs between two doors, by name
        self,
        checks: Checks,
        settings: Http,
        clock: Callable[[], float] = clock.now,
        *,
        binding: Binding,
        redirects: bool = True,
        from_gateway: bool = False,
        on_unasked: OnUnasked = ignore_unasked,
    ) -> None:
        self._checks = checks
        self._clock = clock
        self._from_gateway = from_gateway
        self._on_unasked = on_unasked
        self.replace(settings, binding, redirects=redirects)

    def replace(self, settings: Http, binding: Binding, *, redirects: bool) -> None:
        """Read calls as is configured now."""
        self._redirects = redirects
        self._header = binding.certificate_header.lower().encode("latin-1")
        self._form = binding.certificate_form
        self._tokens = TokenSources(settings)
        self._addresses = ClientAddresses(settings)
        self._unasked = Unasked(settings)
        self._cors = CrossOrigin(settings.cors)

    async def answer(
        self, request: Request, original: Original, contexts: tuple[str, ...]
    ) -> Response:
        """Answer the call that `original` describes, made by the sender of `request`.

        Raises `InvalidCall`, which `refuse` makes an answer of.
        """
        exemption = self._unasked.why(request, original)
        if exemption is not None:
            self._on_unasked(exemption)
            return response_of(_UNASKED)
        response = await self._answer(request, original, contexts)
        return response if response.status == 200 else self._cors.readable(request, response)

    def refuse(self, request: Request, error: InvalidCall) -> Response:
        """Answer a request that describes no call.

        Where its credentials are to blame, with a challenge that says so (RFC 6750, section 3.1).
        """
        fields: tuple[tuple[str, str], ...] = ()
        if isinstance(error, InvalidCredentials):
            fields = (("WWW-Authenticate", bearer("", "invalid_request", str(error))),)
        refusal = problem(Problem.INVALID_REQUEST, str(error), fields=fields)
        return self._cors.readable(request, refusal)

    async def _answer(
        self, request: Request, original: Original, contexts: tuple[str, ...]
    ) -> Response:
        call = self._call(request, original, contexts)
        try:
            answer = await self._checks.check(call)
        except Overloaded as error:
            return overloaded(error)
        except Unavailable:
            return unavailable()
        location = self._location(answer, request, original)
        if location and self._redirects:
            return redirected(location)
        return response_of(answer, location)

    def _call(self, request: Request, original: Original, contexts: tuple[str, ...]) -> Call:
        agent = request.headers.get(b"user-agent", b"")[:MAX_USER_AGENT]
        return Call(
            self._tokens.token(request),
            frozenset(contexts),
            original.method,
            original.host,
            original.path,
            self._addresses.client(request),
            agent.decode("latin-1"),
            TokenPresentation(dpop_proof(request), self._certificate(request)),
        )

    def _certificate(self, request: Request) -> str:
        """Return the thumbprint of the client's certificate from a trusted gateway's header."""
        values = request.values(self._header) if self._header else ()
        if not values or values == (b"",):
            return ""
        if not (self._from_gateway or self._addresses.is_from_proxy(request)):
            return ""
        if len(values) > 1:
            raise InvalidCredentials("the client's certificate comes more than once")
        try:
            return thumbprint(values[0].decode("latin-1"), self._form)
        except ValueError:
            raise InvalidCredentials("the client's certificate cannot be read") from None

    def _location(self, answer: Answer, request: Request, original: Original) -> str:
        """Return the URL to which a browser is sent for a step-up; empty: none."""
        redirect = answer.redirect
        if redirect is None or not (original.path and is_navigation(request, original.method)):
            return ""
        way = Way(answer.acr_values, answer.max_age, answer.context)
        address = return_address(original.path, original.query)
        return step_up_location(redirect, address, way, self._clock())
