from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.listening.seats import Seats, SeatState, address_owner

LIMIT = 8
MOST = 6


class Here:
    """Seats, and who has them."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.seats = Seats(limit)
        self.taken: list[Any] = []

    def take(self, owner: str, *, count: int = 1, then: str = "") -> Any:
        """So many connections more; what became of the last, and who made room for it."""
        for _ in range(count):
            seat, left = self.seats.take(owner)
            if left is not None:
                self.taken.remove(left)
                assert left.scope.cancel_called
            if seat is not None:
                self.taken.append(seat)
                if then:
                    seat.works()
                    getattr(seat, then)()
        return seat, left

    def of(self, owner: str) -> int:
        return sum(seat.owner == owner for seat in self.taken)


async def test_who_idles_on_all_its_places_makes_room_for_itself_and_no_other() -> None:
    here = Here()
    first, _ = here.take("flood", then="waits")
    here.take("flood", count=MOST - 1, then="waits")
    _, left = here.take("flood", then="waits")
    assert left is first
    here.take("app", count=2, then="works")
    _, left = here.take("app", then="works")
    assert (here.of("flood"), here.of("app"), left.owner) == (MOST - 1, 3, "flood")


async def test_nobody_loses_a_connection_that_works() -> None:
    here = Here()
    here.take("flood", count=MOST, then="works")
    assert here.take("flood") == (None, None)
    here.take("app", count=2, then="works")
    assert here.take("third") == (None, None)


async def test_who_has_fewer_keeps_what_idles() -> None:
    here = Here()
    here.take("a", count=4, then="waits")
    here.take("b", count=4, then="works")
    assert here.take("b") == (None, None)
    _, left = here.take("c")
    assert left.owner == "a"


async def test_a_watch_ends_only_for_who_has_fewer_connections() -> None:
    here = Here()
    here.take("flood", count=MOST, then="watches")
    assert here.take("flood") == (None, None)
    here.take("app", count=2, then="works")
    _, left = here.take("app", then="works")
    assert left.owner == "flood"


async def test_where_all_look_alike_the_oldest_unfinished_request_makes_room() -> None:
    here = Here(4)
    gateway, _ = here.take("127.0.0.1", then="waits")
    oldest, _ = here.take("127.0.0.1")
    here.take("127.0.0.1")
    for _ in range(20):
        seat, left = here.take("127.0.0.1")
        assert left is not gateway
    assert oldest not in here.taken
    assert gateway in here.taken
    assert seat.waiting is SeatState.NEW


async def test_many_addresses_with_an_unfinished_request_each_lock_nobody_out() -> None:
    here = Here()
    for number in range(LIMIT):
        here.take(f"192.0.2.{number}")
    seat, left = here.take("198.51.100.1")
    assert seat is not None
    assert left.owner == "192.0.2.0"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(("", "waits", "works", "watches"))),
        max_size=40,
    )
)
async def test_no_places_are_taken_that_are_not_there(arrivals: list[tuple[str, str]]) -> None:
    here = Here()
    for owner, then in arrivals:
        before = here.of(owner)
        seat, _ = here.take(owner, then=then)
        assert len(here.taken) <= LIMIT
        assert max(map(here.of, "abc")) <= MOST
        if seat is None:  # nobody who has clearly more could have made room
            assert not any(
                one.waiting is not SeatState.WORKING and here.of(one.owner) > before + 1
                for one in here.taken
                if one.owner != owner and before < MOST
            )
    for one in tuple(here.taken):
        here.seats.leave(one)
    assert here.seats.take("d")[1] is None


async def test_a_place_that_was_given_up_is_given_back_once() -> None:
    here = Here(1)
    first, _ = here.take("a", then="waits")
    here.take("b")
    here.take("a")
    here.seats.leave(first)  # as its task ends, later
    last, _ = here.take("b")
    assert here.taken == [last]


def test_an_ipv6_host_is_one_owner_whatever_its_address() -> None:
    assert address_owner("2001:db8::1") == address_owner("2001:db8::ffff%eth0")
    assert address_owner("2001:db8::1") != address_owner("2001:db8:0:1::1")
    assert address_owner("::ffff:192.0.2.1") == "192.0.2.1"
