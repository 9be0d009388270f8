import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.facts.signal import RiskLevelChange, SessionEstablished, SessionPresented
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.tuning.recording.occurrences import (
    LoggedMark,
    Occurrence,
    PassedOver,
    Recorded,
    RecordedCall,
    read_line,
)
from sidecar.wire.events.members import InvalidSignal


def line(**members: object) -> bytes:
    return msgspec.json.encode(members)


def read(**members: object) -> Recorded:
    return read_line(line(**members))


def occurrence(**members: object) -> Occurrence:
    found = read(**members)
    assert isinstance(found, Occurrence)
    return found


SESSION = {"session": "s1", "user": "ada"}


def test_an_event_is_read_as_the_daemon_reads_it() -> None:
    found = occurrence(
        type="risk-level-change",
        time=100,
        id="e1",
        subject={"user": "ada"},
        data={"current_level": "HIGH"},
    )
    assert isinstance(found.signal, RiskLevelChange)
    assert (found.signal.stamp, found.call, found.attack) == ((100_000_000, "e1"), None, None)


def test_an_event_may_describe_a_call_its_place_its_claims_and_its_label() -> None:
    found = occurrence(
        type="session-presented",
        time="2026-09-22T10:00:00+02:00",
        subject=SESSION,
        data={
            "ip": "192.0.2.1",
            "method": "POST",
            "path": "/p%61y/1?x=2",
            "place": {"country": "DE", "latitude": 52.5, "longitude": 13.4},
            "claims": {"groups": ["finance", "staff"], "tenant": "a"},
        },
        label="attack",
        app="payroll",
        context="c1",
    )
    assert found.signal.stamp.time == 1_790_064_000_000_000
    assert found.call == RecordedCall(("c1",), "POST", "", "/pay/1")
    assert found.place == Place(country="DE", latitude=52.5, longitude=13.4)
    assert found.claims == (("groups", ("finance", "staff")), ("tenant", ("a",)))
    assert (found.attack, found.app, found.is_event) == (True, "payroll", True)


def test_a_sign_in_that_does_not_say_when_it_was_was_made_at_its_time() -> None:
    data = {"acr": "mfa"}
    found = occurrence(type="session-established", time=100.7, subject=SESSION, data=data)
    assert isinstance(found.signal, SessionEstablished)
    assert found.signal.auth_time == 100


def test_claims_are_read_as_those_of_tokens_are() -> None:
    claims = {"level": 3.0, "external": True, "none": None, "team": ["a", "Jose\u0301"]}
    found = occurrence(type="session-presented", time=1, subject=SESSION, claims=claims)
    assert dict(found.claims) == {
        "level": ("3",),
        "external": ("true",),
        "none": (),
        "team": ("a", "Jos\u00e9"),
    }


def test_a_check_is_a_sighting_with_a_call_and_maybe_a_proof() -> None:
    found = occurrence(
        op="check",
        time=100,
        session="s1",
        user="ada",
        device="d1",
        ip="192.0.2.1",
        context=["c1", "c2"],
        acr="mfa",
        auth_time=90,
    )
    signal = found.signal
    assert isinstance(signal, SessionPresented)
    assert (signal.subject.session, signal.subject.device, signal.ip) == ("s1", "d1", "192.0.2.1")
    assert found.call == RecordedCall(("c1", "c2"))
    assert found.authentication == Authentication(90, "mfa")
    assert not found.is_event


def test_a_routine_check_is_a_call_in_no_context() -> None:
    assert occurrence(op="check", time=1, session="s1").call == RecordedCall()


def test_the_daemons_log_gives_calls_and_marks_and_the_rest_is_passed_over() -> None:
    said = {"time": "2026-09-22T10:00:00.123Z", "level": "info"}
    checked = read(**said, event="checked", decision="allow", context="c1,c2", session="s1")
    assert isinstance(checked, Occurrence)
    assert checked.call == RecordedCall(("c1", "c2"))
    marked = read(**said, event="session-marked", policy="p", session="s1")
    assert marked == LoggedMark("p", report_only=False)
    tried = read(**said, event="session-would-be-marked", policy="p", session="s1")
    assert tried == LoggedMark("p", report_only=True)
    many = {**said, "event": "session-marked", "policy": "p", "session": "s1", "and": 41}
    assert read(**many) == LoggedMark("p", report_only=False, count=42)
    assert read(**said, event="store-up") == PassedOver("store-up")
    undecided = {"decision": "unavailable", "session": "s1", "context": ""}
    assert read(**said, event="checked", **undecided) == PassedOver("checked")


def test_without_an_id_the_line_itself_is_one() -> None:
    one = occurrence(type="session-established", time=1, subject=SESSION)
    same = occurrence(type="session-established", time=1, subject=SESSION)
    other = occurrence(type="session-established", time=2, subject=SESSION)
    assert isinstance(one.signal, SessionEstablished)
    assert one.signal.stamp == same.signal.stamp
    assert one.signal.stamp.id != other.signal.stamp.id


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"type": "session-presented", "subject": SESSION}, "time"),
        ({"type": "session-presented", "subject": SESSION, "time": "noon"}, "time"),
        ({"type": "session-presented", "subject": SESSION, "time": True}, "time"),
        ({"type": "dance", "time": 1}, "type"),
        ({"type": "session-presented", "time": 1, "subject": {"user": "a"}}, "subject.session"),
        ({"type": "session-presented", "time": 1, "subject": SESSION, "label": "maybe"}, "label"),
        ({"type": "session-presented", "time": 1, "subject": SESSION, "path": "/%2f"}, "path"),
        (
            {"type": "session-presented", "time": 1, "subject": SESSION, "place": {"x": 1}},
            "place.x",
        ),
        (
            {"type": "session-presented", "time": 1, "subject": SESSION, "place": {"asn": "x"}},
            "place.asn",
        ),
        ({"type": "session-presented", "time": 1, "subject": SESSION, "claims": [1]}, "claims"),
        (
            {"type": "session-presented", "time": 1, "subject": SESSION, "claims": {"a": {}}},
            "claims.a",
        ),
        (
            {
                "type": "session-established",
                "time": 1,
                "subject": SESSION,
                "data": {"auth_time": 100},
            },
            "data.auth_time",
        ),
        ({"op": "check", "time": 1, "token": "x"}, "session"),
        ({"op": "check", "time": 1, "session": "s1", "contxt": "c1"}, "contxt"),
        ({"op": "check", "time": 1, "session": "s1", "ip": "nowhere"}, "data.ip"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_field(
    members: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidSignal) as caught:
        read(**members)
    assert caught.value.field == field


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"{", b'{"a":1}x', b"\xff"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidSignal):
        read_line(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("type", "op", "time", "id", "subject", "session", "data", "label", "context"),
                *("path", "place", "claims", "level", "event", "policy", "ip", "auth_time"),
            ]
        ),
        _JSON
        | st.sampled_from(
            ["check", "session-presented", "checked", "session-marked", {"session": "s"}]
        ),
    )
)
def test_no_object_makes_it_raise_anything_but_its_own_error(members: dict[str, object]) -> None:
    try:
        encoded = msgspec.json.encode(members)
        read_line(encoded)
    except (InvalidSignal, UnicodeEncodeError):
        pass
