"""Serves the receiver listener, at which transmitters push Security Event Tokens (RFC 8935).

Unlike the data listener it is there for others than the pod. A transmitter is known by the value of
`Authorization` that it was given, if it was given one; all the rest the SET proves itself.

| answer | when |
| --- | --- |
| 202, no body | it is durable, or was before |
| 400 `{"err", "description"}` | the SET is refused (RFC 8935, section 2.4) |
| 401, 403 | `Authorization` is missing or wrong, or is another transmitter's |
| 429 | it is wrong, as many others from this address were |
| 413, 408 | the body is too large, or took too long |
| 503 with `Retry-After` | it cannot be kept now: it is to be sent again |
"""

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.application import (
    JSON,
    Application,
    BodyRefused,
    Observed,
    RequestRefused,
    address_of,
    body_of,
    media_type_of,
    overloaded,
    retry_after,
    unavailable,
)
from sidecar.adapters.listening.asgi import Listener, TlsFiles, listener_of
from sidecar.service.observations.observations import CredentialRefused, DoorIncident
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.service.receiver import NotTheirs
from sidecar.shared_signals.wire.security_event_tokens import MEDIA_TYPE, InvalidSet, SetError
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import KnownTransmitter, Receiver

PATH = "/ssf/events"
DOOR = "receiver"

_CHALLENGE = {"www-authenticate": 'Bearer realm="sidecar receiver"'}
_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Takes(Protocol):
    """Take Security Event Tokens (SETs)."""

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> object:
        """Take a SET; return once it is durable.

        Raises `InvalidSet`, `Overloaded`, `Unavailable`.
        """


class _SetRefused(RequestRefused):
    """A SET is refused, for this reason (RFC 8935, section 2.4)."""

    def __init__(
        self, error: InvalidSet, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error.description, headers)
        self.fault = error.fault


class PushApp(Application):
    """The ASGI application.

    `authorizations` gives, by a transmitter's name, what its `Authorization` must be; those that
    push and are not in it may send without.
    """

    def __init__(
        self,
        settings: Receiver,
        receiving: Takes,
        authorizations: Callable[[], Mapping[str, Callable[[], Awaitable[str]]]],
        telemetry: Observed,
        transmitters: Callable[[], Iterable[KnownTransmitter]],
    ) -> None:
        self._settings = settings
        self._receiving = receiving
        self._authorizations = authorizations
        self._transmitters = transmitters
        self._observed = telemetry
        self._guesses = GuessLimit()
        super().__init__(
            DOOR,
            [Route(PATH, self._take, methods=["POST"], name=PATH)],
            telemetry,
            causes={
                InvalidSet: _SetRefused,
                NotTheirs: lambda error: _SetRefused(error, 403),
                Overloaded: overloaded,
                Unavailable: unavailable,
            },
            render=_render,
            headers=_HEADERS,
            limit=settings.max_requests,
        )

    async def _take(self, request: Request) -> Response:
        senders = await self._senders(request)
        if media_type_of(request) != MEDIA_TYPE:
            raise InvalidSet(Fault.INVALID_REQUEST, f"the content type must be {MEDIA_TYPE}")
        settings = self._settings
        slow = partial(self._observed.record, DoorIncident(door=DOOR, incident="slow-request"))
        body = await body_of(request, settings.max_body_bytes, settings.request_timeout, slow)
        shown = [name for name in senders if name in self._authorizations()]
        # Lines that end in files and editors are no part of it.
        text = body.decode("latin-1").strip("\r\n")
        await self._receiving.take(text, senders, shown[0] if len(shown) == 1 else "")
        return Response(status_code=202)

    async def _senders(self, request: Request) -> Sequence[str]:
        """Return the transmitters that may have sent a request.

        Raises `RequestRefused` if it is none, and `Unavailable` if a secret cannot be read by which
        one may be known.
        """
        given = request.headers.getlist("authorization")
        senders = await self._known_by(given)
        if not senders:
            if given and self._is_guessing(address_of(request)):
                many = "too many were wrong; try again later"
                guessing = InvalidSet(Fault.AUTHENTICATION_FAILED, many)
                raise _SetRefused(guessing, 429, retry_after(1))
            unknown = InvalidSet(
                Fault.AUTHENTICATION_FAILED, "the transmitter is not known by this"
            )
            raise _SetRefused(unknown, 401, _CHALLENGE)
        return senders

    def _is_guessing(self, address: str) -> bool:
        """Note a wrong `Authorization`; return whether its address has shown too many."""
        self._observed.record(CredentialRefused(door=DOOR, address=address))
        if not self._guesses.left(address):
            return True
        self._guesses.wrong(address)
        return False

    def _open(self) -> list[str]:
        """Return the transmitters that may push and show nothing to be known by."""
        return [
            one.name
            for one in self._transmitters()
            if one.name not in self._authorizations() and not one.poll_url
        ]

    async def _known_by(self, given: Sequence[str]) -> list[str]:
        """Return who is known by this. Every one is compared, so that none shows.

        One whose secret cannot be read is known by nothing. Where that may be who speaks, this
        raises `Unavailable`: it is to send again, and not to take itself for refused.
        """
        senders, unreadable = self._open(), False
        if len(given) == 1:
            for name, authorization in self._authorizations().items():
                try:
                    wanted = (await authorization()).encode("utf-8", "surrogatepass")
                except Unavailable:
                    unreadable = True
                    continue
                if hmac.compare_digest(given[0].encode("latin-1"), wanted):
                    senders.append(name)
        if unreadable and not senders:
            raise Unavailable("the secret of a transmitter cannot be read")
        return senders


def push_listener(settings: Receiver, app: PushApp, telemetry: Observed) -> Listener:
    """Return the listener at the receiver's address. Raises `UnusableCertificate`."""
    return listener_of(
        settings,
        app,
        telemetry,
        DOOR,
        tls=TlsFiles(settings.tls_cert_file, settings.tls_key_file, "receiver.tls_key_file"),
        header_timeout=settings.request_timeout,
    )


def _render(refused: RequestRefused) -> Response:
    """Return the answer to a refusal: what is wrong with a SET, or the status alone."""
    match refused:
        case _SetRefused():
            fault = refused.fault
        case BodyRefused():
            fault = Fault.INVALID_REQUEST
        case _:
            return Response(status_code=refused.status_code, headers=refused.headers)
    body = msgspec.json.encode(SetError(fault.value, refused.detail))
    headers = {**(refused.headers or {}), "content-language": "en"}
    return Response(body, refused.status_code, headers, JSON)
