import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.geography.networks import (
    InvalidPrefixes,
    Prefixes,
    PrefixTable,
    Problem,
    load,
    parse_cidr,
)
from sidecar.domain.values.address import canonical
from sidecar.domain.values.location import Place
from sidecar.wire.settings.settings import NamedLocation, Network

NOWHERE = Place()
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@st.composite
def networks_of_one_neighbourhood(draw: st.DrawFn) -> IPNetwork:
    """Networks that often contain one another, of both families."""
    if draw(st.booleans()):
        number, length = draw(st.integers(0, 2**10 - 1)) << 22, draw(st.integers(0, 32))
        return ipaddress.ip_network((number, length), strict=False)
    number = 0x20010DB8 << 96 | draw(st.integers(0, 2**10 - 1)) << 86
    return ipaddress.IPv6Network((number, draw(st.integers(0, 128))), strict=False)


@st.composite
def addresses_of_one_neighbourhood(draw: st.DrawFn) -> str:
    low = draw(st.integers(0, 3))
    if draw(st.booleans()):
        return str(ipaddress.IPv4Address(draw(st.integers(0, 2**10 - 1)) << 22 | low))
    high = 0x20010DB8 << 96 | draw(st.integers(0, 2**10 - 1)) << 86
    return str(ipaddress.IPv6Address(high | low))


STANDING_FOR_IPV4 = st.builds(
    lambda high, low: str(ipaddress.IPv6Address(high | low)),
    st.sampled_from([0x0064FF9B << 96, 0x2002 << 112]),
    st.integers(0, 2**32 - 1) | st.integers(0, 2**112 - 1),
)
asked = st.lists(
    addresses_of_one_neighbourhood() | st.ip_addresses().map(str) | STANDING_FOR_IPV4, min_size=1
)
named = st.dictionaries(
    networks_of_one_neighbourhood(), st.sampled_from(["a", "b", "c", "d"]), max_size=40
)


def contained(networks: dict[IPNetwork, str], ip: str) -> list[tuple[int, str]]:
    """What `ipaddress` says: lengths and names of all networks around an address as compared."""
    address = ipaddress.ip_address(canonical(ip))
    return sorted(
        (network.prefixlen, name) for network, name in networks.items() if address in network
    )


def problems_of(
    networks: Sequence[Network] = (), locations: Sequence[NamedLocation] = (), base: Path = Path()
) -> list[Problem]:
    with pytest.raises(InvalidPrefixes) as caught:
        load(networks, locations, base)
    return list(caught.value.problems)


@given(named, asked)
def test_a_network_is_that_of_the_longest_prefix_as_ipaddress_finds_it(
    networks: dict[IPNetwork, str], ips: list[str]
) -> None:
    table = Prefixes([(parse_cidr(str(network)), name) for network, name in networks.items()], ())
    for ip in ips:
        found = contained(networks, ip)
        assert table.network_of(ip) == (found[-1][1] if found else "")


@given(named, asked)
def test_locations_are_those_of_all_prefixes_as_ipaddress_finds_them(
    networks: dict[IPNetwork, str], ips: list[str]
) -> None:
    table = Prefixes((), [(parse_cidr(str(network)), name) for network, name in networks.items()])
    for ip in ips:
        expected = frozenset(name for _, name in contained(networks, ip))
        assert table.locations_of(ip, NOWHERE) == expected


@given(st.permutations(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "::/0"]))
def test_the_order_of_entries_does_not_matter(cidrs: list[str]) -> None:
    table = PrefixTable([(parse_cidr(cidr), cidr) for cidr in cidrs])
    assert table.find(bytes([10, 1, 2, 3])) == "10.1.2.0/24"
    assert table.find(bytes([10, 1, 3, 3])) == "10.1.0.0/16"
    assert table.find(bytes([10, 2, 3, 3])) == "10.0.0.0/8"
    assert table.find(bytes([11, 2, 3, 3])) == "0.0.0.0/0"
    assert table.find(bytes(16)) == "::/0"


def test_the_families_do_not_leak_into_one_another() -> None:
    """`::/0` is not around an IPv4 address, nor 32.1.13.184/32 around 2001:db8::."""
    networks = (Network(name="six", cidrs=("::/0",)), Network(name="four", cidrs=("32.1.13.184",)))
    table = load(networks, ())
    assert table.network_of("192.0.2.1") == ""
    assert table.network_of("2001:db8::") == "six"
    assert table.network_of("32.1.13.184") == "four"


def test_a_mapped_prefix_and_a_mapped_address_are_the_ipv4_ones() -> None:
    table = load((Network(name="office", cidrs=("::ffff:192.0.2.0/120",)),), ())
    assert table.network_of("192.0.2.1") == "office"
    assert table.network_of("::ffff:192.0.2.1") == "office"
    assert table.network_of("192.0.3.1") == ""


@pytest.mark.parametrize(
    ("cidr", "instead"),
    [
        ("64:ff9b::/96", "0.0.0.0/0"),
        ("64:ff9b::c000:200/120", "192.0.2.0/24"),
        ("64:ff9b::808:808", "8.8.8.8/32"),
        ("2002::/16", "0.0.0.0/0"),
        ("2002:c000:200::/40", "192.0.2.0/24"),
        ("2002:c000:201::/48", "192.0.2.1/32"),
        ("2002:c000:201:7::/64", "192.0.2.1/32"),
        ("64:ff9b::800:0/101", "8.0.0.0/5"),
    ],
)
def test_a_prefix_whose_addresses_are_compared_as_ipv4_is_refused(cidr: str, instead: str) -> None:
    with pytest.raises(ValueError, match=f"compared as IPv4; name {instead} instead"):
        parse_cidr(cidr)


@pytest.mark.parametrize("cidr", ["64:ff9b::a00:0/104", "2002:a00::/24", "2000::/3", "64::/16"])
def test_a_prefix_whose_addresses_stay_what_they_are_is_taken(cidr: str) -> None:
    assert str(parse_cidr(cidr)) == cidr
    assert load((Network(name="a", cidrs=(cidr,)),), ()).network_of(cidr.partition("/")[0]) == "a"


def test_an_address_may_have_a_port_and_nonsense_is_in_no_network() -> None:
    table = load((Network(name="all", cidrs=("0.0.0.0/0", "::/0")),), ())
    assert table.network_of("192.0.2.1:5678") == "all"
    assert table.network_of("[2001:db8::1]:80") == "all"
    for nonsense in ("", "unknown", "10/8", "192.0.2", "192.0.2.01", "x" * 999):
        assert table.network_of(nonsense) == ""


def test_locations_are_joined_over_prefix_country_and_asn() -> None:
    locations = (
        NamedLocation(name="office", cidrs=("192.0.2.0/24",), trusted=True),
        NamedLocation(name="europe", countries=("de", "PT")),
        NamedLocation(name="carrier", asns=(64496,)),
        NamedLocation(name="anywhere", cidrs=("0.0.0.0/0",)),
    )
    table = load((), locations)
    home = Place(country="DE", asn=64496)
    assert table.locations_of("192.0.2.1", home) == {"office", "europe", "carrier", "anywhere"}
    assert table.locations_of("198.51.100.1", home) == {"europe", "carrier", "anywhere"}
    assert table.locations_of("", home) == {"europe", "carrier"}
    assert table.locations_of("2001:db8::1", NOWHERE) == frozenset()


def test_an_unknown_country_or_asn_is_in_no_location() -> None:
    table = load((), (NamedLocation(name="europe", countries=("DE",), asns=(64496,)),))
    assert table.locations_of("192.0.2.1", NOWHERE) == frozenset()


def test_only_locations_marked_so_are_trusted() -> None:
    table = load((), (NamedLocation(name="a", trusted=True), NamedLocation(name="b")))
    assert table.trusted == {"a"}
    assert table.is_trusted(frozenset({"a", "b"}))
    assert not table.is_trusted(frozenset({"b"}))
    assert not table.is_trusted(frozenset())


def test_a_file_may_have_comments_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_bytes(
        b"\xef\xbb\xbf192.0.2.0/24 # the old building\r\n\r\n"
        b"; the new one\n  2001:db8::/32\n198.51.100.7"
    )
    table = load((Network(name="office", cidr_file="office.txt"),), (), tmp_path)
    for ip in ("192.0.2.200", "2001:db8:1::1", "198.51.100.7"):
        assert table.network_of(ip) == "office"
    assert table.network_of("198.51.100.8") == ""


def test_all_errors_are_reported_at_once_each_with_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_text("192.0.2.0/24\n# fine\nnonsense\n10.0.0.1/8\n")
    assert problems_of(
        (Network(name="office", cidrs=("10/8",), cidr_file="office.txt"),),
        (NamedLocation(name="home", cidrs=("2001:db8::/129",), cidr_file="gone.txt"),),
        tmp_path,
    ) == [
        ("networks.0.cidrs.0", "'10/8' is not a CIDR"),
        ("networks.0.cidr_file", "office.txt:3: 'nonsense' is not a CIDR"),
        (
            "networks.0.cidr_file",
            "office.txt:4: '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?",
        ),
        ("locations.0.cidrs.0", "'2001:db8::/129' is not a CIDR"),
        ("locations.0.cidr_file", "gone.txt: No such file or directory"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/ 8"),
        *("010.0.0.0/8", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "fe80::1%lo/128"),
        *(
            "fe80::%lo/64",
            "10.0.0.0/٨",
            "10.0.0.0-10.0.0.9",
            "::/129",
            "10.0.0.5/8",
            "2001:db8::1/32",
        ),
    ],
)
def test_what_is_not_plainly_a_cidr_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CIDR|prefix length|host bits"):
        parse_cidr(text)


@given(st.text(max_size=60))
def test_no_text_makes_the_cidr_reader_raise_anything_else(text: str) -> None:
    try:
        prefix = parse_cidr(text)
    except ValueError:
        return
    assert parse_cidr(str(prefix)) == prefix


def test_a_binary_file_of_cidrs_is_an_error_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_bytes(b"\xff\xfe\x00")
    problems = problems_of((Network(name="office", cidr_file="office.txt"),), (), tmp_path)
    assert problems == [("networks.0.cidr_file", "office.txt: not UTF-8 text")]


def test_a_prefix_that_two_networks_claim_is_an_error() -> None:
    networks = (
        Network(name="office", cidrs=("192.0.2.0/24", "192.0.2.0/24")),
        Network(name="guests", cidrs=("192.0.2.0/25", "::ffff:192.0.2.0/120")),
    )
    assert problems_of(networks) == [
        ("networks.1.cidrs.1", "192.0.2.0/24 is in network 'office' already")
    ]


def test_a_prefix_may_be_in_many_locations() -> None:
    locations = (
        NamedLocation(name="a", cidrs=("192.0.2.0/24",)),
        NamedLocation(name="b", cidrs=("192.0.2.0/24",)),
    )
    assert load((), locations).locations_of("192.0.2.1", NOWHERE) == {"a", "b"}


@pytest.mark.parametrize("country", ["", "D", "DEU", "Germany", "D1", "ÄÖ"])
def test_what_is_no_country_code_is_refused(country: str) -> None:
    problems = problems_of((), (NamedLocation(name="a", countries=("DE", country)),))
    assert [field for field, _ in problems] == ["locations.0.countries.1"]


def test_a_file_of_nonsense_does_not_give_endless_errors(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("word\n" * 5000)
    assert len(problems_of((Network(name="a", cidr_file="words.txt"),), (), tmp_path)) == 200


def test_a_hundred_thousand_prefixes_of_a_file_are_all_found(tmp_path: Path) -> None:
    cidrs = [f"{ipaddress.IPv4Address(0x0B000000 + (i << 8))}/24" for i in range(100_000)]
    (tmp_path / "many.txt").write_text("\n".join(cidrs))
    many = (Network(name="many", cidr_file="many.txt"),)
    table = load(many, (NamedLocation(name="here", cidr_file="many.txt"),), tmp_path)
    for cidr in (cidrs[0], cidrs[77_777], cidrs[-1]):
        ip = cidr.replace(".0/24", ".200")
        assert table.network_of(ip) == "many"
        assert table.locations_of(ip, NOWHERE) == {"here"}
    assert table.network_of("10.255.255.255") == ""


def test_the_error_of_bad_prefixes_reads_as_one_text() -> None:
    with pytest.raises(InvalidPrefixes, match=r"^networks\.0\.cidrs\.0: 'x' is not a CIDR$"):
        load((Network(name="a", cidrs=("x",)),), ())
