"""Reader of the records of geography databases, whatever their schema.

MaxMind's records are nested, others are flat; a `FieldMap` of dotted paths serves both
(`subdivisions.0.iso_code`, `country_code`). Records are foreign data: a field of the wrong type
or out of range makes the record an InvalidRecord, a field that is not there is merely unknown.

There is no fallback from `country` to MaxMind's `registered_country`: the latter is where the
network's owner is registered, not where its user is, and a guess must not satisfy a `countries`
condition. Who wants it anyway writes `fields: {country: registered_country.iso_code}`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sidecar.wire.places import place_values
from sidecar.wire.places.countries import code_of
from sidecar.wire.settings.settings import FieldMap

_WIDEST_KM = 1e6
"""Databases may write as much as they like where they know nothing; more is a mistake."""

_NOT_SAID = frozenset({None, "", "-"})

_NO_COUNTRY = frozenset({"A1", "A2", "O1", "T1"})
"""What databases write for a proxy, a satellite, elsewhere and Tor."""

_ANONYMIZERS = {
    "is_anonymous_vpn": "vpn",
    "is_hosting_provider": "hosting",
    "is_public_proxy": "public-proxy",
    "is_residential_proxy": "residential-proxy",
    "is_tor_exit_node": "tor",
    "is_anonymous_proxy": "public-proxy",
    "vpn": "vpn",
    "hosting": "hosting",
    "proxy": "public-proxy",
    "tor": "tor",
}
_ELSEWHERE = frozenset({"is_satellite_provider", "is_anycast", "relay"})
"""Flags of networks whose users are not where the network is, without being anonymizers."""

_CELLULAR = frozenset({"cellular", "mobile", "mob"})
_CONNECTION = ("connection_type", "user_type", "usage_type")
_CARRIER_CODES = ("mobile_country_code", "mobile_network_code", "mcc", "mnc")
_CARRIER_FLAGS = ("is_mobile", "mobile")
"""Signs of a mobile carrier: a type of connection, its codes (ITU-T E.212), or a flag."""

_KNOWN_FLAGS = frozenset(_ANONYMIZERS) | _ELSEWHERE | {"is_anonymous"}
_YES = frozenset({"true", "1", "yes"})

Path = tuple[str | int, ...]


class InvalidPlaceRecord(ValueError):  # noqa: N818 - named by whose it is
    """A record is not what a geography database holds; the message names the field."""


class Location(NamedTuple):
    """The location of an address by a city or country database; empty or None: it does not say."""

    country: str = ""
    region: str = ""
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None
    accuracy_km: float = 0.0


class SystemOperator(NamedTuple):
    """The operator of an address by an ASN database: its autonomous system, and whose that is."""

    asn: int = 0
    organization: str = ""


class Flags(NamedTuple):
    """Flags of an address's users: kinds of anonymizer, and if they are elsewhere.

    `carrier`: they use a mobile carrier, which hands their traffic on here. `has_anonymizer`: the
    record has any flag of an anonymizer, set or not; `has_connection` likewise of a connection.
    """

    anonymizer: tuple[str, ...] = ()
    elsewhere: bool = False
    has_anonymizer: bool = False
    carrier: bool = False
    has_connection: bool = False


class Fields:
    """A FieldMap made ready to read records with."""

    def __init__(self, fields: FieldMap) -> None:
        self._country = _path(fields.country)
        self._region = _path(fields.region)
        self._city = _path(fields.city)
        self._latitude = _path(fields.latitude)
        self._longitude = _path(fields.longitude)
        self._accuracy = _path(fields.accuracy_km)
        self._asn = _path(fields.asn)
        self._organization = _path(fields.organization)

    def location(self, record: object) -> Location:
        """Read a record of a city or country database. Raises InvalidRecord."""
        country = _country(_at(record, self._country))
        latitude = _number(_at(record, self._latitude), "latitude", -90, 90)
        longitude = _number(_at(record, self._longitude), "longitude", -180, 180)
        accuracy = _number(_at(record, self._accuracy), "accuracy_km", 0, _WIDEST_KM)
        latitude, longitude = place_values.coordinates(latitude, longitude)
        if latitude is None:
            accuracy = None
        return Location(
            country=country,
            region=_region(country, _text(_at(record, self._region), "region")),
            city=_text(_at(record, self._city), "city"),
            latitude=latitude,
            longitude=longitude,
            accuracy_km=accuracy or 0.0,
        )

    def operator(self, record: object) -> SystemOperator:
        """Read a record of an ASN database. Raises InvalidRecord."""
        return SystemOperator(
            asn=_as_number(_at(record, self._asn)),
            organization=_text(_at(record, self._organization), "organization"),
        )


def flags(record: object) -> Flags:
    """Read the flags of any database's record, at its top or under `traits`."""
    if not isinstance(record, Mapping):
        return Flags()
    traits = record.get("traits")
    values = {**traits, **record} if isinstance(traits, Mapping) else record
    known = _KNOWN_FLAGS & values.keys()
    raised = {flag for flag in known if _is_set(values[flag])}
    kinds = {_ANONYMIZERS[flag] for flag in raised if flag in _ANONYMIZERS}
    if not kinds and "is_anonymous" in raised:
        kinds = {"anonymous"}
    types = {str(values[name]).lower() for name in _CONNECTION if values.get(name)}
    return Flags(
        tuple(sorted(kinds)),
        bool(raised & _ELSEWHERE) or "satellite" in types,
        bool(known),
        _is_carrier(values, types),
        bool(types or _names_carrier(values)),
    )


def _names_carrier(values: Mapping[Any, Any]) -> bool:
    known = (*_CARRIER_CODES, *_CARRIER_FLAGS, "carrier")
    return any(values.get(name) is not None for name in known)


def _is_carrier(values: Mapping[Any, Any], types: set[str]) -> bool:
    carrier = values.get("carrier")
    if isinstance(carrier, Mapping) and any(_is_said(one) for one in carrier.values()):
        return True
    return (
        bool(types & _CELLULAR)
        or any(_is_said(values.get(name)) for name in _CARRIER_CODES)
        or any(_is_set(values.get(name)) for name in _CARRIER_FLAGS)
    )


def _is_said(value: object) -> bool:
    return bool(value) and not (isinstance(value, str) and value in _NOT_SAID)


def _is_set(value: object) -> bool:
    return value.lower() in _YES if isinstance(value, str) else value in (True, 1)


def _path(dotted: str) -> Path:
    steps = dotted.split(".") if dotted else []
    return tuple(int(step) if step.isdecimal() else step for step in steps)


def _at(record: object, path: Path) -> Any:
    """Return what lies at a path, None where it leads nowhere, as an empty path does.

    Raises InvalidRecord for a record that is no map at all.
    """
    if not isinstance(record, Mapping):
        raise InvalidPlaceRecord("the record is not a map")
    value: Any = record if path else None
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text(value: Any, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidPlaceRecord(f"{field} is not text")
    return "" if value in _NOT_SAID else value


def _country(value: Any) -> str:
    """Return a country's code; empty for what databases write where it is none.

    So are `XX` and `ZZ` ("unknown"), `EU` and `AP` ("somewhere there"), `A1` and `T1` ("a proxy").
    """
    code = _text(value, "country").upper()
    if code in _NO_COUNTRY:
        return ""
    if code and not (len(code) == 2 and code.isascii() and code.isalpha()):
        raise InvalidPlaceRecord("country is not an ISO 3166-1 alpha-2 code")
    return code_of(code)


def _region(country: str, code: str) -> str:
    """ISO 3166-2 spelling. Some databases have it so, most only the part after the hyphen."""
    if not code or not country or code.upper().startswith(f"{country}-"):
        return code
    return f"{country}-{code}"


def _number(value: Any, field: str, least: float, most: float) -> float | None:
    try:
        return place_values.number(value, least, most)
    except ValueError as error:
        raise InvalidPlaceRecord(f"{field} {error}") from None


def _as_number(value: Any) -> int:
    try:
        return place_values.asn(value)
    except ValueError:
        raise InvalidPlaceRecord("asn is not an AS number") from None
