"""Whether a session's records are nearly full is known by how much of them has grown."""

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.domain.values.lattice import bound_of, bounded, group_of, join, join_all
from sidecar.service.view.growth import grow, has_room
from sidecar.service.view.live_session import Tracked
from sidecar.service.view.upkeep.fullness import nearly_full, room_in

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


@settings(max_examples=200)
@given(grown=st.lists(FIELDS, max_size=12), folded=st.sampled_from([b"", b"50", b"99"]))
def test_a_group_is_cut_to_its_bound_when_its_record_has_no_room(
    grown: list[dict[bytes, bytes]], folded: bytes
) -> None:
    tracked = Tracked(b"k", 0)
    for fields in grown:
        tracked.room = room_in(tracked.record, folded)
        had_room = has_room(tracked, fields)
        sizes = Counter(map(group_of, tracked.record))
        grow(tracked, fields)
        for group, size in Counter(map(group_of, tracked.record)).items():
            new = sum(group_of(field) == group for field in fields)
            # What is open takes half of the bound, and then the whole is cut.
            most = (
                bound_of(group) * 3 // 2 + new if had_room else max(bound_of(group), sizes[group])
            )
            assert size <= most
    assert bounded(tracked.record) == join_all(grown)


def test_a_record_with_room_for_some_fields_has_none_for_others() -> None:
    tracked = Tracked(b"k", 0)
    assert not has_room(tracked, {b"place:1": b"1"})
    grow(tracked, {b"place:1": b"1", b"seen:s": b"1"})
    assert has_room(tracked, {b"place:2": b"1", b"event:2": b"1", b"seen:s": b"2"})
    assert not has_room(tracked, {b"place:2": b"1", b"seen:another": b"1"})
    assert not has_room(tracked, {b"event:2": b"1"})
