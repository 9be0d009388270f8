"""Writes problem details (RFC 9457), the bodies that say why a request was not done.

`type` is a URN that stays the same and is what programs look at; `title` is its sentence, and
`detail` what is special this time.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from sidecar.wire.http.messages import Fields, Response

_FIELDS = (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"))


NO_MEMBERS: Mapping[str, object] = {}


class _Kind(NamedTuple):
    name: str
    status: int
    title: str


class Problem(Enum):
    """A kind of problem: the end of its URN, its status and its title."""

    STEP_UP = _Kind("step-up-required", 401, "A stronger or fresher sign-in is required")
    INVALID_TOKEN = _Kind("invalid-token", 401, "A valid token is required")
    DENIED = _Kind("denied", 403, "Access is denied")
    UNAVAILABLE = _Kind("unavailable", 503, "This cannot be decided now")
    OVERLOADED = _Kind("overloaded", 503, "Too much is waiting")
    TOO_MANY = _Kind("too-many-connections", 503, "Too many connections are open")
    INVALID_REQUEST = _Kind("invalid-request", 400, "The request is not valid")
    UNKNOWN_CONTEXT = _Kind("unknown-context", 400, "The context is not configured")
    INVALID_EVENT = _Kind("invalid-event", 400, "The event is not valid")
    NOT_ALLOWED = _Kind("not-allowed", 403, "The source may not say so")
    NO_CREDENTIAL = _Kind("invalid-credential", 401, "A source's credential is required")
    FOREIGN = _Kind("foreign-call", 403, "The call comes from elsewhere")
    NOT_FOUND = _Kind("not-found", 404, "There is nothing here")
    WRONG_METHOD = _Kind("method-not-allowed", 405, "The method is not allowed here")
    TIMED_OUT = _Kind("request-timeout", 408, "The request took too long to arrive")
    BODY_TOO_LARGE = _Kind("body-too-large", 413, "The body is too large")
    MEDIA_TYPE = _Kind("unsupported-media-type", 415, "The body is of a type that is not taken")
    EXPECTATION = _Kind("expectation-failed", 417, "The expectation cannot be met")
    HEADERS_TOO_LARGE = _Kind("headers-too-large", 431, "The header section is too large")
    INTERNAL = _Kind("internal-error", 500, "Something went wrong here")
    UNKNOWN_CODING = _Kind("unknown-transfer-coding", 501, "The transfer coding is not known")
    WRONG_VERSION = _Kind("version-not-supported", 505, "The HTTP version is not supported")

    @property
    def status(self) -> int:
        """Return the HTTP status of the kind, which a check may replace."""
        return self.value.status


def problem(
    kind: Problem,
    detail: str = "",
    *,
    status: int = 0,
    members: Mapping[str, object] | None = None,
    fields: Fields = (),
) -> Response:
    """Return the response with a problem.

    `status` replaces the kind's own; `members` are extension members of the body; `fields` further
    header fields.
    """
    status = status or kind.status
    type_ = f"urn:stepup-sidecar:problem:{kind.value.name}"
    body = details(type_, kind.value.title, status, detail, members or NO_MEMBERS)
    return Response(status, _FIELDS + fields, body)


def details(
    type_: str, title: str, status: int, detail: str, members: Mapping[str, object] = NO_MEMBERS
) -> bytes:
    """Encode problem details; `about:blank` is the type of what its status alone says."""
    content: dict[str, object] = {"type": type_, "title": title, "status": status}
    if detail:
        content["detail"] = detail
    content.update(members)
    return msgspec.json.encode(content)
