"""Events drawn from their description: right ones, and ones with some things wrong."""

from typing import Any

from hypothesis import strategies as st

from sidecar.wire.events.kinds import ENVELOPE, EVENTS, SUBJECT_KEYS

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            None,
            True,
            "",
            "a",
            "LOW",
            "not_compliant",
            "Increase",
            "A b",
            "192.0.2.1",
            "2001:db8::1",
        ),
        *(0, -1, 1.5, 101, 1.7e9, 1.9e9, 1e12, [], ["pwd"], [""], [1], {}, {"a": 1}, {"a": None}),
        *({"a": ["x", 2, True]}, {"a": {}}, {"": 1}, "x" * 513, "x" * 1025, ["a", None]),
    ]
)
"""What members may be, and what they may not."""

RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "ip": st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    "amr": st.lists(st.sampled_from(["pwd", "otp"]), max_size=2),
    "current_status": st.sampled_from(["compliant", "Not_Compliant"]),
    "change_type": st.sampled_from(["create", "DELETE"]),
    "change_direction": st.sampled_from(["increase", "Decrease"]),
    "claims": st.sampled_from([{"role": "admin"}, {"role": ["a", 1]}, {"role": None}]),
    "auth_time": st.sampled_from([1.7e9]),
    "exp": st.sampled_from([1.9e9]),
    "weight": st.sampled_from([0, 50, 100]),
    "half_life": st.sampled_from([0, 3600.5]),
}
"""What some members are; others, and levels, are texts."""


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(EVENTS)))
    kind = EVENTS[name]
    levels = st.sampled_from(["low", "HIGH"])
    data = {}
    for key, member in kind.data.items():
        if member.rule.required or draw(st.booleans()):
            data[key] = draw(levels if key == "current_level" else RIGHT.get(key, st.just("a")))
    subject = {draw(st.sampled_from(kind.touches)): "a"}
    event: dict[str, Any] = {"type": name, "subject": subject, "data": data}
    for _ in range(draw(st.integers(0, 2))):
        below = draw(st.sampled_from([event, subject, data]))
        keys = {id(event): [*ENVELOPE, "odd"], id(subject): [*SUBJECT_KEYS, "odd"]}
        key = draw(st.sampled_from(keys.get(id(below), [*kind.data, "more"])))
        if draw(st.booleans()):
            below[key] = draw(ODD)
        else:
            below.pop(key, None)
    return event
