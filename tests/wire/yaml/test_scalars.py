"""Spelling of single values."""

import contextlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.yaml import scalars
from sidecar.wire.yaml.scalars import READERS, Plain, ScalarKind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604800), ("1.5h", 5400)],
)
def test_a_duration_may_have_units(text: str, seconds: float) -> None:
    assert scalars.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1 h", "-1s", "1y", "1h ", "1e3s", "٣s", True])
def test_what_is_no_duration_is_refused(text: Plain) -> None:
    with pytest.raises(ValueError, match="duration"):
        scalars.duration(text)


@pytest.mark.parametrize(
    ("text", "number"), [("64KiB", 65536), ("1MB", 10**6), ("3B", 3), ("2GiB", 2**31), (7, 7)]
)
def test_a_size_may_have_units(text: Plain, number: int) -> None:
    assert scalars.size(text) == number


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8181", "[::1]:0", "localhost:80", "a-b.example:65535", "0.0.0.0:1"]
)
def test_an_address_to_bind_to(text: str) -> None:
    assert scalars.bind(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8181",
        ":80",
        "::1:80",
        "[::1]",
        "[1.2.3.4]:80",
        "300.1.1.1:80",
        "a:65536",
        "a b:1",
        "a:٣",
    ],
)
def test_what_cannot_be_bound_to_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|host|brackets"):
        scalars.bind(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("64:ff9b::10.0.0.0/104", "64:ff9b::a00:0/104"),
    ],
)
def test_a_network_is_spelled_in_one_way(text: str, canonical: str) -> None:
    assert scalars.cidr(text) == canonical


@pytest.mark.parametrize("text", ["10/8", "10.0.0.0/255.0.0.0", "10.0.0.1/8", "x", "::/129", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CIDR|host bits"):
        scalars.cidr(text)


@pytest.mark.parametrize("text", ["64:ff9b::192.0.2.0/120", "2002:c000:200::/40"])
def test_a_network_that_no_address_is_compared_with_is_refused(text: str) -> None:
    with pytest.raises(scalars.Misspelt, match=r"compared as IPv4; name 192\.0\.2\.0/24 instead"):
        scalars.cidr(text)


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (scalars.mode, "0660", "0888"),
        (scalars.country, "NO", "NOR"),
        (scalars.asn, 64496, -1),
        (scalars.url, "https://a.example/k?x=1", "ftp://a.example"),
        (scalars.header, "X-Token", "X Token"),
        (scalars.store, "redis://h", "http://h"),
    ],
)
def test_a_reader_takes_the_good_and_refuses_the_bad(
    reader: Callable[[Plain], Plain], good: Plain, bad: Plain
) -> None:
    assert reader(good) == good
    with pytest.raises(ValueError, match=r"must|none of"):
        reader(bad)


def test_every_kind_has_a_reader() -> None:
    assert set(READERS) == set(ScalarKind)


@given(st.sampled_from(ScalarKind), st.text() | st.integers() | st.floats() | st.booleans())
def test_a_reader_raises_nothing_but_what_it_says(kind: ScalarKind, value: Plain) -> None:
    with contextlib.suppress(ValueError):
        READERS[kind](value)


@pytest.mark.parametrize(
    "text",
    [
        "https://a..b",
        "https://xn--zzzzzz",
        f"https://{'a' * 64}",
        f"https://{'a.' * 127}bc",
        "https://h:0",
        "https://h:99999",
        "https://h:x",
        "https://[::1",
        "https://[1:2]",
        "https://h#f",
        "ftp://h",
        "https:h",
    ],
)
def test_what_nobody_can_call_is_no_url(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|has a"):
        scalars.url(text)


@pytest.mark.parametrize(
    "text", ["https://strasse.example:8443/x?y", "https://straße.example", "http://[2001:db8::1]:1"]
)
def test_a_url_may_have_any_host_that_can_be_called(text: str) -> None:
    assert scalars.url(text) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("null", "must be an origin"),
        ("https://*.shop.example", "must be an origin"),
        ("https://shop.example/pay", "did you mean https://shop.example?"),
        ("https://Shop.example", "did you mean https://shop.example?"),
        ("https://shop.example.", "did you mean https://shop.example?"),
        ("https://shop.example:443", "did you mean https://shop.example?"),
        ("https://shop.example:0443", "has a port"),
        ("https://shop.example:99999", "has a port"),
        ("https://[0:0::1]:8443", "did you mean [::1]"),
        ("https://[::1::]", "no IPv6 address"),
        ("https://bücher.example", "punycode"),
    ],
)
def test_what_browsers_send_otherwise_is_no_origin(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        scalars.origin(text)


def test_no_other_origin_is_suggested() -> None:
    for text in ("https://shop..example", "https://shop.example%2e.evil.example", "https://a.b:x"):
        with pytest.raises(ValueError, match=r"without a path$"):
            scalars.origin(text)
