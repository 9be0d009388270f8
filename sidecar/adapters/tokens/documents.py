"""Small documents from elsewhere: an issuer's keys and metadata, over HTTP or from a file.

What answers is not trusted: bodies are bounded, plain HTTP only reaches this machine itself, and a
redirect may change the host but not the scheme. Neither a redirect nor what a document names leads
from elsewhere to this machine, nor here to another port: other programs listen there, which take
whoever calls for a neighbour.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl

import httpx
import trio

from sidecar.adapters.files.regular_files import read_bytes
from sidecar.adapters.http.causes import (
    call_failures,
    calling,
    cause_of,
    invalid_addresses,
    shown_url,
    tls_context,
)
from sidecar.domain.values.causes import words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.checks.reach import is_loopback

MAX_BYTES = 1_048_576
MAX_REDIRECTS = 3


class Unanswered(Unavailable):
    """An address did not answer with 200. `status` is what it answered."""

    def __init__(self, url: httpx.URL, status: int) -> None:
        super().__init__(f"{shown_url(url)}: the answer has status {status}")
        self.status = status


class Documents:
    """Fetches documents, one connection each. It has no time-out of its own: callers set one.

    A connection is not kept: between two refreshes it would only go stale. The TLS context is, as
    loading the authorities costs more than the fetch. `SSL_CERT_FILE` and `HTTPS_PROXY` hold.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200 answer.

        Raises `Unavailable`, with the address and the reason.
        """
        target = _parsed(url)
        for _ in range(MAX_REDIRECTS + 1):
            body, location = await self._get(target)
            if location is None:
                return body
            onward = _parsed(location, target)
            if onward.scheme != target.scheme:
                raise Unavailable(f"{shown_url(target)}: a redirect changes the scheme")
            check_onward(target, onward)
            target = onward
        raise Unavailable(f"{shown_url(target)}: too many redirects")

    async def _get(self, url: httpx.URL) -> tuple[bytes, str | None]:
        try:
            client = calling(self._context(), url.host)  # each hop must pass `_parsed`
            async with client, client.stream("GET", url) as response:
                if response.has_redirect_location:
                    return b"", response.headers["location"]
                return await _document(url, response), None
        except call_failures() as error:
            raise Unavailable(cause_of(error, url)) from error

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


async def _document(url: httpx.URL, response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise Unanswered(url, response.status_code)
    try:
        return await body_of(response)
    except Unavailable as error:
        raise Unavailable(f"{shown_url(url)}: {error}") from None


def client_for(url: str) -> httpx.AsyncClient:
    """Return a client for one address, which keeps its connections. It has no time-out of its own.

    It follows no redirect. Raises `Unavailable` for an address that is not permitted.
    """
    return calling(tls_context(), _parsed(url).host)


async def read_file(path: str) -> bytes:
    """Return a file's content; raises `Unavailable` where it cannot be read or is too large."""
    try:
        return await trio.to_thread.run_sync(read_bytes, path, MAX_BYTES)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {words_of(error)}") from error


def is_permitted(url: str) -> bool:
    """Return whether keys may come from there: https, or http on this machine itself."""
    try:
        _parsed(url)
    except Unavailable:
        return False
    return True


async def body_of(response: httpx.Response) -> bytes:
    """Return the body of a 200 answer, within `MAX_BYTES`; raises `Unavailable`."""
    if response.status_code != httpx.codes.OK:
        raise Unavailable(f"the answer has status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unavailable("the answer is compressed, which was not asked for")
    return await whole_of(response, MAX_BYTES)


async def whole_of(response: httpx.Response, most: int) -> bytes:
    """Return the body as it came; raises `Unavailable` where it has more bytes than `most`."""
    body = await beginning_of(response, most)
    if len(body) > most:
        raise Unavailable("the answer is too large")
    return body


async def beginning_of(response: httpx.Response, most: int) -> bytes:
    """Return the body as it came, read no further than just past `most` bytes."""
    body = bytearray()
    with trio.CancelScope() as enough:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most:
                # Not `break`: httpx's nested generators only clean up when they are unwound.
                enough.cancel()
    return bytes(body)


def _parsed(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Return the URL that a text is, seen from `base`. Raises `Unavailable`."""
    try:
        url = httpx.URL(text) if base is None else base.join(text)
        host = url.host
    except invalid_addresses() as error:
        raise Unavailable("the address is not a URL") from error
    if not host or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))):
        raise Unavailable("the address must be https, or http on a loopback host")
    return url


def check_onward(here: str | httpx.URL, there: str | httpx.URL) -> None:
    """Raise `Unavailable` where an address must not send us to another one.

    `here` has redirected us, or is where the document was that names `there`.
    """
    begin, end = httpx.URL(here), _parsed(str(there))
    if not _is_this_machine(end.host):
        return
    same = (begin.scheme, _port(begin)) == (end.scheme, _port(end))
    if not (same and _is_this_machine(begin.host)):
        raise Unavailable(
            f"{shown_url(begin)} must not send us to {shown_url(end)}, on this machine"
        )


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _is_this_machine(host: str) -> bool:
    """Return whether a host is this machine, by spellings that only resolvers take for it too."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(OSError):
        name = socket.inet_ntoa(socket.inet_aton(name))  # 127.1, 0x7f000001
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return any(one.is_loopback or one.is_unspecified for one in (found, mapped) if one is not None)
