"""Streams of the transmitter: as it keeps them, as recipients see them, and what they may ask.

SSF 1.0, "Management API for SET Event Streams". `InvalidStreamRequest` is a 400.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from sidecar.shared_signals.wire.outbound import URI_OF
from sidecar.shared_signals.wire.security_events import StreamStatus
from sidecar.shared_signals.wire.stream_api import POLL, PUSH, Delivery, StreamConfiguration
from sidecar.wire.settings.transmitter import Announced, DefaultSubjects

_MAX_TEXT = 1024
_MAX_LIST = 64
MAX_STATE = 1024

_Text = Annotated[str, msgspec.Meta(max_length=_MAX_TEXT)]
_Line = Annotated[str, msgspec.Meta(max_length=_MAX_TEXT, pattern=r"^[\x20-\x7e]*$")]
_Uris = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=_MAX_LIST)]


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as it is kept. `requested` None: all that its recipient may have.

    `authorization` is what the recipient wants to see in `Authorization`; `fixed` streams are the
    configuration's. Times are in seconds since the epoch, 0: never. `failing_since` says since
    when nothing could be pushed.
    """

    id: str
    recipient: str
    method: str
    endpoint_url: str = ""
    authorization: str = ""
    requested: tuple[str, ...] | None = None
    description: str = ""
    status: StreamStatus = StreamStatus.ENABLED
    reason: str = ""
    default_subjects: DefaultSubjects = DefaultSubjects.ALL
    fixed: bool = False
    verified_at: float = 0.0
    failing_since: float = 0.0

    def __repr__(self) -> str:
        """Return a text without the authorization: a secret stays out of logs."""
        return f"Outgoing({self.id!r}, {self.recipient!r}, {self.method!r}, {self.status.value!r})"


class InvalidStreamRequest(Exception):  # noqa: N818 - named by who must act: the recipient
    """The request is not as it must be; the message names the member and quotes nothing."""


class DeliveryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery that the recipient wants; for poll, the endpoint is ours to say."""

    method: _Text
    endpoint_url: _Line = ""
    authorization_header: _Line = ""


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The recipient's part of a new stream ("Creating a Stream")."""

    delivery: DeliveryRequest | None = None
    events_requested: _Uris | None = None
    description: _Text = ""


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A changed stream ("Updating" and "Replacing a Stream's Configuration").

    What the transmitter supplies may be repeated, and then must be as it is.
    """

    stream_id: _Text
    delivery: DeliveryRequest | None = None
    events_requested: _Uris | None = None
    description: _Text | None = None
    iss: object = None
    aud: object = None
    events_supported: object = None
    events_delivered: object = None
    min_verification_interval: object = None


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A status that the recipient sets ("Updating a Stream's Status")."""

    stream_id: _Text
    status: StreamStatus
    reason: _Text = ""


class SubjectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A subject to add or remove ("Adding a Subject to a Stream")."""

    stream_id: _Text
    subject: Mapping[str, object]
    verified: bool = True


class VerificationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A verification that is wished for ("Triggering a Verification Event")."""

    stream_id: _Text
    state: Annotated[str, msgspec.Meta(max_length=MAX_STATE)] | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outgoing)


def encode_outgoing(stream: Outgoing) -> bytes:
    """Return a stream as the store keeps it."""
    return _encoder.encode(stream)


def decode_outgoing(raw: bytes) -> Outgoing | None:
    """Undo `encode_outgoing`; None for what a newer version wrote."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def supported(events: Iterable[Announced]) -> tuple[str, ...]:
    """Return the URIs of what a recipient may have."""
    return tuple(URI_OF[event] for event in events)


def delivered(stream: Outgoing, events: Iterable[Announced]) -> tuple[str, ...]:
    """Return the URIs of what a stream carries: what its recipient may have and asked for."""
    may = supported(events)
    return may if stream.requested is None else tuple(u for u in may if u in stream.requested)


class Facade(msgspec.Struct, frozen=True):
    """The transmitter's additions when it shows a recipient's stream."""

    issuer: str
    audience: tuple[str, ...]
    events: tuple[Announced, ...]
    verification_interval: int
    poll_endpoint: str

    def show(self, stream: Outgoing) -> StreamConfiguration:
        """Return the stream as its recipient sees it; its authorization is not shown again."""
        audience = self.audience
        endpoint = stream.endpoint_url if stream.method == PUSH else self.poll_endpoint
        return StreamConfiguration(
            stream_id=stream.id,
            iss=self.issuer,
            aud=audience[0] if len(audience) == 1 else audience,
            delivery=Delivery(method=stream.method, endpoint_url=endpoint),
            events_supported=supported(self.events),
            events_requested=stream.requested or (),
            events_delivered=delivered(stream, self.events),
            min_verification_interval=self.verification_interval,
            description=stream.description,
        )

    def check(self, request: ChangeRequest, stream: Outgoing) -> None:
        """Raise `InvalidStreamRequest` where the request changes a member that is ours to say."""
        shown = msgspec.to_builtins(self.show(stream))
        names = ("iss", "aud", "events_supported", "events_delivered", "min_verification_interval")
        for name in names:
            given = getattr(request, name)
            if given is not None and _set(given) != _set(shown.get(name)):
                raise InvalidStreamRequest(
                    f"{name}: is the transmitter's to say, and is not as it is"
                )


def _set(value: object) -> object:
    """Return a list as a set, since any order will do; one alone as itself."""
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    return value


def placed(request: DeliveryRequest | None, prefixes: Iterable[str]) -> tuple[str, str, str]:
    """Return method, endpoint and authorization as asked; raises `InvalidStreamRequest`.

    Nothing asked for means poll. A push endpoint must lie below one of `prefixes`, which the
    operator set: else a recipient could have us post to any host that we can reach.
    """
    if request is None or request.method == POLL:
        return POLL, "", ""
    if request.method != PUSH:
        raise InvalidStreamRequest(f"delivery.method: must be {PUSH} or {POLL}")
    if not any(_below(request.endpoint_url, prefix) for prefix in prefixes):
        raise InvalidStreamRequest(
            "delivery.endpoint_url: is not where this recipient may be pushed to"
        )
    return PUSH, request.endpoint_url, request.authorization_header


def _below(url: str, prefix: str) -> bool:
    """Return whether a URL is `prefix` or lies below it, whoever reads it.

    Dots, backslashes and escapes could lead a lenient reader out of it again; an `@` or a longer
    port to another host.
    """
    rest = url.removeprefix(prefix)
    if rest == url and url != prefix:
        return False
    if any(odd in rest for odd in ("..", "\\", "%", "@", "#", " ")):
        return False
    _, _, beyond = prefix.partition("://")
    return not rest or rest.startswith(("/", "?")) or (prefix.endswith("/") and "/" in beyond)
