"""Says why an HTTP call failed, with its address and what to do about it.

httpx wraps what the system, the resolver or TLS says in errors of several layers, of which the
outermost has the least to say; some texts quote the request, and so its secrets. Those of the
system do not, and of all others only their kind is reported.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Iterator

import httpx

from sidecar.domain.values.causes import first_causes, kind_of, words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.reach import is_loopback
from sidecar.wire.checks.url_credentials import without_credentials


def invalid_addresses() -> tuple[type[Exception], ...]:
    """Return what httpx raises for what is no URL, or for a host whose name cannot be looked up."""
    return (httpx.InvalidURL, UnicodeError)


def call_failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what httpx raises where a call fails, and `others`.

    `except` asks for it only once something was raised, and so httpx is not needed before.
    """
    return (httpx.HTTPError, httpx.StreamError, *invalid_addresses(), *others)


def cause_of(error: Exception, address: str | httpx.URL) -> str:
    """Return why an address cannot be called, and by which proxy, without anything secret."""
    proxy = "" if isinstance(error, invalid_addresses()) else _proxy_of(httpx.URL(address))
    where = without_credentials(str(address))
    return f"{where}: {f'by the proxy {proxy}: ' if proxy else ''}{why(error)}"


def why(error: Exception) -> str:
    """Return why a call failed, and what to do where that is plain; never empty."""
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ProxyError):
        return words_of(error)
    return "; ".join(dict.fromkeys(map(_why, _causes(error))))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return what an error comes from. httpcore hides what it handled, and says less itself."""
    for one in first_causes(error):
        hidden = one.__context__ if type(one).__module__.startswith("httpcore") else None
        if hidden is None:
            yield one
        else:
            yield from _causes(hidden)


def _why(cause: BaseException) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            named = "mismatch" in cause.verify_message
            cure = "" if named else "; trust its authority by SSL_CERT_FILE"
            return f"{words_of(cause)}{cure}"
        case ssl.SSLError():
            return f"{words_of(cause)}; does it speak TLS?"
        case OSError():
            return words_of(cause)
        case UnicodeError() | httpx.InvalidURL():
            return "its host is no name that can be looked up"
        case _:
            return f"it hung up, or does not speak HTTP ({kind_of(cause)})"


def shown_url(url: httpx.URL) -> str:
    """Return the address without what may be secret in it: user, password and query."""
    return without_credentials(str(url))


def _proxy_of(url: httpx.URL) -> str:
    """Return the proxy that the environment names for an address; empty: none."""
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return ""
    proxies = urllib.request.getproxies()
    named = proxies.get(url.scheme) or proxies.get("all", "")
    if named and "://" not in named:
        named = f"http://{named}"  # as httpx takes it
    return without_credentials(named)


def calling(
    tls: ssl.SSLContext, host: str = "", kind: type[httpx.AsyncClient] | None = None
) -> httpx.AsyncClient:
    """Return a client that takes JSON as it is, follows no redirect, and has no time-out.

    Without a `kind` its calls are in the trace of what they are made for. Other hosts than this
    machine are called by the proxies of the environment. Raises `Unavailable` where one of those is
    no address.
    """
    from sidecar.adapters.opentelemetry.traced_calls import (  # noqa: PLC0415 - it takes httpx
        TracedClient,
    )

    try:
        return (kind or TracedClient)(
            verify=tls,
            timeout=None,  # the caller's deadline covers all that belongs together
            trust_env=not is_loopback(host),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            follow_redirects=False,
        )
    except (ValueError, ImportError, httpx.InvalidURL):  # whose texts quote what may be secret
        message = "HTTPS_PROXY or a variable like it is no address such as http://proxy:3128"
        raise Unavailable(message) from None


def tls_context() -> ssl.SSLContext:
    """Return a context with the authorities that are trusted. Raises `Unavailable`."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR", "")
        raise Unavailable(f"SSL_CERT_FILE: {named}: {words_of(error)}") from error
