import math

import pytest

from sidecar.domain.values.location import Place
from sidecar.wire.places.place_values import InvalidPlace, read_place

RIGHT: list[tuple[dict[str, object], Place]] = [
    ({}, Place()),
    ({"country": "us"}, Place(country="US")),
    ({"country": "United States"}, Place(country="US")),
    ({"country": "UK"}, Place(country="GB")),
    ({"country": "XK"}, Place(country="XK")),
    ({"country": None, "city": None, "asn": None, "latitude": None, "carrier": None}, Place()),
    ({"country": "", "city": "-", "asn": "", "anonymizer": ""}, Place()),
    ({"country": "NaN", "latitude": "NaN", "longitude": "nan"}, Place()),
    ({"latitude": math.nan, "longitude": math.nan}, Place()),
    ({"latitude": "52.5", "longitude": 13}, Place(latitude=52.5, longitude=13.0)),
    ({"latitude": 0, "longitude": 0.0}, Place()),
    ({"asn": "AS3215"}, Place(asn=3215)),
    ({"asn": " as3215 "}, Place(asn=3215)),
    ({"asn": "64496"}, Place(asn=64496)),
    ({"asn": 64496.0}, Place(asn=64496)),
    ({"asn": "64496.0"}, Place(asn=64496)),
    ({"accuracy_km": "NaN"}, Place()),
    ({"anonymizer": "tor"}, Place(anonymizer=("tor",))),
    ({"anonymizer": ["tor", "vpn"]}, Place(anonymizer=("tor", "vpn"))),
    ({"carrier": "yes"}, Place(carrier=True)),
    ({"city": 7}, Place(city="7")),
]

WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"country": "Atlantis"}, "country", "'Atlantis' is no country's code"),
    ({"country": "YU"}, "country", "did you mean RS?"),
    ({"country": "ZZ"}, "country", "is no country's code"),
    ({"country": 49}, "country", "'49' is no country's code"),
    ({"latitude": "inf", "longitude": 0}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": math.inf, "longitude": 0}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": 10**400, "longitude": 0}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": 90.5, "longitude": 0}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": 1, "longitude": -181}, "longitude", "must be a number from -180 to 180"),
    ({"latitude": True, "longitude": 1}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": "52,5", "longitude": 1}, "latitude", "must be a number from -90 to 90"),
    ({"latitude": [], "longitude": 1}, "latitude", "must be a number from -90 to 90"),
    ({"accuracy_km": -1}, "accuracy_km", "must be a number from 0 to 20000"),
    ({"accuracy_km": "Infinity"}, "accuracy_km", "must be a number from 0 to 20000"),
    ({"asn": "AS"}, "asn", "must be the number of an autonomous system"),
    ({"asn": 2**32}, "asn", "must be the number of an autonomous system"),
    ({"asn": -1}, "asn", "must be the number of an autonomous system"),
    ({"asn": 1.5}, "asn", "must be the number of an autonomous system"),
    ({"asn": math.inf}, "asn", "must be the number of an autonomous system"),
    ({"carrier": "perhaps"}, "carrier", "must be true or false"),
    ({"anonymizer": [1]}, "anonymizer", "must be a text, or a list of texts"),
    ({"city": {}}, "city", "must be text"),
    ({"planet": "Earth"}, "planet", "is not known here"),
]


@pytest.mark.parametrize(("found", "place"), RIGHT, ids=str)
def test_a_place_is_read_however_it_is_spelled(found: dict[str, object], place: Place) -> None:
    assert read_place(found) == place


@pytest.mark.parametrize(("found", "member", "message"), WRONG, ids=str)
def test_what_is_no_place_is_refused_by_its_member(
    found: dict[str, object], member: str, message: str
) -> None:
    with pytest.raises(InvalidPlace) as caught:
        read_place(found)
    assert caught.value.member == member
    assert message in caught.value.message
