import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.grpc.protobuf import Message, MessageInvalid, bytes_field, number_field

NUMBERS = st.integers(1, 2**29 - 1)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise_anything_but_its_own_error(data: bytes) -> None:
    with contextlib.suppress(MessageInvalid):
        message = Message(data)
        list(message.messages(1))
        message.message(2).pairs(3)


@given(NUMBERS, st.binary(max_size=300))
def test_what_is_written_is_read(number: int, value: bytes) -> None:
    assert Message(bytes_field(number, value)).text(number) == value


@given(st.dictionaries(NUMBERS, st.binary(max_size=20)), NUMBERS, st.integers(0, 2**63))
def test_fields_that_are_not_asked_for_are_skipped(fields: Any, number: int, value: int) -> None:
    data = b"".join(number_field(number, value) + bytes_field(*one) for one in fields.items())
    message = Message(data + number_field(number, value))
    assert {name: message.text(name) for name in fields} == fields


def test_numbers_of_fixed_size_are_skipped() -> None:
    data = b"\x09" + bytes(8) + b"\x15" + bytes(4) + bytes_field(3, b"x")
    assert Message(data).text(3) == b"x"


def test_a_number_that_is_zero_is_left_out() -> None:
    assert number_field(1, 0) == b""
    assert number_field(1, 300) == b"\x08\xac\x02"  # the example of protobuf's documentation: 150
    assert number_field(1, 150) == b"\x08\x96\x01"


def test_of_a_text_that_comes_twice_the_last_counts() -> None:
    assert Message(bytes_field(1, b"a") + bytes_field(1, b"b")).text(1) == b"b"


def test_messages_that_come_twice_are_merged() -> None:
    data = bytes_field(1, bytes_field(1, b"a")) + bytes_field(1, bytes_field(2, b"b"))
    merged = Message(data).message(1)
    assert (merged.text(1), merged.text(2)) == (b"a", b"b")


def test_a_map_keeps_the_last_value_of_a_key() -> None:
    def entry(key: bytes, value: bytes) -> bytes:
        return bytes_field(3, bytes_field(1, key) + bytes_field(2, value))

    data = entry(b"a", b"1") + entry(b"b", b"2") + entry(b"a", b"3")
    assert Message(data).pairs(3) == {b"a": b"3", b"b": b"2"}


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05abc",  # shorter than it says
        b"\x0a",  # no length
        b"\x80",  # a tag that does not end
        b"\x08" + b"\xff" * 10 + b"\x01",  # a number of more than 64 bits
        b"\x00\x00",  # field 0
        b"\x0b\x0c",  # a group
        b"\x0e",  # wire type 6
        b"\x09\x00",  # half a fixed64
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a length beyond all memory
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageInvalid):
        Message(data)
