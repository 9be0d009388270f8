import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.shared_signals.wire.security_event_tokens import SetError
from sidecar.shared_signals.wire.stream_api import (
    InvalidMessage,
    PollRequest,
    PollResponse,
    StreamConfiguration,
    TransmitterMetadata,
    decode_message,
    decode_streams,
    encode_message,
    metadata_address,
)
from sidecar.shared_signals.wire.verification_state import LONGEST, is_ours, make_state

NOW = 1_800_000_000.0
STREAM = {
    "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f",
    "iss": "https://tr.example.com",
    "aud": ["https://receiver.example.com/web", "https://receiver.example.com/mobile"],
    "delivery": {
        "method": "urn:ietf:rfc:8935",
        "endpoint_url": "https://receiver.example.com/events",
    },
    "events_supported": ["urn:example:secevent:events:type_1"],
    "events_delivered": ["urn:example:secevent:events:type_2"],
    "new": "member",
}


def test_a_poll_has_the_names_of_rfc_8936() -> None:
    request = PollRequest(
        max_events=5, return_immediately=True, ack=("a",), set_errs={"b": SetError("err", "text")}
    )
    raw = encode_message(request)
    assert json.loads(raw) == {
        "maxEvents": 5,
        "returnImmediately": True,
        "ack": ["a"],
        "setErrs": {"b": {"err": "err", "description": "text"}},
    }
    assert decode_message(raw, PollRequest) == request
    assert json.loads(encode_message(PollRequest())) == {}


def test_an_answer_to_a_poll_is_read() -> None:
    raw = b'{"sets": {"a": "eyJ"}, "moreAvailable": true}'
    assert decode_message(raw, PollResponse) == PollResponse(sets={"a": "eyJ"}, more_available=True)
    assert not decode_message(b'{"sets": {}}', PollResponse).more_available


def test_one_stream_or_many_are_a_list_of_streams() -> None:
    (one,) = decode_streams(json.dumps(STREAM).encode())
    assert one == decode_message(json.dumps(STREAM).encode(), StreamConfiguration)
    assert one.aud == ("https://receiver.example.com/web", "https://receiver.example.com/mobile")
    assert decode_streams(json.dumps([STREAM, STREAM]).encode()) == (one, one)
    assert decode_streams(b"[]") == ()


def test_metadata_lies_between_host_and_path() -> None:
    assert metadata_address("https://tr.example.com") == (
        "https://tr.example.com/.well-known/ssf-configuration"
    )
    assert metadata_address("https://tr.example.com/issuer1/") == (
        "https://tr.example.com/.well-known/ssf-configuration/issuer1"
    )


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_bytes_make_a_decoder_raise_anything_but_its_own_error(raw: bytes) -> None:
    for kind in (PollRequest, PollResponse, StreamConfiguration, TransmitterMetadata):
        with pytest.raises(InvalidMessage):
            decode_message(raw, kind)
    try:
        decode_streams(raw)
    except InvalidMessage:
        return


def test_a_state_is_known_again_for_a_day_by_who_has_the_secret() -> None:
    state = make_state("secret", NOW, b"12345678")
    assert is_ours(state, "secret", NOW + LONGEST - 1)
    assert not is_ours(state, "secret", NOW + LONGEST)
    assert not is_ours(state, "another", NOW)
    assert state != make_state("secret", NOW, b"87654321")
    with pytest.raises(ValueError, match="eight"):
        make_state("secret", NOW, b"")


@given(st.text())
def test_no_other_text_is_a_state(text: str) -> None:
    assert not is_ours(text, "secret", NOW)
