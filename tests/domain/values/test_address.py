import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.values.address import Address, Kind, canonical, parse, within

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

ips: st.SearchStrategy[IP] = st.ip_addresses()


def read(text: str) -> Address:
    address = parse(text)
    assert address is not None
    return address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("192.0.2.1:0", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:65535", "2001:db8::1"),
        ("[::1]:80", "::1"),
        ("::1:80", "::1:80"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25]:80", "fe80::1"),
    ],
)
def test_each_spelling_of_an_address_has_one_canonical_form(text: str, expected: str) -> None:
    assert canonical(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "unknown", "_hidden", "-", "localhost", "example.com", "for=192.0.2.1"),
        *("192.0.2.1, 198.51.100.1", "192.0.2.256", "192.0.2", "192.0.2.1.1", "192.0.2.1/24"),
        *("192.0.2.01", "0300.0.2.1", "3221225985", "0xc0000201", "١٩٢.0.2.1", "192.0.2.1:"),
        *("192.0.2.1:65536", "192.0.2.1:port", "192.0.2.1:-1", "192.0.2.1:٨", "192.0.2.1:1:2"),
        *("[", "[]", "[::1", "::1]", "[::1]80", "[::1]:", "[::1]:x", "[192.0.2.1]", "[[::1]]"),
        *("2001:db8::1%eth0", "::ffff:192.0.2.1%eth0", "fe80::1%", "1::2::3", ":::", "12345::"),
        *("192.0.2.1\n", "192.0.2.1\x00", '"192.0.2.1"', "'; drop table", "9" * 10_000),
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse(text) is None
    assert canonical(text) == ""


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    parse(text)


@given(st.text(alphabet="0123456789abcdef:.[]%/ ", max_size=50))
def test_nothing_like_an_address_makes_it_raise(text: str) -> None:
    address = parse(text)
    assert address is None or canonical(address.text) == address.text


@given(ips)
def test_the_canonical_form_is_its_own_canonical_form(ip: IP) -> None:
    once = canonical(str(ip))
    assert canonical(once) == once


@given(ips, st.integers(0, 65535))
def test_a_port_changes_nothing(ip: IP, port: int) -> None:
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    assert parse(f"{host}:{port}") == parse(str(ip))


@given(st.ip_addresses(v=6))
def test_an_exploded_or_shouted_form_is_the_same_address(ip: IP) -> None:
    assert parse(ip.exploded) == parse(str(ip)) == parse(str(ip).upper())


@given(st.ip_addresses(v=4))
def test_a_mapped_ipv4_address_is_the_ipv4_address(ip: IP) -> None:
    assert parse(f"::ffff:{ip}") == parse(str(ip))


@given(ips)
def test_the_bytes_are_those_of_the_text(ip: IP) -> None:
    address = read(str(ip))
    assert address.packed == ipaddress.ip_address(address.text).packed


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", Kind.PUBLIC),
        ("1.1.1.1", Kind.PUBLIC),
        ("192.0.1.255", Kind.PUBLIC),
        ("2606:4700::1111", Kind.PUBLIC),
        ("2a00:1450::1", Kind.PUBLIC),
        ("192.0.2.0", Kind.DOCUMENTATION),
        ("198.51.100.255", Kind.DOCUMENTATION),
        ("203.0.113.9", Kind.DOCUMENTATION),
        ("2001:db8:ffff::", Kind.DOCUMENTATION),
        ("3fff:fff::1", Kind.DOCUMENTATION),
        ("10.0.0.0", Kind.PRIVATE),
        ("172.16.0.1", Kind.PRIVATE),
        ("172.31.255.255", Kind.PRIVATE),
        ("172.32.0.0", Kind.PUBLIC),
        ("192.168.255.255", Kind.PRIVATE),
        ("fd00::1", Kind.PRIVATE),
        ("fec0::1", Kind.PRIVATE),
        ("100.64.0.0", Kind.CGNAT),
        ("100.127.255.255", Kind.CGNAT),
        ("100.128.0.0", Kind.PUBLIC),
        ("127.0.0.1", Kind.LOOPBACK),
        ("127.255.255.255", Kind.LOOPBACK),
        ("::1", Kind.LOOPBACK),
        ("169.254.169.254", Kind.LINK_LOCAL),
        ("fe80::1%lo", Kind.LINK_LOCAL),
        ("febf::1", Kind.LINK_LOCAL),
        ("224.0.0.1", Kind.MULTICAST),
        ("ff02::1", Kind.MULTICAST),
        ("0.0.0.0", Kind.UNSPECIFIED),
        ("::", Kind.UNSPECIFIED),
        ("0.0.0.1", Kind.RESERVED),
        ("198.18.0.1", Kind.RESERVED),
        ("240.0.0.1", Kind.RESERVED),
        ("255.255.255.255", Kind.RESERVED),
        ("::2", Kind.RESERVED),
        ("64:ff9b::808:808", Kind.PUBLIC),
        ("64:ff9b::a00:1", Kind.RESERVED),
        ("64:ff9b:1::808:808", Kind.RESERVED),
        ("2002:808:808::1", Kind.PUBLIC),
        ("2002:a00:1::1", Kind.RESERVED),
        ("2002::1", Kind.RESERVED),
    ],
)
def test_each_registry_of_special_addresses_has_its_kind(text: str, kind: Kind) -> None:
    assert read(text).kind is kind


@given(ips)
def test_no_public_address_is_one_that_python_knows_as_local(ip: IP) -> None:
    address = read(str(ip))
    if address.kind is Kind.PUBLIC:
        known = ipaddress.ip_address(address.text)
        assert not known.is_loopback
        assert not known.is_link_local
        assert not known.is_multicast
        assert not known.is_unspecified
        assert not known.is_private


@pytest.mark.parametrize(
    ("text", "ipv4"),
    [
        ("64:ff9b::8.8.8.8", "8.8.8.8"),
        ("64:ff9b::203.0.113.9", "203.0.113.9"),
        ("[64:ff9b::808:808]:443", "8.8.8.8"),
        ("2002:cb00:7109:1::5", "203.0.113.9"),
        ("2002:cb00:7109::", "203.0.113.9"),
    ],
)
def test_an_address_behind_a_translator_or_a_tunnel_is_its_ipv4_address(
    text: str, ipv4: str
) -> None:
    assert read(text) == read(ipv4)


@pytest.mark.parametrize(
    "text", ["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:c0a8:101::1", "2002:7f00:1::1"]
)
def test_nobody_comes_from_a_private_network_by_a_translator_or_a_tunnel(text: str) -> None:
    assert read(text).text == str(ipaddress.ip_address(text))
    assert read(text).kind is Kind.RESERVED


def test_documentation_addresses_may_have_a_place_and_local_ones_may_not() -> None:
    assert read("192.0.2.1").has_place
    assert read("8.8.8.8").has_place
    assert read("240.0.0.1").has_place
    for local in ("10.0.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "224.0.0.1", "::"):
        assert not read(local).has_place


@pytest.mark.parametrize(
    ("text", "bits", "counts_as"),
    [
        ("2001:db8::a:b", 64, "2001:db8::/64"),
        ("2001:db8:0:1::1", 56, "2001:db8::/56"),
        ("2001:db8::a:b", 128, "2001:db8::a:b"),
        ("192.0.2.1", 64, "192.0.2.1"),
        ("64:ff9b::192.0.2.1", 64, "64:ff9b::192.0.2.1"),
        ("", 64, ""),
    ],
)
def test_only_the_first_bits_of_an_ipv6_address_count(text: str, bits: int, counts_as: str) -> None:
    assert within(text, bits) == counts_as
