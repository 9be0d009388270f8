"""Reads and writes the messages of Envoy's external authorization, `envoy.service.auth.v3`.

Read of a `CheckRequest`: what Envoy says of the call (`attributes.request.http`: method, path,
host, headers), the address that it takes for the client's (`attributes.source.address`), and the
context extensions of the route, which no client can touch. Its `path` has the query with it.

Written as a `CheckResponse`: passed calls with the `X-Sidecar-*` headers, which replace what the
client sent under these names or take it away, and without what overrides the method; refused ones
with status, headers and body.

Field numbers: envoy/service/auth/v3/attribute_context.proto and external_auth.proto,
envoy/config/core/v3/{address,base}.proto, envoy/type/v3/http_status.proto, google/rpc/status.proto.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidecar.wire.grpc.protobuf import Message, bytes_field, number_field
from sidecar.wire.http.messages import Request, Response, header_pairs

CONTEXT_EXTENSION = b"auth-context"
"""The key of a route's context extensions that names authentication contexts, with commas."""

PASSED_ON = (
    b"x-sidecar-decision",
    b"x-sidecar-decision-id",
    b"x-sidecar-session",
    b"x-sidecar-subject",
    b"x-sidecar-assurance",
    b"x-sidecar-step-up",
)
"""The headers that the app may believe: each is set by us, or taken away."""


def _spellings(name: bytes) -> Iterator[bytes]:
    """Return a name with each choice of its dashes as underscores, which CGI and WSGI equate."""
    parts = name.split(b"-")
    for marks in itertools.product((b"-", b"_"), repeat=len(parts) - 1):
        yield parts[0] + b"".join(mark + part for mark, part in zip(marks, parts[1:], strict=True))


LOOKALIKES = tuple(other for name in PASSED_ON for other in _spellings(name) if other != name)
"""Names that an app might take for those, and that nobody sets: always taken away."""

OVERRIDING = tuple(
    spelled
    for name in (b"x-http-method-override", b"x-http-method", b"x-method-override")
    for spelled in _spellings(name)
)
"""Names by which an app may run another method than the one that is judged: always taken away."""

_ALIKE = re.compile(
    rb"x[^a-z0-9]sidecar[^a-z0-9]|x[^a-z0-9](?:http[^a-z0-9])?method(?:[^a-z0-9]override)?\Z"
)
_OVERWRITE = 2  # HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_OK, _INVALID_ARGUMENT, _PERMISSION_DENIED, _UNAVAILABLE, _UNAUTHENTICATED = 0, 3, 7, 14, 16
_WITHOUT_LOOKALIKES = b"".join(bytes_field(5, name) for name in (*LOOKALIKES, *OVERRIDING))
_RPC_CODES = {400: _INVALID_ARGUMENT, 401: _UNAUTHENTICATED, 503: _UNAVAILABLE}


class CheckRequest(NamedTuple):
    """A question of Envoy: the call as a request of its own, and the contexts of its route.

    The request's target is the original path with its query, and its peer the client's address,
    as far as Envoy knows it.
    """

    request: Request
    contexts: str


def decode_request(data: bytes) -> CheckRequest:
    """Decode a `CheckRequest`; raises `protobuf.MessageInvalid`. What it lacks stays empty."""
    attributes = Message(data).message(1)
    http = attributes.message(4).message(2)
    source = attributes.message(1).message(1).message(1)
    fields: dict[bytes, list[bytes]] = {}
    for name, value in _header_fields(http):
        fields.setdefault(name.lower(), []).append(value)
    request = Request(
        http.text(2).decode("latin-1"),
        http.text(4),
        http.text(5),
        {name: values[0] for name, values in fields.items()},
        b"",
        source.text(2).decode("latin-1"),
        {name: tuple(values) for name, values in fields.items() if len(values) > 1},
    )
    extensions = attributes.pairs(10)
    return CheckRequest(request, extensions.get(CONTEXT_EXTENSION, b"").decode("latin-1"))


def _header_fields(http: Message) -> Iterator[tuple[bytes, bytes]]:
    """Return `headers`, or with `encode_raw_headers` the `header_map`, which has repeated ones."""
    yield from http.pairs(3).items()
    for header in http.message(13).messages(1):
        yield header.text(1), header.text(3) or header.text(2)


def encode_response(response: Response, seen: Iterable[bytes] = ()) -> bytes:
    """Encode the response to a check as a `CheckResponse`.

    `seen` are the names of the request's headers as far as Envoy sends them: also of these, what an
    app might take for ours is taken away (`x.sidecar.subject` is the same to some).
    """
    fields = header_pairs(response.fields)
    if response.status == 200:
        alike = (name for name in seen if _ALIKE.match(name) and name not in PASSED_ON)
        taken = b"".join(bytes_field(5, name) for name in alike)
        return bytes_field(1, b"") + bytes_field(3, _passed(dict(fields)) + taken)
    code = _RPC_CODES.get(response.status, _PERMISSION_DENIED)
    return bytes_field(1, number_field(1, code)) + bytes_field(2, _denied(response, fields))


def _passed(fields: dict[bytes, bytes]) -> bytes:
    kept = [(name, value) for name in PASSED_ON if (value := fields.get(name))]
    missing = [name for name in PASSED_ON if not fields.get(name)]
    return b"".join(
        [
            *(bytes_field(2, _header(name, value)) for name, value in kept),
            *(bytes_field(5, name) for name in missing),
            _WITHOUT_LOOKALIKES,
        ]
    )


def _denied(response: Response, fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(
        [
            bytes_field(1, number_field(1, response.status)),
            *(bytes_field(2, _header(name, value)) for name, value in fields),
            bytes_field(3, response.body),
        ]
    )


def _header(name: bytes, value: bytes) -> bytes:
    pair = bytes_field(1, name) + bytes_field(2, value)
    return bytes_field(1, pair) + number_field(3, _OVERWRITE)
