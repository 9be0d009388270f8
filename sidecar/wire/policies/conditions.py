"""The conditions of a policy, from a tree to `domain.policy.policy`'s values.

A mapping with several keys, and a list, mean that all of it holds.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from sidecar.domain.policy.policy import (
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
    SessionRisk,
    Signals,
    TimeOfDay,
    TravelSpeed,
    UserRisk,
)
from sidecar.wire.names import composed
from sidecar.wire.policies.definitions import USE, Definitions
from sidecar.wire.tokens.claim_paths import InvalidPath, parts_of
from sidecar.wire.tokens.claim_values import number_text
from sidecar.wire.yaml import scalars as spellings
from sidecar.wire.yaml.nodes import Leaves, Named, inside
from sidecar.wire.yaml.selections import Selections
from sidecar.wire.yaml.structs import refuse
from sidecar.wire.yaml.tree import Listing, Node, Scalar, Table, shown

FASTEST = 1_000_000.0
ANONYMIZERS = frozenset({"vpn", "tor", "hosting", "public-proxy", "residential-proxy", "anonymous"})
"""The flags of `domain.values.location.Place.anonymizer`."""

STRICT = "strict"
REPORTED = "reported"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SIGNAL = re.compile(r"[a-z0-9._-]{1,64}")
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_MIDNIGHT = 24 * 60


class World(NamedTuple):
    """What conditions may name. `networks` empty: agents report them, and any may be named."""

    locations: frozenset[str]
    networks: frozenset[str]
    timezones: frozenset[str]


class Conditions:
    """Reads conditions; what is wrong goes to the leaves' problems."""

    def __init__(
        self, leaves: Leaves, world: World, definitions: Definitions | None = None
    ) -> None:
        self._leaves = leaves
        self._definitions = definitions or Definitions(leaves)
        self._world = world
        self._selections = Selections(leaves)
        self._readers: Mapping[str, Callable[[Node, str], Condition | None]] = {
            "all": self._all,
            "any": self._any,
            "not": self._not,
            "changed": self._changed,
            "locations": self._locations,
            "networks": self._networks,
            "countries": self._countries,
            "asns": self._asns,
            "anonymizer": self._anonymizer,
            "travel_speed": self._travel_speed,
            "device": self._device,
            "user_risk": self._user_risk,
            "session_risk": self._session_risk,
            "score": self._score,
            "signals": self._signals,
            "claims": self._claims,
            "time_of_day": self._time_of_day,
            USE: self._use,
        }

    @property
    def keys(self) -> frozenset[str]:
        """The kinds of condition."""
        return frozenset(self._readers)

    def read(self, node: Node, field: str) -> Condition | None:
        """The condition, None where there is a problem with it."""
        if isinstance(node, Listing):
            parts = self._each(node, field)
            return _one_or_all(parts) if parts else None
        table = self._leaves.table(node, field, self._readers)
        if table is None:
            return None
        if isinstance(node, Table) and not node.entries:
            self._leaves.add(node, field, "must not be empty")
        read = [self._readers[key](below, inside(field, key)) for key, below in table.items()]
        found = tuple(condition for condition in read if condition is not None)
        return _one_or_all(found) if found and len(found) == len(read) else None

    def _use(self, node: Node, field: str) -> Condition | None:
        found = self._definitions.use("conditions", node, field, self.read)
        return cast("Condition | None", found)  # mypy joins a union to its members' common base

    def _each(self, node: Node, field: str) -> tuple[Condition, ...] | None:
        if not isinstance(node, Listing):
            refuse(self._leaves.problems, node, field, "a list of conditions")
            return None
        if not node.items:
            self._leaves.add(node, field, "must not be empty")
            return None
        read = [self.read(item, f"{field}[{at}]") for at, item in enumerate(node.items)]
        found = tuple(condition for condition in read if condition is not None)
        return found if len(found) == len(read) else None

    def _all(self, node: Node, field: str) -> Condition | None:
        parts = self._each(node, field)
        return All(parts) if parts else None

    def _any(self, node: Node, field: str) -> Condition | None:
        parts = self._each(node, field)
        return AnyOf(parts) if parts else None

    def _not(self, node: Node, field: str) -> Condition | None:
        inner = self.read(node, field)
        return Not(inner) if inner is not None else None

    def _changed(self, node: Node, field: str) -> Condition | None:
        names = self._leaves.names(node, field) or ()
        read = [self._leaves.member(name, Circumstance) for name in names]
        found = tuple(dict.fromkeys(each for each in read if each is not None))
        return Changed(found) if found else None

    def _locations(self, node: Node, field: str) -> Condition | None:
        strict: bool | None = False
        if isinstance(node, Table) and STRICT in node.entries:
            strict = self._leaves.boolean(node.entries[STRICT].node, inside(field, STRICT))
        found = self._selections.read(node, field, self._location, frozenset({STRICT}))
        return Locations(found, strict) if found and strict is not None else None

    def _location(self, name: Named) -> str | None:
        known = self._leaves.all_of([name], self._world.locations, "in `locations`")
        return name.text if known else None

    def _networks(self, node: Node, field: str) -> Condition | None:
        found = self._selections.read(node, field, self._network)
        return Networks(found) if found else None

    def _network(self, name: Named) -> str | None:
        known = self._world.networks
        if known and not self._leaves.all_of([name], known, "in `networks`"):
            return None
        return name.text

    def _countries(self, node: Node, field: str) -> Condition | None:
        found = self._selections.read(node, field, self._country)
        return Countries(found) if found else None

    def _country(self, name: Named) -> str | None:
        try:
            return spellings.country(name.text)
        except ValueError as error:
            self._leaves.problems.add(name.place, name.field, str(error))
            return None

    def _asns(self, node: Node, field: str) -> Condition | None:
        found = self._selections.read(_texts(node), field, self._asn)
        return Asns(found) if found else None

    def _asn(self, name: Named) -> str | None:
        try:
            return str(spellings.asn(name.text))
        except ValueError as error:
            self._leaves.problems.add(name.place, name.field, str(error))
            return None

    def _anonymizer(self, node: Node, field: str) -> Condition | None:
        if not isinstance(node, Table):
            present = self._leaves.boolean(node, field)
            return None if present is None else Anonymizer(present)
        table = self._leaves.table(node, field, ("kinds",)) or {}
        if "kinds" not in table:
            self._leaves.add(node, inside(field, "kinds"), "is required")
            return None
        names = self._leaves.names(table["kinds"], inside(field, "kinds"))
        if not names or not self._leaves.all_of(names, ANONYMIZERS):
            return None
        return Anonymizer(present=True, kinds=frozenset(name.text for name in names))

    def _at_least(self, node: Node, field: str, *beside: str) -> tuple[Node, str] | None:
        """The value of `{at_least: X}`, or X itself."""
        if not isinstance(node, Table):
            return node, field
        table = self._leaves.table(node, field, ("at_least", *beside)) or {}
        if "at_least" not in table:
            self._leaves.add(node, inside(field, "at_least"), "is required")
            return None
        return table["at_least"], inside(field, "at_least")

    def _bounded(self, node: Node, field: str, least: float, most: float) -> float | None:
        found = self._at_least(node, field)
        return None if found is None else self._leaves.number(*found, least, most)

    def _level(self, node: Node, field: str, *beside: str) -> RiskLevel | None:
        found = self._at_least(node, field, *beside)
        return None if found is None else self._leaves.choice(*found, RiskLevel)

    def _travel_speed(self, node: Node, field: str) -> Condition | None:
        speed = self._bounded(node, field, 1, FASTEST)
        return None if speed is None else TravelSpeed(speed)

    def _user_risk(self, node: Node, field: str) -> Condition | None:
        level = self._level(node, field)
        return None if level is None else UserRisk(level)

    def _session_risk(self, node: Node, field: str) -> Condition | None:
        reported: bool | None = False
        if isinstance(node, Table) and REPORTED in node.entries:
            reported = self._leaves.boolean(node.entries[REPORTED].node, inside(field, REPORTED))
        level = self._level(node, field, REPORTED)
        return None if level is None or reported is None else SessionRisk(level, reported)

    def _score(self, node: Node, field: str) -> Condition | None:
        score = self._bounded(node, field, 0, 100)
        return None if score is None else Score(score)

    def _device(self, node: Node, field: str) -> Condition | None:
        table = self._leaves.table(node, field, ("compliant", "known"))
        if table is None:
            return None
        if not table:
            self._leaves.add(node, field, "must have `compliant` or `known`")
            return None
        read = {key: self._leaves.boolean(each, inside(field, key)) for key, each in table.items()}
        return None if None in read.values() else Device(**read)

    def _signals(self, node: Node, field: str) -> Condition | None:
        at_least: float | None = 1.0
        if isinstance(node, Table):
            table = self._leaves.table(node, field, ("include", "at_least")) or {}
            if "at_least" in table:
                at = inside(field, "at_least")
                at_least = self._leaves.number(table["at_least"], at, 0, 100)
            field = inside(field, "include")
            if "include" not in table:
                self._leaves.add(node, field, "is required")
                return None
            node = table["include"]
        names = self._leaves.names(node, field)
        if not names or at_least is None:
            return None
        for name in names:
            if not _SIGNAL.fullmatch(name.text):
                message = "must be 1 to 64 small letters, digits, dots, dashes or underscores"
                self._leaves.problems.add(name.place, name.field, message)
        return Signals(frozenset(name.text for name in names), at_least)

    def _claims(self, node: Node, field: str) -> Condition | None:
        if not isinstance(node, Table) or not node.entries:
            refuse(self._leaves.problems, node, field, "a mapping of claims to values")
            return None
        required = []
        for name, entry in node.entries.items():
            values = self._leaves.names(_texts(entry.node), inside(field, name))
            try:
                parts_of(name)
            except InvalidPath as error:
                self._leaves.problems.add(entry.place, inside(field, name), str(error))
            if values:
                required.append((composed(name), frozenset(value.text for value in values)))
        return Claims(tuple(required)) if len(required) == len(node.entries) else None

    def _time_of_day(self, node: Node, field: str) -> Condition | None:
        table = self._leaves.table(node, field, ("start", "end", "days", "timezone"))
        if table is None:
            return None
        start = self._minutes(node, table, field, "start")
        end = self._minutes(node, table, field, "end")
        days = self._days(table["days"], inside(field, "days")) if "days" in table else range(7)
        zone = "UTC"
        if "timezone" in table:
            zone = self._zone(table["timezone"], inside(field, "timezone"))
        if start is None or end is None or not days or not zone:
            return None
        if start in (end, _MIDNIGHT):
            message = "must start before 24:00, and end at another time than it starts"
            self._leaves.add(node, field, message)
            return None
        return TimeOfDay(start, end, frozenset(days), zone)

    def _minutes(self, node: Node, table: Mapping[str, Node], field: str, key: str) -> int | None:
        at = inside(field, key)
        if key not in table:
            self._leaves.add(node, at, "is required")
            return None
        text = self._leaves.text(table[key], at)
        if text is None:
            return None
        found = _TIME.fullmatch(text)
        minutes = int(found[1]) * 60 + int(found[2]) if found else _MIDNIGHT + 1
        if minutes > _MIDNIGHT:
            self._leaves.add(table[key], at, 'must be a time from "00:00" to "24:00"')
            return None
        return minutes

    def _days(self, node: Node, field: str) -> list[int]:
        names = self._leaves.names(node, field) or []
        known = self._leaves.all_of(names, frozenset(DAYS))
        return [DAYS.index(name.text) for name in names] if known else []

    def _zone(self, node: Node, field: str) -> str:
        name = self._leaves.text(node, field)
        if name is None or name in self._world.timezones:
            return name or ""
        named = Named(name, field, node.place)
        self._leaves.unknown(named, self._world.timezones, "a time zone")
        return ""


def _one_or_all(conditions: tuple[Condition, ...]) -> Condition:
    return conditions[0] if len(conditions) == 1 else All(conditions)


def _texts(node: Node) -> Node:
    """Numbers and truths as the texts that they are in a token's claims."""
    match node:
        case Scalar(value=bool() as truth):
            return Scalar("true" if truth else "false", node.place)
        case Scalar(value=int() | float() as number):
            return Scalar(number_text(number) or shown(repr(number)), node.place)
        case Listing():
            return Listing(tuple(_texts(item) for item in node.items), node.place)
        case Table():
            entries = {
                key: entry._replace(node=_texts(entry.node)) for key, entry in node.entries.items()
            }
            return Table(entries, node.place)
        case _:
            return node
