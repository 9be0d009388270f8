"""Redirects of a browser for a step-up: never anywhere but the configured page, and back again."""

from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stepup_client import returning

from sidecar.wire.http.messages import Request
from sidecar.wire.http.redirects import (
    LIFETIME,
    MAX_ADDRESS,
    Way,
    is_navigation,
    return_address,
    step_up_location,
)
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.settings.settings import Redirect

APP = "https://app.example"
START = f"{APP}/step-up"
WAY = Way("phr phrh", 60, "c1,c2")
NOW = 1000.0
NAVIGATION = {b"accept": b"text/html,*/*;q=0.8", b"sec-fetch-mode": b"navigate"}
TRAPS = st.sampled_from(
    [
        *(
            "/",
            "//",
            "\\",
            "@",
            ":",
            "?",
            "#",
            ".",
            "..",
            "%2f",
            "%5c",
            "%0d%0a",
            "\r\n",
            "\t",
            ";",
        ),
        *("evil.example", "https:", "javascript:", "user@", "%", "%25", "é", "\x00", " ", "&", "="),
    ]
)
TARGETS = st.lists(TRAPS | st.text(max_size=3), max_size=12).map(lambda parts: "/" + "".join(parts))


def address_of(target: str) -> str | None:
    """Return the way back to a target as a client sent it; None where it is refused anyway."""
    raw = target.encode("utf-8", "surrogatepass")
    try:
        path = normalise(raw)
    except PathInvalid:
        return None
    return return_address(path, raw.partition(b"?")[2].decode("latin-1"))


def parameters(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query, strict_parsing=True))


@given(TARGETS)
@example("//evil.example")
@example("/\\evil.example")
@example("/a?return_to=//evil.example")
@example("/?@evil.example")
@example("/a/..//evil.example")
def test_no_call_makes_the_way_back_leave_the_apps_own_origin(target: str) -> None:
    address = address_of(target)
    if address is None:
        return
    assert address.isascii()
    assert address.isprintable()
    assert address[0] == "/"
    assert address[1:2] not in ("/", "\\")
    assert not set(address) & set('\\@# "<>')
    for base in (APP, f"{APP}/step-up?x=1"):
        for there in (urljoin(base, address), str(httpx.URL(base).join(address))):
            assert there.startswith(f"{APP}/")
            assert urlsplit(there)[:2] == ("https", "app.example")
    assert returning.address(address) == address, "what we make, the app's own check accepts"


@given(TARGETS, st.text(max_size=8), st.sampled_from([START, f"{START}?tenant=1"]))
def test_no_call_makes_the_location_leave_the_configured_page(
    target: str, acr: str, start: str
) -> None:
    address = address_of(target)
    if address is None:
        return
    redirect = Redirect(start=start, key="k")
    location = step_up_location(redirect, address, Way(acr, 0, "c1"), NOW)
    assert location.isascii()
    assert location.isprintable()
    assert " " not in location
    assert location.startswith(start + ("&" if "?" in start else "?"))
    assert not urlsplit(location).fragment
    assert parameters(location)["return_to"] == address


def test_the_page_is_given_what_is_asked_for_and_where_to_return() -> None:
    location = step_up_location(Redirect(start=START), "/pay/7?a=1&b=2", WAY, NOW)
    assert parameters(location) == {
        "acr_values": "phr phrh",
        "max_age": "60",
        "context": "c1 c2",
        "return_to": "/pay/7?a=1&b=2",
    }


def test_what_is_not_asked_for_is_not_given() -> None:
    location = step_up_location(Redirect(start=START), "/", Way("", None, ""), NOW)
    assert parameters(location) == {"return_to": "/"}


def test_a_way_back_that_is_too_long_loses_its_query_and_then_itself() -> None:
    assert return_address("/a", "q" * MAX_ADDRESS) == "/a"
    assert return_address("/" + "a" * MAX_ADDRESS, "q") == "/"


def test_a_query_is_kept_as_it_came_where_it_can_be() -> None:
    assert return_address("/a", "x=%20y&z=1;2/?") == "/a?x=%20y&z=1;2/?"
    assert return_address("/a", 'x=é"@\\%zz') == "/a?x=%E9%22%40%5C%25zz"


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", NAVIGATION, True),
        ("GET", {**NAVIGATION, b"sec-fetch-dest": b"document"}, True),
        ("GET", {**NAVIGATION, b"sec-fetch-dest": b"iframe"}, False),
        ("GET", {**NAVIGATION, b"sec-fetch-mode": b"cors"}, False),
        ("GET", {b"accept": b"text/html"}, False),
        ("GET", {b"sec-fetch-mode": b"navigate"}, False),
        ("GET", {**NAVIGATION, b"accept": b"application/json, */*"}, False),
        ("GET", {**NAVIGATION, b"accept": b"text/html;q=0"}, False),
        ("GET", {**NAVIGATION, b"accept": b"a/b, text/html ; q=0.5"}, True),
        ("POST", NAVIGATION, False),
        ("HEAD", NAVIGATION, False),
        ("", NAVIGATION, False),
    ],
)
def test_only_a_page_that_a_browser_opens_is_a_navigation(
    method: str, headers: Any, expected: bool
) -> None:
    assert is_navigation(Request("GET", b"/v1/check", headers=headers), method) is expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "a", "//evil.example", "/\\evil.example", "\\\\evil", "https://evil.example"),
        *("/a//b", "/../a", "/a/..", "/a/.", "/a/./b", "/a@b", "/a#b", "/a b", "/a\nb", "/é"),
        *("/%2f%2fevil.example", "/a/%2e%2e/b", "/a%5cb", "/a%0d%0ab", "/a?b#c", "/a;b", "/a?b\\c"),
        "/" + "a" * 3000,
    ],
)
def test_the_app_takes_no_address_that_could_be_anything_else(value: str) -> None:
    assert returning.address(value) == "/"
    assert returning.address(value, "/home") == "/home"


@pytest.mark.parametrize(
    "value", ["/", "/a", "/a/", "/a/b?c=d/e&f=%2f//", "/a%20b", "/~x/$y", "/.a"]
)
def test_the_app_takes_plain_ones(value: str) -> None:
    assert returning.address(value) == value


@given(st.text())
def test_whatever_the_app_takes_is_of_its_own_origin(value: str) -> None:
    assert urljoin(f"{APP}/x", returning.address(value)).startswith(f"{APP}/")


def test_a_signed_way_back_counts_for_a_while_and_as_it_was_signed() -> None:
    query = parameters(step_up_location(Redirect(start=START, key="k"), "/pay/7?a=1", WAY, NOW))
    assert returning.signed_address(query, key="k", now=NOW) == "/pay/7?a=1"
    assert returning.signed_address(query, key="k", now=NOW + LIFETIME) == "/pay/7?a=1"
    for key, now, changes in (
        ("k", NOW + LIFETIME + 1, {}),
        ("other", NOW, {}),
        ("k", NOW, {"return_to": "/pay/8"}),
        ("k", NOW, {"return_to_signature": ""}),
        ("k", NOW, {"return_to_signature": "9999999999." + "A" * 43}),
        ("k", NOW, {"return_to_signature": "x.y"}),
        ("k", NOW, {"return_to_signature": "9999999999.A"}),
    ):
        assert returning.signed_address({**query, **changes}, key=key, now=now) == "/"
    assert returning.signed_address({}, key="k", now=NOW, default="/home") == "/home"


@pytest.mark.parametrize("value", [None, [], ["/pay"], 7, b"/pay"])
def test_a_parameter_that_is_missing_or_no_text_leads_to_the_default(value: Any) -> None:
    assert returning.address(value) == "/"
    assert returning.address(value, "/home") == "/home"
    for query in ({"return_to": value}, {"return_to": "/pay", "return_to_signature": value}):
        assert returning.signed_address(query, key="k", now=NOW) == "/"
