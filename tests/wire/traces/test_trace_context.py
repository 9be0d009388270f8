"""Trace contexts of callers: the grammar, held to OpenTelemetry's own reading of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sidecar.wire.traces.event_contexts import EventContexts, is_in_share
from sidecar.wire.traces.trace_context import (
    MAX_PARENT,
    InvalidContext,
    SentContext,
    read_parent,
    read_state,
    sent_context,
    sent_fields,
    sent_members,
    written_parent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
BAD = (
    "",
    "?",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE}-{SPAN}-01-more",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f" 00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01\n",
    f"00-{TRACE}-{SPAN}-0g",
    f"{GOOD},{GOOD}",
    f"01-{TRACE}-{SPAN}-01-{'x' * MAX_PARENT}",
)


def test_a_context_is_read_and_written() -> None:
    context = read_parent(GOOD)
    assert (f"{context.trace:032x}", f"{context.span:016x}") == (TRACE, SPAN)
    assert context.sampled
    assert written_parent(context) == GOOD
    assert not read_parent(f"00-{TRACE}-{SPAN}-02").sampled
    assert read_parent(f"cc-{TRACE}-{SPAN}-01-what-comes").sampled


@pytest.mark.parametrize("text", BAD)
def test_what_does_not_follow_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(InvalidContext):
        read_parent(text)


def theirs(text: str) -> str:
    """What OpenTelemetry reads."""
    read = TraceContextTextMapPropagator().extract({"traceparent": text})
    found = trace.get_current_span(read).get_span_context()
    return f"{found.trace_id:032x}-{found.span_id:016x}" if found.is_valid else ""


def ours(text: str) -> str:
    try:
        found = read_parent(text)
    except InvalidContext:
        return ""
    return f"{found.trace:032x}-{found.span:016x}"


_HEX = "0123456789abcdef"


@given(
    st.one_of(
        st.text(f"{_HEX}-", max_size=60),
        st.builds(
            "{}-{}-{}-{}".format,
            st.sampled_from(["00", "01", "fe", "ff"]),
            st.text(_HEX, min_size=32, max_size=32) | st.just("0" * 32),
            st.text(_HEX, min_size=16, max_size=16) | st.just("0" * 16),
            st.text(_HEX, min_size=2, max_size=2),
        ),
    )
)
def test_opentelemetry_reads_the_same(text: str) -> None:
    assert ours(text) == theirs(text)


@given(st.integers(1, 2**128 - 1), st.floats(0, 1))
def test_a_share_is_that_of_opentelemetrys_sampler(number: int, share: float) -> None:
    decided = TraceIdRatioBased(share).should_sample(None, number, "").decision
    assert is_in_share(number, share) is (decided is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=00f067aa0ba902b7 ,\tcongo=t61,", "rojo=00f067aa0ba902b7,congo=t61"),
        ("fw529a3039@dt=FfAAAAAA;x=y", None),
        ("fw529a3039@dt=FfAAAAAA", "fw529a3039@dt=FfAAAAAA"),
        ("a=b,a=c", None),
        ("A=b", None),
        ("a", None),
        ("a=b\x00", None),
        ("a=b\r\nx: y", None),
        (",".join(f"k{n}=v" for n in range(33)), None),
        (f"a={'b' * 512}", None),
    ],
)
def test_a_tracestate_follows_its_grammar_or_is_refused(text: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(InvalidContext):
            read_state(text)
    else:
        assert read_state(text) == read


def test_several_fields_of_a_header_make_no_parent() -> None:
    assert sent_context(()) is None
    assert sent_context((GOOD.encode(),), (b"a=b", b"c=d")) == SentContext(GOOD, "a=b,c=d")
    twice = sent_context((GOOD.encode(), GOOD.encode()))
    assert twice is not None
    with pytest.raises(InvalidContext):
        read_parent(twice.parent)


@pytest.mark.parametrize("value", [None, 7, ["x"], "x" * 9999])
def test_a_member_that_is_no_context_is_there_to_be_refused(value: object) -> None:
    sent = sent_members({"traceparent": value})
    assert sent is not None
    assert len(sent.parent) <= MAX_PARENT + 1
    with pytest.raises(InvalidContext):
        read_parent(sent.parent)


def test_every_sidecar_of_an_installation_has_the_same_trace_for_an_event() -> None:
    here, there, elsewhere = EventContexts("su"), EventContexts("su"), EventContexts("other")
    assert here.of("app/e1", 1.0) == there.of("app/e1", 1.0)
    assert here.of("app/e1", 1.0) != here.of("app/e2", 1.0)
    assert here.of("app/e1", 1.0).trace != elsewhere.of("app/e1", 1.0).trace
    (behind,) = here.behind((("app", "e1"), ("app", "@17")), 1.0)
    assert behind == here.of("app/e1", 1.0)
    assert not here.of("app/e1", 0.0).sampled


def test_the_fields_of_a_request_are_read_beside_all_others() -> None:
    fields = [(b"host", b"a"), (b"tracestate", b"a=1"), (b"traceparent", GOOD.encode())]
    assert sent_fields([*fields, (b"tracestate", b"b=2")]) == SentContext(GOOD, "a=1,b=2")
    assert sent_fields([*fields, fields[-1]]) == SentContext(f"{GOOD},{GOOD}", "a=1")
    assert sent_fields(fields[:2]) is None
