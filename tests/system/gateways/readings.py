"""How frameworks read a request: by their own routing, or by the rules that are known of it."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote, unquote_plus

from django.urls import path
from django.urls.exceptions import Resolver404
from django.urls.resolvers import RegexPattern, URLResolver
from starlette.routing import Match, Route
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

SENSITIVE = "transfers"
OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")


def path_of(target: str) -> str:
    """Return the path of a target as servers cut it out: no query, scheme, host or fragment."""
    return re.sub(r"^[a-zA-Z][\w+.-]*://[^/?#]*", "", target).partition("?")[0].partition("#")[0]


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


READINGS: Mapping[str, Callable[[str], str]] = {
    "WSGI and ASGI": unquote,
    "decoded twice": lambda raw: unquote(unquote(raw)),
    "Go": lambda raw: _clean(unquote(raw)),
    "servlets": lambda raw: _clean(unquote(re.sub(r";[^/]*", "", raw))),
    "ASP.NET": lambda raw: _clean(unquote(raw).replace("\\", "/")),
}
"""What is left of a raw path where a server or framework resolves, decodes or cuts off."""


def methods(method: str, target: str, headers: Iterable[tuple[str, str]]) -> set[str]:
    """Return each method that an app may run a request as: its own, and what overrides it."""
    names = {re.sub("[^a-z0-9]", "-", name.lower()): value for name, value in headers}
    heard = {names[name.lower()] for name in OVERRIDES if name.lower() in names}
    query = target.partition("?")[2]
    pairs = (pair.partition("=") for pair in re.split("[&;]", query))
    heard |= {
        value for name, _, value in pairs if re.sub("^[.[]", "_", unquote_plus(name)) == "_method"
    }
    return {method, *(value.upper() for value in heard)}


def runs_sensitive(target: str) -> set[str]:
    """Return by which frameworks' routing a target leads to the handler of the sensitive path."""
    raw = path_of(target)
    decoded = unquote(raw)
    found = {name for name, read in READINGS.items() if _is_below(read(raw))}
    found |= {"Express"} if _is_below(raw) else set()
    return found | {name for name, leads in ROUTERS.items() if leads(decoded)}


def _is_below(path: str) -> bool:
    return bool(re.match(rf"/+{SENSITIVE}(/|$)", path, re.IGNORECASE))


def _view(*_: object) -> None:
    """Stand for a handler."""


_WERKZEUG = Map([Rule(f"/{SENSITIVE}/<path:rest>", endpoint="it")]).bind("shop.example")
_STARLETTE = Route(f"/{SENSITIVE}/{{rest:path}}", _view)
_DJANGO = URLResolver(RegexPattern(r"^/"), [path(f"{SENSITIVE}/<path:rest>", _view)])


def _by_werkzeug(decoded: str) -> bool:
    try:
        _WERKZEUG.match(decoded)
    except HTTPException:
        return False
    return True


def _by_starlette(decoded: str) -> bool:
    scope = {"type": "http", "path": decoded, "method": "GET", "headers": []}
    return _STARLETTE.matches(scope)[0] is Match.FULL


def _by_django(decoded: str) -> bool:
    try:
        _DJANGO.resolve(decoded)
    except Resolver404:
        return False
    return True


ROUTERS: Mapping[str, Callable[[str], bool]] = {
    "Flask": _by_werkzeug,
    "FastAPI": _by_starlette,
    "Django": _by_django,
}
