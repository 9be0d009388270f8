# ruff: noqa: INP001 - a script, no package
"""Describes the transmitter's listener: stream management and polling (SSF 1.0, RFC 8936)."""

from collections.abc import Mapping

from docs.openapi import (
    CLOSES,
    JSON,
    SLOW,
    Operation,
    Says,
    Schema,
    document_of,
    of_types,
    problem,
    problem_schema,
    ref,
)
from sidecar.service.ports.calls import Reason
from sidecar.shared_signals.adapters.transmitter_listener import Endpoints
from sidecar.shared_signals.wire.stream_api import (
    PollRequest,
    PollResponse,
    Status,
    StreamConfiguration,
    TransmitterMetadata,
)
from sidecar.shared_signals.wire.stream_config import (
    ChangeRequest,
    CreateRequest,
    StatusRequest,
    SubjectRequest,
    VerificationRequest,
)

KEYS = "application/jwk-set+json"
AT = Endpoints("https://signals.example.com")
"""The endpoints of an issuer without a path, which stands before each of them."""

_MALFORMED = problem(
    400, "the request cannot be read, or may not say this; `detail` names the part"
)
_UNKNOWN = problem(401, "a recipient's credential is asked for", "WWW-Authenticate")
_NO_STREAM = problem(404, "this recipient has no such stream")
_FIXED = problem(403, "the stream is the transmitter's configuration")
_FULL = problem(403, "the stream has as many subjects as it may have")
_LARGE = problem(413, "the body is too large")
_GUESSED = problem(429, "too many wrong credentials", "Retry-After")
_AWAY = problem(503, "the store is away, or others change the stream", "Retry-After")
_KEY_SET: Schema = {
    "type": "object",
    "description": "a JWK Set (RFC 7517)",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
}


def _asked(
    does: str, done: Says, *more: Says, body: str = "", needs_body: bool = True, **query: str
) -> Operation:
    """Return what a recipient may ask for; `body` is the name of the schema of what it sends."""
    often = () if any(one.status == _GUESSED.status for one in more) else (_GUESSED,)
    says = (done, _MALFORMED, _UNKNOWN, *more, SLOW, _LARGE, *often, _AWAY)
    sent = {JSON: ref(body)} if body else {}
    return Operation(does, says, sent, query, secured="recipient", needs_body=needs_body)


def _streams() -> Mapping[str, Operation]:
    one = ref("StreamConfiguration")
    either = {"anyOf": [{"type": "array", "items": one}, one]}
    return {
        "get": _asked(
            "shows a stream, or lists the recipient's",
            Says(200, "found", JSON, either),
            _NO_STREAM,
            stream_id="of one; without it all are listed",
        ),
        "post": _asked(
            "creates a stream",
            Says(201, "created", JSON, one),
            problem(403, "this recipient may not create streams"),
            problem(409, "this recipient has as many streams as it may have"),
            body="CreateRequest",
            needs_body=False,
        ),
        "patch": _asked(
            "changes what the request names",
            Says(200, "changed", JSON, one),
            *(_FIXED, _NO_STREAM),
            body="ChangeRequest",
        ),
        "put": _asked(
            "replaces a stream: what the request leaves out is deleted",
            Says(200, "replaced", JSON, one),
            *(_FIXED, _NO_STREAM),
            body="ChangeRequest",
        ),
        "delete": _asked(
            "deletes a stream", Says(204, "deleted"), _FIXED, _NO_STREAM, stream_id="required"
        ),
    }


def transmitter() -> Schema:
    """Describe the transmitter's listener."""
    status = ref("Status")
    paths: Mapping[str, Mapping[str, Operation]] = {
        AT.metadata: {
            "get": Operation(
                "says where everything is (SSF 1.0)",
                (Says(200, "the metadata", JSON, ref("TransmitterMetadata")),),
            )
        },
        AT.keys: {
            "get": Operation(
                "gives the keys that sign",
                (Says(200, "the keys", KEYS, _KEY_SET, ("Cache-Control",)),),
            )
        },
        AT.stream: _streams(),
        AT.status: {
            "get": _asked(
                "says whether a stream carries events",
                Says(200, "found", JSON, status),
                _NO_STREAM,
                stream_id="required",
            ),
            "post": _asked(
                "enables, pauses or disables a stream",
                Says(200, "set", JSON, status),
                _NO_STREAM,
                body="StatusRequest",
            ),
        },
        AT.add_subject: {
            "post": _asked(
                "has a stream be about a subject",
                Says(200, "added"),
                *(_FULL, _NO_STREAM),
                body="SubjectRequest",
            )
        },
        AT.remove_subject: {
            "post": _asked(
                "has a stream no longer be about a subject",
                Says(204, "removed"),
                *(_FULL, _NO_STREAM),
                body="SubjectRequest",
            )
        },
        AT.verify: {
            "post": _asked(
                "has a verification event sent",
                Says(204, "it is in the stream"),
                _NO_STREAM,
                problem(
                    429, "verifications are asked for too often; or many were wrong", "Retry-After"
                ),
                body="VerificationRequest",
            )
        },
        f"{AT.polls}{{stream}}": {
            "post": _asked(
                "gives the events that wait, and takes acknowledgements (RFC 8936)",
                Says(200, "events, by their `jti`", JSON, ref("PollResponse")),
                _NO_STREAM,
                body="PollRequest",
            )
        },
    }
    schemas = {
        "Problem": problem_schema("about:blank"),
        **of_types(Reason),
        **of_types(TransmitterMetadata, StreamConfiguration, Status, PollRequest, PollResponse),
        **of_types(ChangeRequest, CreateRequest, StatusRequest),
        **of_types(SubjectRequest, VerificationRequest),
    }
    what = (
        "shared signals, for recipients. Where the issuer has a path, it stands before each path "
        "but that of the metadata, after which it stands"
    )
    return document_of("transmitter", f"{what}. {CLOSES}", paths, schemas)
