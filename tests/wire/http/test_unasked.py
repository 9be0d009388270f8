"""What passes unasked: one table, for the door behind a gateway and the middleware of an app."""

from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from stepup_client import asgi, gate, wsgi

from sidecar.wire.http.gateway_calls import InvalidCall, told_call
from sidecar.wire.http.messages import Request
from sidecar.wire.http.unasked import Unasked
from sidecar.wire.settings.settings import Http

ORIGIN = ("Origin", "https://shop.example")
POST = ("Access-Control-Request-Method", "POST")
PUBLIC = ("/health", "/static/*", "/a b")


class Case(NamedTuple):
    """A call, what is configured, and whether it passes unasked."""

    passes: bool
    target: str = "/pay"
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    public: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    preflight: bool = False


def preflight(passes: bool, *fields: Any, method: str = "OPTIONS", **more: Any) -> Case:
    return Case(passes, method=method, fields=fields, preflight=True, **more)


def public(passes: bool, target: str, **more: Any) -> Case:
    return Case(passes, target, public=PUBLIC, **more)


def unchecked(passes: bool, method: str, *fields: Any, **more: Any) -> Case:
    return Case(passes, method=method, fields=fields, unchecked=("OPTIONS", "TRACE"), **more)


TABLE = [
    # Nothing is configured: nothing passes.
    Case(False),
    Case(False, method="OPTIONS"),
    Case(False, method="OPTIONS", fields=(ORIGIN, POST)),
    Case(False, "/health"),
    # Preflights.
    preflight(True, ORIGIN, POST),
    preflight(True, ("Origin", "null"), POST),
    preflight(True, ORIGIN, POST, ("Authorization", "Bearer x")),
    preflight(True, ORIGIN, POST, ("Access-Control-Request-Headers", "authorization")),
    preflight(False),
    preflight(False, ORIGIN),
    preflight(False, POST),
    preflight(False, ("Origin", ""), POST),
    preflight(False, ORIGIN, ("Access-Control-Request-Method", "")),
    preflight(False, ORIGIN, POST, method="POST"),
    preflight(False, ORIGIN, POST, method="GET"),
    preflight(False, ORIGIN, POST, method="HEAD"),
    preflight(False, ORIGIN, POST, method="options"),
    preflight(False, ORIGIN, POST, ("X-HTTP-Method-Override", "POST")),
    preflight(False, ORIGIN, POST, ("X-HTTP-Method", "POST")),
    preflight(False, ORIGIN, POST, ("X-Method-Override", "POST")),
    preflight(False, ORIGIN, POST, target="/pay?_method=POST"),
    preflight(False, ORIGIN, POST, target="/pay?x&%5Fm%65thod=POST"),
    preflight(True, ORIGIN, POST, target="/pay?payment_method=card"),
    preflight(False, ("X-Origin", "https://shop.example"), POST),
    # Methods.
    unchecked(True, "OPTIONS"),
    unchecked(True, "TRACE", ORIGIN),
    unchecked(False, "GET"),
    unchecked(False, "options"),
    unchecked(False, "OPTIONS", ("X-HTTP-Method-Override", "POST")),
    unchecked(False, "OPTIONS", target="/pay?_method=POST"),
    # Paths.
    public(True, "/health"),
    public(True, "/health", method="POST"),
    public(True, "/health?_method=POST"),
    public(True, "/%68ealth"),
    public(False, "/health/"),
    public(False, "/HEALTH"),
    public(False, "/healthy"),
    public(True, "/a%20b"),
    public(True, "/static/"),
    public(True, "/static/a/b.css?v=1"),
    public(True, "/static/%C3%A9t%C3%A9"),
    public(True, "/static/a%20b"),
    public(False, "/static"),
    public(False, "/staticx"),
    public(False, "/static/../pay"),
    public(False, "/static/%2e%2e/pay"),
    public(False, "/static/./x"),
    public(False, "/static/.."),
    public(False, "/static//pay"),
    public(False, "/static/..;/pay"),
    public(False, "/static/100%25"),
    public(False, "/static/%252e%252e/pay"),
    public(False, "/x/../health"),
    Case(True, "/pay", public=("/*",)),
]


def at_the_door(case: Case) -> bool:
    """As the data and gRPC listeners do: a path of two readings is refused before."""
    fields = {name.lower().encode(): value.encode() for name, value in case.fields}
    request = Request(case.method, case.target.encode(), b"shop.example", fields)
    settings = Http(public=case.public, unchecked=case.unchecked, preflight=case.preflight)
    try:
        original = told_call(request)
    except InvalidCall:
        return False
    return Unasked(settings).why(request, original) is not None


def in_the_app(case: Case, incoming: gate.Incoming) -> bool:
    gates = gate.Gate(unchecked=case.unchecked, preflight=case.preflight)
    passes = gate.Public(case.public).judge(incoming)
    if isinstance(passes, gate.Reply):
        return False
    return passes or gate.before_asking(gates, incoming) is gate.UNASKED


def by_asgi(case: Case) -> bool:
    path, _, query = case.target.partition("?")
    scope = {
        "type": "http",
        "method": case.method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in case.fields],
    }
    return in_the_app(case, asgi.incoming_of(scope))


def by_wsgi(case: Case) -> bool:
    path, _, query = case.target.partition("?")
    environ = {
        "REQUEST_METHOD": case.method,
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in case.fields},
    }
    return in_the_app(case, wsgi.incoming_of(environ))


@pytest.mark.parametrize("ask", [at_the_door, by_asgi, by_wsgi])
def test_the_same_calls_pass_unasked_behind_a_gateway_and_in_an_app(ask: Any) -> None:
    assert [case for case in TABLE if ask(case) is not case.passes] == []


def test_what_comes_twice_is_no_preflight() -> None:
    headers = {b"origin": b"https://a.example", b"access-control-request-method": b"POST"}
    for name, value in headers.items():
        twice = Request("OPTIONS", b"/pay", b"", headers, repeated={name: (value, value)})
        assert Unasked(Http(preflight=True)).why(twice, told_call(twice)) is None
        scope = {"type": "http", "method": "OPTIONS", "path": "/pay"}
        scope["headers"] = [*headers.items(), (name, value)]  # type: ignore[assignment]
        assert not asgi.incoming_of(scope).is_preflight
