"""Named locations: Graph's `namedLocation` to settings, and policies' locations to a condition."""

import ipaddress
import re
import unicodedata
from collections.abc import Collection, Iterable

import msgspec

from sidecar.domain.policy.conditional_access import Condition, Locations, Selection
from sidecar.domain.values import address
from sidecar.entra.conversion.risks import NEVER
from sidecar.entra.graph_objects import GraphNamedLocation, IpRange, LocationsCondition, Texts
from sidecar.entra.ledger import Effect, Ledger
from sidecar.entra.names import DirectoryNames
from sidecar.wire.grammar.selections import EVERYTHING
from sidecar.wire.settings.settings import ALL_TRUSTED, NamedLocation
from sidecar.wire.yaml import scalars

_NOT_SLUG = re.compile(r"[^a-z0-9._-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST = 52
_SOURCE = re.compile(r"([0-9a-f]{8})-")
_ROOM = 12
"""For the source and a number: with `.routine` a policy's id has at most 64 characters."""
_UNKNOWN_PLACES = "addresses whose country is not known lie in no location here"
_GPS = "a sidecar places addresses, not the phone's GPS"
_NOT_HERE = (
    "the location is not in the export, nor is it named in the names file: "
    "export the namedLocation objects, too"
)
_NONE_TRUSTED = (
    "no trusted location is known here: export the namedLocation objects, too, or give the "
    "configuration that has them"
)
_NO_RANGE = "is no range of addresses, or one of NAT64 or 6to4: name the IPv4 addresses within"
_PARTIAL = "the location itself could not be carried over whole"
_NOTHING = "nothing of this location could be carried over"
_NO_PLACE = "without it, no location is left: as it is written here, the policy holds nowhere"
_NOWHERE = "it is for no location: nothing is included, and that is not `All`"


def slug(text: str, taken: Collection[str], otherwise: str, source: str = "") -> str:
    """Make a name of `text` that is not taken: small letters, digits, dots, dashes, underscores.

    A long one keeps its head and its tail: what distinguishes names often stands at the end. Where
    letters are lost, or the name is taken, the beginning of the `source` (a GUID) is added.
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    plain = letters.encode("ascii", "ignore").decode()
    name = _NOT_SLUG.sub("-", plain).strip("-._")
    own = _SOURCE.match(source.lower())
    apart = f"{_shortened(name, _LONGEST - _ROOM)}-{own[1]}" if name and own else ""
    is_lost = any(c.isalnum() and not c.isascii() for c in letters)
    name = (apart if is_lost else "") or _shortened(name, _LONGEST) or otherwise
    if name not in taken:
        return name
    name = apart or name
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _shortened(name: str, longest: int) -> str:
    """Return the head and the tail of a name that is too long."""
    if len(name) <= longest:
        return name
    tail = _whole_words(name[::-1], longest // 2)[::-1]
    return f"{_whole_words(name, longest - 1 - len(tail))}-{tail}"


def _whole_words(text: str, longest: int) -> str:
    """Return the first words of a text that fit; a part of the first one where it is longer."""
    cut = text[: longest + 1]
    return cut.rpartition("-")[0].strip("-._") or text[:longest]


class Place(msgspec.Struct, frozen=True):
    """A named location as policies can name it; `whole`: all of it was carried over.

    A location in which no address lies has no name.
    """

    name: str
    whole: bool = True


class ConvertedPlaces:
    """The named locations that policies can refer to."""

    def __init__(self, names: DirectoryNames, configured: Iterable[NamedLocation]) -> None:
        self._names = names
        self._configured = {location.name: location for location in configured}
        self._taken = {EVERYTHING, ALL_TRUSTED, *self._configured}
        self._by_id: dict[str, Place] = {}
        self._whole_trust = True
        self.found: list[NamedLocation] = []
        """Those that the configuration does not have yet."""

    def add(self, location: GraphNamedLocation, ledger: Ledger) -> None:
        """Take in an exported location."""
        at = ledger.at
        ledger.carry(f"{at}.id", f"{at}.displayName")
        for name in ("createdDateTime", "modifiedDateTime"):
            ledger.carry(f"{at}.{name}")
        ledger.carry(f"{at}.isTrusted", f"{at}.countryLookupMethod")
        cidrs = tuple(dict.fromkeys(_cidrs(location.ip_ranges, ledger)))
        countries = _countries(location.countries_and_regions, ledger)
        unknown = f"{at}.includeUnknownCountriesAndRegions"
        if location.include_unknown_countries_and_regions:
            ledger.lose(unknown, _UNKNOWN_PLACES, Effect.WEAKER)
        ledger.carry(unknown)
        if location.country_lookup_method not in {None, "clientIpAddress"}:
            ledger.lose(f"{at}.countryLookupMethod", _GPS, Effect.WEAKER)
        ledger.audit()
        if not cidrs and not countries:
            ledger.note(f"{at}.id", "no address would lie in it")
            if location.id:
                self._by_id[location.id.lower()] = Place("", whole=not ledger.losses)
            return
        made = NamedLocation(
            name="",
            cidrs=cidrs,
            countries=countries,
            trusted=bool(location.is_trusted),
        )
        made = msgspec.structs.replace(made, name=self._name(location, made))
        if made.name not in self._configured:
            self.found.append(made)
            self._taken.add(made.name)
        place = Place(made.name, not ledger.losses)
        self._whole_trust = self._whole_trust and (place.whole or not made.trusted)
        if location.id:
            self._by_id[location.id.lower()] = place

    def _name(self, location: GraphNamedLocation, made: NamedLocation) -> str:
        named = self._names.of("locations", location.id or "")
        if named and _NAME.fullmatch(named):
            return named
        display = location.display_name or ""
        name = slug(display, (), "location")
        there = self._configured.get(name)
        if there is not None and msgspec.structs.replace(there, name="") == made:
            return name
        return slug(display, self._taken, "location", location.id or "")

    @property
    def has_trusted(self) -> bool:
        """Return whether any location is trusted, so that `all-trusted` means something."""
        known = (*self._configured.values(), *self.found)
        return any(location.trusted for location in known)

    def condition(
        self, locations: LocationsCondition | None, at: str, ledger: Ledger, *, strict: bool = False
    ) -> Condition | None:
        """Return the condition that the address lies where a policy says.

        `strict`: that of the call.
        """
        if locations is None:
            return None
        included = self._side(locations.include_locations, f"{at}.includeLocations", ledger, "All")
        excluded = self._side(locations.exclude_locations, f"{at}.excludeLocations", ledger, "")
        if not locations.include_locations:
            if ledger.value(at):
                ledger.rest(f"{at}.includeLocations", _NOWHERE)
            return None
        if "All" in locations.include_locations:
            return Locations(Selection(None, excluded), strict) if excluded else None
        if not included:  # what is lost must not make a block for everywhere of it
            ledger.note(f"{at}.includeLocations", _NO_PLACE)
            return NEVER
        return Locations(Selection(included, excluded), strict)

    def _side(
        self, values: Texts | None, at: str, ledger: Ledger, everywhere: str
    ) -> frozenset[str]:
        loss = Effect.WEAKER if everywhere else Effect.WIDER
        found = set()
        for item, value in zip(ledger.items(at), values or (), strict=True):
            if value == everywhere:
                ledger.carry(item)
            elif value == "AllTrusted":
                found.add(ALL_TRUSTED)
                if not self.has_trusted:
                    ledger.lose(item, _NONE_TRUSTED, loss)
                elif not self._whole_trust:
                    ledger.lose(item, _PARTIAL, loss)
                ledger.carry(item)
            else:
                found |= self._named(item, value, ledger, loss)
        return frozenset(found)

    def _named(self, item: str, value: str, ledger: Ledger, loss: Effect) -> set[str]:
        place = self._by_id.get(value.lower())
        named = self._names.of("locations", value)
        if place is None and named and _NAME.fullmatch(named):
            ledger.note(item, f"{named} must be in `locations` of your configuration")
            return {named}
        if place is None:
            ledger.lose(item, _NOT_HERE, loss)
            return set()
        if not place.name:
            if not place.whole:
                ledger.lose(item, _NOTHING, loss)
            ledger.carry(item)
            return set()
        if not place.whole:
            ledger.lose(item, _PARTIAL, loss)
        ledger.carry(item)
        return {place.name}


def _cidrs(ranges: tuple[IpRange, ...] | None, ledger: Ledger) -> Iterable[str]:
    at = f"{ledger.at}.ipRanges"
    for item, each in zip(ledger.items(at), ranges or (), strict=True):
        try:
            found = _networks(each)
        except ValueError:
            ledger.lose(item, _NO_RANGE, Effect.WEAKER)
            continue
        for name in ("cidrAddress", "lowerAddress", "upperAddress"):
            ledger.carry(f"{item}.{name}")
        yield from found


def _networks(each: IpRange) -> list[str]:
    """Return the networks of a range.

    Graph takes addresses with host bits set, too, but no zones.
    """
    if any(
        "%" in (text or "") for text in (each.cidr_address, each.lower_address, each.upper_address)
    ):
        raise ValueError
    if each.cidr_address is not None:
        return [_spelled(ipaddress.ip_network(each.cidr_address, strict=False))]
    lower = ipaddress.ip_address(each.lower_address or "")
    upper = ipaddress.ip_address(each.upper_address or "")
    if isinstance(lower, ipaddress.IPv4Address) and isinstance(upper, ipaddress.IPv4Address):
        return [_spelled(network) for network in ipaddress.summarize_address_range(lower, upper)]
    if isinstance(lower, ipaddress.IPv6Address) and isinstance(upper, ipaddress.IPv6Address):
        return [_spelled(network) for network in ipaddress.summarize_address_range(lower, upper)]
    raise ValueError


def _spelled(network: address.IPNetwork) -> str:
    return str(address.compared_as(network))


def _countries(codes: Texts | None, ledger: Ledger) -> tuple[str, ...]:
    at = f"{ledger.at}.countriesAndRegions"
    found = []
    for item, code in zip(ledger.items(at), codes or (), strict=True):
        try:
            found.append(scalars.country(code))
        except ValueError:
            ledger.lose(item, "is no country's code of two letters", Effect.WEAKER)
        else:
            ledger.carry(item)
    return tuple(dict.fromkeys(found))
