"""HTTP calls of tests, without the authorities' certificates that each new httpx client would read.

Reading them takes 30 ms of processor time for each call, some thousand times in the suite.
"""

import ssl
from typing import Any

import httpx

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody."""
PATIENCE = 20.0
"""Seconds: longer than a busy machine keeps an answer back that is going to come."""


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Make one call on a connection of its own; `options` are httpx's."""
    asked: dict[str, Any] = {"timeout": PATIENCE, **options}
    if not url.startswith("https:"):
        asked["verify"] = NO_CERTIFICATES
    return httpx.request(method, url, **asked)


def get(url: str, **options: Any) -> httpx.Response:
    """Make one GET as `request` does."""
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """Make one POST as `request` does."""
    return request("POST", url, **options)
