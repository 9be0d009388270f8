"""Posts Security Event Tokens to recipients (RFC 8935, section 2)."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
import trio

from sidecar.adapters.http.causes import call_failures, calling, tls_context, why
from sidecar.adapters.tokens.documents import beginning_of
from sidecar.shared_signals.service.push_delivery import PushResponse, PushResult
from sidecar.shared_signals.wire.security_event_tokens import MEDIA_TYPE
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.tokens.jws import bounded_object

MAX_ANSWER = 16384
LONGEST_RETRY_AFTER = 86400.0
_ERRORS = frozenset(fault.value for fault in Fault)

_HOPELESS = frozenset({Fault.INVALID_REQUEST.value, Fault.INVALID_STATE.value})
"""What is wrong with this one event: the next may be right. All else is between the two parties."""


class Courier:
    """The port `shared_signals.service.push_delivery.Courier`. Connections are kept between posts.

    Redirects are not followed: an event goes where the operator said, or nowhere.
    """

    def __init__(
        self, timeout: float, clock: Callable[[], float], tls: ssl.SSLContext | None = None
    ) -> None:
        self._timeout = timeout
        self._clock = clock
        self._client = calling(tls or tls_context())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, url: str, token: str, authorization: str) -> PushResponse:
        """Post a token, and say what became of it."""
        headers = {"Content-Type": MEDIA_TYPE}
        if authorization:
            headers["Authorization"] = authorization
        try:
            with trio.fail_after(self._timeout):
                async with self._client.stream(
                    "POST", url, content=token.encode(), headers=headers
                ) as response:
                    body = (await beginning_of(response, MAX_ANSWER))[:MAX_ANSWER]
        except trio.TooSlowError:
            return PushResponse(PushResult.FAILED, "no answer in time")
        except call_failures(ValueError) as error:
            return PushResponse(PushResult.FAILED, f"the post failed: {why(error)}")
        return self._judge(response, body)

    def _judge(self, response: httpx.Response, body: bytes) -> PushResponse:
        status = response.status_code
        if response.is_success:  # the RFC says 202; others mean the same
            return PushResponse(PushResult.ACCEPTED)
        err = _error(body) if status == httpx.codes.BAD_REQUEST else ""
        detail = f"status {status}" + (f", {err}" if err else "")
        if err in _HOPELESS:
            return PushResponse(PushResult.REFUSED, detail)
        return PushResponse(PushResult.FAILED, detail, self._retry_after(response))

    def _retry_after(self, response: httpx.Response) -> float:
        """Return the seconds to wait (RFC 9110, section 10.2.3), given as a number or as a date."""
        value = response.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return min(float(value), LONGEST_RETRY_AFTER)
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few recipients send dates

        try:
            at = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, OverflowError):
            return 0.0
        return min(max(0.0, at - self._clock()), LONGEST_RETRY_AFTER)


def _error(body: bytes) -> str:
    """Return the `err` of an answer, where it is one that is defined (RFC 8935, section 2.4)."""
    try:
        err = bounded_object(body).get("err")
    except ValueError:
        return ""
    return err if isinstance(err, str) and err in _ERRORS else ""
