"""Describes what a scenario begins with: sessions, and where addresses are."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from sidecar.domain.policy.conditional_access import RiskLevel
from sidecar.domain.values import address
from sidecar.domain.values.location import Place
from sidecar.tuning.formats.times import zoned
from sidecar.tuning.scenario.simulation import Described
from sidecar.wire.grammar.records import Given, Record, RecordKey
from sidecar.wire.grammar.rules import (
    TEXT,
    Boolean,
    Choice,
    FileReading,
    Name,
    Number,
    OneOf,
    Schema,
    Several,
    Spelled,
    Text,
)
from sidecar.wire.names import composed
from sidecar.wire.places import place_values
from sidecar.wire.policies.conditions import ANONYMIZERS
from sidecar.wire.policies.policy_grammar import ISSUER
from sidecar.wire.tokens.claim_values import claim_text
from sidecar.wire.yaml import scalars
from sidecar.wire.yaml.nodes import inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import Node, Scalar, Table

T = TypeVar("T")
UNKNOWN = "unknown"
"""Where groups or roles would stand: it is not known which the user has."""

TEXTS = Several(Text(), may_be_empty=True)


class Duration(msgspec.Struct, frozen=True):
    """Accepts seconds, or `90s`, `15m`, `1h30m`; where it is `signed`, with a plus before it."""

    signed: bool = False

    def read(self, node: Node, field: str, reading: FileReading) -> float | Missing:
        """Return the seconds."""
        if not isinstance(node, Scalar) or node.value is None:
            return refuse(reading.problems, node, field, "a duration")
        value = node.value
        if self.signed and isinstance(value, str):
            value = value.removeprefix("+")
        try:
            seconds = scalars.duration(value)
        except ValueError as error:
            reading.add(node, field, str(error))
            return MISSING
        if not 0 <= seconds <= scalars.LONGEST:
            reading.add(node, field, "must be a duration from 0s to 3650d")
            return MISSING
        return float(seconds)

    def schema(self) -> Schema:
        """Return the schema of a number, and of a text with units."""
        number = {"type": "number", "minimum": 0, "maximum": scalars.LONGEST}
        start = r"^\+?" if self.signed else "^"
        pattern = start + scalars.DURATION_PATTERN.removeprefix("^")
        return {"anyOf": [number, {"type": "string", "pattern": pattern}]}

    def words(self) -> str:
        """Return what it is."""
        return "duration"


class Memberships(msgspec.Struct, frozen=True):
    """Accepts groups or roles; `unknown` is None."""

    def read(
        self, node: Node, field: str, reading: FileReading
    ) -> tuple[str, ...] | Missing | None:
        """Return the names."""
        if isinstance(node, Scalar) and node.value == UNKNOWN:
            return None
        return TEXTS.read(node, field, reading)

    def schema(self) -> Schema:
        """Return the schema of names."""
        return TEXTS.schema()

    def words(self) -> str:
        """Return what it is a list of."""
        return f"list of names, or `{UNKNOWN}`"


class ValuesOfClaims(msgspec.Struct, frozen=True):
    """Accepts claims of a token, by name."""

    def read(
        self, node: Node, field: str, reading: FileReading
    ) -> tuple[tuple[str, tuple[str, ...]], ...] | Missing:
        """Return the claims with their values."""
        if not isinstance(node, Table):
            return refuse(reading.problems, node, field, "a mapping of claims to values")
        read = [
            (composed(name), TEXTS.read(_text_of(entry.node), inside(field, name), reading))
            for name, entry in node.entries.items()
        ]
        return tuple((name, values) for name, values in read if not isinstance(values, Missing))

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        value = {"type": ["string", "number", "boolean"]}
        values = {"anyOf": [value, {"type": "array", "items": dict(TEXT)}]}
        return {"type": "object", "additionalProperties": values}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping to values"


class Weights(msgspec.Struct, frozen=True):
    """Accepts the weights of live detections, by name."""

    def read(
        self, node: Node, field: str, reading: FileReading
    ) -> tuple[tuple[str, float], ...] | Missing:
        """Return names and weights."""
        if not isinstance(node, Table):
            return refuse(reading.problems, node, field, "a mapping of names to weights")
        read = (
            (name, _WEIGHT.read(entry.node, inside(field, name), reading))
            for name, entry in node.entries.items()
        )
        return tuple((name, weight) for name, weight in read if not isinstance(weight, Missing))

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        return {"type": "object", "additionalProperties": _WEIGHT.schema()}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping of names to weights"


class PlaceValue(msgspec.Struct, Generic[T], frozen=True):
    """Accepts one thing that is known of a place, as `place_values` reads it."""

    means: Callable[[scalars.Plain], T]
    shape: Schema
    called: str

    def read(self, node: Node, field: str, reading: FileReading) -> T | Missing:
        """Return the value."""
        if not isinstance(node, Scalar) or node.value is None:
            return refuse(reading.problems, node, field, "text")
        try:
            return self.means(node.value)
        except ValueError as error:
            reading.add(node, field, str(error))
            return MISSING

    def schema(self) -> Schema:
        """Return the schema of the value, and of a text that spells it."""
        return {"anyOf": [self.shape, {"type": "string"}]}

    def words(self) -> str:
        """Return what it is."""
        return self.called


class Places(msgspec.Struct, frozen=True):
    """Accepts a mapping of addresses to places."""

    def read(self, node: Node, field: str, reading: FileReading) -> dict[str, Place] | Missing:
        """Return the places by the canonical spellings of their addresses."""
        if not isinstance(node, Table):
            return refuse(reading.problems, node, field, "a mapping of addresses to places")
        found = {}
        for name, entry in node.entries.items():
            ip = address.canonical(name)
            if not ip:
                reading.problems.add(entry.place, inside(field, name), "is no IP address")
            place = PLACE.read(entry.node, inside(field, name), reading)
            if not isinstance(place, Missing):
                found[ip] = place
        return found

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        return {"type": "object", "additionalProperties": PLACE.schema()}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping of addresses to places"


class Sessions(msgspec.Struct, frozen=True):
    """Accepts several sessions, by name."""

    def read(self, node: Node, field: str, reading: FileReading) -> dict[str, Described] | Missing:
        """Return the sessions that could be read; others are as if nothing was said of them."""
        if not isinstance(node, Table) or not node.entries:
            return refuse(reading.problems, node, field, "a mapping of names to sessions")
        found = {}
        for name, entry in node.entries.items():
            session = SESSION.read(entry.node, inside(field, name), reading)
            found[name] = Described() if isinstance(session, Missing) else session
        return found

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        session = SESSION.schema()
        return {"type": "object", "additionalProperties": session, "minProperties": 1}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping of names to sessions"


class ScenarioStart(NamedTuple):
    """The start of a scenario. `time`: in seconds since the epoch; None: as usual."""

    time: float | None = None
    session: Described | None = None
    sessions: Mapping[str, Described] = {}
    places: Mapping[str, Place] = {}
    policies: tuple[str, ...] = ()


def _text_of(node: Node) -> Node:
    """Return a number or truth as the text that it is in a token's claims."""
    if isinstance(node, Scalar) and isinstance(node.value, bool | int | float):
        return Scalar(claim_text(node.value), node.place)
    return node


def _canonical(text: str) -> str:
    ip = address.canonical(text)
    if not ip:
        raise ValueError("is no IP address")
    return ip


def _proven(text: str) -> str:
    ip = address.canonical(text)
    if not ip:
        raise ValueError(f"{text} is no IP address")
    return ip


def _place(**known: Any) -> Place:
    latitude, longitude = place_values.coordinates(
        known.pop("latitude", None), known.pop("longitude", None)
    )
    radius = known.pop("accuracy_km", None) or 0.0
    return Place(
        latitude=latitude,
        longitude=longitude,
        accuracy_km=radius,
        meaningless=bool(known.get("anonymizer")),
        **known,
    )


def _pair(given: Given) -> Iterable[tuple[str, str]]:
    if ("latitude" in given.nodes) != ("longitude" in given.nodes):
        yield "", "has half a pair of coordinates"


def _either(given: Given) -> Iterable[tuple[str, str]]:
    if ("session" in given.nodes) == ("sessions" in given.nodes):
        yield "", "must have either `session` or `sessions`"


def _number(key: str, least: float, most: float) -> RecordKey:
    shape = {"type": "number", "minimum": least, "maximum": most}
    return RecordKey(PlaceValue(place_values.NUMBERS[key], shape, "number"))


_WEIGHT = Number(0, 100)
ADDRESS = Spelled(_canonical, dict(TEXT), "address")
PLACE: Record[Place] = Record(
    {
        "country": RecordKey(
            PlaceValue(place_values.country, {"type": "string"}, "code or English name")
        ),
        "region": RecordKey(Text()),
        "city": RecordKey(Text()),
        "asn": RecordKey(
            PlaceValue(
                place_values.asn,
                {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
                "AS number",
            )
        ),
        "latitude": _number("latitude", -90, 90),
        "longitude": _number("longitude", -180, 180),
        "accuracy_km": _number("accuracy_km", 0, place_values.FARTHEST_KM),
        "anonymizer": RecordKey(Several(OneOf(ANONYMIZERS), may_be_empty=True)),
        "carrier": RecordKey(Boolean(), "true: a mobile carrier's"),
    },
    _place,
    check=_pair,
    more={"dependentRequired": {"latitude": ["longitude"], "longitude": ["latitude"]}},
)
_RISK = RecordKey(Choice(RiskLevel), "what was reported before")
SESSION: Record[Described] = Record(
    {
        "user": RecordKey(Text(), "whose it is", default="`user`"),
        "issuer": RecordKey(
            Name(ISSUER),
            "whose user it is: required where there are several issuers"
            " ([tokens](tokens.md#several-issuers))",
        ),
        "groups": RecordKey(
            Memberships(), "what its token says; `unknown`: nobody has said", default="none"
        ),
        "roles": RecordKey(Memberships(), "likewise", default="none"),
        "claims": RecordKey(ValuesOfClaims(), "what its token says"),
        "app": RecordKey(Text(), "the app it is used in, where `app.id` is not configured"),
        "device": RecordKey(Text(), "the device it is on"),
        "compliant": RecordKey(Boolean(), "what was reported of the device"),
        "ip": RecordKey(ADDRESS, "where it is first seen"),
        "user_agent": RecordKey(Text(), "with what it is first seen"),
        "network": RecordKey(Text(), "the segment that an agent reports"),
        "acr": RecordKey(Text(), "the sign-in it begins with"),
        "amr": RecordKey(TEXTS, "likewise"),
        "signed_in_ago": RecordKey(Duration(), "how long that was before"),
        "proven": RecordKey(
            Several(Spelled(_proven, dict(TEXT), "addresses"), may_be_empty=True),
            "addresses from which the user has signed in before, on the same `device` and as"
            " strongly ([remembered places](friction.md))",
        ),
        "user_risk": _RISK,
        "session_risk": _RISK,
        "device_risk": _RISK,
        "signals": RecordKey(Weights(), "live detections: names and weights"),
    },
    Described,
)
GIVEN: Record[ScenarioStart] = Record(
    {
        "time": RecordKey(
            Spelled(
                zoned,
                {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].+"},
                "time",
            ),
            "when the session signs in and is first seen, with its offset from UTC",
            default="`2026-01-05T09:00:00Z`, a Monday",
        ),
        "session": RecordKey(SESSION, "the session, below", default="*required*, or `sessions`"),
        "sessions": RecordKey(
            Sessions(), "several, by name: of one user, on one device, or of different ones"
        ),
        "places": RecordKey(
            Places(),
            "where addresses are; a country by its code or English name",
            default="the configured databases",
        ),
        "policies": RecordKey(
            Several(Text()),
            "policy files or directories, relative to the scenario file",
            default="the configured ones",
        ),
    },
    ScenarioStart,
    check=_either,
    more={"oneOf": [{"required": ["session"]}, {"required": ["sessions"]}]},
)
