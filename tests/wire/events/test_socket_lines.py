import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import SessionRevoked
from sidecar.wire.events.socket_lines import (
    CheckRequest,
    EventRequest,
    PingRequest,
    Refusal,
    WatchRequest,
    decode_line,
)

NOW = 1_800_000_000.0


def decode(line: Any) -> Any:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    return decode_line(raw, now=NOW, skew=60, new_id=lambda: "fresh")


def test_an_event_is_read_with_its_id_and_wait() -> None:
    event = {"op": "event", "type": "session-revoked", "subject": {"user": "u"}, "ref": 5}
    got = decode(event)
    assert isinstance(got, EventRequest)
    assert isinstance(got.signal, SessionRevoked)
    assert (got.signal.stamp.id, got.wait, got.ref) == ("fresh", None, 5)
    assert decode({**event, "wait": "everywhere"}).wait == 5.0
    assert decode({**event, "wait": "everywhere", "timeout": 0.5}).wait == 0.5


def test_a_check_is_read_with_its_path_and_address_normalised() -> None:
    line = {
        "op": "check",
        "token": "a.b.c",
        "context": "c1, c2",
        "method": "POST",
        "host": "app",
        "path": "/p%61y?y",
        "ip": "::ffff:203.0.113.9",
        "user_agent": "curl",
        "dpop": "x.y.z",
        "certificate": "t",
        "ref": None,
    }
    assert decode(line) == CheckRequest(
        "a.b.c",
        frozenset({"c1", "c2"}),
        "POST",
        "app",
        "/pay",
        "203.0.113.9",
        "curl",
        "x.y.z",
        "t",
        None,
    )
    assert decode({"op": "check", "token": "t", "context": ["c1"]}) == CheckRequest(
        "t", frozenset({"c1"})
    )
    assert decode({"op": "check"}) == CheckRequest("")


def test_a_watch_is_of_some_sessions_or_of_all() -> None:
    assert decode({"op": "watch"}) == WatchRequest(None)
    assert decode({"op": "watch", "sessions": ["a", "b", "a"]}) == WatchRequest(
        frozenset({"a", "b"})
    )
    assert decode({"op": "watch", "sessions": []}) == WatchRequest(frozenset())


@pytest.mark.parametrize("ref", ["", "x" * 256, 0, -(2**62), 1.5, True, False, None])
def test_any_scalar_is_a_reference(ref: Any) -> None:
    assert decode({"op": "ping", "ref": ref}) == PingRequest(ref)


def test_no_reference_is_not_null() -> None:
    assert decode({"op": "ping"}).ref is msgspec.UNSET


@pytest.mark.parametrize(
    ("line", "error", "field"),
    [
        (b"", "invalid_json", ""),
        (b"{", "invalid_json", ""),
        (b"[]", "invalid_json", ""),
        (b"\xff", "invalid_json", ""),
        (b'{"op":"ping","op":"ping"}', "invalid_json", ""),
        (b"[" * 60000, "invalid_json", ""),
        ({}, "unknown_op", "op"),
        ({"op": "chek"}, "unknown_op", "op"),
        ({"op": ["check"]}, "unknown_op", "op"),
        ({"op": "check", "token": 5}, "invalid_token", "token"),
        ({"op": "check", "contxt": "c1"}, "invalid_event", "contxt"),
        ({"op": "check", "context": 5}, "invalid_event", "context"),
        ({"op": "check", "context": ["c1", 5]}, "invalid_event", "context"),
        ({"op": "check", "context": "c 1"}, "invalid_event", "context"),
        ({"op": "check", "path": "/a%2Fb"}, "invalid_event", "path"),
        ({"op": "check", "path": "/pay/../b"}, "invalid_event", "path"),
        ({"op": "check", "path": "/pay/%2e%2e/b"}, "invalid_event", "path"),
        ({"op": "check", "path": "/pay//b"}, "invalid_event", "path"),
        ({"op": "check", "ip": "x"}, "invalid_event", "ip"),
        ({"op": "check", "host": "a\nb"}, "invalid_event", "host"),
        ({"op": "watch", "session": "a"}, "invalid_event", "session"),
        ({"op": "watch", "sessions": "a"}, "invalid_event", "sessions"),
        ({"op": "watch", "sessions": [1]}, "invalid_event", "sessions"),
        ({"op": "watch", "sessions": [""]}, "invalid_event", "sessions"),
        ({"op": "watch", "sessions": ["a"] * 1025}, "invalid_event", "sessions"),
        ({"op": "ping", "x": 1}, "invalid_event", "x"),
        ({"op": "ping", "ref": []}, "invalid_event", "ref"),
        ({"op": "ping", "ref": 2**64}, "invalid_event", "ref"),
        ({"op": "ping", "ref": "x" * 257}, "invalid_event", "ref"),
        (b'{"op":"ping","ref":1e999}', "invalid_event", "ref"),
        ({"op": "event"}, "invalid_event", "type"),
        (
            {"op": "event", "type": "session-revoked", "subject": {"user": "u"}, "wait": "here"},
            "invalid_event",
            "wait",
        ),
        (
            {"op": "event", "type": "session-revoked", "subject": {"user": "u"}, "timeout": 61},
            "invalid_event",
            "timeout",
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_reported_by_code_and_field(
    line: Any, error: Any, field: str | None
) -> None:
    refusal = decode(line)
    assert isinstance(refusal, Refusal)
    assert (refusal.error, refusal.field) == (error, field)
    assert refusal.message


def test_a_refusal_keeps_the_reference() -> None:
    assert decode({"op": "nothing", "ref": "r7"}).ref == "r7"
    assert decode({"op": "event", "ref": "r7"}).ref == "r7"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
members = st.dictionaries(
    st.sampled_from(
        [
            "op",
            "ref",
            "token",
            "context",
            "method",
            "host",
            "path",
            "ip",
            "user_agent",
            "sessions",
            "type",
            "subject",
            "wait",
        ]
    ),
    values,
)


@given(
    st.binary(max_size=200),
    members,
    st.sampled_from(["event", "check", "watch", "ping", None]),
)
def test_no_line_makes_it_raise(raw: bytes, line: Any, op: Any) -> None:
    decode(raw)
    decode(json.dumps({**line, "op": op}).encode())


def test_no_depth_of_an_event_makes_it_raise() -> None:
    event = (
        b'{"op":"event","id":"e1","type":"session-revoked","subject":{"user":"ada"},"data":{"x":'
    )
    for depth in range(1, 1000):
        found = decode(event + b"[" * depth + b"]" * depth + b"}}")
        assert isinstance(found, EventRequest if depth < 63 else Refusal), depth
