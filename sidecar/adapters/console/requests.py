"""Requests of browsers: whether a page of our own made them, their cookies and their forms."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request

from sidecar.adapters.listening.application import RequestRefused, body_of, media_type_of
from sidecar.wire.http.form_fields import UnreadableFields, fields_of

MAX_FORM = 16384
FIELDS = 64
"""Fields of a form at most."""

FORM = "application/x-www-form-urlencoded"
PLAIN_COOKIE, BEFORE_COOKIE = "sidecar_console", "sidecar_console_before"
HOST_PREFIX = "__Host-"
"""Begins the names of cookies that are Secure, of this host alone, and of all its paths."""


def is_secure(request: Request) -> bool:
    """Return whether the request came over TLS to this listener."""
    return request.url.scheme == "https"


def cookie_name(request: Request, name: str) -> str:
    """Return the name of a cookie, as it is over TLS or without."""
    return HOST_PREFIX + name if is_secure(request) else name


def check_own(request: Request) -> None:
    """Refuse a request that changes something and was not made by a page of this listener.

    Browsers say so by `Sec-Fetch-Site`; over plain HTTP from elsewhere than their own machine they
    leave it out, and `Origin` says it. What says neither is no browser's form. Raises
    `RequestRefused`.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        own = site == "same-origin"
    else:
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        own = bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    if not own:
        raise RequestRefused(403, "this form was not sent by a page of the console")


def check_site(request: Request) -> None:
    """Refuse what another site's page embeds or fetches; a link to a page is none of it.

    Raises `RequestRefused`.
    """
    site = request.headers.get("sec-fetch-site", "none")
    if site in {"cross-site", "same-site"} and (
        request.headers.get("sec-fetch-mode") != "navigate"
        or request.headers.get("sec-fetch-dest") != "document"
    ):
        raise RequestRefused(403, "this was asked for by a page of another site")


async def form_of(request: Request) -> Mapping[str, list[str]]:
    """Return the fields of a form. Raises `RequestRefused`."""
    if media_type_of(request) != FORM:
        raise RequestRefused(415, f"the content type must be {FORM}")
    body = await body_of(request, MAX_FORM)
    try:
        fields = fields_of(body, FIELDS, blank=True)
    except UnreadableFields as error:
        raise RequestRefused(400, f"the form {error.words}") from None
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return found


def field_of(form: Mapping[str, list[str]], name: str) -> str:
    """Return the one value of a field; empty where it is not there. Raises `RequestRefused`."""
    values = form.get(name, [""])
    if len(values) != 1:
        raise RequestRefused(400, f"{name} is given twice")
    return values[0]


def token_before(key: bytes, cookie: str) -> str:
    """Return what the form to sign in must show, of a browser that has this cookie."""
    return hmac.new(key, cookie.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
