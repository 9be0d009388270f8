"""Named locations and names: the same addresses, whichever way Graph writes them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.entra.conversion.places import ConvertedPlaces, slug
from sidecar.entra.graph_objects import GraphNamedLocation
from sidecar.entra.ledger import Ledger
from sidecar.entra.names import NO_NAMES
from sidecar.wire.settings.settings import CONTEXT


def added(raw: dict[str, Any]) -> tuple[ConvertedPlaces, Ledger]:
    places, ledger = ConvertedPlaces(NO_NAMES, ()), Ledger("e.json", "$", raw)
    places.add(msgspec.convert(raw, GraphNamedLocation), ledger)
    return places, ledger


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"cidrAddress": "10.0.0.0/8"}, ("10.0.0.0/8",)),
        ({"cidrAddress": "12.34.221.11/22"}, ("12.34.220.0/22",)),
        ({"cidrAddress": "192.0.2.1"}, ("192.0.2.1/32",)),
        ({"cidrAddress": "2001:0db8::1/64"}, ("2001:db8::/64",)),
        (
            {"lowerAddress": "10.0.0.0", "upperAddress": "10.0.1.127"},
            ("10.0.0.0/24", "10.0.1.0/25"),
        ),
        ({"lowerAddress": "2001:db8::", "upperAddress": "2001:db8::1"}, ("2001:db8::/127",)),
    ],
)
def test_a_range_covers_the_same_addresses(
    written: dict[str, str], expected: tuple[str, ...]
) -> None:
    places, ledger = added({"displayName": "x", "ipRanges": [written]})
    assert [location.cidrs for location in places.found] == [expected]
    assert not ledger.losses


@pytest.mark.parametrize(
    "written",
    [
        {"cidrAddress": "10.0.0.0/33"},
        {"cidrAddress": "office"},
        {"lowerAddress": "10.0.0.9", "upperAddress": "10.0.0.1"},
        {"lowerAddress": "10.0.0.9", "upperAddress": "2001:db8::1"},
        {"lowerAddress": "10.0.0.9"},
    ],
)
def test_what_is_no_range_is_reported(written: dict[str, str]) -> None:
    raw = {"displayName": "x", "ipRanges": [written, {"cidrAddress": "10.0.0.0/8"}]}
    places, ledger = added(raw)
    assert [loss.path for loss in ledger.losses] == ["$.ipRanges[0]"]
    assert places.found[0].cidrs == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("includeUnknownCountriesAndRegions", True),
        ("countryLookupMethod", "authenticatorAppGps"),
    ],
)
def test_what_a_country_location_cannot_say_is_reported(member: str, value: Any) -> None:
    _, ledger = added({"displayName": "x", "countriesAndRegions": ["DE"], member: value})
    assert [loss.path for loss in ledger.losses] == [f"$.{member}"]


def test_a_location_where_nothing_lies_is_not_configured() -> None:
    places, ledger = added({"id": "l", "displayName": "x", "ipRanges": []})
    assert places.found == []
    assert [note.path for note in ledger.notes] == ["$.id"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CA001: Require MFA!", "ca001-require-mfa"),
        ("Zürich Büro", "zurich-buro"),
        ("...", "x"),
        ("all", "all-2"),
        ("one word " * 9, "one-word-one-word-one-one-word-one-word-one-word"),
        ("w" * 80, f"{'w' * 25}-{'w' * 26}"),
    ],
)
def test_names_are_made_of_what_people_call_things(text: str, expected: str) -> None:
    assert slug(text, {"all"}, "x") == expected


@given(st.text(), st.sets(st.text(max_size=4)))
def test_a_name_is_never_taken_and_always_short(text: str, taken: set[str]) -> None:
    found = slug(text, taken, "x")
    assert found not in taken
    assert 0 < len(found) <= 56
    assert found.isascii()
    assert not CONTEXT.fullmatch(f" {found}")
