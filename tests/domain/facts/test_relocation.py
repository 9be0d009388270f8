"""A session is seen elsewhere where new location data has its address elsewhere."""

from sidecar.domain.facts.fact_kinds import Sighted
from sidecar.domain.facts.relocation import relocated
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp

IP = "192.0.2.1"
HERE, THERE = Place(country="DE", build=1), Place(country="FR", build=2)
EARLIER = Sighted(stamp=Stamp(1, "a"), ip="192.0.2.9", place=THERE)
LAST = Sighted(stamp=Stamp(2, "b"), ip=IP, place=HERE)
NOW = Stamp(3, "c")


def test_the_last_address_is_where_the_new_data_has_it() -> None:
    asked: list[str] = []

    def place_of(ip: str) -> Place:
        asked.append(ip)
        return THERE

    assert relocated((LAST, EARLIER), place_of, NOW) == Sighted(stamp=NOW, ip=IP, place=THERE)
    assert asked == [IP]


def test_another_build_that_says_the_same_is_no_move() -> None:
    assert relocated((LAST,), lambda _: Place(country="DE", build=2), NOW) is None


def test_a_sidecar_without_data_moves_nobody() -> None:
    assert relocated((LAST,), lambda _: Place(), NOW) is None


def test_nobody_moves_who_was_never_seen_or_was_seen_later() -> None:
    assert relocated((), lambda _: THERE, NOW) is None
    assert relocated((LAST,), lambda _: THERE, Stamp(2, "a")) is None
