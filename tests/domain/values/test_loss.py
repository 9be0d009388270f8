"""Floors: what all sidecars come to agree on, in whatever order they hear of losses."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.loss import ALL_SLOTS, MOST, NOTHING_LOST, Floor, Floors

SPANS = st.tuples(st.integers(0, ALL_SLOTS - 1), st.integers(0, ALL_SLOTS - 1)).map(sorted)
FLOORS = st.builds(
    lambda span, moment, vague: Floor(span[0], span[1], moment, vague),
    SPANS,
    st.integers(1, 10),
    st.booleans(),
)
SLOTS = st.integers(0, ALL_SLOTS - 1)


@given(st.lists(FLOORS, max_size=10), SLOTS)
def test_a_slot_s_floor_is_the_latest_that_covers_it(floors: list[Floor], slot: int) -> None:
    covering = [one.moment for one in floors if one.first <= slot <= one.last]
    assert Floors(floors).of(slot) == max(covering, default=0)


@given(st.lists(FLOORS, max_size=10), st.lists(FLOORS, max_size=10))
def test_the_order_in_which_losses_are_heard_of_does_not_matter(
    first: list[Floor], second: list[Floor]
) -> None:
    assert Floors(first).joined(second) == Floors(second).joined(first)
    assert Floors(first).joined(first) == Floors(first)


@given(st.lists(FLOORS, min_size=MOST + 1, max_size=3 * MOST, unique_by=lambda f: f[:2]), SLOTS)
def test_no_number_of_losses_lowers_a_floor(floors: list[Floor], slot: int) -> None:
    many = Floors(floors)
    assert len(list(many)) <= MOST + 1
    covering = [one.moment for one in floors if one.first <= slot <= one.last]
    assert many.of(slot) >= max(covering, default=0)


def test_a_slot_of_which_nothing_is_lost_has_no_floor() -> None:
    assert NOTHING_LOST.of(1) == 0
    assert not NOTHING_LOST.is_vague(1)
    assert Floors([Floor(0, 9, 5, vague=True)]).is_vague(9)
    assert not Floors([Floor(0, 9, 5, vague=True), Floor(0, 3, 7)]).is_vague(2)
