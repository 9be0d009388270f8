"""The transmitter over HTTP: metadata, keys, stream management and polling (SSF 1.0, RFC 8936).

An ASGI application below the issuer's path. Metadata and keys are anybody's; all else asks for a
recipient's bearer credential (RFC 6750), and shows it nothing but its own streams.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from sidecar.adapters.events.guesses import Guesses
from sidecar.adapters.listening.asgi import BodyRefused, Reply, body_of, dispatch, problem, reply_to
from sidecar.service.observations.observations import CredentialRefused, Observation, WorkerFailed
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.shared_signals.service.poll_server import Polling
from sidecar.shared_signals.service.recipients import Recipients
from sidecar.shared_signals.service.stream_management import (
    Conflict,
    Forbidden,
    Management,
    NoSuchStream,
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
    InvalidRequest,
    StatusRequest,
    SubjectRequest,
    VerificationRequest,
)
from sidecar.wire.settings.transmitter import Recipient, Transmitter

MAX_POLLS = 64
"""Polls that wait at a time; what is more is answered at once."""

_KEYS_MAX_AGE = 300
_BEARER = "urn:ietf:rfc:6750"
_NOWHERE = "nowhere"

M = TypeVar("M")
_Answer = Callable[[Recipient, bytes, Mapping[str, str]], Awaitable[Reply]]


class Observed(Protocol):
    """What the door asks of telemetry."""

    def answered(self, route: str, status: int) -> None:
        """Count a request."""

    def record(self, observation: Observation) -> None:
        """Count and log."""


class Endpoints:
    """Where the transmitter's endpoints lie below its issuer."""

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
        """The URL of one of the paths."""
        return self.issuer.removesuffix(self._path) + path if self._path else self.issuer + path

    def poll(self, stream: str) -> str:
        """The URL at which a stream is polled."""
        return self.url(self.polls + stream)

    def route(self, path: str) -> str:
        """The route as a template: bounded, for it is a metric's label."""
        fixed = {
            self.metadata: "ssf-configuration",
            self.keys: "jwks.json",
            self.stream: "stream",
            self.status: "status",
            self.add_subject: "subjects:add",
            self.remove_subject: "subjects:remove",
            self.verify: "verify",
        }
        if path.startswith(self.polls) and "/" not in path[len(self.polls) :]:
            return "poll"
        return fixed.get(path, _NOWHERE)


class TransmitterDoor:
    """The ASGI application; `keys` gives the JWK Set as it now is."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        settings: Transmitter,
        management: Management,
        polling: Polling,
        recipients: Recipients,
        keys: Callable[[], bytes],
        telemetry: Observed,
    ) -> None:
        self._settings = settings
        self._management = management
        self._polling = polling
        self._recipients = recipients
        self._keys = keys
        self._telemetry = telemetry
        self._endpoints = Endpoints(settings.issuer)
        self._polls = 0
        self._guesses = Guesses()
        self._answers: dict[str, dict[str, _Answer]] = {
            "stream": {
                "POST": self._create,
                "GET": self._read,
                "PATCH": self._update,
                "PUT": self._replace,
                "DELETE": self._delete,
            },
            "status": {"GET": self._status, "POST": self._set_status},
            "subjects:add": {"POST": self._add_subject},
            "subjects:remove": {"POST": self._remove_subject},
            "verify": {"POST": self._verify},
            "poll": {"POST": self._poll},
        }

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer a request and refuse a WebSocket."""
        await dispatch(scope, send, lambda http: self._serve(http, receive, send))

    async def _serve(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        route = self._endpoints.route(scope["raw_path"].decode("latin-1"))
        try:
            reply = await self._answer(route, scope, receive)
        except Exception as error:  # noqa: BLE001 - the door: count, log, go on
            self._telemetry.record(WorkerFailed(where="transmitter-door", error=error))
            reply = problem(500, "something broke in here; the log says what")
        self._telemetry.answered(f"transmitter {route}", reply.status)
        await reply_to(scope, reply, send)

    async def _answer(self, route: str, scope: HTTPScope, receive: ASGIReceiveCallable) -> Reply:
        method = scope["method"]
        if route in ("ssf-configuration", "jwks.json"):
            if method not in ("GET", "HEAD"):
                return _not_allowed("GET, HEAD")
            return self._metadata() if route == "ssf-configuration" else self._key_set()
        answers = self._answers.get(route)
        if answers is None:
            return problem(404, "there is nothing here")
        who = self._caller(scope)
        if isinstance(who, Reply):
            return who
        answer = answers.get(method)
        if answer is None:
            return _not_allowed(", ".join(sorted(answers)))
        try:
            body = await body_of(receive, self._settings.max_body_bytes)
            return await answer(who, body, _parameters(scope))
        except _REFUSALS as error:
            return _refusal(error)

    def _caller(self, scope: HTTPScope) -> Recipient | Reply:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, credential = (given[0] if len(given) == 1 else b"").partition(b" ")
        if scheme.lower() != b"bearer":
            challenge = b'Bearer realm="shared signals"'
            return problem(401, "a recipient's credential is asked for", _challenge(challenge))
        who = self._recipients.known_by(credential.strip())
        if who is None:
            address, _ = scope["client"] or ("", 0)
            self._telemetry.record(CredentialRefused(door="transmitter", address=address))
            if not self._guesses.left(address):
                return problem(429, "too many wrong credentials; try again later", _retry(1))
            self._guesses.wrong(address)
            challenge = b'Bearer realm="shared signals", error="invalid_token"'
            return problem(401, "this is no recipient's credential", _challenge(challenge))
        return who

    # What is anybody's

    def _metadata(self) -> Reply:
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
        return Reply(200, encode_message(metadata))

    def _key_set(self) -> Reply:
        # Nobody may keep it for as long as a new key waits before it signs.
        seconds = int(min(_KEYS_MAX_AGE, self._settings.key_lead / 2))
        caching = (b"cache-control", f"public, max-age={seconds}".encode())
        return Reply(200, self._keys(), "application/jwk-set+json", (caching,))

    # What is a recipient's

    async def _create(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        request = _message(body or b"{}", CreateRequest)
        return Reply(201, encode_message(await self._management.create(who, request)))

    async def _read(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Reply:
        if "stream_id" not in asked:
            return Reply(200, encode_message(await self._management.read_all(who)))
        return Reply(200, encode_message(await self._management.read(who, asked["stream_id"])))

    async def _update(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        request = _message(body, ChangeRequest)
        stream = await self._management.update(who, request, whole=False)
        return Reply(200, encode_message(stream))

    async def _replace(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        request = _message(body, ChangeRequest)
        stream = await self._management.update(who, request, whole=True)
        return Reply(200, encode_message(stream))

    async def _delete(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Reply:
        await self._management.delete(who, _stream_id(asked))
        return Reply(204)

    async def _status(self, who: Recipient, _: bytes, asked: Mapping[str, str]) -> Reply:
        return Reply(200, encode_message(await self._management.status(who, _stream_id(asked))))

    async def _set_status(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        request = _message(body, StatusRequest)
        return Reply(200, encode_message(await self._management.set_status(who, request)))

    async def _add_subject(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        await self._management.add_subject(who, _message(body, SubjectRequest))
        return Reply(200)

    async def _remove_subject(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        await self._management.remove_subject(who, _message(body, SubjectRequest))
        return Reply(204)

    async def _verify(self, who: Recipient, body: bytes, _: Mapping[str, str]) -> Reply:
        await self._management.verify(who, _message(body, VerificationRequest))
        return Reply(204)

    async def _poll(self, who: Recipient, body: bytes, asked: Mapping[str, str]) -> Reply:
        request = _message(body, PollRequest)
        if self._polls >= MAX_POLLS:
            request = msgspec.structs.replace(request, return_immediately=True)
        self._polls += 1
        try:
            response = await self._polling.poll(who, asked[_PATH], request)
        finally:
            self._polls -= 1
        return Reply(200, encode_message(response))


_PATH = "path"
"""Under this, a request's parameters hold the last part of its path."""


_REFUSALS = (
    BodyRefused,
    InvalidRequest,
    InvalidMessage,
    Forbidden,
    NoSuchStream,
    Conflict,
    TooOften,
    Overloaded,
    Unavailable,
)


def _refusal(error: Exception) -> Reply:
    """What each of `_REFUSALS` is answered with (the tables of errors in SSF 1.0)."""
    match error:
        case BodyRefused(status=status):
            return problem(status, str(error))
        case Forbidden():
            return problem(403, str(error))
        case NoSuchStream():
            return problem(404, "this recipient has no such stream")
        case Conflict():
            return problem(409, str(error))
        case TooOften(retry_after=seconds):
            return problem(429, str(error), _retry(seconds))
        case Overloaded(retry_after=seconds):
            return problem(503, str(error), _retry(seconds))
        case Unavailable():
            return problem(503, str(error), _retry(1))
        case _:
            return problem(400, str(error))


def _parameters(scope: HTTPScope) -> dict[str, str]:
    try:
        given = parse_qs(scope["query_string"].decode("ascii"), max_num_fields=8)
    except ValueError:
        raise InvalidRequest("query: cannot be read") from None
    if any(len(values) > 1 for values in given.values()):
        raise InvalidRequest("query: a parameter is given twice")
    path = scope["raw_path"].decode("latin-1").rpartition("/")[2]
    return {**{name: values[0] for name, values in given.items()}, _PATH: path}


def _stream_id(asked: Mapping[str, str]) -> str:
    if "stream_id" not in asked:
        raise InvalidRequest("stream_id: is required")
    return asked["stream_id"]


def _message(body: bytes, kind: type[M]) -> M:
    return decode_message(body, kind)


def _challenge(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"www-authenticate", value),)


def _retry(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(seconds).encode()),)


def _not_allowed(methods: str) -> Reply:
    return problem(405, f"only {methods}", ((b"allow", methods.encode()),))
