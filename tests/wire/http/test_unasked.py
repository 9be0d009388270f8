"""Calls that pass unasked: one table, for the door behind a gateway and the middleware of apps."""

from typing import Any
from urllib.parse import unquote

import pytest
from stepup_client import asgi, gate, wsgi

from sidecar.wire.http.gateway_calls import InvalidCall, direct_call
from sidecar.wire.http.messages import Request
from sidecar.wire.http.unasked import Unasked
from sidecar.wire.settings.settings import Http
from tests.wire.http.unasked_calls import TABLE, Case


def at_the_door(case: Case) -> bool:
    """Judge as the data and gRPC listeners do: a path of two readings is refused before."""
    fields = {name.lower().encode(): value.encode() for name, value in case.fields}
    request = Request(case.method, case.target.encode(), b"shop.example", fields)
    settings = Http(public=case.public, unchecked=case.unchecked, preflight=case.preflight)
    try:
        original = direct_call(request)
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
        assert Unasked(Http(preflight=True)).why(twice, direct_call(twice)) is None
        scope = {"type": "http", "method": "OPTIONS", "path": "/pay"}
        scope["headers"] = [*headers.items(), (name, value)]  # type: ignore[assignment]
        assert not asgi.incoming_of(scope).is_preflight
