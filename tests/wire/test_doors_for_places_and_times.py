"""The same value at every door that reads it: it is read alike, or refused with the member's name.

Files of an operator's own take codes and nothing else. Doors of other people's data read what they
spell otherwise. A sender of events gives seconds.
"""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.cli import emit
from sidecar.cli.exit_status import Stop
from sidecar.domain.policy.conditional_access import Asns, Countries
from sidecar.domain.values.location import Place
from sidecar.tuning.formats.times import zoned
from sidecar.tuning.recording import occurrences as recordings
from sidecar.tuning.recording.csv_columns import UnreadableRow, read_columns, rows
from sidecar.tuning.scenario.files import read_scenarios
from sidecar.tuning.scenario.session_changes import ChangeFrame, InvalidChange, read_change
from sidecar.tuning.scenario.simulation import Described
from sidecar.tuning.trial.trial_log import read_logged
from sidecar.wire.config.settings_reader import read_settings
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.places.mmdb_records import Fields, InvalidPlaceRecord
from sidecar.wire.policies.policy_files import read_policies
from sidecar.wire.settings.settings import FieldMap, Settings
from sidecar.wire.yaml.tree import ConfigError

AT = 1_790_071_200  # 2026-09-22T10:00:00Z
UNKNOWN = "unknown"
DATABASE = Fields(
    FieldMap(country="country", latitude="latitude", longitude="longitude", asn="asn")
)
OWN = {"type": "session-presented", "time": AT, "subject": {"session": "s1"}}
SETTINGS = 'tokens: {{issuers: [{{issuer: "https://i", audiences: [a]}}]}}\nlocations: [{}]\n'


def recorded(member: str, value: Any) -> Any:
    line = json.dumps({**OWN, "place": {"longitude": 13, member: value}}).encode()
    found = recordings.read_line(line)
    assert isinstance(found, recordings.Occurrence)
    assert found.place is not None
    return member_of(found.place, member)


def tabled(member: str, value: Any) -> Any:
    columns = read_columns(
        f"time: t\ntype: {{constant: session-presented}}\nsubject.session: s\nplace.{member}: v\n"
        "place.longitude: o\n".replace(
            "place.longitude: o\n", "" if member == "longitude" else "place.longitude: o\n"
        ),
        "map.yaml",
    )
    cell = "" if value is None else str(value)
    ((_, row),) = rows(["t;s;v;o\n", f'{AT};s1;"{cell}";13\n'], columns, "f.csv", "map.yaml")
    assert not isinstance(row, UnreadableRow)
    found = recordings.read(row, b"")
    assert isinstance(found, recordings.Occurrence)
    return member_of(found.place or Place(), member)


def scene(member: str, value: Any) -> Any:
    other = "" if member in {"country", "asn"} else ", longitude: 13"
    where = "places: {192.0.2.1: {%s: %s%s}}"
    text = "scenarios: [{name: n, given: {session: {}, " + where + "}, steps: [{then: allow}]}]"
    (found,) = read_scenarios([("f.yaml", text % (member, as_yaml(value), other))])
    return member_of(found.places["192.0.2.1"], member)


def typed(member: str, value: Any) -> Any:
    word = f"coordinates={value}/13" if member == "latitude" else f"{member}={value}"
    frame = ChangeFrame(Described(), float(AT), lambda _ip: Place(), 1)
    (place,) = read_change(word, frame).places.values()
    return member_of(place, member)


def ruled(member: str, value: Any) -> Any:
    name = {"country": "countries", "asn": "asns"}[member]
    text = f"policies: [{{id: p, conditions: {{{name}: [{as_yaml(value)}]}}, grant: mfa}}]"
    (policy,) = read_policies([("p.yaml", text)], Settings())
    assert isinstance(policy.conditions, Countries | Asns)
    (one,) = policy.conditions.selection.include or {""}
    return int(one) if member == "asn" else one


def located(member: str, value: Any) -> Any:
    name = {"country": "countries", "asn": "asns"}[member]
    text = SETTINGS.format(f"{{name: home, {name}: [{as_yaml(value)}]}}")
    found = read_settings(text, "s.yaml", {}, lambda _file: "")
    (one,) = getattr(found.locations[0], name)
    return one


def looked_up(member: str, value: Any) -> Any:
    record = {"longitude": 13, member: value}
    if member == "asn":
        return DATABASE.operator(record).asn or UNKNOWN
    return member_of(DATABASE.location(record), member)


def member_of(place: Any, member: str) -> Any:
    value = getattr(place, member)
    return UNKNOWN if value in {None, "", 0} else value


def as_yaml(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    return json.dumps(value)


PLACE_DOORS = (recorded, tabled, scene, typed, ruled, located, looked_up)
_FILES = (ruled, located)

Door = Callable[[str, Any], Any]


def at(door: Callable[..., Any], *given: Any) -> Any:
    """Return what a door makes of a value: the value, or the text of its refusal."""
    try:
        return door(*given)
    except ConfigError as error:
        return "; ".join(map(str, error.problems))
    except InvalidSignal as error:
        return f"{error.field}: {error.message}"
    except (InvalidChange, InvalidPlaceRecord, Stop, ValueError) as error:
        return str(error)


COUNTRIES: list[tuple[Any, Any, Any, Any]] = [
    # value, in others' data, in an operator's files, in a database
    ("US", "US", "US", "US"),
    ("us", "US", "US", "US"),
    ("XK", "XK", "XK", "XK"),
    ("United States", "US", "did you mean US?", "country is not"),
    ("Türkiye", "TR", "did you mean TR?", "country is not"),
    ("UK", "GB", "did you mean GB?", "GB"),
    ("EL", "GR", "did you mean GR?", "GR"),
    ("YU", "did you mean RS?", "did you mean RS?", UNKNOWN),
    ("ZZ", "is no country's code", "is no country's code", UNKNOWN),
    ("EU", "is no country's code", "is no country's code", UNKNOWN),
    ("Atlantis", "is no country's code", "must be a country's code", "country is not"),
    ("1A", "is no country's code", "must be a country's code", "country is not"),
    ("NaN", UNKNOWN, "must be a country's code", "country is not"),
    ("-", UNKNOWN, "must be a country's code", UNKNOWN),
    (49, "is no country's code", "countries", "country is not"),
    (None, UNKNOWN, "country|countries", UNKNOWN),
]


@pytest.mark.parametrize(("value", "lenient", "strict", "database"), COUNTRIES)
@pytest.mark.parametrize("door", PLACE_DOORS)
def test_a_country_is_read_alike_or_refused(
    door: Door, value: Any, lenient: Any, strict: Any, database: Any
) -> None:
    check(door, "country", value, lenient, strict, database)


NUMBERS: list[tuple[Any, Any, Any, Any]] = [
    (64496, 64496, 64496, 64496),
    ("64496", 64496, 64496, 64496),
    ("AS64496", 64496, 64496, 64496),
    ("as64496", 64496, 64496, 64496),
    (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    (2**32, "must be the number of", "must be the number of", "asn is not"),
    (-1, "must be the number of", "must be the number of", "asn is not"),
    ("AS", "must be the number of", "must be the number of", "asn is not"),
    ("AS64496 EXAMPLE", "must be the number of", "must be the number of", "asn is not"),
    (1.5, "must be the number of", "asn", "asn is not"),
    (math.inf, "must be the number of", "asn", "asn is not"),
    (math.nan, UNKNOWN, "asn", UNKNOWN),
    (None, UNKNOWN, "asn", UNKNOWN),
]


@pytest.mark.parametrize(("value", "lenient", "strict", "database"), NUMBERS)
@pytest.mark.parametrize("door", PLACE_DOORS)
def test_the_number_of_an_operator_is_read_alike_or_refused(
    door: Door, value: Any, lenient: Any, strict: Any, database: Any
) -> None:
    check(door, "asn", value, lenient, strict, database)


WRONG = "must be a number from -90 to 90"
LATITUDES: list[tuple[Any, Any]] = [
    (52.5, 52.5),
    ("52.5", 52.5),
    (-90, -90.0),
    (90.5, WRONG),
    (math.inf, WRONG),
    (-math.inf, WRONG),
    ("inf", WRONG),
    (1e300, WRONG),
    (10**400, WRONG),
    ("52,5", WRONG),
    ("north", WRONG),
    (True, WRONG),
    (math.nan, UNKNOWN),
    ("NaN", UNKNOWN),
    (None, UNKNOWN),
]


@pytest.mark.parametrize(("value", "expected"), LATITUDES)
@pytest.mark.parametrize("door", [recorded, tabled, scene, typed, looked_up])
def test_a_coordinate_is_read_alike_or_refused(door: Door, value: Any, expected: Any) -> None:
    check(door, "latitude", value, expected, expected, expected)


def check(  # noqa: PLR0917 - a row of a table
    door: Door, member: str, value: Any, lenient: Any, strict: Any, database: Any
) -> None:
    expected = strict if door in _FILES else database if door is looked_up else lenient
    if door is typed and member == "latitude" and not isinstance(expected, float):
        expected = "LATITUDE/LONGITUDE|KEY=VALUE"
    if door is scene and value is None:
        expected = member
    found = at(door, member, value)
    if isinstance(expected, str) and expected not in {UNKNOWN, *CODES}:
        assert isinstance(found, str)
        assert any(part in found for part in expected.split("|")), found
    else:
        assert found == expected


CODES = {row[1] for row in COUNTRIES if isinstance(row[1], str) and len(row[1]) == 2}


def sent(value: Any) -> float:
    event = {**OWN, "time": value}
    return decode_event(event, now=AT, skew=60.0, new_id="n").stamp.seconds


def recorded_at(value: Any) -> float:
    found = recordings.read_line(json.dumps({**OWN, "time": value}).encode())
    assert isinstance(found, recordings.Occurrence)
    return found.stamp.seconds


def tabled_at(value: Any) -> float:
    columns = read_columns(
        "time: t\ntype: {constant: session-presented}\nsubject.session: s\n", "map.yaml"
    )
    ((_, row),) = rows(["t;s\n", f'"{value}";s1\n'], columns, "f.csv", "map.yaml")
    assert not isinstance(row, UnreadableRow)
    found = recordings.read(row, b"")
    assert isinstance(found, recordings.Occurrence)
    return found.stamp.seconds


def emitted(value: Any) -> float:
    return emit._time(str(value))  # noqa: SLF001 - what `--time` says


def begun(value: Any) -> float:
    text = "scenarios: [{name: n, given: {session: {}, time: %s}, steps: [{then: allow}]}]"
    (found,) = read_scenarios([("f.yaml", text % as_yaml(value))])
    return found.start


def signed_in(value: Any) -> float:
    return zoned(str(value))  # what `sidecar what-if --at` says


def logged(value: Any) -> float:
    line = read_logged(json.dumps({"event": "x", "time": value, "level": "info"}).encode())
    if line is None:
        raise ValueError("time: is none")
    return line.time


NO_TIME = "is no moment between 1970 and 9999"
TIMES: list[tuple[Any, Any, Any, Any]] = [
    # value, in others' data, in a file or an option that names a time, as an event's `time`
    (AT, AT, "offset", AT),
    (str(AT), AT, "offset", "time: must be a number"),
    (AT * 1000, AT, "offset", "time: must be a number from 0"),
    (AT * 10**6, AT, "offset", "time: must be a number from 0"),
    ("2026-09-22T10:00:00Z", AT, AT, "time: must be a number"),
    ("2026-09-22T12:00:00+02:00", AT, AT, "time: must be a number"),
    ("2026-09-22T10:00:00", AT, "offset", "time: must be a number"),
    ("01/09/2007 09:41:00", "which is the day", "offset", "time: must be a number"),
    ("0001-01-01T00:00:00+23:00", "must be", "offset", "time: must be a number"),
    ("9999-12-31T23:59:59-23:00", "must be", "offset", "time: must be a number"),
    ("noon", "must be", "offset", "time: must be a number"),
    ("", "must be|is required", "offset", "time: must be a number"),
    (-1, NO_TIME, "offset", "time: must be a number from 0"),
    (1e300, NO_TIME, "offset", "time: must be a number from 0"),
    (math.nan, NO_TIME, "offset", "time: must be a number from 0"),
    (math.inf, NO_TIME, "offset", "time: must be a number from 0"),
    ("nan", NO_TIME, "offset", "time: must be a number"),
    (True, "must be|is required", "offset", "time: must be a number"),
    ([], "must be|is required", "offset", "time: must be a number"),
]


@pytest.mark.parametrize(("value", "lenient", "zone", "event"), TIMES, ids=str)
@pytest.mark.parametrize("door", [sent, recorded_at, tabled_at, emitted, begun, signed_in, logged])
def test_a_time_is_read_alike_or_refused(
    door: Callable[[Any], float], value: Any, lenient: Any, zone: Any, event: Any
) -> None:
    expected = event if door is sent else zone if door in {begun, signed_in} else lenient
    found = at(door, value)
    if not isinstance(expected, str):
        assert found == expected or (door is logged and not isinstance(value, str))
    elif door is begun:
        assert isinstance(found, str)
        assert "given.time" in found
    else:
        assert isinstance(found, str)
        assert door is logged or any(part in found for part in expected.split("|")), found
