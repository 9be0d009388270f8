import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.grpc.messages import CallRefused, Code, packed, trailers, unpacked


@given(st.binary(max_size=300))
def test_what_is_packed_is_unpacked(message: bytes) -> None:
    assert unpacked(packed(message)) == message


@given(st.binary(max_size=20))
def test_no_body_makes_it_raise_anything_but_its_own_error(body: bytes) -> None:
    with contextlib.suppress(CallRefused):
        assert packed(unpacked(body)) == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (b"\0\0\0\0", Code.INVALID_ARGUMENT),
        (b"\0\0\0\0\2a", Code.INVALID_ARGUMENT),
        (b"\0\0\0\0\1ab", Code.INVALID_ARGUMENT),
        (packed(b"a") * 2, Code.INVALID_ARGUMENT),
        (b"\1\0\0\0\1a", Code.UNIMPLEMENTED),
    ],
)
def test_a_body_that_is_not_one_message_is_refused(body: bytes, code: Code) -> None:
    with pytest.raises(CallRefused) as caught:
        unpacked(body)
    assert caught.value.code is code


def test_trailers_give_the_outcome() -> None:
    assert trailers(Code.OK) == [(b"grpc-status", b"0")]
    assert trailers(Code.INTERNAL, "x") == [(b"grpc-status", b"13"), (b"grpc-message", b"x")]
