"""Whether a session's records are nearly full is known by how much of them has grown."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.domain.values.lattice import bound_of, join
from sidecar.service.view.growth import grow
from sidecar.service.view.live_session import Tracked
from sidecar.wire.store.records import nearly_full, room_in

GROUPS = [
    b"place",
    b"auth@idp",
    b"risk@siem",
    b"event",
    b"seen@idp",
    b"assurance",
    b"told",
    b"device",
]
FIELDS = st.dictionaries(
    st.tuples(st.sampled_from(GROUPS), st.integers(0, 40)).map(lambda p: b"%s:%d\n" % p),
    st.integers(0, 99).map(lambda n: b"%02d" % n),
    max_size=12,
)


@settings(max_examples=200)
@example(
    first={b"assurance:0\n": b"00"},
    grown=[{b"assurance:%d\n" % n: b"00" for n in (1, 2, 3)}],
    folded=b"",
)
@given(first=FIELDS, grown=st.lists(FIELDS, max_size=12), folded=st.sampled_from([b"", b"50"]))
def test_a_record_with_room_is_not_nearly_full(
    first: dict[bytes, bytes], grown: list[dict[bytes, bytes]], folded: bytes
) -> None:
    tracked = Tracked(b"k", 0)
    tracked.record = join({}, first)
    for fields in ({}, *grown):
        grow(tracked, fields)
        is_full = nearly_full(tracked.record, bound_of, folded)
        assert not (is_full and tracked.room)
        assert (room_in(tracked.record, folded) == 0) is is_full
        tracked.room = room_in(tracked.record, folded)
