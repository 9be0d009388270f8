"""The receiver listener: `POST /ssf/events` takes a Security Event Token (RFC 8935).

A small ASGI application and the hypercorn that serves it, with TLS if it has a certificate: unlike
the data listener it is there for others. A transmitter is known by the value of `Authorization`
that it was given, if it was given one; all the rest the SET proves itself.

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
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol

import msgspec
import trio
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from sidecar.adapters.events.guesses import Guesses
from sidecar.adapters.listening.asgi import BodyRefused, Listener, body_of, dispatch, recorded
from sidecar.adapters.listening.certificates import Certificate
from sidecar.service.observations.observations import (
    CredentialRefused,
    DoorIncident,
    Observation,
    SecretRead,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.service.receiver import NotTheirs
from sidecar.shared_signals.wire.security_event_tokens import MEDIA_TYPE, InvalidSet, SetError
from sidecar.wire.checks.reach import binds_of
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.settings.receiver import Receiver

PATH = b"/ssf/events"

_CHALLENGE = (b"www-authenticate", b'Bearer realm="sidecar receiver"')
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Takes(Protocol):
    """Takes SETs, as `Receiving` does."""

    async def take(self, text: str, senders: Collection[str], shown: str = "") -> object:
        """Raises `InvalidSet`, `Overloaded`, `Unavailable`."""


class Observed(Protocol):
    """What the listener asks of telemetry."""

    def answered(self, route: str, status: int) -> None:
        """Count a request."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


class Reply(NamedTuple):
    """An answer before its framing."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class PushApp:
    """The ASGI application.

    `authorizations` gives, by a transmitter's name, what its `Authorization` must be; those that
    push and are not in it may send without.
    """

    def __init__(
        self,
        settings: Receiver,
        receiving: Takes,
        authorizations: Mapping[str, Callable[[], Awaitable[str]]],
        telemetry: Observed,
    ) -> None:
        self._settings = settings
        self._receiving = receiving
        self._authorizations = authorizations
        self._open = [
            one.name
            for one in settings.transmitters
            if one.name not in authorizations and not one.poll_url
        ]
        self._telemetry = telemetry
        self._working = 0
        self._guesses = Guesses()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request and refuse a WebSocket."""
        await dispatch(scope, send, lambda http: self._serve(http, receive, send))

    async def _serve(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if self._working >= self._settings.max_requests:
            self._telemetry.record(DoorIncident(door="receiver", incident="refused"))
            reply = _unavailable(1)
        else:
            self._working += 1
            try:
                reply = await self._answer(scope, receive)
            except Unavailable:
                reply = _unavailable(1)  # a secret cannot be read, so nobody can be known by it
            except Exception as error:  # noqa: BLE001 - the door: count, log, go on
                self._telemetry.record(WorkerFailed(where="receiver", error=error))
                reply = Reply(500)
            finally:
                self._working -= 1
        route = "receiver /ssf/events" if scope["raw_path"] == PATH else "receiver nowhere"
        self._telemetry.answered(route, reply.status)
        await _send(reply, send)

    async def _answer(self, scope: HTTPScope, receive: ASGIReceiveCallable) -> Reply:
        if scope["raw_path"] != PATH:
            return Reply(404)
        if scope["method"] != "POST":
            return Reply(405, headers=((b"allow", b"POST"),))
        headers = list(scope["headers"])
        given = _values(headers, b"authorization")
        senders = await self._senders(given)
        if not senders:
            if given and self._is_guessing(scope):
                many = "too many were wrong; try again later"
                guessing = InvalidSet(Fault.AUTHENTICATION_FAILED, many)
                return _refusal(guessing, 429, ((b"retry-after", b"1"),))
            return _refusal(
                InvalidSet(Fault.AUTHENTICATION_FAILED, "the transmitter is not known by this"),
                401,
                (_CHALLENGE,),
            )
        types = _values(headers, b"content-type")
        media_type = types[0].partition(b";")[0].strip().lower() if len(types) == 1 else b""
        if media_type != MEDIA_TYPE.encode():
            fault = InvalidSet(Fault.INVALID_REQUEST, f"the content type must be {MEDIA_TYPE}")
            return _refusal(fault)
        try:
            settings = self._settings
            body = await body_of(receive, settings.max_body_bytes, settings.request_timeout)
        except BodyRefused as error:
            if error.status == HTTPStatus.REQUEST_TIMEOUT:
                self._telemetry.record(DoorIncident(door="receiver", incident="slow-request"))
            return _refusal(InvalidSet(Fault.INVALID_REQUEST, str(error)), error.status)
        shown = [name for name in senders if name not in self._open]
        return await self._take(body, senders, shown[0] if len(shown) == 1 else "")

    def _is_guessing(self, scope: HTTPScope) -> bool:
        """Note a wrong `Authorization`; whether its address has shown too many."""
        address, _ = scope["client"] or ("", 0)
        self._telemetry.record(CredentialRefused(door="receiver", address=address))
        if not self._guesses.left(address):
            return True
        self._guesses.wrong(address)
        return False

    async def _take(self, body: bytes, senders: Collection[str], shown: str) -> Reply:
        try:
            # Lines that end in files and editors are no part of it.
            await self._receiving.take(body.decode("latin-1").strip("\r\n"), senders, shown)
        except NotTheirs as error:
            return _refusal(error, 403)
        except InvalidSet as error:
            return _refusal(error)
        except Overloaded as error:
            return _unavailable(error.retry_after)
        except Unavailable:
            return _unavailable(1)
        return Reply(202)

    async def _senders(self, given: list[bytes]) -> list[str]:
        """The transmitters that may be speaking. Every one is compared, so that none shows.

        One whose secret cannot be read is known by nothing. Where that may be who speaks, this
        raises `Unavailable`: it is to send again, and not to take itself for refused.
        """
        senders, unreadable = list(self._open), False
        if len(given) == 1:
            for name, authorization in self._authorizations.items():
                try:
                    wanted = (await authorization()).encode("utf-8", "surrogatepass")
                except Unavailable:
                    unreadable = True
                    continue
                if hmac.compare_digest(given[0], wanted):
                    senders.append(name)
        if unreadable and not senders:
            raise Unavailable("the secret of a transmitter cannot be read")
        return senders


class PushListener:
    """Serves the application at the receiver's address.

    A certificate that changes is taken up for new connections (`certificates`).
    """

    def __init__(self, settings: Receiver, app: PushApp, telemetry: Observed) -> None:
        self._listener = Listener(
            binds_of(settings),
            app,
            limit=settings.max_connections,
            header_timeout=settings.request_timeout,
            certificate=_certificate(settings, telemetry),
            on_crowding=recorded(telemetry, "receiver"),
        )

    async def run(
        self,
        *,
        draining: trio.Event,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `draining` or cancelled. Starts with the URLs; raises `CannotListen`."""
        await self._listener.run(draining=draining, task_status=task_status)


def _certificate(settings: Receiver, telemetry: Observed) -> Certificate | None:
    """Raises `UnusableCertificate`."""

    def say(reason: str) -> None:
        telemetry.record(SecretRead(field="receiver.tls_key_file", reason=reason))

    files = settings.tls_cert_file, settings.tls_key_file
    return Certificate(*files, say) if settings.tls_cert_file else None


def _values(headers: Collection[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _refusal(
    error: InvalidSet, status: int = 400, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    body = msgspec.json.encode(SetError(error.fault.value, error.description))
    typed = ((b"content-type", b"application/json"), (b"content-language", b"en"))
    return Reply(status, body, (*typed, *headers))


def _unavailable(retry_after: int) -> Reply:
    return Reply(503, headers=((b"retry-after", str(max(1, retry_after)).encode()),))


async def _send(reply: Reply, send: ASGISendCallable) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [length, *_ALWAYS, *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
