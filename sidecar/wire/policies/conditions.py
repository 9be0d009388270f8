"""Describes the conditions of a policy, each in one row: reader, schema and page come from it.

A mapping with several keys, and a list, mean that all of it holds. A new condition is a row here
and its type in `domain.policy.conditional_access`, besides what evaluates it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from sidecar.domain.policy.conditional_access import (
    All,
    Anonymizer,
    AnyOf,
    Asns,
    Changed,
    Circumstance,
    Claims,
    Condition,
    Countries,
    Device,
    Locations,
    Networks,
    Not,
    RiskLevel,
    Score,
    Selection,
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
    key_of,
)
from sidecar.wire.grammar.definitions import USE
from sidecar.wire.grammar.records import REQUIRED, ByShape, Given, Items, Record, RecordKey, Short
from sidecar.wire.grammar.rules import (
    AsTexts,
    Boolean,
    Built,
    Choice,
    FileReading,
    Name,
    Number,
    OneOf,
    Reference,
    Rule,
    Schema,
    Several,
    Spelled,
    Text,
    Use,
    either,
    one_or_many,
)
from sidecar.wire.grammar.selections import selection, selection_with
from sidecar.wire.names import composed
from sidecar.wire.tokens.claim_paths import InvalidPath, parts_of
from sidecar.wire.yaml import scalars
from sidecar.wire.yaml.nodes import inside
from sidecar.wire.yaml.structs import MISSING, Missing, refuse
from sidecar.wire.yaml.tree import Node, Table

FASTEST = 1_000_000.0
ANONYMIZERS = ("anonymous", "hosting", "public-proxy", "residential-proxy", "tor", "vpn")
"""The flags of `domain.values.location.Place.anonymizer`."""

LOCATION = "location"
"""What `FileReading.lookups` calls the names of named locations; likewise the following."""
NETWORK = "network"
TIMEZONE = "time zone"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SIGNAL = re.compile(r"[a-z0-9._-]{1,64}")
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_MIDNIGHT = 24 * 60


class ConditionKind(NamedTuple):
    """Describes one kind of condition: its key, and for the reference page when it holds."""

    key: str
    rule: Rule[Condition]
    holds: str
    example: str


class Conjunction(msgspec.Struct, frozen=True):
    """Accepts a mapping of conditions, all of which must hold; keeps the file's order."""

    def read(self, node: Node, field: str, reading: FileReading) -> Condition | Missing:
        """Return the condition, or all of them."""
        table = reading.table(node, field, BY_KEY)
        if table is None:
            return MISSING
        if isinstance(node, Table) and not node.entries:
            reading.add(node, field, "must not be empty")
        read = [
            BY_KEY[key].rule.read(below, inside(field, key), reading)
            for key, below in table.items()
        ]
        found = tuple(one for one in read if not isinstance(one, Missing))
        return _one_or_all(found) if found and len(found) == len(read) else MISSING

    def schema(self) -> Schema:
        """Return the schema of all kinds of condition."""
        kinds = {row.key: RecordKey(row.rule, row.holds).schema() for row in CONDITIONS}
        shape = {"type": "object", "properties": kinds, "additionalProperties": False}
        return {**shape, "minProperties": 1}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping of conditions"


class Required(msgspec.Struct, frozen=True):
    """Accepts the values that claims may have, by the claims' names or paths."""

    def read(self, node: Node, field: str, reading: FileReading) -> Condition | Missing:
        """Return the claims with their values."""
        if not isinstance(node, Table) or not node.entries:
            return refuse(reading.problems, node, field, "a mapping of claims to values")
        required = []
        for name, entry in node.entries.items():
            values = AsTexts(Several(Text())).read(entry.node, inside(field, name), reading)
            try:
                parts_of(name)
            except InvalidPath as error:
                reading.problems.add(entry.place, inside(field, name), str(error))
            if not isinstance(values, Missing):
                required.append((composed(name), frozenset(values)))
        return Claims(tuple(required)) if len(required) == len(node.entries) else MISSING

    def schema(self) -> Schema:
        """Return the schema of the mapping."""
        value: Schema = {"anyOf": [Text().schema(), {"type": ["number", "boolean"]}]}
        values = one_or_many(value)
        return {"type": "object", "additionalProperties": values, "minProperties": 1}

    def words(self) -> str:
        """Return what it is a mapping of."""
        return "mapping to values"


def _one_or_all(conditions: tuple[Condition, ...]) -> Condition:
    return conditions[0] if len(conditions) == 1 else All(conditions)


def _signal(text: str) -> str:
    if not _SIGNAL.fullmatch(text):
        raise ValueError("must be 1 to 64 small letters, digits, dots, dashes or underscores")
    return text


def _asn(text: str) -> str:
    return str(scalars.asn(text))


def _minutes(text: str) -> int:
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else _MIDNIGHT + 1
    if minutes > _MIDNIGHT:
        raise ValueError('must be a time from "00:00" to "24:00"')
    return minutes


def _window(given: Given) -> Iterable[tuple[str, str]]:
    start, end = given.values.get("start"), given.values.get("end")
    if start is not None and end is not None and start in (end, _MIDNIGHT):
        yield "", "must start before 24:00, and end at another time than it starts"


def _time_of_day(
    start: int, end: int, days: tuple[str, ...] = DAYS, timezone: str = "UTC"
) -> Condition:
    return TimeOfDay(start, end, frozenset(map(DAYS.index, days)), timezone)


def _locations(
    include: frozenset[str] | None = None,
    exclude: frozenset[str] = frozenset(),
    strict: bool = False,  # noqa: FBT001, FBT002 - a key of the mapping
) -> Condition:
    return Locations(Selection(include, exclude), strict)


def _at_least(
    rule: Rule[float] | Rule[RiskLevel], build: Callable[..., Condition], **beside: RecordKey
) -> Rule[Condition]:
    """Return the rule for `{at_least: X}`, or X alone."""
    return Short(
        Record({"at_least": RecordKey(rule, required=REQUIRED), **beside}, build), "at_least"
    )


def _has_changed(found: tuple[Circumstance, ...]) -> Condition:
    return Changed(tuple(dict.fromkeys(found)))


_NESTED: Rule[Condition] = Reference("condition", lambda: CONDITION)
_PARTS: Items[Condition] = Items(_NESTED, "a list of conditions")
CONDITION: Rule[Condition] = ByShape(Conjunction(), listing=Built(_PARTS, _one_or_all))
"""Conditions as they stand in a policy."""

_COUNTRY = Spelled(
    scalars.country, {"type": "string", "pattern": "^([A-Za-z]{2}|all)$"}, "country codes"
)
_ASN = Spelled(
    _asn,
    {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
            {"type": "string", "pattern": "^(([Aa][Ss])?[0-9]{1,10}|all)$"},
        ]
    },
    "AS numbers",
)
_SIGNALS = Several(
    Spelled(_signal, {"type": "string", "pattern": "^[a-z0-9._-]{1,64}$"}, "names of signals")
)
_CLOCK = Spelled(
    _minutes,
    {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"},
    "time, in quotes",
)

CONDITIONS: tuple[ConditionKind, ...] = (
    ConditionKind(
        key_of(All),
        Built(_PARTS, All),
        "all of these conditions hold",
        "[{score: 20}, {user_risk: medium}]",
    ),
    ConditionKind(
        key_of(AnyOf),
        Built(_PARTS, AnyOf),
        "any of these conditions holds",
        "[{score: 20}, {user_risk: medium}]",
    ),
    ConditionKind(
        key_of(Not), Built(_NESTED, Not), "this condition does not", "{networks: [office]}"
    ),
    ConditionKind(
        key_of(Changed),
        Built(Several(Choice(Circumstance)), _has_changed),
        "any of these differs from the session's baseline and has not been proven since",
        "[country, device]",
    ),
    ConditionKind(
        key_of(Locations),
        selection_with(
            Name(LOCATION),
            _locations,
            {"strict": RecordKey(Boolean(), "by the call's own address", default="`false`")},
        ),
        "the address lies in one of these named locations; `all-trusted`: in any trusted one;"
        " with `strict: true` the very call's address does",
        "{exclude: [headquarters]}",
    ),
    ConditionKind(
        key_of(Networks),
        Built(selection(Name(NETWORK)), Networks),
        "the session is in one of these network segments",
        "[office]",
    ),
    ConditionKind(
        key_of(Countries),
        Built(selection(_COUNTRY), Countries),
        "the address is in one of these countries (ISO 3166-1 alpha-2)",
        "{include: all, exclude: [DE, NO]}",
    ),
    ConditionKind(
        key_of(Asns),
        AsTexts(Built(selection(_ASN), Asns)),
        "the address belongs to one of these autonomous systems, `64496` or `AS64496`",
        "[64496, AS64497]",
    ),
    ConditionKind(
        key_of(Anonymizer),
        ByShape(
            Built(Boolean(), Anonymizer),
            Record(
                {"kinds": RecordKey(Several(OneOf(ANONYMIZERS)), required=REQUIRED)},
                lambda kinds: Anonymizer(present=True, kinds=frozenset(kinds)),
            ),
        ),
        "the address is (`true`) or is not (`false`) an anonymizer; of these kinds:"
        f" {either(ANONYMIZERS)}",
        "{kinds: [tor, public-proxy]}",
    ),
    ConditionKind(
        key_of(TravelSpeed),
        _at_least(Number(1, FASTEST), TravelSpeed),
        "the session got where it is at this speed or faster, in km/h",
        "{at_least: 900}",
    ),
    ConditionKind(
        key_of(Device),
        Record(
            {
                "compliant": RecordKey(Boolean(), "reported to be compliant, or not"),
                "known": RecordKey(Boolean(), "a device is known, or none is"),
            },
            Device,
            needs=("compliant", "known"),
            lacking="must have `compliant` or `known`",
            strictly=True,
        ),
        "the device is known to be `compliant` or not; a device is `known` or not",
        "{known: true, compliant: false}",
    ),
    ConditionKind(
        key_of(UserRisk),
        _at_least(Choice(RiskLevel), UserRisk),
        "the user's reported risk is at least that",
        "medium",
    ),
    ConditionKind(
        key_of(SessionRisk),
        _at_least(
            Choice(RiskLevel),
            SessionRisk,
            reported=RecordKey(Boolean(), "only what was reported counts", default="`false`"),
        ),
        "the session's risk, reported or by its score, is at least that; with `reported: true` only"
        " what was reported of the session counts, and what was not reported is below `low`",
        "{at_least: medium}",
    ),
    ConditionKind(
        key_of(Score),
        _at_least(Number(0, 100), Score),
        "the risk score, 0 to 100, is at least that",
        "20",
    ),
    ConditionKind(
        key_of(Signals),
        Short(
            Record(
                {
                    "include": RecordKey(Built(_SIGNALS, frozenset), required=REQUIRED),
                    "at_least": RecordKey(Number(0, 100), "so much it still weighs", default="1"),
                },
                Signals,
            ),
            "include",
        ),
        "one of these named signals still weighs at least 1, or `at_least`; the daemon itself"
        " raises `credential-change` and"
        " [`token-binding-change`](../tokens.md#tokens-bound-to-their-client-dpop-mutual-tls)",
        "{include: [impossible-mailbox-rule], at_least: 10}",
    ),
    ConditionKind(
        key_of(Claims),
        Required(),
        "each of these claims, by name or path (`realm_access.roles`), has, or as a list contains,"
        " one of these values; where nobody has said what it is, that does not hold (and below a"
        " `not` it does)",
        "{department: [finance, legal], external: true}",
    ),
    ConditionKind(
        USE, Use("conditions", lambda: CONDITION), "the definition of this name does", "away"
    ),
    ConditionKind(
        key_of(TimeOfDay),
        Record(
            {
                "start": RecordKey(_CLOCK, required=REQUIRED),
                "end": RecordKey(_CLOCK, required=REQUIRED),
                "days": RecordKey(Several(OneOf(DAYS)), "those on which it starts", default="all"),
                "timezone": RecordKey(Name(TIMEZONE), "an IANA name", default="`UTC`"),
            },
            _time_of_day,
            check=_window,
        ),
        "the local time is from `start` up to `end`, on one of `days` (`mon` to `sun`, those on"
        " which the window starts), in `timezone` (UTC)",
        '{start: "22:00", end: "06:00", days: [mon, tue, wed, thu, fri], timezone: Europe/Berlin}',
    ),
)
"""All kinds of condition, in the order of the reference page."""

BY_KEY: Mapping[str, ConditionKind] = {row.key: row for row in CONDITIONS}
