import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.shared_signals.wire.outbound import URI_OF
from sidecar.shared_signals.wire.security_events import StreamStatus
from sidecar.shared_signals.wire.stream_api import POLL, PUSH, InvalidMessage, decode_message
from sidecar.shared_signals.wire.stream_config import (
    ChangeRequest,
    CreateRequest,
    DeliveryRequest,
    InvalidStreamRequest,
    Outgoing,
    StatusRequest,
    SubjectRequest,
    VerificationRequest,
    decode_outgoing,
    delivered,
    encode_outgoing,
    placed,
)
from sidecar.wire.settings.transmitter import Announced

HOME = "https://r.example/ssf"
TEXT = st.text(max_size=20)
STREAMS = st.builds(
    Outgoing,
    id=TEXT,
    recipient=TEXT,
    method=st.sampled_from([PUSH, POLL]),
    endpoint_url=TEXT,
    authorization=TEXT,
    requested=st.one_of(st.none(), st.lists(TEXT, max_size=3).map(tuple)),
    status=st.sampled_from(StreamStatus),
    fixed=st.booleans(),
    failing_since=st.floats(0, 2e9),
)


@given(STREAMS)
def test_the_store_gives_back_the_stream(stream: Outgoing) -> None:
    assert decode_outgoing(encode_outgoing(stream)) == stream


@given(st.binary(max_size=64))
def test_bytes_of_others_are_no_stream(raw: bytes) -> None:
    assert decode_outgoing(raw) is None


def test_a_streams_repr_has_no_secret() -> None:
    stream = Outgoing(id="a", recipient="b", method=PUSH, authorization="Bearer secret")
    assert "secret" not in repr(stream)


def test_a_stream_carries_what_was_asked_for_of_what_there_is() -> None:
    revoked, risk = URI_OF[Announced.SESSION_REVOKED], URI_OF[Announced.RISK_LEVEL_CHANGE]
    stream = Outgoing(id="a", recipient="b", method=POLL, requested=("urn:x", risk))
    assert delivered(stream, (Announced.SESSION_REVOKED, Announced.RISK_LEVEL_CHANGE)) == (risk,)
    assert delivered(stream, (Announced.SESSION_REVOKED,)) == ()
    everything = Outgoing(id="a", recipient="b", method=POLL)
    assert delivered(everything, (Announced.SESSION_REVOKED,)) == (revoked,)


def test_nothing_asked_for_means_poll() -> None:
    assert placed(None, ()) == (POLL, "", "")
    request = DeliveryRequest(method=POLL, endpoint_url="https://ignored.example")
    assert placed(request, ()) == (POLL, "", "")


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        (HOME, HOME),
        (f"{HOME}/", HOME),
        (f"{HOME}/a/b?c=d", HOME),
        (f"{HOME}?x=1", HOME),
        (f"{HOME}/a", f"{HOME}/"),
        ("https://r.example/a", "https://r.example"),
    ],
)
def test_a_push_goes_to_the_prefix_and_below(url: str, prefix: str) -> None:
    request = DeliveryRequest(method=PUSH, endpoint_url=url, authorization_header="Bearer x")
    assert placed(request, (prefix,)) == (PUSH, url, "Bearer x")


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("", HOME),
        ("https://evil.example/ssf", HOME),
        (f"{HOME}evil", HOME),
        (f"{HOME}/../admin", HOME),
        (f"{HOME}/%2e%2e/admin", HOME),
        (f"{HOME}/\\evil", HOME),
        ("https://r.example.evil.example/", "https://r.example"),
        ("https://r.example@evil.example/", "https://r.example"),
        ("https://r.example:8443/", "https://r.example"),
        ("http://r.example/ssf", HOME),
        ("https://r.exampl", "https://r.example"),
    ],
)
def test_a_push_goes_nowhere_else(url: str, prefix: str) -> None:
    request = DeliveryRequest(method=PUSH, endpoint_url=url)
    with pytest.raises(InvalidStreamRequest, match=r"delivery\.endpoint_url"):
        placed(request, (prefix,))


def test_no_prefix_no_push() -> None:
    with pytest.raises(InvalidStreamRequest, match="endpoint_url"):
        placed(DeliveryRequest(method=PUSH, endpoint_url=HOME), ())


def test_another_method_is_refused() -> None:
    with pytest.raises(InvalidStreamRequest, match=r"delivery\.method"):
        placed(DeliveryRequest(method="urn:example:carrier-pigeon"), (HOME,))


REQUESTS = (CreateRequest, ChangeRequest, StatusRequest, SubjectRequest, VerificationRequest)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["stream_id", "delivery", "method", "subject", "status", "state"]),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(st.sampled_from(REQUESTS), BODIES)
def test_no_body_makes_a_reader_raise_anything_but_its_own_error(
    kind: type[object], body: bytes
) -> None:
    with contextlib.suppress(InvalidMessage):
        assert isinstance(decode_message(body, kind), kind)
