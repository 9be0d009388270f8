"""Small geography databases, made of the address ranges that are reserved for documentation.

Addresses of RFC 5737 and RFC 3849 and AS numbers of RFC 5398, in MaxMind's schema, so that the
demo and the tests ask the real reader and no address of anybody is put anywhere.

| addresses | place | AS |
| --- | --- | --- |
| 192.0.2.0/24, 2001:db8:1::/48 | Berlin | 64496 |
| 198.51.100.0/24, 2001:db8:2::/48 | Lisbon | 64497 |
| 203.0.113.0/24, 2001:db8:3::/48 | São Paulo | 64498 |
| 192.0.2.192/26, 2001:db8:4::/48 | New York | 64499 |
| 198.51.100.192/26, 2001:db8:5::/48 | Singapore | 64500 |
| 203.0.113.192/26, 2001:db8:6::/48 | Amsterdam, anonymizers, see `ANONYMIZERS` | 64501 |
| the rest of 2001:db8::/32 | Berlin | 64496 |
"""

from pathlib import Path
from typing import Any, NamedTuple

from mmdb_writer import MMDBWriter
from netaddr import IPSet

BUILT = 1_767_225_600
"""The databases' build time, 2026-01-01T00:00:00Z: fixed, so that a build can be repeated."""


class Databases(NamedTuple):
    """The files, named as the settings of `geography` are."""

    city: Path
    asn: Path
    anonymous_ip: Path


class Sample(NamedTuple):
    """A place and its network. `radius` is in km; `region` is the part after the country's."""

    networks: tuple[str, ...]
    country: str
    region: str
    city: str
    latitude: float
    longitude: float
    radius: int
    asn: int
    organization: str


SAMPLES = (
    Sample(
        ("192.0.2.0/24", "2001:db8::/32", "2001:db8:1::/48"),
        *("DE", "BE", "Berlin", 52.52, 13.405, 20, 64496, "Example Spree Net"),
    ),
    Sample(
        ("198.51.100.0/24", "2001:db8:2::/48"),
        *("PT", "11", "Lisbon", 38.7223, -9.1393, 20, 64497, "Example Tejo Telecom"),
    ),
    Sample(
        ("203.0.113.0/24", "2001:db8:3::/48"),
        *("BR", "SP", "São Paulo", -23.5505, -46.6333, 50, 64498, "Exemplo Paulista"),
    ),
    Sample(
        ("192.0.2.192/26", "2001:db8:4::/48"),
        *("US", "NY", "New York", 40.7128, -74.006, 20, 64499, "Example Hudson Cable"),
    ),
    Sample(
        ("198.51.100.192/26", "2001:db8:5::/48"),
        *("SG", "01", "Singapore", 1.3521, 103.8198, 10, 64500, "Example Straits Fibre"),
    ),
    Sample(
        ("203.0.113.192/26", "2001:db8:6::/48"),
        *("NL", "NH", "Amsterdam", 52.3676, 4.9041, 20, 64501, "Example Hosting"),
    ),
)
"""Wider networks before those within them."""

ANONYMIZERS = {
    "203.0.113.192/28": ("is_anonymous_vpn",),
    "203.0.113.208/28": ("is_hosting_provider",),
    "203.0.113.224/28": ("is_tor_exit_node",),
    "203.0.113.240/29": ("is_public_proxy",),
    "203.0.113.248/29": ("is_residential_proxy", "is_anonymous_vpn"),
    "2001:db8:6::/48": ("is_hosting_provider",),
}
"""Which flags the anonymous-IP database has for a network, besides `is_anonymous`."""


def build(directory: Path, built: int = BUILT) -> Databases:
    """Write the databases into `directory`, which exists; `built` is their build epoch.

    Each file is written aside and renamed, so that a running daemon can be shown a newer one.
    """
    city, asn, anonymous = (
        _Writer("Sample-City", built),
        _Writer("Sample-ASN", built),
        _Writer("Sample-Anonymous-IP", built),
    )
    for sample in SAMPLES:
        for network in sample.networks:
            city.insert(network, _city_record(sample))
            asn.insert(
                network,
                {
                    "autonomous_system_number": sample.asn,
                    "autonomous_system_organization": sample.organization,
                },
            )
    for network, flags in ANONYMIZERS.items():
        anonymous.insert(network, dict.fromkeys(("is_anonymous", *flags), True))
    return Databases(
        city=city.save(directory / "city.mmdb"),
        asn=asn.save(directory / "asn.mmdb"),
        anonymous_ip=anonymous.save(directory / "anonymous-ip.mmdb"),
    )


def _city_record(sample: Sample) -> dict[str, Any]:
    return {
        "country": {"iso_code": sample.country},
        "subdivisions": [{"iso_code": sample.region}],
        "city": {"names": {"en": sample.city}},
        "location": {
            "latitude": sample.latitude,
            "longitude": sample.longitude,
            "accuracy_radius": sample.radius,
        },
    }


class _Writer(MMDBWriter):
    def __init__(self, database_type: str, built: int) -> None:
        super().__init__(ip_version=6, ipv4_compatible=True, database_type=database_type)
        self._built = built

    def insert(self, network: str, record: dict[str, Any]) -> None:
        self.insert_network(IPSet([network]), record)

    def save(self, path: Path) -> Path:
        aside = path.with_suffix(".new")
        self.to_db_file(str(aside))
        return aside.replace(path)

    def _build_meta(self) -> dict[str, Any]:
        return {**super()._build_meta(), "build_epoch": self._built}
