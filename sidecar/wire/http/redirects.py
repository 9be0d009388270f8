"""Redirects of a browser for a step-up: to the app's own page, with the way back.

The way back is a path with its query and nothing else, made anew from the call that was refused: it
begins with exactly one slash, has no empty or dot segments, and every character that a reader could
take for more than that - backslash, `@`, control characters, what is not ASCII - is encoded. So it
stays on the app's own origin, whatever was called; `stepup_client.returning` checks it there.
"""

import base64
import hashlib
import hmac
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

from sidecar.wire.http.messages import Request
from sidecar.wire.settings.settings import Redirect

MAX_ADDRESS = 2048
LIFETIME = 600
"""Seconds for which a signed way back counts: for as long as somebody may take to sign in."""

_QUERY_SAFE = "!$'()*+,-./:;=?_~&%"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HTML = re.compile(r"\s*(?:text/html|application/xhtml\+xml)\s*(?:;(?!\s*q=0(?:\.0*)?\s*$).*)?")


class Way(NamedTuple):
    """The demands of a step-up, and its contexts (with commas, as the answer has them)."""

    acr_values: str
    max_age: int | None
    contexts: str


def is_navigation(request: Request, method: str) -> bool:
    """Return whether a browser asks for a page of its own: a GET that wants HTML, at the top level.

    By Fetch Metadata, which no page can forge; a browser that does not send it gets the 401.
    """
    headers = request.headers
    return (
        method == "GET"
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest", b"document") == b"document"
        and any(map(_HTML.fullmatch, headers.get(b"accept", b"").decode("latin-1").split(",")))
    )


def return_address(path: str, query: str) -> str:
    """Return the way back to a normalised path (`readings.normalise`) with the query as it came."""
    there = path.replace("@", "%40")
    encoded = quote(_LONE_PERCENT.sub("%25", query), safe=_QUERY_SAFE, encoding="latin-1")
    for address in (f"{there}?{encoded}" if encoded else there, there):
        if len(address) <= MAX_ADDRESS:
            return address
    return "/"


def step_up_location(redirect: Redirect, address: str, way: Way, now: float) -> str:
    """Return where to send the browser.

    `redirect.start` with what is asked for and the way back.
    """
    parameters = {"acr_values": way.acr_values, "context": way.contexts.replace(",", " ")}
    if way.max_age is not None:
        parameters["max_age"] = str(way.max_age)
    parameters[redirect.return_parameter] = address
    if redirect.key:
        parameters[f"{redirect.return_parameter}_signature"] = signature(
            redirect.key, address, int(now) + LIFETIME
        )
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{redirect.start}{'&' if '?' in redirect.start else '?'}{query}"


def signature(key: str, address: str, expires: int) -> str:
    """`EXPIRES.MAC`: HMAC-SHA256 over `EXPIRES.ADDRESS`, in base64url without padding."""
    mac = hmac.digest(key.encode(), f"{expires}.{address}".encode(), hashlib.sha256)
    return f"{expires}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
