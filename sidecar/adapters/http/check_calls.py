"""Checks the calls that gateways ask about, over HTTP and gRPC alike."""

from collections.abc import Callable
from typing import TypeAlias

from sidecar.adapters import clock
from sidecar.adapters.http.check_responses import (
    RepeatedResponses,
    overloaded,
    redirected,
    response_of,
    split_problem,
    unavailable,
)
from sidecar.adapters.http.handlers import AtOnce
from sidecar.adapters.ports import Checks
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.ports.calls import (
    Answer,
    Call,
    Overloaded,
    TokenPresentation,
    Unavailable,
    Via,
)
from sidecar.service.traces.current import SENDER
from sidecar.wire.http.challenges import bearer
from sidecar.wire.http.cross_origin import CrossOrigin
from sidecar.wire.http.gateway_calls import (
    EXT_AUTHZ,
    ClientAddresses,
    InvalidCall,
    InvalidCredentials,
    Original,
    TokenSources,
    asked_call,
    asked_contexts,
    dpop_proof,
    ext_authz_call,
)
from sidecar.wire.http.messages import PreparedResponse, Request, Response, header_lines
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.http.redirects import Way, is_navigation, return_address, step_up_location
from sidecar.wire.http.unasked import Exemption, Unasked
from sidecar.wire.settings.settings import Gateway, Http
from sidecar.wire.settings.tokens import Binding
from sidecar.wire.tokens.certificates import thumbprint
from sidecar.wire.traces.trace_context import SentContext, sent_context

CHECK = b"/v1/check"
MAX_USER_AGENT = 1024
_EXT_AUTHZ_BELOW = EXT_AUTHZ + b"/"
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
    own, whatever their peer says. `listener` is the door's name in the log of decisions.

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
        listener: str = "http",
    ) -> None:
        self._checks = checks
        self._via = Via(listener)
        self._via_uids: dict[int, Via] = {}
        self._clock = clock
        self._from_gateway = from_gateway
        self._on_unasked = on_unasked
        self._repeated = RepeatedResponses(response_of, split_problem)
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

    def prepare(
        self, request: Request, original: Original, contexts: tuple[str, ...]
    ) -> AtOnce | None:
        """Return what answers the call where that takes no waiting; None: `answer` must.

        Raises `InvalidCall`.
        """
        call = self.call(request, original, contexts)
        if call is None:
            return None
        more = header_lines(self._cors.fields(request))

        def at_once() -> Response | PreparedResponse | None:
            repeated = self._checks.check_at_once(call)
            if repeated is None:
                return None
            if repeated.answer.redirect is None:
                prepared = self._repeated.response(repeated)
                return prepared.with_lines(more) if more and prepared.status != 200 else prepared
            response = self._response(repeated.whole, request, original)
            return response if response.status == 200 else self._cors.readable(request, response)

        return at_once

    def call(self, request: Request, original: Original, contexts: tuple[str, ...]) -> Call | None:
        """Return the call that is checked; None: it passes without a check.

        Raises `InvalidCall`.
        """
        if self._unasked.why(request, original) is not None:
            return None
        return self._call(request, original, contexts)

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
        return self._response(answer, request, original)

    def _response(self, answer: Answer, request: Request, original: Original) -> Response:
        location = self._location(answer, request, original)
        if location and self._redirects:
            return redirected(answer, location)
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
            via=self._via if request.uid is None else self._via_uid(request.uid),
            trace=self._sent(request),
        )

    def _sent(self, request: Request) -> SentContext | None:
        """Return what the sender says of its trace: of the question, else of the original call."""
        asked = SENDER.get() if self._from_gateway else None
        if asked is not None or b"traceparent" not in request.headers:
            return asked
        return sent_context(request.values(b"traceparent"), request.values(b"tracestate"))

    def _via_uid(self, uid: int) -> Via:
        """Return how a call came that a peer of a unix socket asks about."""
        via = self._via_uids.get(uid)
        if via is None:
            via = self._via_uids[uid] = self._via._replace(uid=uid)
        return via

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


def redirects_pass(settings: Http) -> bool:
    """Return whether the gateway passes a redirect of ours on: nginx does 401 and 403 alone."""
    return settings.gateway is not Gateway.NGINX


def is_ext_authz(request: Request) -> bool:
    """Return whether a request is one of Envoy's, whose original path follows ours."""
    return request.target.startswith(_EXT_AUTHZ_BELOW) or request.path == EXT_AUTHZ


class CheckDoor:
    """Answers the requests of gateways, each in its own form."""

    def __init__(self, calls: HttpCalls, gateway: Gateway) -> None:
        self._calls = calls
        self._gateway = gateway

    def replace(self, settings: Http, binding: Binding) -> None:
        """Answer as is configured now."""
        self._gateway = settings.gateway
        self._calls.replace(settings, binding, redirects=redirects_pass(settings))

    async def check(self, request: Request) -> Response:
        """Answer `/v1/check`."""
        try:
            original, contexts = asked_call(request, self._gateway)
            return await self._calls.answer(request, original, contexts)
        except InvalidCall as error:
            return self._calls.refuse(request, error)

    async def ext_authz(self, request: Request) -> Response:
        """Answer a request of Envoy's."""
        # Any other gateway describes the call in headers; then the path is the client's to choose.
        if self._gateway not in (Gateway.ENVOY, Gateway.NONE):
            return problem(Problem.NOT_FOUND, f"http.gateway is {self._gateway.value}, not envoy")
        try:
            original = ext_authz_call(request)
            return await self._calls.answer(request, original, asked_contexts(request))
        except InvalidCall as error:
            return self._calls.refuse(request, error)

    def prepare(self, request: Request) -> AtOnce | None:
        """Return what answers a request without waiting; None: it must be waited for."""
        try:
            described = self._described(request)
            return None if described is None else self._calls.prepare(request, *described)
        except InvalidCall:
            return None

    def call(self, request: Request) -> Call | None:
        """Return the call of a check; None: it is none, or it is answered without one."""
        try:
            described = self._described(request)
            return None if described is None else self._calls.call(request, *described)
        except InvalidCall:
            return None

    def _described(self, request: Request) -> tuple[Original, tuple[str, ...]] | None:
        """Return what a check describes; None: it is none. Raises `InvalidCall`."""
        if request.path == CHECK:
            return asked_call(request, self._gateway)
        if not is_ext_authz(request) or self._gateway not in (Gateway.ENVOY, Gateway.NONE):
            return None
        return ext_authz_call(request), asked_contexts(request)
