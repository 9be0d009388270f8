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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, assert_never

import msgspec
import trio

from sidecar.adapters.events.speakers import Speakers
from sidecar.adapters.http.check_responses import (
    SPOT,
    RepeatedResponses,
    id_fields,
    overloaded,
    response_of,
    split_problem,
    unavailable,
)
from sidecar.adapters.http.foreign_calls import ForeignCalls
from sidecar.adapters.http.handlers import AtOnce, Handler, Prepare
from sidecar.adapters.http.large_bodies import LARGE, aside
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import (
    UNKNOWN_CONTEXT,
    Answer,
    Call,
    Overloaded,
    Unavailable,
    Via,
)
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.http.authzen import (
    BySession,
    ByToken,
    Evaluation,
    EvaluationBatch,
    InvalidEvaluation,
    Result,
    Who,
    decode_evaluation,
    decode_evaluations,
    encode_result,
    encode_results,
    failure,
    metadata,
)
from sidecar.wire.http.messages import Fields, PreparedResponse, Request, Response, header_lines
from sidecar.wire.http.problems import Problem, problem
from sidecar.wire.settings.settings import Http
from sidecar.wire.traces.trace_context import SentContext, sent_context

LISTENER = "authzen"
"""The door's name in the log of decisions."""

_FIELDS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_JSON = re.compile(rb"\s*application/(?:[a-z0-9.+-]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)
_BEARER = (("WWW-Authenticate", 'Bearer realm="access"'),)
_SPOT_MEMBER = f',"context":{{"id":"{SPOT}"'.encode()
_OTHER_SUBJECT = "the token is another subject's"
_OTHER_SESSION = "the token is another session's"
_NO_SESSION = "no session of this name is known"


class Checks(Protocol):
    """Decides whether calls may pass."""

    def check_at_once(self, call: Call) -> RepeatedAnswer | None:
        """Return the answer where it is at hand; None: nothing was done, ask `check`."""

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
        self._repeated = RepeatedResponses(evaluated, split_result)
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

    def prepares(self) -> Mapping[bytes, Prepare]:
        """Return what prepares the answers to single questions, by its exact path."""
        return {b"/access/v1/evaluation": self._prepare}

    def _prepare(self, request: Request) -> AtOnce | None:
        """Return what answers a question about the holder of a token."""
        if len(request.body) > LARGE or self._refusal(request) is not None:
            return None
        try:
            question = decode_evaluation(request.body)
        except InvalidEvaluation:
            return None
        token = question.who.token
        if not token:
            return None
        via = Via(LISTENER, uid=request.uid)
        call = _call(question, via, _sent(request), token)
        who, echo = question.who, _echo(request)
        more = header_lines(echo)

        def at_once() -> Response | PreparedResponse | None:
            repeated = self._checks.check_at_once(call)
            if repeated is None:
                return None
            other = _about_another(who, repeated.answer)
            if other is not None:
                return Response(200, _FIELDS + echo, encode_result(other))
            prepared = self._repeated.response(repeated)
            return prepared.with_lines(more) if more else prepared

        return at_once

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
            echo = _echo(request)
            if not echo:
                return response
            return msgspec.structs.replace(response, fields=response.fields + echo)

        return handle

    async def _evaluation(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        question = await aside(decode_evaluation, request.body)
        via = self._via(request, (question,))
        if not isinstance(via, Via):
            return via
        return await self._single(question, via, _sent(request))

    async def _evaluations(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        asked = await aside(decode_evaluations, request.body)
        via = self._via(request, (asked,) if isinstance(asked, Evaluation) else asked.items)
        if not isinstance(via, Via):
            return via
        if isinstance(asked, Evaluation):
            return await self._single(asked, via, _sent(request))
        results = await self._batch(asked, via, _sent(request))
        return Response(200, _FIELDS, encode_results(results))

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

    def _via(
        self, request: Request, items: Iterable[Evaluation | InvalidEvaluation]
    ) -> Via | Response:
        """Return who asks; or why questions about sessions are refused."""
        if not any(_is_about_a_session(item) for item in items):
            return Via(LISTENER, uid=request.uid)
        name = self._speakers.caller(request)
        if not name:
            return problem(Problem.NO_CREDENTIAL, "the credential is no source's", fields=_BEARER)
        if self._speakers.source(name).may_ask_sessions:
            return Via(LISTENER, name)
        message = (
            "to ask about a session without its token takes a source with `may_ask_sessions: true`"
            " in `sources`"
        )
        return problem(Problem.NOT_ALLOWED, message, members={"field": "subject"})

    async def _single(self, question: Evaluation, via: Via, sent: SentContext | None) -> Response:
        answer = await self._judge(question, via, sent)
        if isinstance(answer, Answer):
            return evaluated(answer)
        return Response(200, _FIELDS, encode_result(answer))

    async def _batch(
        self, batch: EvaluationBatch, via: Via, sent: SentContext | None
    ) -> list[Result]:
        results: list[Result] = []
        for item in batch.items:
            result = await self._one(item, via, sent)
            results.append(result)
            if batch.semantic.ends_with(permitted=result.decision):
                break
        return results

    async def _one(
        self, item: Evaluation | InvalidEvaluation, via: Via, sent: SentContext | None
    ) -> Result:
        await trio.lowlevel.checkpoint()  # a long batch is not the only request
        if isinstance(item, InvalidEvaluation):
            return failure(400, str(item))
        try:
            answer = await self._judge(item, via, sent)
        except (Overloaded, Unavailable) as error:
            return failure(503, str(error) or "no decision could be made")
        return answer if isinstance(answer, Result) else result_of(answer)

    async def _judge(
        self, question: Evaluation, via: Via, sent: SentContext | None
    ) -> Answer | Result:
        """Return the answer; or the failure of a question that is about nobody."""
        who = question.who
        if who.token or isinstance(who, ByToken):
            answer = await self._checks.check(_call(question, via, sent, who.token))
            return _about_another(who, answer) or answer
        found = await self._checks.check_session(who.session, _call(question, via, sent))
        return failure(404, _NO_SESSION) if found is None else found


def _about_another(who: Who, answer: Answer) -> Result | None:
    """Return the failure where the token is that of another than the question is about."""
    match who:
        case ByToken(user=user):
            return (
                failure(403, _OTHER_SUBJECT) if user and answer.subject not in ("", user) else None
            )
        case BySession(session=session):
            return failure(403, _OTHER_SESSION) if answer.session not in ("", session) else None
        case _ as never:
            assert_never(never)


def evaluated(answer: Answer) -> Response:
    """Return the response to a single question."""
    if answer.error in ("unavailable", UNKNOWN_CONTEXT):
        return response_of(answer)
    return Response(200, (*_FIELDS, *id_fields(answer)), encode_result(result_of(answer)))


def split_result(body: bytes) -> Sequence[bytes]:
    """Cut a response where the id of the decision stands: in the first member of `context`."""
    before, spot, after = body.partition(_SPOT_MEMBER)
    if not spot:
        return split_problem(body)
    return (before + _SPOT_MEMBER[: -len(SPOT) - 1], b'"' + after)


def _echo(request: Request) -> Fields:
    name = request.headers.get(b"x-request-id")
    return () if name is None else (("X-Request-ID", name.decode("latin-1")),)


def result_of(answer: Answer) -> Result:
    """Return an answer as AuthZEN has it. The names in `context` are those of the local socket."""
    context: dict[str, object] = {"id": answer.id} if answer.id else {}
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


def _sent(request: Request) -> SentContext | None:
    """Return what the request says of its sender's trace; all its questions are in that one."""
    return sent_context(request.values(b"traceparent"), request.values(b"tracestate"))


def _call(question: Evaluation, via: Via, sent: SentContext | None, token: str = "") -> Call:
    return Call(
        token,
        frozenset(question.contexts),
        question.method,
        question.host,
        question.path,
        question.ip,
        question.user_agent,
        via=via,
        trace=sent,
    )
