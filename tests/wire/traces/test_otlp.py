"""Spans in OTLP, read by Google's protobuf."""

import pytest

from sidecar.wire.traces.headers import InvalidHeaders, headers_of
from sidecar.wire.traces.otlp import SpanEncoder, rejected
from sidecar.wire.traces.spans import Span, SpanKind, SpanLink
from tests.adapters.opentelemetry.collecting import read
from tests.adapters.opentelemetry.otlp_messages import ExportTraceServiceResponse

SPAN = Span(
    name="check \ud800",
    kind=SpanKind.CONSUMER,
    trace=2**128 - 1,
    span=2**64 - 1,
    parent=1,
    start=1796061600.25,
    end=1796061601.5,
    attributes={"s": "t", "b": True, "n": False, "i": 401, "z": 0, "f": 0.25, "a": ("x", "y")},
    links=(SpanLink(1, 2, "a=b"), SpanLink(3, 4)),
    failure="refused",
    state="k=v",
)


def test_a_span_is_read_as_it_was_taken() -> None:
    encoder = SpanEncoder({"service.name": "s"}, "1")
    first = SPAN._replace(parent=0, links=(), failure="", name="first")
    whole, again = read(encoder.encode([SPAN]) + encoder.encode([first]))
    assert (whole.trace, whole.span, whole.parent) == ("f" * 32, "f" * 16, "0" * 15 + "1")
    assert (whole.name, whole.kind, whole.status) == ("check ?", 5, 2)
    assert (whole.start, whole.end) == (1796061600250000000, 1796061601500000000)
    assert whole.attributes == {**SPAN.attributes, "a": ["x", "y"]}
    assert [one[1] for one in whole.links] == ["0" * 15 + "2", "0" * 15 + "4"]
    assert whole.resource == {"service.name": "s"}
    assert (again.name, again.parent, again.links, again.status) == ("first", "", (), 0)


def test_a_partial_success_says_what_was_not_taken() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 300
    answer.partial_success.error_message = "too old"
    assert rejected(answer.SerializeToString()) == 300
    assert rejected(b"") == 0
    assert rejected(b"no message \xff") == 0


def test_header_fields_are_one_a_line() -> None:
    text = "Authorization: Bearer a b\n\nX-Scope-OrgID:7 \n"
    assert headers_of(text) == (("Authorization", "Bearer a b"), ("X-Scope-OrgID", "7"))


@pytest.mark.parametrize("text", ["secret", "a b: c", "a: b\x00c", "Host: x", "a:", "a: \u00e9"])
def test_what_is_no_header_field_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidHeaders) as refused:
        headers_of(text)
    assert "secret" not in str(refused.value)
