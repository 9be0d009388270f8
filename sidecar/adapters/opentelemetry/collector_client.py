"""Posts to a collector by OTLP over HTTP, and again where the protocol asks for that."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping

import httpx
import trio

from sidecar.adapters.http.causes import call_failures, calling, tls_context, why
from sidecar.adapters.tokens.documents import beginning_of

MAX_ANSWER = 65536
FIRST_PAUSE = 0.25
_AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the protocol has a client send again."""


class CollectorGone(Exception):  # noqa: N818 - named by who must act: the operator
    """The collector gave no answer in time, or none that counts; the text says why."""


class CollectorRefused(Exception):  # noqa: N818 - likewise
    """The collector refused what it was sent, for good."""


class CollectorClient:
    """A client of the collector at `url`."""

    def __init__(self, url: str, ca_file: str) -> None:
        """Read the authorities to trust. Raises OSError."""
        self.url = url
        self._client = calling(_trusting(ca_file), kind=httpx.AsyncClient)  # no trace of traces

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, body: bytes, headers: Mapping[str, str], patience: float) -> bytes:
        """Post a body; return the answer. Raises `CollectorGone` and `CollectorRefused`.

        One that does not answer within `patience` seconds, or is overloaded, is asked again for as
        long again.
        """
        pause, words = FIRST_PAUSE, "no answer in time"
        with trio.move_on_after(2 * patience):
            while True:
                try:
                    with trio.fail_after(patience):
                        status, answer, wait = await self._once(body, headers)
                except trio.TooSlowError:
                    status, answer, wait = 0, b"", 0.0
                except call_failures(ValueError) as error:
                    words, status, answer, wait = f"the post failed: {why(error)}", 0, b"", 0.0
                if status and status not in _AGAIN:
                    if status // 100 != 2:
                        raise CollectorRefused(f"{self.url}: status {status}")
                    return answer
                if status:
                    words = f"status {status}"
                await trio.sleep(max(pause, wait))
                pause *= 2
        raise CollectorGone(f"{self.url}: {words}")

    async def _once(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, float]:
        async with self._client.stream("POST", self.url, content=body, headers=headers) as response:
            answer = await beginning_of(response, MAX_ANSWER)
        return response.status_code, answer, _retry_after(response)


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file) if ca_file else tls_context()


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the collector asks to wait; a date counts as none."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < math.inf else 0.0
