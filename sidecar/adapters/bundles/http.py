"""Bundles below an address: HTTP, each answer bounded in bytes and all of a bundle in time.

Redirects are followed within the host that is configured alone, a few of them: a credential is
shown to nobody else. Where what is asked for has a digest that is known, they may lead elsewhere,
without a credential. An answer that is the same as before is not sent again (`ETag`).
"""

import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import httpx
import trio

from sidecar.adapters.bundles.names import NEWEST, SIGNATURE, file_of, number_in
from sidecar.adapters.http.causes import (
    call_failures,
    calling,
    cause_of,
    tls_context,
)
from sidecar.adapters.tokens.documents import whole_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.bundles.archive import MAX_BYTES
from sidecar.wire.bundles.bundle import SignedBytes
from sidecar.wire.bundles.minisign import MAX_TEXT
from sidecar.wire.bundles.refusal import BundleFlaw, InvalidBundle
from sidecar.wire.checks.reach import is_loopback

REDIRECTS = 3
REMEMBERED = 8
"""Answers that are kept with their tags."""

MAX_NUMBER = 64
"""Bytes of the file that holds the highest number."""


class Shows(Protocol):
    """Shows who asks, in the header `Authorization`."""

    def shown(self) -> str:
        """Return what is shown now; empty: nothing."""

    async def challenged(self, url: httpx.URL, challenges: Sequence[str]) -> bool:
        """Take up what a server asks for (401); return whether asking again may help.

        Raises `InvalidBundle`.
        """


class ShowsToken:
    """Shows a bearer token, `token()`, whatever a server asks for; empty: nothing."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def shown(self) -> str:
        """Return what is shown now."""
        token = self._token()
        return f"Bearer {token}" if token else ""

    async def challenged(self, url: httpx.URL, challenges: Sequence[str]) -> bool:  # noqa: ARG002 - a port
        """Return False: there is nothing else to show."""
        return False


class Answered(NamedTuple):
    """A body, and where the next part of it is; empty: it is whole."""

    body: bytes
    following: str = ""


class HttpFiles:
    """Gets files over HTTP. `timeout` is for all that stands in one `in_time`."""

    def __init__(self, shows: Shows, timeout: Callable[[], float]) -> None:
        self._shows = shows
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._known: OrderedDict[str, tuple[str, Answered]] = OrderedDict()

    @contextmanager
    def in_time(self, address: str) -> Iterator[None]:
        """Do this in the configured time. Raises `InvalidBundle` once that is over."""
        try:
            with trio.fail_after(self._timeout()):
                yield
        except trio.TooSlowError:
            raise unavailable(f"{address}: it did not answer in time") from None

    async def get(
        self,
        address: str,
        most: int,
        headers: Mapping[str, str] | None = None,
        *,
        elsewhere: bool = False,
    ) -> bytes | None:
        """Return what is at an address; None: nothing is. Raises `InvalidBundle`.

        `elsewhere`: a redirect may lead to another host, which is shown no credential.
        """
        found = await self.page(address, most, headers, elsewhere=elsewhere)
        return None if found is None else found.body

    async def page(
        self,
        address: str,
        most: int,
        headers: Mapping[str, str] | None = None,
        *,
        elsewhere: bool = False,
    ) -> Answered | None:
        """Return the same, with the address of the next page."""
        try:
            url = httpx.URL(address)
            asking = _Asking(url, most, dict(headers or {}), elsewhere)
            async with calling(self._context(), url.host) as client:
                return await self._get(client, asking)
        except call_failures() as error:
            raise unavailable(cause_of(error, address)) from None
        except Unavailable as error:
            raise unavailable(f"{address}: {error}") from None

    def _context(self) -> ssl.SSLContext:
        """Return whom we trust, as it was when it was asked for first: to read it takes 30 ms."""
        if self._tls is None:
            self._tls = tls_context()
        return self._tls

    async def _get(self, client: httpx.AsyncClient, asking: "_Asking") -> Answered | None:
        url, challenged = asking.url, False
        for _ in range(REDIRECTS + 2):
            tagged = self._known.get(str(url))
            headers = dict(asking.headers)
            if tagged:
                headers["If-None-Match"] = tagged[0]
            shown = self._shows.shown() if _origin(url) == _origin(asking.url) else ""
            if shown:
                headers["Authorization"] = shown
            async with client.stream("GET", url, headers=headers) as response:
                match response.status_code:
                    case 304 if tagged:
                        return tagged[1]
                    case 404 | 410:
                        return None
                    case 301 | 302 | 303 | 307 | 308:
                        url = asking.onward(url, response.headers.get("location", ""))
                        continue
                    case 200:
                        return await self._kept(str(url), response, asking.most)
                    case 401 if not challenged and _origin(url) == _origin(asking.url):
                        challenges = response.headers.get_list("www-authenticate")
                    case status:
                        raise unavailable(f"{url.host} answers with status {status}")
            challenged = True
            if not await self._shows.challenged(url, challenges):
                raise unavailable(f"{url.host} answers with status 401")
        raise unavailable(f"{url.host} redirects more than {REDIRECTS} times")

    async def _kept(self, url: str, response: httpx.Response, most: int) -> Answered:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unavailable("the answer is compressed, which was not asked for")
        body = await whole_of(response, most)
        answered = Answered(body, response.links.get("next", {}).get("url", ""))
        tag = response.headers.get("etag", "")
        if tag:
            self._known[url] = (tag, answered)
            self._known.move_to_end(url)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return answered


class _Asking(NamedTuple):
    url: httpx.URL
    most: int
    headers: dict[str, str]
    elsewhere: bool

    def onward(self, url: httpx.URL, location: str) -> httpx.URL:
        """Return where a redirect leads. Raises `InvalidBundle` where it may not."""
        following = url.join(location)
        if _origin(following) == _origin(self.url):
            return following
        # To this machine leads only what is on it: other programs listen there.
        near = is_loopback(self.url.host)
        safe = following.scheme == "https" and not is_loopback(following.host)
        if not self.elsewhere or not (safe or (near and is_loopback(following.host))):
            raise unavailable(f"{self.url.host} redirects elsewhere: to {following.host}")
        return following


class HttpSource:
    """Gets bundles from below an address."""

    def __init__(self, address: str, files: HttpFiles) -> None:
        self._address = address.rstrip("/")
        self._files = files

    async def newest(self) -> int:
        """Return the number that the file `policies-newest` holds. Raises `InvalidBundle`."""
        address = f"{self._address}/{NEWEST}"
        with self._files.in_time(address):
            content = await self._files.get(address, MAX_NUMBER)
        if content is None:
            raise unavailable(f"there is no {address}, which says what is published")
        number = number_in(content.decode("ascii", "replace").strip())
        if not number:
            raise unavailable(f"{address} holds no number of a bundle")
        return number

    async def fetch(self, sequence: int) -> SignedBytes:
        """Return a bundle's bytes and its signature's. Raises `InvalidBundle`."""
        address = f"{self._address}/{file_of(sequence)}"
        with self._files.in_time(address):
            archive = await self._files.get(address, MAX_BYTES)
            if archive is None:
                raise unavailable(f"there is no {address}")
            signature = await self._files.get(address + SIGNATURE, MAX_TEXT)
        return SignedBytes(archive, (signature or b"").decode("utf-8", "replace"))


def unavailable(message: str) -> InvalidBundle:
    """Return the refusal of a bundle that cannot be had."""
    return InvalidBundle(BundleFlaw.UNAVAILABLE, message)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
