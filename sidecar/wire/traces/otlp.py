"""Spans as OTLP has them: protocol buffers of its version 1, to be sent over HTTP.

A request may be put together of several, one after the other: each has spans of the resource.
Field numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and `common.proto`.
"""

import struct
from collections.abc import Iterable, Mapping

from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.wire.grpc.protobuf import (
    Message,
    MessageInvalid,
    bytes_field,
    fixed32_field,
    fixed64_field,
    number_field,
    number_in,
)
from sidecar.wire.traces.spans import Attribute, Span, SpanKind, SpanLink

_KINDS = {SpanKind.INTERNAL: 1, SpanKind.SERVER: 2, SpanKind.CLIENT: 3, SpanKind.CONSUMER: 5}
_NANO = 1000
"""Nanoseconds of a microsecond: a moment has no finer part."""
_SAMPLED = 1
_ERROR = 2


class SpanEncoder:
    """Encodes spans of one resource, made by this version of ours."""

    def __init__(self, resource: Mapping[str, str], version: str) -> None:
        self._resource = bytes_field(1, _attributes(1, resource))
        scope = bytes_field(1, b"stepup-sidecar") + bytes_field(2, version.encode())
        self._scope = bytes_field(1, scope)

    def encode(self, spans: Iterable[Span]) -> bytes:
        """Return the request that exports these."""
        of_scope = self._scope + b"".join([bytes_field(2, _span(span)) for span in spans])
        return bytes_field(1, self._resource + bytes_field(2, of_scope))


def _span(span: Span) -> bytes:
    parts = [
        bytes_field(1, span.trace.to_bytes(16)),
        bytes_field(2, span.span.to_bytes(8)),
        bytes_field(3, span.state.encode()) if span.state else b"",
        bytes_field(4, span.parent.to_bytes(8)) if span.parent else b"",
        bytes_field(5, _text(span.name)),
        number_field(6, _KINDS[span.kind]),
        fixed64_field(7, round(span.start * MICROSECONDS) * _NANO),
        fixed64_field(8, round(span.end * MICROSECONDS) * _NANO),
        _attributes(9, span.attributes),
        *(bytes_field(13, _link(link)) for link in span.links),
        fixed32_field(16, _SAMPLED),
    ]
    if span.failure:
        parts.append(bytes_field(15, bytes_field(2, _text(span.failure)) + number_field(3, _ERROR)))
    return b"".join(parts)


def _link(link: SpanLink) -> bytes:
    state = bytes_field(3, link.state.encode()) if link.state else b""
    return bytes_field(1, link.trace.to_bytes(16)) + bytes_field(2, link.span.to_bytes(8)) + state


def _attributes(number: int, attributes: Mapping[str, Attribute]) -> bytes:
    return b"".join(
        [
            bytes_field(number, bytes_field(1, _text(name)) + bytes_field(2, _value(value)))
            for name, value in attributes.items()
        ]
    )


def _value(value: Attribute) -> bytes:
    """Return an `AnyValue`."""
    match value:
        case str():
            return bytes_field(1, _text(value))
        case bool():
            return number_field(2, 1) if value else b"\x10\x00"
        case int():
            return number_field(3, value) if value else b"\x18\x00"
        case float():
            return fixed64_field(4, int.from_bytes(struct.pack(">d", value)))
        case _:
            return bytes_field(5, b"".join([bytes_field(1, _value(one)) for one in value]))


def _text(text: str) -> bytes:
    return text.encode(errors="replace")  # a name of somebody else's may be no Unicode


def rejected(answer: bytes) -> int:
    """Return how many spans a collector says that it did not take; 0 where it says nothing."""
    try:
        return number_in(Message(answer).text(1), 1)
    except MessageInvalid:
        return 0
