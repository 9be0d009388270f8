"""Places on Earth and how fast somebody would have travelled between them."""

import math
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import msgspec

EARTH_RADIUS_KM = 6371.0088


class Place(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, cache_hash=True):
    """The place of an address by the geography databases. Empty or None: they do not say.

    `country` is ISO 3166-1 alpha-2, `region` ISO 3166-2 (`DE-BE`), `latitude` and `longitude`
    are degrees, `accuracy_km` the databases' accuracy radius. `anonymizer` holds the flags of an
    anonymous-IP database (`vpn`, `tor`, `hosting`, `public-proxy`, `residential-proxy`, and
    `anonymous` where it does not say which).
    `meaningless`: the network's location says nothing about its user. `carrier`: it is
    where a mobile carrier hands its users' traffic on, and they may be anywhere in its country.
    `build` is the build epoch of the city database.
    """

    country: str = ""
    region: str = ""
    city: str = ""
    asn: int = 0
    organization: str = ""
    latitude: float | None = None
    longitude: float | None = None
    accuracy_km: float = 0.0
    anonymizer: tuple[str, ...] = ()
    meaningless: bool = False
    build: int = 0
    carrier: bool = False

    @property
    def is_placed(self) -> bool:
        """Return whether its coordinates say something about its user."""
        return self.latitude is not None and self.longitude is not None and not self.meaningless


class Travel(msgspec.Struct, frozen=True, gc=False):
    """A journey between two sightings: `speed` in km/h, `distance` in km, `hours` between."""

    speed: float
    distance: float
    hours: float


def distance_km(a: Place, b: Place) -> float | None:
    """Great-circle distance (haversine); None where either has no coordinates."""
    if a.latitude is None or a.longitude is None or b.latitude is None or b.longitude is None:
        return None
    return _great_circle(a.latitude, a.longitude, b.latitude, b.longitude)


@lru_cache(maxsize=16384)
def _great_circle(latitude: float, longitude: float, other: float, other_longitude: float) -> float:
    phi_a, phi_b = math.radians(latitude), math.radians(other)
    half_phi = (phi_b - phi_a) / 2
    half_lambda = math.radians(other_longitude - longitude) / 2
    h = math.sin(half_phi) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_lambda) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(max(0.0, min(1.0, h))))


UNKNOWN_RADIUS_KM = 50.0
"""The distance from coordinates at which somebody may be if the database has no radius."""

SPEED_LIMIT_KMH = 1_079_252_848.8
"""The speed of light. Two sightings in one instant have no finite speed, and JSON no infinity:
speeds are given as at most this, which no `travel_speed` condition can sensibly exceed."""


class Unmeasured(StrEnum):
    """A reason for which nothing can be said of a journey."""

    NEGATIVE_INTERVAL = "negative-interval"
    LOCATION_MEANINGLESS = "location-meaningless"
    NO_COORDINATES = "no-coordinates"
    WITHIN_CARRIER = "within-the-country-of-a-carrier"
    DATABASE_CHANGED = "database-changed"


class NotEvaluable(msgspec.Struct, frozen=True, gc=False):
    """Nothing can be said of a journey, for this reason. It is neither fast nor slow."""

    reason: Unmeasured


class Waypoint(NamedTuple):
    """An end of a journey: an address, and the place that a database gives it."""

    place: Place
    ip: str


def travel(
    start: Waypoint, end: Waypoint, seconds: float, least_distance_km: float
) -> Travel | NotEvaluable:
    """Return how fast somebody went from one sighting to another, `seconds` later; never raises.

    The least distance that both accuracy radii allow is what counts. Below `least_distance_km`
    the speed is 0: an address moves within a town without anybody moving.
    """
    origin, destination = start.place, end.place
    distance = distance_km(origin, destination)
    if not seconds >= 0:  # not `< 0`, which NaN would pass
        return NotEvaluable(Unmeasured.NEGATIVE_INTERVAL)
    if origin.meaningless or destination.meaningless:
        return NotEvaluable(Unmeasured.LOCATION_MEANINGLESS)
    if distance is None:
        return NotEvaluable(Unmeasured.NO_COORDINATES)
    if (origin.carrier or destination.carrier) and origin.country == destination.country != "":
        return NotEvaluable(Unmeasured.WITHIN_CARRIER)
    # The address stayed, and a newer database only puts it somewhere else.
    if start.ip and start.ip == end.ip and origin.build != destination.build:
        return NotEvaluable(Unmeasured.DATABASE_CHANGED)
    distance = max(0.0, distance - _radius(origin) - _radius(destination))
    hours = seconds / 3600
    return Travel(speed=_speed(distance, hours, least_distance_km), distance=distance, hours=hours)


def _radius(place: Place) -> float:
    return place.accuracy_km or UNKNOWN_RADIUS_KM


def _speed(distance: float, hours: float, least_distance: float) -> float:
    if distance <= 0 or distance < least_distance:
        return 0.0
    # Compared by product: a quotient by a tiny interval overflows.
    if distance >= SPEED_LIMIT_KMH * hours:
        return SPEED_LIMIT_KMH
    return distance / hours
