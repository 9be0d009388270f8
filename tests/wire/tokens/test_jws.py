import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.jws import Unverified, bounded_object, parted, read, strict_object

HEADER = b'{"alg":"ES256","kid":"k1","typ":"AT+JWT"}'


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(header: Any = HEADER, payload: bytes = b'{"iss":"i"}', signature: Any = b"sig") -> str:
    return ".".join(map(encode, (header, payload, signature)))


def flaw(token: str, max_bytes: int = 16384) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        read(token, max_bytes)
    return caught.value.code


def test_a_compact_jws_is_taken_apart() -> None:
    assert read(compact(), 16384) == Unverified("ES256", "k1", "at+jwt", {"iss": "i"})


def test_missing_headers_are_empty() -> None:
    assert read(compact(b"{}"), 16384) == Unverified("", None, "", {"iss": "i"})


def test_the_size_limit_is_exact() -> None:
    token = compact()
    read(token, len(token))
    assert flaw(token, len(token) - 1) is Flaw.TOO_LARGE


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", " .", 1),
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.replace(".", "==.", 1),
        lambda token: token + ".",
        lambda token: token + ".e30",
        lambda token: token.rpartition(".")[0],
        lambda token: token[:-1] + "+",
        lambda token: token[:-1] + "/",
        lambda token: token + "AAAAA",
        lambda token: "",
        lambda token: "..",
    ],
)
def test_anything_but_plain_base64url_in_three_parts_is_malformed(spoil: Any) -> None:
    assert flaw(spoil(compact())) is Flaw.MALFORMED


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("h.p.s", ("h.p", "s")),
        ("h.p.", ("h.p", "")),
        (".p.s", (".p", "s")),
        ("..", (".", "")),
        ("opaque", ("opaque", "")),
        ("h.p", ("h.p", "")),
        ("a.b.c.d", ("a.b.c.d", "")),
        ("", ("", "")),
    ],
)
def test_a_compact_jws_is_known_by_what_is_signed(token: str, expected: tuple[str, str]) -> None:
    assert parted(token) == expected


def test_bits_that_base64_would_ignore_are_refused() -> None:
    token = compact(signature=b"x")
    assert token.endswith("eA")
    assert flaw(token[:-1] + "B") is Flaw.MALFORMED


@pytest.mark.parametrize("header", [b'{"crit":["exp"]}', b'{"crit":[]}', b'{"b64":true}'])
def test_critical_extensions_are_refused(header: Any) -> None:
    assert flaw(compact(header)) is Flaw.CRIT_NOT_UNDERSTOOD


@pytest.mark.parametrize("header", [b'{"alg":1}', b'{"kid":7}', b'{"typ":["JWT"]}'])
def test_headers_of_another_type_are_malformed(header: Any) -> None:
    assert flaw(compact(header)) is Flaw.MALFORMED


@pytest.mark.parametrize(
    "document",
    [
        b'{"alg":"none","alg":"ES256"}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b"[]",
        b'"text"',
        b"",
        b"{} {}",
        b"\xff",
        b'\xef\xbb\xbf{"a":1}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda document: repr(document[:20]),
)
def test_json_that_readers_could_read_differently_is_no_document(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the claim is the type
        strict_object(document)


@pytest.mark.parametrize("number", [b"9" * 400, b"[-" + b"9" * 400 + b"]", b"1e999", b"-1e999"])
def test_numbers_that_no_double_can_hold_are_in_no_token(number: bytes) -> None:
    document = b'{"a":' + number + b"}"
    with pytest.raises(ValueError, match="out of range"):
        bounded_object(document)
    assert flaw(compact(payload=document)) is Flaw.MALFORMED
    assert strict_object(document), "its readers compare numbers before they convert them"


def test_numbers_that_a_double_can_hold_are_read_as_they_are() -> None:
    assert bounded_object(b'{"a":18446744073709551617,"b":1e308}') == {"a": 2**64 + 1, "b": 1e308}


def test_escapes_that_stand_for_characters_are_read() -> None:
    assert strict_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


@given(st.text() | st.tuples(st.binary(), st.binary(), st.binary()).map(lambda p: compact(*p)))
def test_no_text_raises_anything_but_invalid_token(text: str) -> None:
    with contextlib.suppress(InvalidToken):
        assert read(text, 16384).claims is not None
