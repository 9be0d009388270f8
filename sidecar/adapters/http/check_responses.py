"""Makes an HTTP response of the answer of a check: contract, section 5, "Answers of a check".

Pure; it stands on this floor because `Answer` belongs to the services.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.checks.kept_answers import RepeatedAnswer
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Overloaded
from sidecar.wire.http.messages import Fields, PreparedResponse, Response, header_lines
from sidecar.wire.http.problems import Problem, problem

SPOT = "-"
"""An id of a decision that stands for all others."""

_PLAIN = re.compile(r"[!-$&-~](?:[ -$&-~]*[!-$&-~])?")
_DECISION = "X-Sidecar-Decision"
_DECISION_ID = "X-Sidecar-Decision-Id"
_NO_STORE = ("Cache-Control", "no-store")
_PENDING = ("X-Sidecar-Step-Up", "pending")
_SPOT_LINE = f"\r\n{_DECISION_ID}: {SPOT}\r\n".encode()
_SPOT_MEMBER = f',"instance":"{SPOT}"}}'.encode()
KEPT_BOUND = 4096
"""Answers of which the response is kept; where they are more, all begin anew."""


def redirected(answer: Answer, location: str) -> Response:
    """Return the response that redirects a browser (RFC 9110, section 15.4.4)."""
    decision = (_DECISION, Verdict.STEP_UP.value)
    return Response(303, (decision, ("Location", location), _NO_STORE, *id_fields(answer)))


def response_of(answer: Answer, elsewhere: str = "") -> Response:
    """Return the response for an answer.

    `elsewhere`: where a gateway that passes on no redirect of ours could send the browser itself.
    """
    if answer.verdict is Verdict.ALLOW and answer.status == 200:
        return Response(200, _allowed(answer))
    if answer.error == UNKNOWN_CONTEXT:
        code = {"error": UNKNOWN_CONTEXT, "field": "context", **_instance(answer)}
        return problem(
            Problem.UNKNOWN_CONTEXT, answer.message, members=code, fields=id_fields(answer)
        )
    kind = _kind(answer)
    said = [(_DECISION, answer.verdict.value), *id_fields(answer)]
    members: dict[str, object] = {}
    if answer.status == 401 or answer.challenge:
        # RFC 9110, section 15.5.2: a 401 has a challenge.
        said.append(("WWW-Authenticate", answer.challenge or "Bearer"))
    if answer.status == 503 or answer.retry_after:
        said.append(("Retry-After", str(max(1, answer.retry_after))))
    if elsewhere:
        said.append(("X-Sidecar-Location", elsewhere))
    if answer.acr_values:
        members["acr_values"] = answer.acr_values
    if answer.max_age is not None:
        members["max_age"] = answer.max_age
    if answer.reasons:
        members["reasons"] = answer.reasons
    members.update(_instance(answer))
    return problem(kind, answer.message, status=answer.status, members=members, fields=tuple(said))


class _Parts(NamedTuple):
    """The response for an answer, in parts: between them is the id of the decision."""

    answer: Answer
    status: int
    lines: list[bytes]
    body: Sequence[bytes]


class RepeatedResponses:
    """Makes responses of answers that come again and again; what they have in common is kept.

    `respond` makes the response for an answer, and `split` cuts the body of one whose id is `SPOT`
    there where it stands.
    """

    def __init__(
        self,
        respond: Callable[[Answer], Response],
        split: Callable[[bytes], Sequence[bytes]],
    ) -> None:
        self._respond = respond
        self._split = split
        self._kept: dict[int, _Parts] = {}

    def response(self, repeated: RepeatedAnswer) -> PreparedResponse:
        """Return the response for an answer."""
        answer, decision = repeated
        if not decision:
            response = self._respond(answer)
            return PreparedResponse(response.status, header_lines(response.fields), response.body)
        kept = self._kept.get(id(answer))
        # Where an answer lay that is gone, another may have come to lie.
        if kept is None or kept.answer is not answer:
            kept = self._keep(answer)
        name = decision.encode("ascii")
        return PreparedResponse(kept.status, name.join(kept.lines), name.join(kept.body))

    def _keep(self, answer: Answer) -> _Parts:
        if len(self._kept) >= KEPT_BOUND:
            self._kept.clear()
        response = self._respond(msgspec.structs.replace(answer, id=SPOT))
        before, _, after = header_lines(response.fields).partition(_SPOT_LINE)
        lines = [before + _SPOT_LINE[: -len(SPOT) - 2], b"\r\n" + after]
        parts = _Parts(answer, response.status, lines, self._split(response.body))
        self._kept[id(answer)] = parts
        return parts


def split_problem(body: bytes) -> Sequence[bytes]:
    """Cut problem details where the id of the decision stands: in the last member."""
    if not body:
        return (b"",)
    return (body.removesuffix(_SPOT_MEMBER) + _SPOT_MEMBER[: -len(SPOT) - 2], b'"}')


def overloaded(error: Overloaded) -> Response:
    """Return the response for a full queue."""
    return problem(
        Problem.OVERLOADED,
        str(error),
        fields=(("Retry-After", str(max(1, error.retry_after))),),
    )


def unavailable() -> Response:
    """Return the response for something outside that is gone."""
    return problem(Problem.UNAVAILABLE, fields=(("Retry-After", "1"),))


def field_value(text: str) -> str:
    """Encode a name as a header value that cannot end its line.

    It stands as it is where it is printable ASCII without `%` and without a space at either end;
    else as percent-encoded UTF-8, which a URL decoder undoes.
    """
    if not text or _PLAIN.fullmatch(text):
        return text
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in text.encode("utf-8", "replace")
    )


def _allowed(answer: Answer) -> Fields:
    fields = (
        (_DECISION, "allow"),
        ("X-Sidecar-Session", field_value(answer.session)),
        ("X-Sidecar-Subject", field_value(answer.subject)),
        ("X-Sidecar-Assurance", field_value(answer.assurance)),
        *id_fields(answer),
    )
    return (*fields, _PENDING, _NO_STORE) if answer.pending else (*fields, _NO_STORE)


def id_fields(answer: Answer) -> Fields:
    """Return the field with the decision's id."""
    return ((_DECISION_ID, answer.id),) if answer.id else ()


def _instance(answer: Answer) -> dict[str, str]:
    """Return the member of problem details that names this occurrence (RFC 9457, 3.1.5)."""
    return {"instance": answer.id} if answer.id else {}


def _kind(answer: Answer) -> Problem:
    if answer.error == "invalid_token":
        return Problem.INVALID_TOKEN
    if answer.error == "unavailable" or answer.status == 503:
        return Problem.UNAVAILABLE
    return Problem.STEP_UP if answer.verdict is Verdict.STEP_UP else Problem.DENIED
