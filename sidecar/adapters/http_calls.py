"""From a gateway's request to the answer of a check: the same over HTTP and over gRPC."""

from sidecar.adapters.http_answers import overloaded, response_of, unavailable
from sidecar.adapters.journeys import Checks
from sidecar.service.answers import Call, Overloaded, Unavailable
from sidecar.wire.challenges import bearer
from sidecar.wire.forwarded import (
    ClientAddresses,
    InvalidCall,
    InvalidCredentials,
    Original,
    TokenSources,
)
from sidecar.wire.http_messages import Request, Response
from sidecar.wire.problems import Problem, problem
from sidecar.wire.settings import Http

MAX_USER_AGENT = 1024


class HttpCalls:
    """Asks `checks`. `settings` say where the token is and which proxies are believed.

    Raises ValueError for a trusted proxy that is no address or network.
    """

    def __init__(self, checks: Checks, settings: Http) -> None:
        self._checks = checks
        self._tokens = TokenSources(settings)
        self._addresses = ClientAddresses(settings)

    def call(self, request: Request, original: Original, contexts: tuple[str, ...]) -> Call:
        """The call that `original` describes, made by who sent `request`. Raises `InvalidCall`."""
        agent = request.headers.get(b"user-agent", b"")[:MAX_USER_AGENT]
        return Call(
            self._tokens.token(request),
            contexts,
            original.method,
            original.host,
            original.path,
            self._addresses.client(request),
            agent.decode("latin-1"),
        )

    async def answer(self, call: Call) -> Response:
        """What a call gets, as an HTTP response."""
        try:
            return response_of(await self._checks.check(call))
        except Overloaded as error:
            return overloaded(error)
        except Unavailable:
            return unavailable()


def refused(error: InvalidCall) -> Response:
    """The response to a request that describes no call.

    Where its credentials are to blame, with a challenge that says so (RFC 6750, section 3.1).
    """
    fields: tuple[tuple[str, str], ...] = ()
    if isinstance(error, InvalidCredentials):
        fields = (("WWW-Authenticate", bearer("", "invalid_request", str(error))),)
    return problem(Problem.INVALID_REQUEST, str(error), fields=fields)
