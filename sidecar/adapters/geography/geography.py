"""The places of addresses by the configured MMDB files, which are replaced while in use.

What was read is a *generation*: databases and the places already found in them. A reload makes a
new one and swaps it in by one assignment, so that a lookup sees the old or the new, never both,
and a place is never remembered longer than the database it came from.
"""

import ipaddress
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, assert_never

from sidecar.adapters.geography.mmdb import InvalidDatabase, Mmdb, read
from sidecar.domain.values import address
from sidecar.domain.values.location import Place
from sidecar.wire.places.mmdb_records import (
    Fields,
    Flags,
    InvalidPlaceRecord,
    Location,
    SystemOperator,
    flags,
)
from sidecar.wire.settings import settings

NOWHERE = Place()


class Database(StrEnum):
    """The databases, named as their settings and the metric's label are."""

    CITY = "city"
    ASN = "asn"
    ANONYMOUS_IP = "anonymous_ip"
    CONNECTION_TYPE = "connection_type"


class DatabaseMessage(StrEnum):
    """A kind of information that records of a database may hold and conditions ask for."""

    COUNTRY = "country"
    REGION = "region"
    COORDINATES = "coordinates"
    ASN = "asn"
    ANONYMIZER = "anonymizer"
    CONNECTION = "connection"


class DatabaseOutcome(NamedTuple):
    """The outcome of a reload for one configured database.

    `error` is empty where the file is now in use; else the one before it, if any, still is.
    `changed` is true if other content than before is in use. `build` is the build epoch of what
    is in use, 0 where nothing is. `held` is what at least one of its probed records holds.
    """

    database: Database
    file: str
    changed: bool
    error: str
    build: int
    held: frozenset[DatabaseMessage] = frozenset()

    @property
    def field(self) -> str:
        """The setting that names the file."""
        return f"geography.{self.database}"


class Failure(NamedTuple):
    """A lookup found a broken record: in which database, and what is wrong with it."""

    database: Database
    message: str


class Carriers(NamedTuple):
    """The networks of mobile carriers that are configured."""

    asns: frozenset[int]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    def has(self, ip: address.Address, asn: int) -> bool:
        """Return whether this address is one of theirs."""
        if asn in self.asns:
            return True
        return bool(self.networks) and any(
            ipaddress.ip_address(ip.packed) in network for network in self.networks
        )


class Radii(NamedTuple):
    """The radii, in km, of records that have coordinates and no radius of their own."""

    city: float
    elsewhere: float

    def of(self, location: Location) -> float:
        """Return the radius of a record, in km; 0 where it has no coordinates."""
        if location.latitude is None:
            return 0.0
        return location.accuracy_km or (self.city if location.city else self.elsewhere)


OnFailure = Callable[[Failure], None]


class _File(NamedTuple):
    database: Database
    path: str


class _Plan(NamedTuple):
    """The configuration: which files are asked, and how their records are read."""

    files: tuple[_File, ...]
    fields: Fields
    radii: Radii
    meaningless_asns: frozenset[int]
    carriers: Carriers


def _plan_of(configured: settings.GeographySettings) -> _Plan:
    kinds = {
        Database.CITY: configured.city,
        Database.ASN: configured.asn,
        Database.ANONYMOUS_IP: configured.anonymous_ip,
        Database.CONNECTION_TYPE: configured.connection_type,
    }
    return _Plan(
        files=tuple(
            _File(database, path)
            for database, named in kinds.items()
            for path in settings.files_of(named)
        ),
        fields=Fields(configured.fields),
        radii=Radii(configured.accuracy_km, configured.accuracy_without_city_km),
        meaningless_asns=frozenset(configured.meaningless_asns),
        carriers=Carriers(
            frozenset(configured.carrier_asns),
            tuple(ipaddress.ip_network(one, strict=False) for one in configured.carrier_networks),
        ),
    )


class _Generation(NamedTuple):
    plan: _Plan
    databases: Mapping[_File, Mmdb]
    held: Mapping[_File, frozenset[DatabaseMessage]]
    find: Callable[[address.Address], Place]


class PreparedDatabases(NamedTuple):
    """Databases that were read as another configuration has it: in use once `use` is called."""

    outcomes: tuple[DatabaseOutcome, ...]
    generation: _Generation


class Geography:
    """The geography databases. Nothing is read before the first `reload`.

    `base` is what relative paths are relative to. `on_failure` is called for each lookup that
    met a broken record, from the thread that looked. `remembered` bounds the places kept.
    """

    def __init__(
        self,
        configured: settings.GeographySettings,
        base: Path = Path(),
        on_failure: OnFailure = lambda _: None,
        remembered: int = 65536,
    ) -> None:
        self._base = base
        self._on_failure = on_failure
        self._remembered = remembered
        self._reloading = threading.Lock()
        self._generation = self._generation_of(_plan_of(configured), {}, {})

    def place(self, ip: str) -> Place:
        """Return where an address is by the databases; never raises and never blocks.

        What is no address, or is another machine in every network (private, loopback, ...), is
        nowhere: an empty place. A broken record is as one that is not there, and is reported.
        """
        parsed = address.parse(ip)
        if parsed is None or not parsed.has_place:
            return NOWHERE
        return self._generation.find(parsed)

    def reload(self) -> list[DatabaseOutcome]:
        """Read every configured file and use each that is sound; also the first load.

        Blocks for as long as reading takes: call it in a thread. Never raises for a bad file: at
        a start, an outcome with an error is a ConfigError of its `field`.
        """
        with self._reloading:
            plan, databases, held = self._generation[:3]
            databases, held = dict(databases), dict(held)
            outcomes = [self._load(plan, file, databases, held) for file in plan.files]
            if any(outcome.changed for outcome in outcomes):
                self._generation = self._generation_of(plan, databases, held)
        return outcomes

    def prepare(self, configured: settings.GeographySettings) -> PreparedDatabases:
        """Read every file that is configured so, and put none in use; blocks like `reload`."""
        plan = _plan_of(configured)
        databases: dict[_File, Mmdb] = {}
        held: dict[_File, frozenset[DatabaseMessage]] = {}
        outcomes = tuple(self._load(plan, file, databases, held) for file in plan.files)
        return PreparedDatabases(outcomes, self._generation_of(plan, databases, held))

    def use(self, prepared: PreparedDatabases) -> None:
        """Put in use what was prepared, in place of all that was before."""
        self._generation = prepared.generation

    @property
    def configured(self) -> tuple[Database, ...]:
        """The databases that are configured."""
        return tuple(dict.fromkeys(file.database for file in self._generation.plan.files))

    @property
    def builds(self) -> dict[str, int]:
        """The build epoch of each database in use, by name; of several files the oldest."""
        found: dict[str, int] = {}
        for (database, _), mmdb in self._generation.databases.items():
            found[database.value] = min(mmdb.build, found.get(database.value, mmdb.build))
        return found

    @property
    def held(self) -> frozenset[DatabaseMessage]:
        """The information that at least one record of the databases in use holds."""
        return frozenset().union(*self._generation.held.values())

    @property
    def digests(self) -> dict[str, bytes]:
        """The digest of each database in use, by name; of several files one after the other."""
        found: dict[str, bytes] = {}
        generation = self._generation
        for file in generation.plan.files:
            mmdb = generation.databases.get(file)
            if mmdb is not None:
                name = file.database.value
                found[name] = found.get(name, b"") + mmdb.digest
        return found

    def _load(
        self,
        plan: _Plan,
        file: _File,
        databases: dict[_File, Mmdb],
        held: dict[_File, frozenset[DatabaseMessage]],
    ) -> DatabaseOutcome:
        database, path = file
        old = databases.get(file)
        try:
            new = read(self._base / path)
            changed = old is None or old.digest != new.digest
            if changed:
                held[file] = _probe(database, new, plan.fields)
        except InvalidDatabase as error:
            return DatabaseOutcome(database, path, False, str(error), old.build if old else 0)
        if changed:
            databases[file] = new
        return DatabaseOutcome(database, path, changed, "", new.build, held[file])

    def _generation_of(
        self,
        plan: _Plan,
        databases: Mapping[_File, Mmdb],
        held: Mapping[_File, frozenset[DatabaseMessage]],
    ) -> _Generation:
        # The cache must not refer to what refers to it: a cycle would keep a database of a
        # hundred megabytes until the garbage collector comes by.
        in_turn = tuple(
            (file.database, databases[file]) for file in plan.files if file in databases
        )
        find = partial(_find, plan, in_turn, self._on_failure)
        return _Generation(plan, databases, held, lru_cache(maxsize=self._remembered)(find))


def _find(
    plan: _Plan,
    databases: Sequence[tuple[Database, Mmdb]],
    on_failure: OnFailure,
    ip: address.Address,
) -> Place:
    location, operator, build = Location(), SystemOperator(), 0
    found: list[Flags] = []
    for database, mmdb in databases:
        try:
            record = mmdb.record(ip)
            if record is None:
                continue
            match database:
                case Database.CITY if location == Location():
                    location, build = plan.fields.location(record), mmdb.build
                case Database.ASN if operator == SystemOperator():
                    operator = plan.fields.operator(record)
                case Database.CITY | Database.ASN:
                    pass  # an earlier file has said it
                case Database.ANONYMOUS_IP | Database.CONNECTION_TYPE:
                    pass
                case _:
                    assert_never(database)
            found.append(flags(record))
        except (InvalidDatabase, InvalidPlaceRecord) as error:
            on_failure(Failure(database, str(error)))
    anonymizer = tuple(sorted({kind for flag in found for kind in flag.anonymizer}))
    elsewhere = any(flag.elsewhere for flag in found) or operator.asn in plan.meaningless_asns
    if not build:  # nobody knows it: what the database did not know counts all the same
        builds = (mmdb.build for database, mmdb in databases if database is Database.CITY)
        build = next(builds, 0)
    return Place(
        country=location.country,
        region=location.region,
        city=location.city,
        asn=operator.asn,
        organization=operator.organization,
        latitude=location.latitude,
        longitude=location.longitude,
        accuracy_km=plan.radii.of(location),
        anonymizer=anonymizer,
        meaningless=elsewhere or bool(anonymizer),
        build=build,
        carrier=any(flag.carrier for flag in found) or plan.carriers.has(ip, operator.asn),
    )


def _probe(database: Database, mmdb: Mmdb, fields: Fields) -> frozenset[DatabaseMessage]:
    """Return what a database's records hold, before it is used. Raises InvalidDatabase.

    One that can be read and says nothing is refused as well: its fields are named otherwise than
    configured, or it is the wrong kind of database, and it would fail silently.
    """
    held: set[DatabaseMessage] = set()
    says_something = False
    try:
        for record in mmdb.probe():
            flag = flags(record)
            held.update(_held_by_flags(flag))
            match database:
                case Database.CITY:
                    location = fields.location(record)
                    held.update(_held_by(location))
                    says_something |= location != Location()
                case Database.ASN:
                    operator = fields.operator(record)
                    held.update({DatabaseMessage.ASN} if operator.asn else ())
                    says_something |= operator != SystemOperator()
                case Database.ANONYMOUS_IP:
                    says_something |= flag.has_anonymizer
                case Database.CONNECTION_TYPE:
                    says_something |= flag.has_connection
                case _:
                    assert_never(database)
    except InvalidPlaceRecord as error:
        raise InvalidDatabase(f"a record is broken: {error}") from error
    if not says_something:
        raise InvalidDatabase(f"no record that was probed {_SAYS_NOTHING[database]}")
    return frozenset(held)


def _held_by(location: Location) -> Iterator[DatabaseMessage]:
    if location.country:
        yield DatabaseMessage.COUNTRY
    if location.region:
        yield DatabaseMessage.REGION
    if location.latitude is not None:
        yield DatabaseMessage.COORDINATES


def _held_by_flags(flag: Flags) -> Iterator[DatabaseMessage]:
    if flag.has_anonymizer:
        yield DatabaseMessage.ANONYMIZER
    if flag.has_connection:
        yield DatabaseMessage.CONNECTION


_IN_NO_FIELD = "says anything in the fields of `geography.fields`"
_SAYS_NOTHING = {
    Database.CITY: _IN_NO_FIELD,
    Database.ASN: _IN_NO_FIELD,
    Database.ANONYMOUS_IP: "has a flag of an anonymous-IP database",
    Database.CONNECTION_TYPE: "has a type of connection or a mobile carrier",
}
