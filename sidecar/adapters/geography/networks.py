"""Named networks and named locations: which of them contain an address.

A table is built once, from settings and files of CIDRs, and never changed; a reload builds
another beside it. So any number of threads may ask one (py-radix guards its trees only by the
interpreter's lock). py-radix itself reads `10/8` as 0.0.0.10, `010.0.0.1` as octal and asks the
resolver about zones: it is fed with packed bytes only. IPv4 and IPv6 are apart in it, so an
IPv4-mapped prefix is entered as the IPv4 prefix it is, as `domain.values.address` does with
addresses.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import radix

from sidecar.adapters.files.regular_files import read_text
from sidecar.domain.values import address
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.location import Place
from sidecar.wire.settings.settings import NamedLocation, Network

V = TypeVar("V")
_NOWHERE: frozenset[str] = frozenset()
NONE = "none"
"""In a file of CIDRs, alone: it is to hold none. An emptied file would open what it closed."""

_SHOWN = 200
"""After so many problems no more are looked for: the wrong file was named."""


class Problem(NamedTuple):
    """A fault that the operator must mend: `field` of the settings, and what is wrong with it.

    A message about a file begins with `FILE:LINE: ` or `FILE: `.
    """

    field: str
    message: str


class InvalidPrefixes(ValueError):  # noqa: N818 - named by who must act
    """Networks or locations cannot be built as configured; all `problems` at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in problems))
        self.problems = tuple(problems)


class Prefix(NamedTuple):
    """A network as bytes: in network order, and how many leading bits count."""

    packed: bytes
    length: int

    def __str__(self) -> str:
        return f"{ipaddress.ip_address(self.packed)}/{self.length}"


class _Claim(NamedTuple):
    """A prefix that the settings give to a name, and where they say so."""

    prefix: Prefix
    name: str
    field: str
    origin: str  # "", or "FILE:LINE: "


def parse_cidr(text: str) -> Prefix:
    """Read `10.0.0.0/8`, `2001:db8::/32` or a lone address.

    Raises ValueError for anything else, host bits included: whether `10.0.0.5/8` means one host
    or sixteen million is for its author to say. So it does for a part of NAT64's and 6to4's
    networks, whose addresses are compared as IPv4.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(_what_is_wrong(text)) from error
    mask = text.partition("/")[2]
    if "%" in text or (mask and not mask.isdigit()):
        raise ValueError(_what_is_wrong(text))
    network = address.compared_as(network)
    return Prefix(network.network_address.packed, network.prefixlen)


def _what_is_wrong(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{text!r} is not a CIDR"
    if not text.partition("/")[2].isdigit():
        return f"{text!r} has no prefix length; did you mean {network}?"
    return f"{text!r} has host bits set; did you mean {network}?"


class PrefixTable(Generic[V]):
    """Longest-prefix match: the value of the longest prefix that contains an address."""

    __slots__ = ("_tree",)

    def __init__(self, entries: Iterable[tuple[Prefix, V]]) -> None:
        self._tree = radix.Radix()
        for prefix, value in entries:
            self._tree.add(packed=prefix.packed, masklen=prefix.length).data["value"] = value

    def find(self, packed: bytes) -> V | None:
        """Return the value for an address of 4 or 16 bytes, None where no prefix contains it."""
        node = self._tree.search_best(packed=packed)
        value: V | None = None if node is None else node.data["value"]
        return value


class Prefixes:
    """The configured networks and locations, as one thing to ask and to swap at a reload."""

    def __init__(
        self,
        networks: Iterable[tuple[Prefix, str]],
        locations: Iterable[tuple[Prefix, str]],
        by_country: Iterable[tuple[str, str]] = (),
        by_asn: Iterable[tuple[int, str]] = (),
        trusted: Iterable[str] = (),
    ) -> None:
        self._networks = PrefixTable(networks)
        self._locations = PrefixTable(_nested(locations))
        self._by_country = _grouped(by_country)
        self._by_asn = _grouped(by_asn)
        self.trusted = frozenset(trusted)

    def network_of(self, ip: str) -> str:
        """Return the name of the network with the longest prefix around `ip`; empty: none."""
        parsed = address.parse(ip)
        return "" if parsed is None else self._networks.find(parsed.packed) or ""

    def locations_of(self, ip: str, place: Place) -> frozenset[str]:
        """Return the locations around `ip`: by any prefix, and by `place`'s country and ASN.

        `ip` may be empty or unreadable, where only the place is known.
        """
        parsed = address.parse(ip)
        names = _NOWHERE if parsed is None else self._locations.find(parsed.packed) or _NOWHERE
        country = self._by_country.get(place.country, _NOWHERE)
        asn = self._by_asn.get(place.asn, _NOWHERE)
        return names | country | asn if country or asn else names

    def is_trusted(self, names: frozenset[str]) -> bool:
        """Return whether any of these locations is a trusted one."""
        return not self.trusted.isdisjoint(names)


def load(
    networks: Sequence[Network], locations: Sequence[NamedLocation], base: Path = Path()
) -> Prefixes:
    """Build from settings, reading their files (so: in a thread); paths are relative to `base`.

    Raises InvalidPrefixes with everything that is wrong.
    """
    problems: list[Problem] = []
    in_networks = list(_claims("networks", networks, base, problems))
    in_locations = list(_claims("locations", locations, base, problems))
    problems += _contested(in_networks)
    by_country = list(_countries(locations, problems))
    if problems:
        raise InvalidPrefixes(problems)
    return Prefixes(
        ((claim.prefix, claim.name) for claim in in_networks),
        ((claim.prefix, claim.name) for claim in in_locations),
        by_country,
        [(asn, location.name) for location in locations for asn in location.asns],
        (location.name for location in locations if location.trusted),
    )


def cidrs_of(named: Network | NamedLocation, base: Path = Path()) -> tuple[str, ...]:
    """Return the CIDRs of a network or location as text, those of its file, too (so.

    In a thread).
    """
    return tuple(text for _, _, text in _sources("", named, base, []))


def _claims(
    section: str,
    named: Sequence[Network | NamedLocation],
    base: Path,
    problems: list[Problem],
) -> Iterator[_Claim]:
    for index, entry in enumerate(named):
        for field, origin, text in _sources(f"{section}.{index}", entry, base, problems):
            try:
                yield _Claim(parse_cidr(text), entry.name, field, origin)
            except ValueError as error:
                problems.append(Problem(field, f"{origin}{error}"))
                if len(problems) >= _SHOWN:
                    return


def _sources(
    at: str, entry: Network | NamedLocation, base: Path, problems: list[Problem]
) -> Iterator[tuple[str, str, str]]:
    """Yield each CIDR as text, with its field and (from a file) its line."""
    for index, text in enumerate(entry.cidrs):
        yield f"{at}.cidrs.{index}", "", text
    if not entry.cidr_file:
        return
    field = f"{at}.cidr_file"
    try:
        lines = list(_lines(base / entry.cidr_file))
    except OSError as error:
        problems.append(Problem(field, f"{entry.cidr_file}: {words_of(error)}"))
    except UnicodeDecodeError:
        problems.append(Problem(field, f"{entry.cidr_file}: not UTF-8 text"))
    else:
        if not lines:
            message = f"{entry.cidr_file}: holds no CIDR; where it is to hold none, say `{NONE}`"
            problems.append(Problem(field, message))
        for number, text in lines:
            if (number, text) != (lines[0][0], NONE) or len(lines) > 1:
                yield field, f"{entry.cidr_file}:{number}: ", text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file of CIDRs that say something, with their numbers.

    `#` and `;` comment.
    """
    text = read_text(path).removeprefix("\ufeff")
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].partition(";")[0].strip()
        if content:
            yield number, content


def _contested(claims: Iterable[_Claim]) -> Iterator[Problem]:
    """Yield each prefix that two networks claim: neither name would be the right answer."""
    owners: dict[Prefix, str] = {}
    for claim in claims:
        owner = owners.setdefault(claim.prefix, claim.name)
        if owner != claim.name:
            message = f"{claim.origin}{claim.prefix} is in network {owner!r} already"
            yield Problem(claim.field, message)


def _countries(
    locations: Sequence[NamedLocation], problems: list[Problem]
) -> Iterator[tuple[str, str]]:
    for index, location in enumerate(locations):
        for position, country in enumerate(location.countries):
            if len(country) == 2 and country.isascii() and country.isalpha():
                yield country.upper(), location.name
            else:
                field = f"locations.{index}.countries.{position}"
                problems.append(Problem(field, f"{country!r} is not an ISO 3166-1 alpha-2 code"))


K = TypeVar("K", str, int)


def _grouped(pairs: Iterable[tuple[K, str]]) -> dict[K, frozenset[str]]:
    groups: dict[K, set[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, set()).add(name)
    return {key: frozenset(names) for key, names in groups.items()}


def _nested(claims: Iterable[tuple[Prefix, str]]) -> Iterator[tuple[Prefix, frozenset[str]]]:
    """Give each prefix the names of all prefixes around it, so that a lookup is one search.

    Shorter prefixes come first; the open ones (those around the present one) form a stack.
    """
    own: dict[Prefix, set[str]] = {}
    for prefix, name in claims:
        own.setdefault(prefix, set()).add(name)
    shared: dict[frozenset[str], frozenset[str]] = {}  # few sets, though many prefixes
    around: list[tuple[Prefix, frozenset[str]]] = []
    for prefix in sorted(own, key=lambda p: (len(p.packed), p.packed, p.length)):
        while around and not _contains(around[-1][0], prefix):
            around.pop()
        outer = around[-1][1] if around else _NOWHERE
        names = frozenset(own[prefix]) | outer
        names = shared.setdefault(names, names)
        around.append((prefix, names))
        yield prefix, names


def _contains(outer: Prefix, inner: Prefix) -> bool:
    if len(outer.packed) != len(inner.packed) or outer.length > inner.length:
        return False
    shift = len(outer.packed) * 8 - outer.length
    return int.from_bytes(outer.packed) >> shift == int.from_bytes(inner.packed) >> shift
