import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.tokens.claims import Flaw, InvalidToken
from sidecar.wire.tokens.jws import (
    Unverified,
    _carefully,
    _fraction,
    _quickly,
    _whole,
    bounded_object,
    parted,
    read_jws,
    strict_object,
)

HEADER = b'{"alg":"ES256","kid":"k1","typ":"AT+JWT"}'


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(header: Any = HEADER, payload: bytes = b'{"iss":"i"}', signature: Any = b"sig") -> str:
    return ".".join(map(encode, (header, payload, signature)))


def flaw(token: str, max_bytes: int = 16384) -> Flaw:
    with pytest.raises(InvalidToken) as caught:
        read_jws(token, max_bytes)
    return caught.value.code


def test_a_compact_jws_is_taken_apart() -> None:
    assert read_jws(compact(), 16384) == Unverified("ES256", "k1", "at+jwt", {"iss": "i"})


def test_missing_headers_are_empty() -> None:
    assert read_jws(compact(b"{}"), 16384) == Unverified("", None, "", {"iss": "i"})


def test_the_size_limit_is_exact() -> None:
    token = compact()
    read_jws(token, len(token))
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


@given(st.binary(max_size=12), st.text("ABQgwx_-+/= ", max_size=3))
def test_a_part_is_the_one_text_of_its_bytes(raw: bytes, end: str) -> None:
    part = encode(raw)[:-1] + end
    padded = part + "=" * (-len(part) % 4)
    with contextlib.suppress(ValueError):
        read = base64.b64decode(padded, altchars=b"-_", validate=True)
        if encode(read) == part:
            assert read_jws(f"{compact().rpartition('.')[0]}.{part}", 16384).key_id == "k1"
            return
    assert flaw(f"{compact().rpartition('.')[0]}.{part}") is Flaw.MALFORMED


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
        b'{"a":' + b"[" * 975 + b"]" * 975 + b"}",
        b'{"a":' + b"[" * 63 + b"1" + b"]" * 63 + b"}",
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


def test_what_nests_less_than_64_levels_deep_is_read() -> None:
    document = b'{"a":' + b"[" * 62 + b'"{[{["' + b"]" * 62 + b"}"
    assert json.dumps(strict_object(document), separators=(",", ":")).encode() == document


def test_escapes_that_stand_for_characters_are_read() -> None:
    assert strict_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


@given(st.text() | st.tuples(st.binary(), st.binary(), st.binary()).map(lambda p: compact(*p)))
def test_no_text_raises_anything_but_invalid_token(text: str) -> None:
    with contextlib.suppress(InvalidToken):
        assert read_jws(text, 16384).claims is not None


TEXTS = st.sampled_from(
    [
        b'"a"',
        b'"b"',
        b'"\\u0061"',
        b'""',
        b'"{\\""',
        b'"\xc3\xa9"',
        b'"\xed\xa0\x80"',
        b'"\x1f"',
        b'"\x7f"',
        b'"a\\\\"',
        b'"[,:{"',
        b"'a'",
        b'"\\ud83d"',
        b'"\xef\xbb\xbf"',
    ]
)
SCALARS = TEXTS | st.sampled_from(
    [
        b"1",
        b"-0",
        b"0.0",
        b"1e2",
        b"01",
        b"+1",
        b".5",
        b"1E400",
        b"NaN",
        b"-Infinity",
        b"nul",
        b"true",
        b"null",
        b"9007199254740993",
        b"9" * 20,
        b"9" * 5000,
        b"",
        b"/**/1",
    ]
)
SPACE = st.sampled_from([b"", b"", b"", b" ", b"\n\t", b"\x0b", b"\xc2\xa0", b"\x00"])


def _lists(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]")


def _objects(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    member = st.tuples(TEXTS, SPACE, inner).map(lambda m: m[0] + m[1] + b":" + m[2])
    return st.lists(member, max_size=4).map(lambda items: b"{" + b",".join(items) + b"}")


DOCUMENTS = st.recursive(
    SCALARS, lambda inner: _lists(inner) | _objects(inner) | _objects(inner), max_leaves=12
)
BODIES = st.one_of(
    DOCUMENTS,
    _objects(DOCUMENTS),
    st.tuples(SPACE, _objects(DOCUMENTS), SPACE | st.just(b"x")).map(b"".join),
    st.tuples(_objects(DOCUMENTS), st.integers(0, 99), st.binary(max_size=2)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]
    ),
    st.integers(1, 70).map(lambda n: b'{"a":' * n + b"1" + b"}" * n),
)


@given(BODIES)
def test_a_document_is_read_quickly_as_it_is_read_carefully(body: bytes) -> None:
    for read, numbers in ((strict_object, (None, None)), (bounded_object, (_fraction, _whole))):
        try:
            careful = repr(_carefully(body, *numbers))
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011 - the claim is the type
                read(body)
        else:
            assert repr(read(body)) == careful


@pytest.mark.parametrize(
    ("body", "quickly"),
    [
        (b'{"a":{"b":[1,true,null,"c"]}}', True),
        (b'{"a":{"b":1,"b":1}}', False),
        (b'{"a":1.0}', False),
        (b'{"a":9007199254740992}', False),
        (b'{"a":"\\n"}', False),
    ],
)
def test_plain_documents_are_read_quickly(body: bytes, quickly: bool) -> None:
    assert (_quickly(body) is not None) is quickly
