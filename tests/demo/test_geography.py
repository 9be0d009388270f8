import ipaddress
from pathlib import Path

import pytest

from sidecar.adapters.geography.geography import Geography
from sidecar.demo import geography as demo
from sidecar.wire.settings import settings


@pytest.fixture
def geography(tmp_path: Path) -> Geography:
    files = demo.build(tmp_path)
    loaded = Geography(
        settings.GeographySettings(
            city=str(files.city), asn=str(files.asn), anonymous_ip=str(files.anonymous_ip)
        )
    )
    assert [outcome.error for outcome in loaded.reload()] == ["", "", ""]
    return loaded


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("192.0.2.1", ("DE", "DE-BE", "Berlin", 64496)),
        ("198.51.100.1", ("PT", "PT-11", "Lisbon", 64497)),
        ("203.0.113.9", ("BR", "BR-SP", "São Paulo", 64498)),
        ("192.0.2.200", ("US", "US-NY", "New York", 64499)),
        ("198.51.100.200", ("SG", "SG-01", "Singapore", 64500)),
        ("203.0.113.200", ("NL", "NL-NH", "Amsterdam", 64501)),
        ("2001:db8::1", ("DE", "DE-BE", "Berlin", 64496)),
        ("2001:db8:2::1", ("PT", "PT-11", "Lisbon", 64497)),
        ("2001:db8:3::1", ("BR", "BR-SP", "São Paulo", 64498)),
        ("2001:db8:4::1", ("US", "US-NY", "New York", 64499)),
        ("2001:db8:5::1", ("SG", "SG-01", "Singapore", 64500)),
        ("2001:db8:ffff::1", ("DE", "DE-BE", "Berlin", 64496)),
    ],
)
def test_each_documentation_range_is_where_the_table_says(
    geography: Geography, ip: str, expected: tuple[str, str, str, int]
) -> None:
    place = geography.place(ip)
    assert (place.country, place.region, place.city, place.asn) == expected
    assert place.latitude is not None
    assert place.build == demo.BUILT


@pytest.mark.parametrize(
    ("ip", "kinds"),
    [
        ("203.0.113.193", ("vpn",)),
        ("203.0.113.210", ("hosting",)),
        ("203.0.113.230", ("tor",)),
        ("203.0.113.241", ("public-proxy",)),
        ("203.0.113.250", ("residential-proxy", "vpn")),
        ("2001:db8:6::1", ("hosting",)),
        ("203.0.113.9", ()),
        ("192.0.2.1", ()),
    ],
)
def test_only_the_ranges_of_anonymizers_are_meaningless(
    geography: Geography, ip: str, kinds: tuple[str, ...]
) -> None:
    place = geography.place(ip)
    assert (place.anonymizer, place.meaningless) == (kinds, bool(kinds))


def test_samples_lie_in_documentation_ranges_only() -> None:
    documented = [
        ipaddress.ip_network(cidr)
        for cidr in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    networks = [network for sample in demo.SAMPLES for network in sample.networks]
    for text in (*networks, *demo.ANONYMIZERS):
        network = ipaddress.ip_network(text)
        assert any(
            network.version == outer.version and network.subnet_of(outer)  # type: ignore[arg-type]
            for outer in documented
        )


def test_a_build_can_be_repeated_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for one, other in zip(demo.build(tmp_path), demo.build(tmp_path / "again"), strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.name == other.name


def test_building_leaves_nothing_else_behind(tmp_path: Path) -> None:
    files = demo.build(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(files)
