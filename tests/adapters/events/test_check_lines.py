"""What is read of a check line in one step is what the plain reader reads of it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.adapters.events.check_lines import call_of, plain_call
from sidecar.wire.events.socket_lines import CHECK_TEXTS, CheckRequest, decode_line

NAMES = [*CHECK_TEXTS, "op", "context", "ip", "ref", "other"]

texts = st.one_of(
    st.sampled_from(["", "check", "ping", "c1", "c1,c2", "GET", "/pay", "/pay/%61?x", "/a/../b"]),
    st.sampled_from(["192.0.2.1", "::ffff:192.0.2.1", "[::1]:80", "fe80::1%x", "a.b.c", '"', "\\"]),
    st.sampled_from(["x" * 33, "x" * 65, "x" * 257, "x" * 261, "x" * 1025, "/" + "y" * 300]),
    st.text(max_size=6),
    st.text('\x00\x1f\x7f\x80\xe9\ud800\u2028"\\:,{}', max_size=4),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
values = st.one_of(
    texts, scalars, st.lists(scalars, max_size=3), st.dictionaries(texts, scalars, max_size=2)
)
raw_values = st.one_of(
    st.builds(json.dumps, values),
    st.builds(lambda value: json.dumps(value, ensure_ascii=False), values),
    st.sampled_from(["1e999", "-0", "1.0", "1E400", "NaN", "Infinity", "01", "-", "1e5", "0.1e1"]),
    st.sampled_from(['"\\u0063heck"', '"\\ud800"', "[" * 2000, '[["a"]]', '"\x7f"', '"\t"', "[]"]),
)
members = st.lists(st.tuples(st.sampled_from(NAMES), raw_values), max_size=6)
spaces = st.sampled_from(["", " ", "\t", "\r", "\x0c", "\ufeff", "\x00"])


@st.composite
def lines(draw: Any) -> bytes:
    """A check line with anything in it: members named again, too, and what is no JSON."""
    pairs: list[tuple[str, str]] = [("op", '"check"'), ("token", '"a.b.c"'), *draw(members)]
    named = (f"{draw(spaces)}{json.dumps(name)}{draw(spaces)}:{raw}" for name, raw in pairs)
    text: str = "{" + ",".join(named) + "}" + draw(spaces)
    return text.encode("utf-8", "surrogatepass")


def read(line: bytes) -> Any:
    return decode_line(line, now=0.0, skew=0.0, new_id=lambda: "fresh")


def agree(line: bytes) -> bool:
    """Return whether the line was plain; what was read of it is what the plain reader reads."""
    found = plain_call(line)
    if found is not None:
        expected = read(line)
        assert isinstance(expected, CheckRequest), line
        assert found == (call_of(expected), expected.ref), line
        assert repr(found[1]) == repr(expected.ref)
    return found is not None


@settings(max_examples=600, deadline=None)
@given(lines())
@example(b'{"op":"check","op":"check"}')
@example(b'{"op":"check","token":"","token":"a"}')
@example(b'{"op":"check","token":"a","token":""}')
@example(b'{"op":"check","ref":1,"ref":"a"}')
@example(b'{"op":"check","context":["c1"],"context":[]}')
@example(b'{"op":"check","context":[],"ref":0}')
def test_what_is_read_in_one_step_is_what_the_plain_reader_reads(line: bytes) -> None:
    agree(line)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_are_read_in_another_way(line: bytes) -> None:
    agree(line)
    agree(b'{"op":"check",' + line + b"}")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"token": "a.b.c", "ref": 7},
        {"context": "c1", "method": "GET", "host": "h", "path": "/a", "ip": "::1", "ref": "x"},
        {"context": ["c1", "c2"], "user_agent": "x", "dpop": "a.b.c", "certificate": "t"},
        {"path": "/%61?b", "ip": "::ffff:192.0.2.1", "ref": None},
        {"ref": 1.5},
        {"ref": False},
    ],
)
def test_what_clients_send_is_read_in_one_step(more: Any) -> None:
    assert agree(json.dumps({"op": "check", **more}).encode())


@pytest.mark.parametrize("name", CheckRequest.__struct_fields__)
def test_a_member_that_is_named_twice_is_left_to_the_plain_reader(name: str) -> None:
    name = "context" if name == "contexts" else name
    for first in ('"1"', '""', "1", "null", "[]", '["1"]'):
        for second in ('"/1"', '"::1"', "1", "null", '["1"]'):
            line = f'{{"op":"check","{name}":{first},"{name}":{second}}}'.encode()
            assert plain_call(line) is None
            assert read(line).error == "invalid_json"


def test_contexts_at_length_are_left_to_the_plain_reader_and_not_remembered() -> None:
    for named in ("c1" + "," * 60_000, ["c1", " " * 60_000], ["c1"] * 10_000):
        line = json.dumps({"op": "check", "context": named}).encode()
        assert not agree(line)
        assert read(line).contexts == {"c1"}


def test_nothing_but_a_check_is_read_in_one_step() -> None:
    for op in ("ping", "watch", "event", "Check"):
        assert plain_call(msgspec.json.encode({"op": op})) is None
