"""OpenID AuthZEN Authorization API 1.0 on the data listener.

| target | does |
| --- | --- |
| `POST /access/v1/evaluation` | judges one call |
| `POST /access/v1/evaluations` | judges several |
| `GET /.well-known/authzen-configuration` | tells where the two are |

A denied request is answered with 200 and `"decision":false`; a step-up is that with our challenge
in `context`. Other statuses tell of the API itself: 400 for a malformed request, 503 with
`Retry-After` where a single call cannot be decided. Nobody has to sign in here: whoever reaches the
data listener is the pod's own app or proxy, and trusted to ask for any session.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, assert_never

import msgspec
import trio

from sidecar.adapters.http_answers import overloaded, response_of, unavailable
from sidecar.adapters.lean_http import Handler
from sidecar.service.answers import Answer, Call, Overloaded, Unavailable, Verdict
from sidecar.wire.authzen import (
    Batch,
    BySession,
    ByToken,
    InvalidEvaluation,
    Question,
    Result,
    decode_evaluation,
    decode_evaluations,
    encode_result,
    encode_results,
    failure,
    metadata,
)
from sidecar.wire.http_messages import Request, Response, fields_of
from sidecar.wire.problems import Problem, problem

_FIELDS = fields_of((("Content-Type", "application/json"), ("Cache-Control", "no-store")))
_JSON = re.compile(rb"\s*application/(?:[a-z0-9.+-]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)
_OTHER_SUBJECT = "the token is another subject's"
_OTHER_SESSION = "the token is another session's"
_NO_SESSION = "no session of this name is known"


class Checks(Protocol):
    """Decides whether calls may pass."""

    async def check(self, call: Call) -> Answer:
        """The answer, also to a bad token. Raises `Overloaded` and `Unavailable`."""

    async def check_session(self, session: str, call: Call) -> Answer | None:
        """The same for a known session, without a token; None where it is not known."""


class AuthzenDoor:
    """Answers AuthZEN requests. `base` is the address in the metadata; empty: as it was asked."""

    def __init__(self, checks: Checks, base: str = "") -> None:
        self._checks = checks
        self._base = base.rstrip("/")

    def handlers(self) -> Mapping[bytes, Handler]:
        """The handlers by their exact paths."""
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
            echo = fields_of((("X-Request-ID", name.decode("latin-1")),))
            return msgspec.structs.replace(response, fields=response.fields + echo)

        return handle

    async def _evaluation(self, request: Request) -> Response:
        refusal = _refusal(request)
        return refusal or await self._single(decode_evaluation(request.body))

    async def _evaluations(self, request: Request) -> Response:
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        asked = decode_evaluations(request.body)
        if isinstance(asked, Question):
            return await self._single(asked)
        return Response(200, _FIELDS, encode_results(await self._batch(asked)))

    async def _configuration(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return problem(Problem.WRONG_METHOD, fields=(("Allow", "GET, HEAD"),))
        return Response(200, _FIELDS, metadata(self._base or f"http://{request.host.decode()}"))

    async def _single(self, question: Question) -> Response:
        answer = await self._judge(question)
        if isinstance(answer, Answer):
            if answer.error == "unavailable":
                return response_of(answer)
            answer = result_of(answer)
        return Response(200, _FIELDS, encode_result(answer))

    async def _batch(self, batch: Batch) -> list[Result]:
        results: list[Result] = []
        for item in batch.items:
            result = await self._one(item)
            results.append(result)
            if batch.semantic.ends_with(permitted=result.decision):
                break
        return results

    async def _one(self, item: Question | InvalidEvaluation) -> Result:
        await trio.lowlevel.checkpoint()  # a long batch is not the only request
        if isinstance(item, InvalidEvaluation):
            return failure(400, str(item))
        try:
            answer = await self._judge(item)
        except (Overloaded, Unavailable) as error:
            return failure(503, str(error) or "no decision could be made")
        return answer if isinstance(answer, Result) else result_of(answer)

    async def _judge(self, question: Question) -> Answer | Result:
        """The answer; or the failure of a question that is about nobody."""
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
    """An answer as AuthZEN has it. The names in `context` are those of the local socket."""
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


def _refusal(request: Request) -> Response | None:
    if request.method != "POST":
        return problem(Problem.WRONG_METHOD, fields=(("Allow", "POST"),))
    kind = request.headers.get(b"content-type")
    # A page in a browser of this machine can post any type but this one without asking first.
    if kind is not None and not _JSON.match(kind):
        return problem(Problem.INVALID_REQUEST, "the body must be application/json")
    return None


def _call(question: Question, token: str = "") -> Call:
    return Call(
        token,
        question.contexts,
        question.method,
        question.host,
        question.path,
        question.ip,
        question.user_agent,
    )
