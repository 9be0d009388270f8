"""Calls that pass without being asked about: `http.public`, `http.unchecked`, `http.preflight`.

As the middleware has them (`stepup_client.gate`, which imports nothing of the daemon): one table
in `tests/wire/http/test_unasked.py` is run against both. Of a path that servers read in different
ways nothing is asked here: it was refused before (`wire.routes.readings`). A method counts as it is
spelled; a preflight is what a browser sends before a call of another origin (Fetch, section 4.8).
Nothing else is known of it: what an app answers to OPTIONS is for the app to see to.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from urllib.parse import unquote

from sidecar.wire.http.gateway_calls import Original
from sidecar.wire.http.messages import Request
from sidecar.wire.settings.settings import Http

_OVERRIDING = re.compile(
    rb"x[^a-z0-9](?:http[^a-z0-9])?method(?:[^a-z0-9]override)?", re.IGNORECASE
)


class Exemption(StrEnum):
    """The reason why a call passes unasked."""

    PUBLIC = "public"
    METHOD = "method"
    PREFLIGHT = "preflight"


class Unasked:
    """Calls that pass unasked, as configured."""

    def __init__(self, settings: Http) -> None:
        self._public = Public(settings.public)
        self._methods = frozenset(settings.unchecked)
        self._preflight = settings.preflight
        self._any = bool(settings.public or self._methods or self._preflight)

    def why(self, request: Request, original: Original) -> Exemption | None:
        """Return why the call that the request describes passes unasked; None: it does not."""
        if not self._any:
            return None
        if self._public.covers(unquote(original.path)):
            return Exemption.PUBLIC
        # With one that may be overridden in the query none is known: `gateway_calls` sees to that.
        if any(map(_OVERRIDING.fullmatch, request.headers)):
            return None  # nobody here knows which method the app will run
        if original.method in self._methods:
            return Exemption.METHOD
        asks = request.values(b"origin"), request.values(b"access-control-request-method")
        if self._preflight and is_preflight(original.method, *asks):
            return Exemption.PREFLIGHT
        return None


class Public:
    """Paths that are not checked: exact ones, and `/static/*` for all below."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._exact = frozenset(path for path in paths if not path.endswith("/*"))
        self._below = tuple(path[:-1] for path in paths if path.endswith("/*"))

    def covers(self, path: str) -> bool:
        """Return whether a decoded path that all servers read alike is one of them."""
        # With a percent sign left in it, who decodes it again may find anything.
        return path in self._exact or (path.startswith(self._below) and "%" not in path)


def is_preflight(method: str, origins: Sequence[object], requested: Sequence[object]) -> bool:
    """Return whether a request is a CORS preflight.

    OPTIONS with one origin and one requested method.
    """
    return (
        method == "OPTIONS"
        and len(origins) == len(requested) == 1
        and bool(origins[0] and requested[0])
    )
