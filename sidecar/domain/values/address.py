"""IP addresses: one spelling for each, and what kind of network it belongs to.

Kinds follow IANA's special-purpose registries (RFC 6890, as amended), distinguished by what they
mean here: whether an address can be somewhere on Earth, or only within somebody's network.
"""

import ipaddress
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of translators between the two (RFC 6052, section 2.1)."""

_TUNNELLED = ipaddress.IPv6Network("2002::/16")
"""Of 6to4 (RFC 3056): the 32 bits that follow are the address of the tunnel's end."""

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as a dual-stack listener shows them (RFC 4291, section 2.5.5.2)."""

_LONGEST = 80
"""No address with zone, brackets and port is longer; what is longer is not worth a cache entry."""


class Kind(StrEnum):
    """The purpose of an address."""

    PUBLIC = "public"
    DOCUMENTATION = "documentation"  # RFC 5737, RFC 3849, RFC 9637
    PRIVATE = "private"  # RFC 1918, RFC 4193; and site-local, RFC 3879
    CGNAT = "cgnat"  # RFC 6598
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    MULTICAST = "multicast"
    UNSPECIFIED = "unspecified"
    RESERVED = "reserved"


_INSIDE = frozenset(
    {
        Kind.PRIVATE,
        Kind.CGNAT,
        Kind.LOOPBACK,
        Kind.LINK_LOCAL,
        Kind.MULTICAST,
        Kind.UNSPECIFIED,
    }
)


class Address(msgspec.Struct, frozen=True, gc=False):
    """An IP address. `text` is its canonical spelling (RFC 5952), `packed` its 4 or 16 bytes."""

    text: str
    kind: Kind
    packed: bytes

    @property
    def has_place(self) -> bool:
        """A geography database may know it. Documentation ranges count: samples use them.

        The others mean another machine in every network that uses them.
        """
        return self.kind not in _INSIDE


def _span(cidr: str, kind: Kind) -> tuple[int, int, Kind]:
    network = ipaddress.ip_network(cidr)
    return int(network.network_address), int(network.broadcast_address), kind


_V4 = tuple(
    _span(cidr, kind)
    for cidr, kind in (
        ("10.0.0.0/8", Kind.PRIVATE),
        ("172.16.0.0/12", Kind.PRIVATE),
        ("192.168.0.0/16", Kind.PRIVATE),
        ("127.0.0.0/8", Kind.LOOPBACK),
        ("100.64.0.0/10", Kind.CGNAT),
        ("169.254.0.0/16", Kind.LINK_LOCAL),
        ("224.0.0.0/4", Kind.MULTICAST),
        ("192.0.2.0/24", Kind.DOCUMENTATION),
        ("198.51.100.0/24", Kind.DOCUMENTATION),
        ("203.0.113.0/24", Kind.DOCUMENTATION),
        ("0.0.0.0/32", Kind.UNSPECIFIED),
        ("0.0.0.0/8", Kind.RESERVED),
        ("192.0.0.0/24", Kind.RESERVED),
        ("192.88.99.0/24", Kind.RESERVED),
        ("198.18.0.0/15", Kind.RESERVED),
        ("240.0.0.0/4", Kind.RESERVED),
        ("0.0.0.0/0", Kind.PUBLIC),
    )
)
"""The first that contains an address decides, here and below."""

_V6 = tuple(
    _span(cidr, kind)
    for cidr, kind in (
        ("2001:db8::/32", Kind.DOCUMENTATION),
        ("3fff::/20", Kind.DOCUMENTATION),
        ("2001::/23", Kind.RESERVED),
        ("2002::/16", Kind.RESERVED),
        ("2000::/3", Kind.PUBLIC),
        ("fe80::/10", Kind.LINK_LOCAL),
        ("fc00::/7", Kind.PRIVATE),
        ("fec0::/10", Kind.PRIVATE),
        ("ff00::/8", Kind.MULTICAST),
        ("::1/128", Kind.LOOPBACK),
        ("::/128", Kind.UNSPECIFIED),
        ("::/0", Kind.RESERVED),
    )
)


@lru_cache(maxsize=16384)
def _parsed(text: str) -> Address | None:
    host = _without_port(text.strip(" \t"))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            if not address.is_link_local:
                return None
            address = ipaddress.IPv6Address(int(address))
        address = _ipv4_within(address) or address
    return Address(str(address), _kind(address), address.packed)


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does.

    Neither a translator nor a tunnel leads to an address of somebody's own network (RFC 6052,
    section 3.1; RFC 3056, section 2), so that one who claims to come from there does not.
    """
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    within = address.sixtofour
    if address in _TRANSLATED:
        within = ipaddress.IPv4Address(address.packed[12:])
    return None if within is None or _kind(within) in _INSIDE else within


def compared_as(network: IPNetwork) -> IPNetwork:
    """Return the network that a name for one stands for, as addresses are compared (`parse`).

    Raises ValueError for a part of 64:ff9b::/96 or 2002::/16 that is compared as IPv4: a name
    for it would match nothing, and turned into IPv4 it would match those that came without a
    translator or tunnel too. Within 2002::/16 all addresses of a /48 stand for one.
    """
    if network.version == 4:
        return network
    start, length = int(network.network_address), network.prefixlen
    if network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((start & 0xFFFFFFFF, length - 96))
    if network.subnet_of(_TRANSLATED):
        within = ipaddress.IPv4Network((start & 0xFFFFFFFF, length - 96))
    elif network.subnet_of(_TUNNELLED):
        within = ipaddress.IPv4Network((start >> 80 & 0xFFFFFFFF, min(length - 16, 32)))
    else:
        return network
    first, last = int(within.network_address), int(within.broadcast_address)
    if any(low <= first and last <= high for low, high, kind in _V4 if kind in _INSIDE):
        return network
    raise ValueError(f"addresses of {network} are compared as IPv4; name {within} instead")


def parse(text: str) -> Address | None:
    """Return the address that `text` spells, None where it is not one; never raises.

    A port (`1.2.3.4:5678`, `[::1]:80`) and brackets are taken off. What stands for an IPv4 address
    is that address: an IPv4-mapped one (RFC 4291, section 2.5.5.2), as a dual-stack listener shows
    a client; one of NAT64's well-known prefix (RFC 6052), as servers behind SIIT-DC see clients
    (RFC 7755); and one of 6to4 (RFC 3056), whose tunnel ends there.
    A zone (`fe80::1%eth0`) is taken off a link-local address; it names an interface of this
    machine. On another it is nonsense, and so is the whole.
    """
    return _parsed(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=16384)
def within(text: str, ipv6_prefix: int) -> str:
    """Return what an address counts as where only so many bits of an IPv6 one do.

    A host takes new addresses in its network as it likes (RFC 8981): `2001:db8::/64` is then what
    it is known by. An IPv4 address, or what is none, is returned as it is.
    """
    address = parse(text)
    if address is None or len(address.packed) == 4 or ipv6_prefix >= 128:
        return text
    return str(ipaddress.IPv6Network((address.packed, ipv6_prefix), strict=False))


def canonical(text: str) -> str:
    """Return the canonical spelling of an address, empty where `text` is not one."""
    address = parse(text)
    return address.text if address is not None else ""


def _without_port(text: str) -> str:
    """Return the host of `HOST`, `IPv4:PORT`, `[IPv6]` or `[IPv6]:PORT`.

    Empty if it is no such thing.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        proper = bracket and ":" in host and (not rest or (rest[0] == ":" and _is_port(rest[1:])))
        return host if proper else ""
    host, colon, port = text.partition(":")
    if colon and ":" not in port and "." in host:
        return host if _is_port(port) else ""
    return text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _kind(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Kind:
    number = int(address)
    spans = _V4 if address.version == 4 else _V6
    return next(kind for low, high, kind in spans if low <= number <= high)
