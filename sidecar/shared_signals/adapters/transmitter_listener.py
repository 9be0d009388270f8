"""Serves the transmitter: metadata, keys, stream management and polling (SSF 1.0, RFC 8936).

All of it lies below the issuer's path. Metadata and keys are anybody's; all else asks for a
recipient's bearer credential (RFC 6750), and shows it nothing but its own streams.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecar.adapters.events.guesses import GuessLimit
from sidecar.adapters.listening.application import (
    JSON,
    Admitted,
    Application,
    Observed,
    RequestRefused,
    address_of,
    authorization_of,
    body_of,
    overloaded,
    retry_after,
    unavailable,
)
from sidecar.adapters.listening.asgi import Listener, listener_of
from sidecar.service.observations.observations import CredentialRefused
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.service.poll_server import PollServer
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_management import (
    Management,
    NoSuchStream,
    StreamForbidden,
    TooManyStreams,
    TooOften,
)
from sidecar.shared_signals.wire.stream_api import (
    POLL,
    PUSH,
    AuthorizationScheme,
    InvalidMessage,
    PollRequest,
    TransmitterMetadata,
    decode_message,
    encode_message,
    metadata_address,
)
from sidecar.shared_signals.wire.stream_config import (
    ChangeRequest,
    CreateRequest,
    InvalidStreamRequest,
    StatusRequest,
    SubjectRequest,
    VerificationRequest,
)
from sidecar.wire.http.form_fields import UnreadableFields, single_fields
from sidecar.wire.settings.transmitter import Recipient, Transmitter

MAX_POLLS = 64
"""The number of polls that may wait at a time; further ones are answered at once."""

DOOR = "transmitter"

_KEYS_MAX_AGE = 300
_BEARER = "urn:ietf:rfc:6750"

M = TypeVar("M")
_Answer = Callable[[Recipient, bytes, Mapping[str, str]], Awaitable[Response]]


class Endpoints:
    """Give the paths and URLs of a transmitter's endpoints, by its issuer."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._path = urlsplit(issuer).path
        self.metadata = urlsplit(metadata_address(issuer)).path
        self.keys = f"{self._path}/jwks.json"
        self.stream = f"{self._path}/ssf/stream"
        self.status = f"{self._path}/ssf/status"
        self.add_subject = f"{self._path}/ssf/subjects:add"
        self.remove_subject = f"{self._path}/ssf/subjects:remove"
        self.verify = f"{self._path}/ssf/verify"
        self.polls = f"{self._path}/ssf/poll/"

    def url(self, path: str) -> str:
        """Return the URL of one of the paths."""
        return self.issuer.removesuffix(self._path) + path if self._path else self.issuer + path

    def poll(self, stream: str) -> str:
        """Return the URL at which a stream is polled."""
        return self.url(self.polls + stream)


class TransmitterDoor(Application):
    """Answer receivers; `keys` gives the JWK Set as of now."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Transmitter,
        management: Management,
        poll_server: PollServer,
        recipients: Recipients,
        keys: Callable[[], bytes],
        telemetry: Observed,
    ) -> None:
        self._settings = settings
        self._management = management
        self._poll_server = poll_server
        self._recipients = recipients
        self._keys = keys
        self._observed = telemetry
        self._endpoints = Endpoints(settings.issuer)
        self._polls = 0
        self._guesses = GuessLimit()
        super().__init__(
            DOOR,
            (*self._public_routes(), *self._recipients_routes()),
            telemetry,
            causes=_CAUSES,
            worker="transmitter-door",
        )

    def _public_routes(self) -> list[Route]:
        at = self._endpoints
        return [
            Route(at.metadata, self._metadata, name="ssf-configuration"),
            Route(at.keys, self._key_set, name="jwks.json"),
        ]

    def _recipients_routes(self) -> list[Route]:
        at = self._endpoints
        return [
            self._route(at.stream, "DELETE", self._delete),
            self._route(at.stream, "GET", self._read),
            self._route(at.stream, "PATCH", self._update),
            self._route(at.stream, "POST", self._create),
            self._route(at.stream, "PUT", self._replace),
            self._route(at.status, "GET", self._status),
            self._route(at.status, "POST", self._set_status),
            self._route(at.add_subject, "POST", self._add_subject),
            self._route(at.remove_subject, "POST", self._remove_subject),
            self._route(at.verify, "POST", self._verify),
            self._route(f"{at.polls}{{stream}}", "POST", self._poll, name="poll"),
        ]

    def _route(self, path: str, method: str, answer: _Answer, name: str = "") -> Route:
        """Return a route that answers recipients."""

        async def endpoint(request: Request) -> Response:
            body = await body_of(request, self._settings.max_body_bytes)
            return await answer(request.user, body, _parameters(request))

        name = name or path.rpartition("/")[2]
        return Admitted(path, endpoint, self._admit, methods=(method,), name=name)

    def _admit(self, request: Request) -> None:
        """Note whose credential the request shows. Raises `RequestRefused` if it is nobody's."""
        scheme, _, credential = authorization_of(request).partition(" ")
        if scheme.lower() != "bearer":
            challenge = {"www-authenticate": 'Bearer realm="shared signals"'}
            raise RequestRefused(401, "a recipient's credential is asked for", challenge)
        who = self._recipients.known_by(credential.encode("latin-1").strip())
        if who is None:
            address = address_of(request)
            self._observed.record(CredentialRefused(door=DOOR, address=address))
            if not self._guesses.left(address):
                many = "too many wrong credentials; try again later"
                raise RequestRefused(429, many, retry_after(1))
            self._guesses.wrong(address)
            challenge = {"www-authenticate": 'Bearer realm="shared signals", error="invalid_token"'}
            raise RequestRefused(401, "this is no recipient's credential", challenge)
        request.scope["user"] = who

    # What is anybody's

    async def _metadata(self, _: Request) -> Response:
        at = self._endpoints
        metadata = TransmitterMetadata(
            spec_version="1_0",
            issuer=self._settings.issuer,
            jwks_uri=at.url(at.keys),
            delivery_methods_supported=(PUSH, POLL),
            configuration_endpoint=at.url(at.stream),
            status_endpoint=at.url(at.status),
            add_subject_endpoint=at.url(at.add_subject),
            remove_subject_endpoint=at.url(at.remove_subject),
            verification_endpoint=at.url(at.verify),
            authorization_schemes=(AuthorizationScheme(spec_urn=_BEARER),),
            default_subjects=self._settings.default_subjects.value,
        )
        return _json(metadata)

    async def _key_set(self, _: Request) -> Response:
        # Nobody may keep it for as long as a new key waits before it signs.
        seconds = int(min(_KEYS_MAX_AGE, self._settings.key_lead / 2))
        caching = {"cache-control": f"public, max-age={seconds}"}
        return Response(self._keys(), headers=caching, media_type="application/jwk-set+json")

    # What is a recipient's

    async def _create(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        request = _message(body or b"{}", CreateRequest)
        return _json(await self._management.create(who, request), 201)

    async def _read(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Response:
        if "stream_id" not in asked:
            return _json(await self._management.read_all(who))
        return _json(await self._management.read(who, asked["stream_id"]))

    async def _update(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        request = _message(body, ChangeRequest)
        stream = await self._management.update(who, request, whole=False)
        return _json(stream)

    async def _replace(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        request = _message(body, ChangeRequest)
        stream = await self._management.update(who, request, whole=True)
        return _json(stream)

    async def _delete(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Response:
        await self._management.delete(who, _stream_id(asked))
        return Response(status_code=204)

    async def _status(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Response:
        return _json(await self._management.status(who, _stream_id(asked)))

    async def _set_status(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        request = _message(body, StatusRequest)
        return _json(await self._management.set_status(who, request))

    async def _add_subject(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        await self._management.add_subject(who, _message(body, SubjectRequest))
        return Response(media_type=JSON)

    async def _remove_subject(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        await self._management.remove_subject(who, _message(body, SubjectRequest))
        return Response(status_code=204)

    async def _verify(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Response:
        await self._management.verify(who, _message(body, VerificationRequest))
        return Response(status_code=204)

    async def _poll(self, who: Recipient, body: bytes, asked: Mapping[str, str]) -> Response:
        request = _message(body, PollRequest)
        if self._polls >= MAX_POLLS:
            request = msgspec.structs.replace(request, return_immediately=True)
        self._polls += 1
        try:
            response = await self._poll_server.poll(who, asked["stream"], request)
        finally:
            self._polls -= 1
        return _json(response)


def transmitter_listener(
    settings: Transmitter, app: TransmitterDoor, telemetry: Observed
) -> Listener:
    """Return the listener at the transmitter's address."""
    return listener_of(settings, app, telemetry, DOOR)


_CAUSES: Mapping[type[Exception], Callable[[Any], RequestRefused]] = {
    InvalidStreamRequest: lambda error: RequestRefused(400, str(error)),
    InvalidMessage: lambda error: RequestRefused(400, str(error)),
    StreamForbidden: lambda error: RequestRefused(403, str(error)),
    NoSuchStream: lambda _: RequestRefused(404, "this recipient has no such stream"),
    TooManyStreams: lambda error: RequestRefused(409, str(error)),
    TooOften: lambda error: RequestRefused(429, str(error), retry_after(error.retry_after)),
    Overloaded: overloaded,
    Unavailable: unavailable,
}
"""The answers to what goes wrong (the tables of errors in SSF 1.0)."""


def _parameters(request: Request) -> dict[str, str]:
    try:
        given = single_fields(request.scope["query_string"], 8, blank=False)
    except UnreadableFields as error:
        raise InvalidStreamRequest(f"query: {error}") from None
    return {**given, **request.path_params}


def _stream_id(asked: Mapping[str, str]) -> str:
    if "stream_id" not in asked:
        raise InvalidStreamRequest("stream_id: is required")
    return asked["stream_id"]


def _message(body: bytes, kind: type[M]) -> M:
    return decode_message(body, kind)


def _json(message: object, status: int = 200) -> Response:
    return Response(encode_message(message), status, media_type=JSON)
