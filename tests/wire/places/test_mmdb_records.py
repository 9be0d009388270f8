import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.places.mmdb_records import (
    Fields,
    Flags,
    InvalidPlaceRecord,
    Location,
    SystemOperator,
    flags,
)
from sidecar.wire.settings.settings import FieldMap

MAXMIND = Fields(FieldMap())
FLAT = Fields(
    FieldMap(
        country="country_code",
        region="state1",
        city="city",
        latitude="latitude",
        longitude="longitude",
        accuracy_km="",
        asn="asn",
        organization="as_name",
    )
)
NESTED_RECORD = {
    "country": {"iso_code": "GB"},
    "subdivisions": [{"iso_code": "ENG"}, {"iso_code": "WBK"}],
    "city": {"names": {"en": "Boxford", "de": "?"}},
    "location": {"latitude": 51.75, "longitude": -1.25, "accuracy_radius": 100},
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
likely_keys = st.sampled_from(
    [
        *("country", "iso_code", "subdivisions", "city", "names", "en", "location", "latitude"),
        *("longitude", "accuracy_radius", "autonomous_system_number", "traits", "is_anonymous"),
        *("autonomous_system_organization", "is_anonymous_vpn", "is_anycast", "0"),
    ]
)
records = st.recursive(
    values, lambda inner: st.dictionaries(likely_keys, inner) | st.lists(inner), max_leaves=20
)


def test_maxmind_nested_records_are_read_by_default() -> None:
    assert MAXMIND.location(NESTED_RECORD) == Location(
        "GB", "GB-ENG", "Boxford", 51.75, -1.25, 100.0
    )


def test_flat_records_are_read_by_their_own_names() -> None:
    record = {
        "country_code": "de",
        "state1": "DE-BE",
        "city": "Berlin",
        "latitude": "52.52",
        "longitude": "13.405",
    }
    assert FLAT.location(record) == Location("DE", "DE-BE", "Berlin", 52.52, 13.405, 0.0)


def test_a_country_record_has_no_coordinates() -> None:
    assert MAXMIND.location({"country": {"iso_code": "SE"}}) == Location("SE")


def test_a_registered_country_is_no_country() -> None:
    assert MAXMIND.location({"registered_country": {"iso_code": "SE"}}) == Location()


def test_a_registered_country_is_one_where_it_is_configured() -> None:
    fields = Fields(FieldMap(country="registered_country.iso_code"))
    assert fields.location({"registered_country": {"iso_code": "SE"}}).country == "SE"


def test_an_empty_path_leads_nowhere() -> None:
    assert Fields(FieldMap(city="")).location({"": "Berlin", **NESTED_RECORD}).city == ""


@pytest.mark.parametrize("nothing", [None, "", "-", "ZZ", "XX", "EU", "AP", "A1", "T1"])
def test_what_databases_write_for_an_unknown_country_is_unknown(nothing: Any) -> None:
    assert FLAT.location({"country_code": nothing, "city": "Berlin"}) == Location(city="Berlin")


@pytest.mark.parametrize(("written", "meant"), [("UK", "GB"), ("el", "GR"), ("xk", "XK")])
def test_a_code_that_can_only_mean_one_country_is_read_as_it(written: str, meant: str) -> None:
    assert FLAT.location({"country_code": written}).country == meant


@pytest.mark.parametrize(
    ("region", "expected"), [("BE", "DE-BE"), ("DE-BE", "DE-BE"), ("Berlin", "DE-Berlin"), ("", "")]
)
def test_a_region_is_spelt_with_its_country(region: str, expected: Any) -> None:
    assert FLAT.location({"country_code": "DE", "state1": region}).region == expected


@pytest.mark.parametrize(
    "coordinates",
    [
        {"latitude": 52.5},
        {"longitude": 13.4},
        {"latitude": 0, "longitude": 0.0},
        {"latitude": "-", "longitude": "-"},
        {"latitude": math.nan, "longitude": 0},
        {"latitude": None, "longitude": 13.4},
    ],
)
def test_half_a_pair_of_coordinates_or_the_null_island_are_none(
    coordinates: dict[str, Any],
) -> None:
    location = FLAT.location(coordinates)
    assert location.latitude is None
    assert location.longitude is None


@pytest.mark.parametrize(
    "record",
    [
        {"country_code": 49},
        {"country_code": "DEU"},
        {"country_code": "1A"},
        {"country_code": {"iso_code": "DE"}},
        {"city": ["Berlin"]},
        {"latitude": 90.1, "longitude": 0},
        {"latitude": 1, "longitude": -180.5},
        {"latitude": math.inf, "longitude": 0},
        {"latitude": True, "longitude": 0},
        {"latitude": "north", "longitude": 0},
        {"latitude": 10**400, "longitude": 0},
        {"latitude": [1.0], "longitude": 0},
    ],
)
def test_a_field_of_the_wrong_kind_makes_an_invalid_record(record: Any) -> None:
    with pytest.raises(InvalidPlaceRecord):
        FLAT.location(record)


def test_a_negative_accuracy_makes_an_invalid_record() -> None:
    with pytest.raises(InvalidPlaceRecord, match="accuracy_km"):
        MAXMIND.location({"location": {"accuracy_radius": -1}})


@pytest.mark.parametrize("record", ["text", 7, [], b"", True])
def test_a_record_that_is_no_map_is_invalid(record: Any) -> None:
    for read in (MAXMIND.location, MAXMIND.operator):
        with pytest.raises(InvalidPlaceRecord):
            read(record)


@pytest.mark.parametrize(
    ("found", "expected"),
    [(64496, 64496), ("64496", 64496), ("AS64496", 64496), ("as64496", 64496), ("", 0), ("-", 0)],
)
def test_an_as_number_may_be_text(found: Any, expected: Any) -> None:
    operator = FLAT.operator({"asn": found, "as_name": "Example"})
    assert operator == SystemOperator(expected, "Example")


@pytest.mark.parametrize("found", [-1, 2**32, "ASX", "AS٣", "1" * 5000, 1.5, True, [64496]])
def test_what_is_no_as_number_makes_an_invalid_record(found: Any) -> None:
    with pytest.raises(InvalidPlaceRecord):
        FLAT.operator({"asn": found})


@pytest.mark.parametrize(
    ("record", "kinds"),
    [
        ({"is_anonymous": True, "is_anonymous_vpn": True}, ("vpn",)),
        ({"is_hosting_provider": True}, ("hosting",)),
        ({"is_public_proxy": True, "is_tor_exit_node": True}, ("public-proxy", "tor")),
        ({"is_residential_proxy": True}, ("residential-proxy",)),
        ({"is_anonymous": True}, ("anonymous",)),
        ({"is_anonymous": True, "is_anonymous_vpn": False}, ("anonymous",)),
        ({"traits": {"is_anonymous_proxy": True}}, ("public-proxy",)),
        ({"vpn": "true", "tor": "false", "proxy": "", "hosting": 1}, ("hosting", "vpn")),
        ({"is_anonymous": False, "is_anonymous_vpn": False}, ()),
        ({"is_anycast": True}, ()),
        ({}, ()),
    ],
)
def test_flags_become_kinds_of_anonymizer(record: Any, kinds: tuple[str, ...]) -> None:
    assert flags(record).anonymizer == kinds


@pytest.mark.parametrize(
    "record",
    [
        {"traits": {"is_satellite_provider": True}},
        {"traits": {"is_anycast": True}},
        {"relay": "true"},
    ],
)
def test_users_of_satellites_relays_and_anycast_are_elsewhere_but_not_anonymous(
    record: Any,
) -> None:
    assert flags(record) == Flags((), elsewhere=True, has_anonymizer=True)


def test_a_record_without_flags_has_no_anonymizer() -> None:
    assert not flags(NESTED_RECORD).has_anonymizer
    assert flags({"is_anonymous_vpn": False}).has_anonymizer


@given(records)
def test_no_record_raises_anything_but_its_own_error(record: Any) -> None:
    flags(record)
    for read in (MAXMIND.location, FLAT.location, MAXMIND.operator, FLAT.operator):
        try:
            read(record)
        except InvalidPlaceRecord:
            continue


@given(st.dictionaries(st.sampled_from(["latitude", "longitude", "country_code"]), values))
def test_what_is_read_is_always_a_location_on_earth(record: Any) -> None:
    try:
        location = FLAT.location(record)
    except InvalidPlaceRecord:
        return
    assert (location.latitude is None) == (location.longitude is None)
    assert location.latitude is None or -90 <= location.latitude <= 90
    assert location.longitude is None or -180 <= location.longitude <= 180
    assert len(location.country) in (0, 2)


@pytest.mark.parametrize(
    "record",
    [
        {"connection_type": "Cellular"},  # GeoIP2 Connection-Type
        {"traits": {"connection_type": "Cellular"}},  # GeoIP2 Enterprise
        {"traits": {"user_type": "cellular"}},  # GeoIP2 Insights
        {"mobile_country_code": "262", "mobile_network_code": "01"},  # GeoIP2 ISP
        {"carrier": {"name": "Example Mobile", "mcc": "262", "mnc": "01"}},  # IPinfo
        {"is_mobile": True},
        {"mobile": "true"},
        {"usage_type": "MOB"},  # IP2Location
        {"mcc": "262"},
    ],
)
def test_a_mobile_carrier_is_shown_in_many_ways(record: dict[str, object]) -> None:
    assert flags(record).carrier
    assert flags(record).has_connection


@pytest.mark.parametrize(
    "record",
    [
        {"connection_type": "Cable/DSL"},
        {"mobile_country_code": "-"},
        {"carrier": {"name": ""}},
        {"is_mobile": False},
        {"usage_type": "ISP/MOB"},  # one or the other
        {},
    ],
)
def test_what_may_be_no_carrier_is_none(record: dict[str, object]) -> None:
    assert not flags(record).carrier


def test_a_satellites_users_are_not_where_its_network_is() -> None:
    assert flags({"connection_type": "Satellite"}).elsewhere
