"""Bundles below an address: HTTP, each answer bounded in bytes and all of them in time.

Redirects are followed within the host that is configured alone, a few of them: a credential is
shown to nobody else. An answer that is the same as before is not sent again (`ETag`).
"""

import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping

import httpx
import trio

from sidecar.adapters.bundles.names import SIGNATURE, file_of
from sidecar.adapters.http.causes import call_failures, calling, cause_of, tls_context
from sidecar.adapters.tokens.documents import whole_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.bundles.archive import MAX_BYTES
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.minisign import MAX_TEXT
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle

REDIRECTS = 3
REMEMBERED = 8
"""Answers that are kept with their tags."""


class HttpFiles:
    """Gets files over HTTP. `credential` gives the bearer token of now; empty: none."""

    def __init__(self, credential: Callable[[], str], timeout: Callable[[], float]) -> None:
        self._credential = credential
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._known: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    async def get(
        self, address: str, most: int, headers: Mapping[str, str] | None = None
    ) -> bytes | None:
        """Return what is at an address; None: nothing is. Raises `InvalidBundle`."""
        try:
            with trio.fail_after(self._timeout()):
                async with calling(self._context(), httpx.URL(address).host) as client:
                    return await self._get(client, httpx.URL(address), most, dict(headers or {}))
        except trio.TooSlowError:
            raise _unavailable(f"{address}: it did not answer in time") from None
        except call_failures() as error:
            raise _unavailable(cause_of(error, address)) from None
        except Unavailable as error:
            raise _unavailable(f"{address}: {error}") from None

    def _context(self) -> ssl.SSLContext:
        """Return whom we trust, as it was when it was asked for first: to read it takes 30 ms."""
        if self._tls is None:
            self._tls = tls_context()
        return self._tls

    async def _get(
        self, client: httpx.AsyncClient, url: httpx.URL, most: int, headers: dict[str, str]
    ) -> bytes | None:
        credential = self._credential()
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        origin = (url.scheme, url.host, url.port)
        for _ in range(REDIRECTS + 1):
            tagged = self._known.get(str(url))
            asked = {**headers, "If-None-Match": tagged[0]} if tagged else headers
            async with client.stream("GET", url, headers=asked) as response:
                match response.status_code:
                    case 304 if tagged:
                        return tagged[1]
                    case 404 | 410:
                        return None
                    case 301 | 302 | 303 | 307 | 308:
                        url = url.join(response.headers.get("location", ""))
                        if (url.scheme, url.host, url.port) != origin:
                            raise _unavailable(f"{origin[1]} redirects elsewhere: to {url.host}")
                    case 200:
                        return self._kept(str(url), response, await whole_of(response, most))
                    case status:
                        raise _unavailable(f"{url.host} answers with status {status}")
        raise _unavailable(f"{url.host} redirects more than {REDIRECTS} times")

    def _kept(self, url: str, response: httpx.Response, body: bytes) -> bytes:
        tag = response.headers.get("etag", "")
        if tag:
            self._known[url] = (tag, body)
            self._known.move_to_end(url)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return body


class HttpSource:
    """Gets bundles from below an address."""

    def __init__(self, address: str, files: HttpFiles) -> None:
        self._address = address.rstrip("/")
        self._files = files

    async def fetch(self, sequence: int) -> SignedBytes:
        """Return a bundle's bytes and its signature's. Raises `InvalidBundle`."""
        address = f"{self._address}/{file_of(sequence)}"
        archive = await self._files.get(address, MAX_BYTES)
        if archive is None:
            raise _unavailable(f"there is no {address}")
        signature = await self._files.get(address + SIGNATURE, MAX_TEXT)
        return SignedBytes(archive, (signature or b"").decode("utf-8", "replace"))


def _unavailable(message: str) -> InvalidBundle:
    return InvalidBundle(BundleFlaw.UNAVAILABLE, message)
