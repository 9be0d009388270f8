"""Calls that may pass without a check, and calls that only look so."""

from typing import Any, NamedTuple

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
