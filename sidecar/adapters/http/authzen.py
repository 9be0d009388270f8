"""OpenID AuthZEN Authorization API 1.0 on the data listener.

| target | does |
| --- | --- |
| `POST /access/v1/evaluation` | judges one call |
| `POST /access/v1/evaluations` | judges several |
| `GET /.well-known/authzen-configuration` | says where the two are |

A denied request is answered with 200 and `"decision":false`; a step-up is that with our challenge
in `context`. Other statuses concern the API itself: 400 for a malformed request and for
a context that is not configured, 403 for one that
a browser sent on another page's behalf, 503 with `Retry-After` where a single call cannot be
decided.

Whoever reaches the listener may ask about a call by its token. To ask about a session without one
takes a source with `may_ask_sessions`, by its credential or, on a unix socket, its uid.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, assert_never

import msgspec
import trio

from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.check_responses import overloaded, response_of, unavailable
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.http.large_bodies import aside
from sidecar.adapters.http.server import Handler
from sidecar.service.ports.calls import (
    UNKNOWN_CONTEXT,
    Answer,
    Call,
    Overloaded,
    Unavailable,
    Verdict,
)
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.http.authzen import (
    BySession,
    ByToken,
    Evaluation,
    EvaluationBatch,
    InvalidEvaluation,
    Result,
    decode_evaluation,
    decode_evaluations,
    encode_result,
    encode_results,
    failure,
    metadata,
)
from sidecar.wire.http.messages import Request, Response
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http

_FIELDS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_JSON = re.compile(rb"\s*application/(?:[a-z0-9.+-]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)
_BEARER = (("WWW-Authenticate", 'Bearer realm="access"'),)
_OTHER_SUBJECT = "the token is another subject's"
_OTHER_SESSION = "the token is another session's"
_NO_SESSION = "no session of this name is known"


class Checks(Protocol):
    """Decides whether calls may pass."""

    async def check(self, call: Call) -> Answer:
        """Return the answer, also to a bad token. Raises `Overloaded` and `Unavailable`."""

    async def check_session(self, session: str, call: Call) -> Answer | None:
        """Return the same for a known session, without a token; None where it is not known."""


class AuthzenDoor:
    """Answers AuthZEN requests.

    The metadata's address is `http.authzen_url`, else where the listener is bound.
    """

    def __init__(self, checks: Checks, settings: Http, speakers: Speakers) -> None:
        self._checks = checks
        self._speakers = speakers
        self._address = next(iter(binds_of(settings)), "")
        self.replace(settings)

    def replace(self, settings: Http) -> None:
        """Answer as is configured now."""
        self._configured = settings.authzen_url.rstrip("/")
        self._foreign = ForeignCalls(settings)

    def listens_at(self, address: str) -> None:
        """Name this address (`HOST:PORT`) in the metadata, unless another one is configured."""
        self._address = address

    @property
    def _base(self) -> str:
        return self._configured or f"http://{self._address}"

    def handlers(self) -> Mapping[bytes, Handler]:
        """Return the handlers by their exact paths."""
        return {
            b"/access/v1/evaluation": self._with_id(self._evaluation),
            b"/access/v1/evaluations": self._with_id(self._evaluations),
            b"/.well-known/authzen-configuration": self._with_id(self._configuration),
        }

    def _with_id(self, answer: Callable[[Request], Awaitable[Response]]) -> Handler:
        """Echo `X-Request-ID` with every answer."""

        async def handle(request: Request) -> Response:
            try:
                response = await answer(request)
            except InvalidEvaluation as error:
                members = {"field": error.field} if error.field else {}
                response = problem(Problem.INVALID_REQUEST, str(error), members=members)
            except Overloaded as error:
                response = overloaded(error)
            except Unavailable:
                response = unavailable()
            name = request.headers.get(b"x-request-id")
            if name is None:
                return response
            echo = ("X-Request-ID", name.decode("latin-1"))
            return msgspec.structs.replace(response, fields=(*response.fields, echo))

        return handle

    async def _evaluation(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        question = await aside(decode_evaluation, request.body)
        return self._unasked(request, (question,)) or await self._single(question)

    async def _evaluations(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        asked = await aside(decode_evaluations, request.body)
        if isinstance(asked, Evaluation):
            return self._unasked(request, (asked,)) or await self._single(asked)
        unasked = self._unasked(request, asked.items)
        if unasked is not None:
            return unasked
        return Response(200, _FIELDS, encode_results(await self._batch(asked)))

    async def _configuration(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return problem(Problem.WRONG_METHOD, fields=(("Allow", "GET, HEAD"),))
        return self._foreign.refusal(request) or Response(200, _FIELDS, metadata(self._base))

    def _refusal(self, request: Request) -> Response | None:
        if request.method != "POST":
            return problem(Problem.WRONG_METHOD, fields=(("Allow", "POST"),))
        foreign = self._foreign.refusal(request)
        if foreign is not None:
            return foreign
        # A page in a browser of this machine can post any type but this one without asking first.
        kind = request.headers.get(b"content-type")
        if kind is not None and not _JSON.match(kind):
            return problem(Problem.INVALID_REQUEST, "the body must be application/json")
        return None

    def _unasked(
        self, request: Request, items: Iterable[Evaluation | InvalidEvaluation]
    ) -> Response | None:
        """Return why questions about sessions are refused; None where they are answered."""
        if not any(_is_about_a_session(item) for item in items):
            return None
        name = self._speakers.caller(request)
        if not name:
            return problem(Problem.NO_CREDENTIAL, "the credential is no source's", fields=_BEARER)
        if self._speakers.source(name).may_ask_sessions:
            return None
        message = (
            "to ask about a session without its token takes a source with `may_ask_sessions: true`"
            " in `sources`"
        )
        return problem(Problem.NOT_ALLOWED, message, members={"field": "subject"})

    async def _single(self, question: Evaluation) -> Response:
        answer = await self._judge(question)
        if isinstance(answer, Answer):
            if answer.error in ("unavailable", UNKNOWN_CONTEXT):
                return response_of(answer)
            answer = result_of(answer)
        return Response(200, _FIELDS, encode_result(answer))

    async def _batch(self, batch: EvaluationBatch) -> list[Result]:
        results: list[Result] = []
        for item in batch.items:
            result = await self._one(item)
            results.append(result)
            if batch.semantic.ends_with(permitted=result.decision):
                break
        return results

    async def _one(self, item: Evaluation | InvalidEvaluation) -> Result:
        await trio.lowlevel.checkpoint()  # a long batch is not the only request
        if isinstance(item, InvalidEvaluation):
            return failure(400, str(item))
        try:
            answer = await self._judge(item)
        except (Overloaded, Unavailable) as error:
            return failure(503, str(error) or "no decision could be made")
        return answer if isinstance(answer, Result) else result_of(answer)

    async def _judge(self, question: Evaluation) -> Answer | Result:
        """Return the answer; or the failure of a question that is about nobody."""
        who = question.who
        match who:
            case ByToken():
                answer = await self._checks.check(_call(question, who.token))
                if who.user and answer.subject and answer.subject != who.user:
                    return failure(403, _OTHER_SUBJECT)
                return answer
            case BySession(session, token) if token:
                answer = await self._checks.check(_call(question, token))
                if answer.session and answer.session != session:
                    return failure(403, _OTHER_SESSION)
                return answer
            case BySession():
                found = await self._checks.check_session(who.session, _call(question))
                return failure(404, _NO_SESSION) if found is None else found
            case _ as never:
                assert_never(never)


def result_of(answer: Answer) -> Result:
    """Return an answer as AuthZEN has it. The names in `context` are those of the local socket."""
    context: dict[str, object] = {}
    if answer.error:
        context["error"] = {"status": answer.status, "message": answer.message}
    optional = {
        "session": answer.session,
        "subject": answer.subject,
        "assurance": answer.assurance,
        "acr_values": answer.acr_values,
        "www_authenticate": answer.challenge,
        "reasons": answer.reasons,
        "step_up_pending": answer.pending,
    }
    context.update((name, value) for name, value in optional.items() if value)
    if answer.max_age is not None:
        context["max_age"] = answer.max_age
    if answer.message and answer.verdict is not Verdict.ALLOW:
        context["reason_user"] = {"en": answer.message}
    return Result(answer.verdict is Verdict.ALLOW and answer.status == 200, context)


def _is_about_a_session(item: Evaluation | InvalidEvaluation) -> bool:
    return isinstance(item, Evaluation) and isinstance(item.who, BySession) and not item.who.token


def _call(question: Evaluation, token: str = "") -> Call:
    return Call(
        token,
        frozenset(question.contexts),
        question.method,
        question.host,
        question.path,
        question.ip,
        question.user_agent,
    )
