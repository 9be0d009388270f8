"""Countries by code and by name, held against the time zone database's list of ISO 3166-1."""

from importlib import resources

import pytest

from sidecar.wire.places.countries import NAMES, code_of, is_assigned, meant_by
from sidecar.wire.yaml.scalars import Misspelt, country


def test_the_codes_are_those_that_the_time_zone_database_lists_and_kosovos() -> None:
    table = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8")
    listed = {line.split("\t")[0] for line in table.splitlines() if line[:1] not in {"", "#"}}
    assert set(NAMES) == listed | {"XK"}


@pytest.mark.parametrize("code", sorted(NAMES))
def test_every_code_and_name_is_read_in_any_case(code: str) -> None:
    assert is_assigned(code)
    assert code_of(code.lower()) == code
    assert code_of(NAMES[code]) == code
    assert code_of(NAMES[code].upper()) == code
    assert country(code.lower()) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("United States", "US"),
        ("united states of america", "US"),
        ("Cote d'Ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("Turkey", "TR"),
        ("Turkiye", "TR"),
        ("Korea, Republic of", "KR"),
        ("Saint Lucia", "LC"),
        ("Bosnia and Herzegovina", "BA"),
        ("Czech Republic", "CZ"),
        ("Viet Nam", "VN"),
        ("UK", "GB"),
        ("el", "GR"),
    ],
)
def test_names_that_logs_use_are_read(name: str, code: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize("text", ["", "EU", "ZZ", "XX", "AP", "A1", "T1", "Europe", "-", "usa?"])
def test_what_is_no_country_is_read_as_none(text: str) -> None:
    assert not code_of(text)


@pytest.mark.parametrize(
    ("spelled", "hint"),
    [("UK", "did you mean GB?"), ("el", "did you mean GR?"), ("Germany", "did you mean DE?")],
)
def test_a_code_that_matches_nobody_is_refused_with_the_one_that_was_meant(
    spelled: str, hint: str
) -> None:
    with pytest.raises(Misspelt, match=hint.replace("?", r"\?")):
        country(spelled)


@pytest.mark.parametrize("spelled", ["EU", "ZZ", "XX", "AA", "QQ"])
def test_an_unassigned_code_is_refused(spelled: str) -> None:
    assert not meant_by(spelled)
    with pytest.raises(Misspelt, match="is no country's code"):
        country(spelled)
