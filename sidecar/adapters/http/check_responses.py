"""Makes an HTTP response of the answer of a check: contract, section 5, "Answers of a check".

Pure; it stands on this floor because `Answer` belongs to the services.
"""

import re

from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Answer, Overloaded, Verdict
from sidecar.wire.http.messages import Fields, Response
from sidecar.wire.http.problems import Problem, problem

_PLAIN = re.compile(r"[!-$&-~](?:[ -$&-~]*[!-$&-~])?")
_DECISION = "X-Sidecar-Decision"
_NO_STORE = ("Cache-Control", "no-store")
_PENDING = ("X-Sidecar-Step-Up", "pending")


def redirected(location: str) -> Response:
    """Return the response that redirects a browser (RFC 9110, section 15.4.4)."""
    return Response(303, ((_DECISION, Verdict.STEP_UP.value), ("Location", location), _NO_STORE))


def response_of(answer: Answer, elsewhere: str = "") -> Response:
    """Return the response for an answer.

    `elsewhere`: where a gateway that passes on no redirect of ours could send the browser itself.
    """
    if answer.verdict is Verdict.ALLOW and answer.status == 200:
        return Response(200, _allowed(answer))
    if answer.error == UNKNOWN_CONTEXT:
        code = {"error": UNKNOWN_CONTEXT, "field": "context"}
        return problem(Problem.UNKNOWN_CONTEXT, answer.message, members=code)
    kind = _kind(answer)
    fields = [(_DECISION, answer.verdict.value)]
    members: dict[str, object] = {}
    if answer.status == 401 or answer.challenge:
        # RFC 9110, section 15.5.2: a 401 has a challenge.
        fields.append(("WWW-Authenticate", answer.challenge or "Bearer"))
    if answer.status == 503 or answer.retry_after:
        fields.append(("Retry-After", str(max(1, answer.retry_after))))
    if elsewhere:
        fields.append(("X-Sidecar-Location", elsewhere))
    if answer.acr_values:
        members["acr_values"] = answer.acr_values
    if answer.max_age is not None:
        members["max_age"] = answer.max_age
    if answer.reasons:
        members["reasons"] = answer.reasons
    return problem(
        kind, answer.message, status=answer.status, members=members, fields=tuple(fields)
    )


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
    )
    return (*fields, _PENDING, _NO_STORE) if answer.pending else (*fields, _NO_STORE)


def _kind(answer: Answer) -> Problem:
    if answer.error == "invalid_token":
        return Problem.INVALID_TOKEN
    if answer.error == "unavailable" or answer.status == 503:
        return Problem.UNAVAILABLE
    return Problem.STEP_UP if answer.verdict is Verdict.STEP_UP else Problem.DENIED
