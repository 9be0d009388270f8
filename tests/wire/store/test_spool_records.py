"""A segment gives back what was written into it, whatever becomes of its bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values.stamp import Stamp
from sidecar.wire.store.spool_records import (
    FRAME_BYTES,
    HEADER_BYTES,
    MAGIC,
    SALT_BYTES,
    SegmentEnd,
    SegmentReading,
    UnknownRecord,
    decode_segment,
    decode_signal,
    encode_header,
    encode_record,
    encode_signal,
)

ENVELOPE: dict[str, Any] = {
    "stamp": Stamp(1_700_000_000_123_456, "e-1"),
    "subject": Subject("ada", "laptop", "s1"),
    "source": "edr",
}
SIGNALS: tuple[Signal, ...] = (
    SessionEstablished(
        **ENVELOPE,
        ip="192.0.2.1",
        app="payroll",
        acr="mfa",
        amr=("pwd", "otp"),
        auth_time=1_700_000_000,
        exp=1_700_003_600,
        user_agent="Firefox",
    ),
    SessionPresented(**ENVELOPE, ip="2001:db8::1"),
    SessionRevoked(**ENVELOPE, reason="verlorener Laptop, größer als gedacht"),
    NetworkChange(**ENVELOPE, segment="restricted"),
    DeviceComplianceChange(**ENVELOPE, compliant=False),
    RiskLevelChange(**ENVELOPE, level=RiskLevel.HIGH, reason="leaked"),
    CredentialChange(**ENVELOPE, credential_type="fido2", change_type="revoke"),
    AssuranceLevelChange(**ENVELOPE, namespace="acr", level="mfa", direction="decrease"),
    TokenClaimsChange(**ENVELOPE, claims=(("roles", ("admin", "user")), ("team", ()))),
    RiskSignal(**ENVELOPE, name="beacon", weight=12.5, half_life=600.0),
)

payloads = st.lists(st.binary(max_size=80), max_size=12)
salts = st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES)


def segment(written: list[bytes], salt: bytes = b"s" * SALT_BYTES) -> bytes:
    data = encode_header(salt)
    for payload in written:
        data += encode_record(salt, len(data), payload)
    return data


def is_within(part: list[bytes], whole: list[bytes]) -> bool:
    """Return whether `part` is `whole` with some left out."""
    rest = iter(whole)
    return all(one in rest for one in part)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda one: type(one).__name__)
def test_an_event_comes_back_as_the_very_same_event(signal: Signal) -> None:
    back = decode_signal(encode_signal(signal))
    assert type(back) is type(signal)
    assert back == signal
    assert type(back.stamp) is Stamp


@given(st.binary(max_size=200))
def test_a_payload_that_is_no_event_raises_its_own_error_only(payload: bytes) -> None:
    with pytest.raises(UnknownRecord):
        decode_signal(payload)


@given(payloads, salts)
def test_what_was_written_is_read(written: list[bytes], salt: bytes) -> None:
    assert decode_segment(segment(written, salt)) == SegmentReading(written)


@given(st.binary(max_size=400))
def test_bytes_that_are_no_segment_give_nothing_and_raise_nothing(data: bytes) -> None:
    assert decode_segment(data).payloads == []


@given(payloads, st.data())
def test_a_segment_that_is_cut_gives_its_whole_records(
    written: list[bytes], data: st.DataObject
) -> None:
    whole = segment(written)
    cut = data.draw(st.integers(0, len(whole)))
    read = decode_segment(whole[:cut])
    assert read.payloads == written[: len(read.payloads)]
    ends = [len(segment(written[:count])) for count in range(len(written) + 1)]
    assert len(read.payloads) == max((n for n, end in enumerate(ends) if end <= cut), default=0)
    assert read.flaw is (SegmentEnd.NONE if cut in ends else SegmentEnd.TORN)


@given(payloads, st.data())
def test_no_flipped_bits_make_a_record_that_was_not_written(
    written: list[bytes], data: st.DataObject
) -> None:
    damaged = bytearray(segment(written))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=6)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    assert is_within(decode_segment(bytes(damaged)).payloads, written)


@given(payloads.filter(bool), st.data())
def test_a_flipped_bit_costs_the_record_that_it_is_in_and_no_other(
    written: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(written) - 1))
    begin = len(segment(written[:place]))
    bit = data.draw(st.integers(0, (FRAME_BYTES + len(written[place])) * 8 - 1))
    damaged = bytearray(segment(written))
    damaged[begin + bit // 8] ^= 1 << bit % 8
    read = decode_segment(bytes(damaged))
    assert read.payloads == written[:place] + written[place + 1 :]
    last = place == len(written) - 1
    assert read.flaw is (SegmentEnd.TORN if last else SegmentEnd.DAMAGED)
    assert read.unread == FRAME_BYTES + len(written[place])


@given(payloads, st.integers(1, 5000))
def test_a_file_that_had_only_grown_is_torn(written: list[bytes], zeros: int) -> None:
    read = decode_segment(segment(written) + bytes(zeros))
    assert read == SegmentReading(written, SegmentEnd.TORN, zeros)


@given(payloads.filter(bool))
def test_a_record_out_of_its_place_or_of_another_segment_is_none(written: list[bytes]) -> None:
    other = b"o" * SALT_BYTES
    mine = segment([])
    stray = encode_record(other, len(mine), written[0])
    assert decode_segment(mine + stray).payloads == []
    moved = encode_record(b"s" * SALT_BYTES, len(mine) + 1, written[0])
    assert decode_segment(mine + moved).payloads == []


def test_a_sender_cannot_smuggle_a_record_into_a_payload() -> None:
    salt = b"s" * SALT_BYTES
    guessed = encode_record(b"g" * SALT_BYTES, HEADER_BYTES + FRAME_BYTES, b"not an event")
    data = bytearray(segment([guessed, b"next"], salt))
    data[HEADER_BYTES] ^= 1
    assert decode_segment(bytes(data)).payloads == [b"next"]


def test_a_segment_of_another_version_is_foreign() -> None:
    other = MAGIC[:-1] + b"2" + segment([b"event"])[len(MAGIC) :]
    assert decode_segment(other) == SegmentReading([], SegmentEnd.FOREIGN, len(other))


@pytest.mark.parametrize("data", [b"", b"SUSP", MAGIC, bytes(10), bytes(4096)])
def test_a_segment_that_ends_in_its_header_is_torn(data: bytes) -> None:
    assert decode_segment(data).flaw is SegmentEnd.TORN
