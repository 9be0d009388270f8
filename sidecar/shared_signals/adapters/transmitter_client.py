"""A transmitter's endpoints, over HTTP: its metadata, its streams, and events by poll.

SSF 1.0, "Management API for SET Event Streams"; RFC 8936. What answers is not trusted: bodies are
bounded, plain HTTP only reaches this machine itself, and no redirect is followed, since our token
goes with each request.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

import httpx
import msgspec
import trio

from sidecar.adapters.http.causes import call_failures, calling, cause_of, shown_url, tls_context
from sidecar.adapters.tokens.documents import check_onward, is_permitted, whole_of
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.wire.stream_api import (
    Delivery,
    InvalidMessage,
    PollRequest,
    PollResponse,
    Status,
    StreamConfiguration,
    TransmitterMetadata,
    decode_message,
    decode_streams,
    encode_message,
    metadata_address,
)
from sidecar.wire.checks.url_credentials import without_credentials
from sidecar.wire.tokens.jws import bounded_object
from sidecar.wire.yaml.tree import shown

MAX_BYTES = 16 * 1_048_576
LONGEST_RETRY_AFTER = 3600
MAX_SAID = 200
_REASONS = {
    400: "the request is not understood there",
    401: "the token is not accepted there",
    403: "it is not allowed",
    404: "there is no such stream or subject",
    409: "a stream exists already; show it, and update it",
    429: "too many requests",
}
_NOTHING_THERE = (404, 405, 410)
_AT_METADATA = "there are no metadata; where they lie elsewhere `metadata_url` says so"
_M = TypeVar("_M")


class TransmitterRefused(Exception):  # noqa: N818 - named by who must act: the operator
    """The transmitter does not do what was asked. `status` is that of its answer.

    What it says of that is part of the message, as far as it can be printed.
    """

    def __init__(self, status: int, said: str = "", where: str = "") -> None:
        reason = _REASONS.get(status, "the answer is not what was expected")
        if where:
            reason = f"{where}: {_AT_METADATA if status in _NOTHING_THERE else reason}"
        super().__init__(f"{reason} ({status}{f': {said}' if said else ''})")
        self.status = status
        self.said = said


class _Answer(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes


class TransmitterApi:
    """One transmitter. `token` gives what we show there, empty for nothing.

    All calls raise `Unavailable` where it does not answer in `timeout` seconds, `Overloaded` where
    it asks to wait, and, but for `poll`, `TransmitterRefused`.
    """

    def __init__(
        self,
        issuer: str,
        *,
        token: Callable[[], Awaitable[str]],
        timeout: float,
        metadata_url: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._issuer = issuer
        self._token = token
        self._timeout = timeout
        self._metadata_url = metadata_url or metadata_address(issuer)
        self._tls = tls

    async def poll_at(self, url: str, request: PollRequest) -> PollResponse:
        """Acknowledge, refuse and ask (RFC 8936, section 2)."""
        where = without_credentials(url)
        try:
            return _decoded(await self._call("POST", url, request), PollResponse)
        except Overloaded as error:
            raise Overloaded(error.retry_after, f"{where}: {error}") from error
        except (TransmitterRefused, Unavailable) as error:
            words = str(error)
            raise Unavailable(words if where in words else f"{where}: {words}") from error

    async def metadata(self) -> TransmitterMetadata:
        """Return what the transmitter says of itself; its issuer is the one that was asked."""
        metadata = await self._metadata()
        if metadata.issuer != self._issuer:
            found = f"{shown(metadata.issuer)!r}, and {self._issuer!r} is configured"
            where = without_credentials(self._metadata_url)
            raise Unavailable(f"{where}: the metadata are of the issuer {found}")
        for name, value in msgspec.structs.asdict(metadata).items():
            if name.endswith("_endpoint") and value:
                check_onward(self._metadata_url, value)  # our token goes there
        return metadata

    async def _metadata(self) -> TransmitterMetadata:
        """Return the metadata unchecked; an error that is raised names their address."""
        where = without_credentials(self._metadata_url)
        try:
            return _decoded(await self._call("GET", self._metadata_url), TransmitterMetadata)
        except TransmitterRefused as error:
            raise TransmitterRefused(error.status, error.said, where) from None
        except Unavailable as error:
            words = str(error)
            raise Unavailable(words if where in words else f"{where}: {words}") from error

    async def create(
        self, url: str, delivery: Delivery, events: tuple[str, ...], description: str
    ) -> StreamConfiguration:
        """Make a stream."""
        body = {"delivery": delivery, "events_requested": events, "description": description}
        wanted = {name: value for name, value in body.items() if value}
        return self._stream(await self._call("POST", url, wanted))

    async def streams(self, url: str, stream: str = "") -> tuple[StreamConfiguration, ...]:
        """Return all streams of ours, or the one that is named."""
        query = {"stream_id": stream} if stream else {}
        answer = await self._call("GET", url, query=query)
        try:
            found = decode_streams(answer.body)
        except InvalidMessage as error:
            raise Unavailable(f"the answer is no list of streams: {error}") from None
        for one in found:
            self._check_issuer(one)
        return found

    async def update(self, url: str, stream: str, **changes: object) -> StreamConfiguration:
        """Change what is given of a stream, and nothing else."""
        return self._stream(await self._call("PATCH", url, {"stream_id": stream, **changes}))

    async def delete(self, url: str, stream: str) -> None:
        """Take a stream away."""
        await self._call("DELETE", url, query={"stream_id": stream})

    async def status(self, url: str, stream: str) -> Status:
        """Return whether a stream carries events."""
        return _decoded(await self._call("GET", url, query={"stream_id": stream}), Status)

    async def set_status(self, url: str, stream: str, status: str, reason: str) -> Status:
        """Have a stream carry events, or wait, or not."""
        wanted = Status(stream_id=stream, status=status, reason=reason)
        return _decoded(await self._call("POST", url, wanted), Status)

    async def subject(self, url: str, stream: str, subject: Mapping[str, object]) -> None:
        """Add or remove a subject, as the endpoint does."""
        await self._call("POST", url, {"stream_id": stream, "subject": subject})

    async def verify(self, url: str, stream: str, state: str) -> None:
        """Ask for a verification event."""
        await self._call("POST", url, {"stream_id": stream, "state": state})

    def _stream(self, answer: _Answer) -> StreamConfiguration:
        stream = _decoded(answer, StreamConfiguration)
        self._check_issuer(stream)
        return stream

    def _check_issuer(self, stream: StreamConfiguration) -> None:
        """Check the issuer, as the receiver must (SSF 1.0, "Creating a Stream")."""
        if stream.iss != self._issuer:
            raise Unavailable("the stream is another issuer's")

    async def _call(
        self,
        method: str,
        url: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> _Answer:
        if not is_permitted(url):
            raise Unavailable("the address must be https, or http on a loopback host")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        token = await self._token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        content = None
        if body is not None:
            content = encode_message(body)
            headers["Content-Type"] = "application/json"
        request = httpx.Request(
            method, httpx.URL(url, params=query or None), headers=headers, content=content
        )
        with trio.move_on_after(self._timeout):
            return _judged(await self._send(request))
        raise Unavailable(f"{shown_url(request.url)}: it did not answer in time")

    async def _send(self, request: httpx.Request) -> _Answer:
        client = calling(self._context(), request.url.host)
        try:
            async with client:
                response = await client.send(request, stream=True)
                try:
                    return _Answer(
                        response.status_code, response.headers, await whole_of(response, MAX_BYTES)
                    )
                finally:
                    await response.aclose()
        except call_failures() as error:
            raise Unavailable(cause_of(error, request.url)) from error

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


class PollEndpoint:
    """A transmitter's poll endpoint, at one address."""

    def __init__(self, api: TransmitterApi, url: str) -> None:
        self._api = api
        self._url = url

    async def poll(self, request: PollRequest) -> PollResponse:
        """Raises `Unavailable`, `Overloaded`."""
        return await self._api.poll_at(self._url, request)


def _judged(answer: _Answer) -> _Answer:
    if 200 <= answer.status < 300:
        return answer
    if answer.status in (429, 503):
        after = answer.headers.get("retry-after", "")
        is_number = after.isascii() and after.isdecimal()
        seconds = int(after[:9]) if is_number else 1  # int() refuses thousands of digits
        wait, words = min(seconds, LONGEST_RETRY_AFTER), f"the answer has status {answer.status}"
        raise Overloaded(wait, f"{words}, and asks to wait for {wait} s")
    if answer.status >= 500:
        raise Unavailable(f"the answer has status {answer.status}")
    raise TransmitterRefused(answer.status, _said(answer.body))


def _said(body: bytes) -> str:
    """Return what an error's body says to people: RFC 9457, RFC 6750 or RFC 8935."""
    try:
        members = bounded_object(body)
    except ValueError:
        return ""
    texts = (members.get(name) for name in ("detail", "error_description", "description", "title"))
    said = next((text for text in texts if isinstance(text, str) and text), "")
    return "".join(letter if letter.isprintable() else "?" for letter in said[:MAX_SAID])


def _decoded(answer: _Answer, kind: type[_M]) -> _M:
    try:
        return decode_message(answer.body, kind)
    except InvalidMessage as error:
        raise Unavailable(f"the answer is not what was expected: {error}") from None
