import re
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.routes.routes import InvalidRoute, Routes
from sidecar.wire.settings.settings import Route


def routes(*paths: Any, **more: Any) -> Any:
    return Routes([Route(path=path, contexts=(f"c{n}",), **more) for n, path in enumerate(paths)])


def found(path: Any, *templates: Any) -> Any:
    return routes(*templates).match("GET", "app", normalise(path))


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/admin", "/admin"),
        ("/admin/", "/admin/"),
        ("/%61dmin", "/admin"),
        ("/%7Eu", "/~u"),
        ("/a/...", "/a/..."),
        ("/a%2e", "/a."),
        ("/.a/..b", "/.a/..b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/admin?x=/../y", "/admin"),
        ("/a%3fb", "/a%3Fb"),
        ("/a%20b", "/a%20b"),
        ("/p%40y", "/p@y"),
        ("/a%3Ab", "/a:b"),
        ("/100%25", "/100%25"),
        ("/ü", "/%C3%BC"),
        ("/%c3%bc", "/%C3%BC"),
        ('/"<>', "/%22%3C%3E"),
    ],
)
def test_a_path_has_one_spelling(path: str, normal: Any) -> None:
    assert normalise(path) == normal
    assert normalise(path.encode()) == normal


@pytest.mark.parametrize(
    "path",
    [
        "",
        "admin",
        "*",
        "?x",
        "http://h/admin",
        "/a%2Fb",
        "/a%2f..%2fadmin",
        "/a\\b",
        "/a%5Cb",
        "/a%00b",
        "/a\x00b",
        "/a%0Ab",
        "/a\tb",
        "/a b",
        "/a%7f",
        "/%2561dmin",
        "/%252e%252e/admin",
        "/%",
        "/%6",
        "/%zz",
        "/%+1",
        "/a#b",
        "/public/..;/admin",
        "/admin;x=y",
        "/admin%3Bx",
        "//",
        "//admin",
        "/a//b",
        "/a//",
        "/pay/../admin",
        "/pay/%2e%2E/admin",
        "/pay/.%2e/admin",
        "/admin/.",
        "/admin/%2e",
        "/./admin",
        "/a/b/..",
        "/../admin",
        "/..",
        "/.",
        "/a//../admin",
        "//../admin",
        "/%c0%af",
        "/%ff",
        "/\ud800%",
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(PathInvalid) as caught:
        normalise(path)
    assert path not in str(caught.value) or not path


spellings = st.text(alphabet=st.sampled_from("/.%25abcdefAFxyz09;?#\\ \x00ü~@:+"), max_size=30).map(
    lambda text: "/" + text
)


@given(spellings | st.text(max_size=40).map(lambda text: "/" + text))
@example("/%25%32%35")
def test_normalising_again_changes_nothing(path: str) -> None:
    try:
        once = normalise(path)
    except PathInvalid:
        return
    assert normalise(once) == once


@given(spellings)
def test_a_normal_path_has_no_dot_or_empty_segment_and_few_characters(path: str) -> None:
    try:
        normal = normalise(path)
    except PathInvalid:
        return
    segments = normal.split("/")
    assert segments[0] == ""
    assert not any(segment in (".", "..") for segment in segments)
    assert "" not in segments[1:-1]
    assert re.fullmatch(r"(?:[A-Za-z0-9/\-._~!$&'()*+,=:@]|%[0-9A-F]{2})+", normal)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise_anything_but_its_own_error(raw: bytes) -> None:
    with suppress(PathInvalid):
        normalise(raw)


@given(st.lists(st.sampled_from(["", ".", "..", "admin", "x", "%61dmin", "%2e", "a%2e"])))
def test_what_a_decoding_server_calls_admin_is_never_called_otherwise(segments: Any) -> None:
    path = "/" + "/".join(segments)
    try:
        normal = normalise(path)
    except PathInvalid:
        return
    assert normal == unquote(path), "no server resolves or merges anything in it"


@pytest.mark.parametrize(
    "path",
    [
        "/admin",
        "/%61dmin",
        "/admin/",
        "/%41DMIN?y",
        "/ADMIN",
    ],
)
@pytest.mark.parametrize("template", ["/admin", "/admin/**", "/%61dmin", "/{name}", "/*", "/**"])
def test_every_spelling_of_a_path_reaches_its_route(path: str, template: str) -> None:
    assert found(path, template) == ("c0",)


def disguises(draw: Any, name: Any) -> Any:
    spelt = "".join(
        draw(
            st.sampled_from([letter, f"%{ord(letter):02x}", f"%{ord(letter):02X}", letter.upper()])
        )
        for letter in name
    )
    before = draw(st.sampled_from(["/", "//", "/./", "/x/../"]))
    after = draw(st.sampled_from(["", "/", "/.", "?q", "?/../x"]))
    return before + spelt + after


@given(st.data())
def test_no_disguise_of_a_path_leaves_its_route(data: Any) -> None:
    path = disguises(data.draw, "admin")
    try:
        normal = normalise(path)
    except PathInvalid:
        assume(False)
    assert routes("/admin").match("GET", "h", normal) == ("c0",)
    assert routes("/admin/**").match("GET", "h", normal) == ("c0",)


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/pay/{id}", "/pay/7", True),
        ("/pay/{id}", "/pay/7/", True),
        ("/pay/{id}", "/pay", False),
        ("/pay/{id}", "/pay/7/x", False),
        ("/pay/{id}/items/{item}", "/pay/7/items/8", True),
        ("/pay/{id}/items/{item}", "/pay/7/other/8", False),
        ("/admin/**", "/admin", True),
        ("/admin/**", "/admin/a/b/c", True),
        ("/admin/**", "/administrator", False),
        ("/**", "/", True),
        ("/", "/", True),
        ("/", "/x", False),
        ("/v{n}/pay", "/v12/pay", True),
        ("/v{n}/pay", "/v/pay", False),
        ("/files/{name}.pdf", "/files/a.pdf", True),
        ("/files/{name}.pdf", "/files/a.txt", False),
        ("/files/*/raw", "/files/a/raw", True),
        ("/a.b", "/axb", False),
        ("/ü", "/%C3%BC", True),
    ],
)
def test_templates_match_what_they_say(template: str, path: str, matches: bool) -> None:
    assert bool(found(path, template)) is matches


def test_all_routes_that_match_add_up_in_their_order() -> None:
    assert found("/admin/7", "/admin/**", "/nowhere", "/admin/{id}", "/**", "/admin/7") == (
        "c0",
        "c2",
        "c3",
        "c4",
    )


def test_a_context_is_named_once() -> None:
    table = Routes([Route(path=p, contexts=("c1", "c2")) for p in ("/a", "/**")])
    assert table.match("GET", "", "/a") == ("c1", "c2")


def test_methods_and_hosts_narrow_a_route_unless_they_are_not_known() -> None:
    table = routes("/pay", methods=("get", "POST"), hosts=("app.example", "*.pay.example"))
    assert table.match("POST", "app.example", "/pay")
    assert table.match("post", "APP.example.:8443", "/pay")
    assert table.match("HEAD", "a.b.pay.example", "/pay")
    assert not table.match("PUT", "app.example", "/pay")
    assert not table.match("POST", "pay.example", "/pay")
    assert not table.match("POST", "evilpay.example", "/pay")
    assert table.match("", "app.example", "/pay")
    assert table.match("POST", "", "/pay")


@pytest.mark.parametrize("host", ["bücher.example", "BÜCHER.example.", "xn--bcher-kva.example"])
@pytest.mark.parametrize(
    "sent", ["xn--bcher-kva.example", "XN--BCHER-KVA.example:443", "bücher.example"]
)
def test_an_international_host_is_compared_as_browsers_send_it(host: str, sent: str) -> None:
    assert routes("/pay", hosts=(host,)).match("GET", sent, "/pay") == ("c0",)
    assert routes("/pay", hosts=(f"*.{host}",)).match("GET", f"shop.{sent}", "/pay") == ("c0",)
    assert not routes("/pay", hosts=(host,)).match("GET", "bucher.example", "/pay")


def test_a_host_that_can_be_read_in_two_ways_could_be_any() -> None:
    assert routes("/pay", hosts=("app.example",)).match("GET", "stra\u00dfe.example", "/pay")


def test_a_call_without_a_path_matches_no_route() -> None:
    assert routes("/**").match("GET", "app", "") == ()


@pytest.mark.parametrize(
    ("path", "hosts", "field"),
    [
        ("pay", (), "path"),
        ("/a/**/b", (), "path"),
        ("/a//b", (), "path"),
        ("/a/../b", (), "path"),
        ("/{a}{b}", (), "path"),
        ("/{a", (), "path"),
        ("/a}", (), "path"),
        ("/{}", (), "path"),
        ("/a*", (), "path"),
        ("/a?b", (), "path"),
        ("/a%2Fb", (), "path"),
        ("/a;b", (), "path"),
        ("/a", ("*",), "hosts"),
        ("/a", ("a.*.b",), "hosts"),
        ("/a", ("",), "hosts"),
        ("/a", ("https://app.example",), "hosts"),
        ("/a", ("app.example/x",), "hosts"),
        ("/a", ("a b",), "hosts"),
        ("/a", ("stra\u00dfe.example",), "hosts"),
        ("/a", ("\u2488.example",), "hosts"),
    ],
)
def test_a_route_that_cannot_be_used_is_refused_by_place_and_field(
    path: str, hosts: Any, field: str | None
) -> None:
    good = Route(path="/ok", contexts=("c1",))
    with pytest.raises(InvalidRoute) as caught:
        Routes([good, Route(path=path, contexts=("c1",), hosts=hosts)])
    assert (caught.value.index, caught.value.field) == (1, field)


def test_ten_thousand_routes_are_one_walk_through_a_tree() -> None:
    table = routes(*(f"/api/v{n}/things/{{id}}" for n in range(10_000)))
    assert table.match("GET", "", "/api/v9999/things/5") == ("c9999",)
