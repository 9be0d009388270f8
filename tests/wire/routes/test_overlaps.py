"""Overlaps of routes: by example, and held against what `Routes` matches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.routes.overlaps import MOST, overlaps
from sidecar.wire.routes.routes import Routes
from sidecar.wire.settings.settings import Route


def route(path: str, methods: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Route:
    return Route(path=path, contexts=("c1",), methods=methods, hosts=hosts)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (route("/pay/**"), route("/pay/change"), [(1, 0, "/pay/change", True)]),
        (route("/pay/change"), route("/pay/**"), [(0, 1, "/pay/change", True)]),
        (route("/pay/**"), route("/pay"), [(1, 0, "/pay", True)]),
        (route("/{a}/keys"), route("/pay/{b}"), [(1, 0, "/pay/keys", False)]),
        (route("/v{n}/x"), route("/{m}2/x"), [(1, 0, "/vx2/x", False)]),
        (route("/pay"), route("/Pay/"), [(1, 0, "/pay", True)]),
        (route("/pay", ("GET",)), route("/pay", ("HEAD", "PUT")), [(0, 1, "GET /pay", True)]),
        (
            route("/a", (), ("*.x.test",)),
            route("/a", (), ("b.x.test",)),
            [(1, 0, "b.x.test/a", True)],
        ),
        (route("/pay"), route("/pays"), []),
        (route("/pay/{id}"), route("/pay"), []),
        (route("/pay", ("GET",)), route("/pay", ("POST",)), []),
        (route("/pay", (), ("a.test",)), route("/pay", (), ("*.a.test",)), []),
        (route("/v{n}"), route("/v"), []),
    ],
)
def test_routes_meet_where_one_call_matches_both(
    one: Route, other: Route, said: list[tuple[int, int, str, bool]]
) -> None:
    assert [tuple(found) for found in overlaps((one, other))] == said


def test_only_so_many_pairs_are_reported() -> None:
    assert len(overlaps([route("/pay/**")] * 100)) == MOST


SEGMENTS = st.sampled_from(["a", "b", "ab", "{x}", "*", "a{x}", "{x}b", "a{x}b"])
PATHS = st.builds(
    lambda segments, rest: "/" + "/".join([*segments, *["**"] * rest]),
    st.lists(SEGMENTS, max_size=3),
    st.booleans(),
)
METHODS = st.sampled_from([(), ("GET",), ("POST", "HEAD"), ("PUT",)])
HOSTS = st.sampled_from([(), ("a.test",), ("*.a.test",), ("b.a.test", "c.test")])
ROUTES = st.builds(route, PATHS, METHODS, HOSTS)
CALLS = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.sampled_from(["a.test", "b.a.test", "x.a.test", "c.test", "d.test"]),
    st.lists(st.sampled_from(["a", "b", "ab", "acb", "aab", "c"]), max_size=4),
)


@given(ROUTES, ROUTES, CALLS)
def test_a_call_that_matches_two_routes_shows_that_they_overlap(
    one: Route, other: Route, call: tuple[str, str, list[str]]
) -> None:
    method, host, segments = call
    path = "/" + "/".join(segments)
    matched = [bool(Routes((each,)).match(method, host, path)) for each in (one, other)]
    found = overlaps((one, other))
    if all(matched):
        assert found
    for overlap in found:
        if overlap.within:
            assert matched[overlap.other] or not matched[overlap.route]


@given(ROUTES, ROUTES)
def test_the_example_matches_both_routes(one: Route, other: Route) -> None:
    for overlap in overlaps((one, other)):
        words = overlap.example.split(" ")
        method = words[0] if len(words) == 2 else "GET"
        host, slash, rest = words[-1].partition("/")
        for each in (one, other):
            assert Routes((each,)).match(method, host or "z.test", slash + rest)
