"""Record encoding of what is lost of records."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.lattice import join
from sidecar.domain.values.loss import ALL_SLOTS, Floor, Floors
from sidecar.wire.store.losses import (
    encode_floors,
    encode_moment,
    floors_in,
    lost_before,
    slot_of,
    tag_of,
    vouched,
)

MOMENTS = st.integers(1, 10**15)
FLOORS = st.builds(
    Floor, st.integers(0, 99), st.integers(100, ALL_SLOTS - 1), MOMENTS, st.booleans()
)


@given(st.lists(FLOORS, max_size=8))
def test_floors_come_back_from_a_record_as_they_went_in(floors: list[Floor]) -> None:
    known = Floors(floors)
    assert Floors(floors_in(encode_floors(known))) == known


@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=30)))
def test_no_record_at_all_makes_reading_floors_fail(record: dict[bytes, bytes]) -> None:
    assert isinstance(floors_in(record), list)
    assert lost_before(record, 5) >= 0


def test_floors_that_cannot_be_read_are_left_out() -> None:
    record = {
        b"floor:1-2": encode_moment(7),
        b"floor:1-x": encode_moment(8),
        b"floor:3": encode_moment(9),
        b"floor:5-6": b"soon",
        b"epoch:id": encode_moment(9),
    }
    assert floors_in(record) == [Floor(1, 2, 7)]


@given(st.integers(0, ALL_SLOTS - 1))
def test_each_slot_has_a_hash_tag_that_leads_to_it(slot: int) -> None:
    assert slot_of(f"su:{{{tag_of(slot)}}}:e".encode()) == slot


@given(MOMENTS, MOMENTS)
def test_a_record_for_which_nobody_vouches_is_lost_before_the_floor(one: int, other: int) -> None:
    assert lost_before({}, one) == one
    assert lost_before({}, 0) == 0
    early, late = sorted((one, other + 1))
    record = vouched({}, early, 0)
    assert lost_before(record, early) == 0
    assert lost_before(record, late) == (late if late > early else 0)


@given(MOMENTS, MOMENTS, MOMENTS)
def test_who_holds_a_record_through_a_loss_does_not_excuse_an_earlier_one(
    a: int, b: int, c: int
) -> None:
    first, second, third = sorted({a, b + 10**15, c + 2 * 10**15})
    record: dict[bytes, bytes] = {}
    record = join(record, vouched(record, second, first))
    assert lost_before(record, second) == first
    record = join(record, vouched(record, third, second))
    assert lost_before(record, third) == first
