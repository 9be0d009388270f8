import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.location import (
    EARTH_RADIUS_KM,
    SPEED_LIMIT_KMH,
    UNKNOWN_RADIUS_KM,
    NotEvaluable,
    Place,
    Travel,
    Unmeasured,
    Waypoint,
    distance_km,
    travel,
)

BERLIN = Place(country="DE", latitude=52.52, longitude=13.405, build=1)
LISBON = Place(country="PT", latitude=38.7223, longitude=-9.1393, build=1)
MUNICH = Place(country="DE", latitude=48.137, longitude=11.575, accuracy_km=20, build=1)
HALF_ROUND = math.pi * EARTH_RADIUS_KM

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
places = st.builds(
    Place,
    latitude=latitudes,
    longitude=longitudes,
    accuracy_km=st.floats(1, 1000),  # 0: not measured
    build=st.just(1),
)
seconds = st.floats(0, 1e9)


def measured(journey: Travel | NotEvaluable) -> Travel:
    assert isinstance(journey, Travel)
    return journey


def go(a: Place, b: Place, after: float, least: float = 100.0) -> Travel:
    return measured(travel(Waypoint(a, "192.0.2.1"), Waypoint(b, "198.51.100.1"), after, least))


def apart(a: Place, b: Place) -> float:
    distance = distance_km(a, b)
    assert distance is not None
    return distance


@pytest.mark.parametrize(
    ("a", "b", "kilometres"),
    [
        ((52.52, 13.405), (38.7223, -9.1393), 2312),
        ((40.7128, -74.006), (51.5074, -0.1278), 5570),
        ((-23.5505, -46.6333), (1.3521, 103.8198), 16002),
    ],
)
def test_known_cities_are_as_far_apart_as_an_atlas_says(
    a: tuple[float, float], b: tuple[float, float], kilometres: float
) -> None:
    distance = apart(Place(latitude=a[0], longitude=a[1]), Place(latitude=b[0], longitude=b[1]))
    assert distance == pytest.approx(kilometres, rel=0.005)


@given(places, places)
def test_distance_is_the_same_in_both_directions(a: Place, b: Place) -> None:
    assert apart(a, b) == pytest.approx(apart(b, a), abs=1e-6)


@given(places)
def test_a_place_is_no_distance_from_itself(a: Place) -> None:
    assert apart(a, a) == 0


@given(places, places, places)
def test_no_detour_is_shorter_than_the_way(a: Place, b: Place, c: Place) -> None:
    # Near antipodes the haversine is good to some metres only.
    assert apart(a, c) <= apart(a, b) + apart(b, c) + 0.5


@given(places, places)
def test_nothing_is_farther_than_half_way_round(a: Place, b: Place) -> None:
    assert 0 <= apart(a, b) <= HALF_ROUND + 1e-6


@given(latitudes, st.floats(-180, 0))
def test_antipodes_are_half_way_round(latitude: float, longitude: float) -> None:
    a = Place(latitude=latitude, longitude=longitude)
    b = Place(latitude=-latitude, longitude=longitude + 180)
    assert apart(a, b) == pytest.approx(HALF_ROUND, abs=0.5)


@given(latitudes)
def test_the_date_line_is_no_distance_wide(latitude: float) -> None:
    east = Place(latitude=latitude, longitude=180.0)
    west = Place(latitude=latitude, longitude=-180.0)
    assert apart(east, west) == pytest.approx(0, abs=1e-6)


@given(longitudes, longitudes, st.sampled_from([90.0, -90.0]))
def test_at_a_pole_every_longitude_is_the_same_place(one: float, other: float, pole: float) -> None:
    a, b = Place(latitude=pole, longitude=one), Place(latitude=pole, longitude=other)
    assert apart(a, b) == pytest.approx(0, abs=1e-6)


@given(places, places, seconds, seconds)
def test_more_time_never_makes_a_journey_faster(
    a: Place, b: Place, one: float, other: float
) -> None:
    soon, late = sorted((one, other))
    assert go(a, b, soon).speed >= go(a, b, late).speed


@given(places, places, seconds, st.floats(0, 500))
def test_less_accuracy_never_makes_a_journey_faster(
    a: Place, b: Place, after: float, more: float
) -> None:
    vague = Place(latitude=a.latitude, longitude=a.longitude, accuracy_km=a.accuracy_km + more)
    assert go(vague, b, after).speed <= go(a, b, after).speed


@given(places, places, seconds)
def test_a_journey_back_is_as_fast_as_the_journey_there(a: Place, b: Place, after: float) -> None:
    assert go(a, b, after).speed == pytest.approx(go(b, a, after).speed, rel=1e-6, abs=1e-6)


@given(places, places, seconds, st.floats(0, 1000))
def test_every_measured_journey_is_finite_and_never_negative(
    a: Place, b: Place, after: float, least: float
) -> None:
    journey = go(a, b, after, least)
    assert 0 <= journey.speed <= SPEED_LIMIT_KMH
    assert 0 <= journey.distance <= HALF_ROUND + 1e-6
    assert journey.hours == after / 3600


def test_hours_are_fractional() -> None:
    journey = go(BERLIN, LISBON, 1800)
    assert journey.hours == 0.5
    assert journey.speed == pytest.approx(2 * journey.distance)


def test_both_accuracy_radii_shorten_the_distance() -> None:
    vague = Place(latitude=38.7223, longitude=-9.1393, accuracy_km=500, build=1)
    rough = Place(latitude=52.52, longitude=13.405, accuracy_km=300, build=1)
    assert go(rough, vague, 3600).distance == pytest.approx(apart(BERLIN, LISBON) - 800)


def test_coordinates_without_a_radius_are_not_taken_for_exact() -> None:
    measured = msgspec.structs.replace(BERLIN, accuracy_km=UNKNOWN_RADIUS_KM)
    assert go(BERLIN, LISBON, 3600) == go(measured, LISBON, 3600)


def test_within_its_country_a_carriers_egress_says_nothing_of_its_users_journeys() -> None:
    egress = msgspec.structs.replace(MUNICH, carrier=True)
    assert go(BERLIN, MUNICH, 60).speed > 900
    for a, b in ((BERLIN, egress), (egress, BERLIN), (egress, egress)):
        measured = travel(Waypoint(a, "192.0.2.1"), Waypoint(b, "198.51.100.1"), 60, 100.0)
        assert measured == NotEvaluable(Unmeasured.WITHIN_CARRIER)


def test_a_carriers_egress_in_another_country_is_a_journey() -> None:
    egress = msgspec.structs.replace(MUNICH, carrier=True)
    assert go(LISBON, egress, 60).speed > 900
    unknown = msgspec.structs.replace(egress, country="")
    assert go(BERLIN, unknown, 60).speed > 900


def test_overlapping_accuracy_radii_leave_no_distance() -> None:
    vague = Place(latitude=38.7223, longitude=-9.1393, accuracy_km=3000, build=1)
    assert go(BERLIN, vague, 0) == Travel(speed=0.0, distance=0.0, hours=0.0)


def test_less_than_the_least_distance_counts_as_standing_still() -> None:
    distance = apart(BERLIN, LISBON) - 2 * UNKNOWN_RADIUS_KM
    assert go(BERLIN, LISBON, 60, least=distance + 1).speed == 0
    assert go(BERLIN, LISBON, 60, least=distance).speed > 0


def test_two_places_in_one_instant_are_at_the_speed_limit() -> None:
    assert go(BERLIN, LISBON, 0).speed == SPEED_LIMIT_KMH


@pytest.mark.parametrize("after", [5e-324, 1e-300, 1e-9])
def test_a_tiny_interval_does_not_overflow(after: float) -> None:
    assert go(BERLIN, LISBON, after).speed == SPEED_LIMIT_KMH


def test_one_place_in_one_instant_is_standing_still() -> None:
    assert go(BERLIN, BERLIN, 0, least=0).speed == 0


@pytest.mark.parametrize("after", [-1e-9, -3600.0, math.nan, -math.inf])
def test_time_that_runs_backwards_is_not_evaluable(after: float) -> None:
    journey = travel(Waypoint(BERLIN, "192.0.2.1"), Waypoint(LISBON, "198.51.100.1"), after, 100)
    assert journey == NotEvaluable(Unmeasured.NEGATIVE_INTERVAL)


@pytest.mark.parametrize("place", [Place(), Place(latitude=1.0), Place(longitude=1.0)])
def test_missing_coordinates_are_not_evaluable(place: Place) -> None:
    for a, b in ((place, BERLIN), (BERLIN, place)):
        journey = travel(Waypoint(a, "192.0.2.1"), Waypoint(b, "198.51.100.1"), 60, 100)
        assert journey == NotEvaluable(Unmeasured.NO_COORDINATES)


def test_a_meaningless_location_at_either_end_is_not_evaluable() -> None:
    relay = Place(latitude=38.7, longitude=-9.1, meaningless=True)
    for a, b in ((relay, BERLIN), (BERLIN, relay)):
        journey = travel(Waypoint(a, "192.0.2.1"), Waypoint(b, "198.51.100.1"), 60, 100)
        assert journey == NotEvaluable(Unmeasured.LOCATION_MEANINGLESS)


def test_an_address_that_only_the_database_moved_is_not_evaluable() -> None:
    moved = Place(latitude=38.7, longitude=-9.1, build=2)
    journey = travel(Waypoint(BERLIN, "192.0.2.1"), Waypoint(moved, "192.0.2.1"), 60, 100)
    assert journey == NotEvaluable(Unmeasured.DATABASE_CHANGED)


def test_a_new_database_does_not_excuse_a_new_address() -> None:
    moved = Place(latitude=38.7, longitude=-9.1, build=2)
    assert (
        measured(travel(Waypoint(BERLIN, "192.0.2.1"), Waypoint(moved, "192.0.2.2"), 60, 100)).speed
        > 1000
    )


def test_two_unknown_addresses_are_not_the_same_address() -> None:
    moved = Place(latitude=38.7, longitude=-9.1, build=2)
    assert measured(travel(Waypoint(BERLIN, ""), Waypoint(moved, ""), 60, 100)).speed > 1000
