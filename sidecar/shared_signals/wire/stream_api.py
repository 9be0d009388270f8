"""Messages on event streams between transmitter and receiver (SSF 1.0; RFC 8936).

Each message is a value with its JSON names; both ends read and write them. Members that are not
known are passed over.
"""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from sidecar.shared_signals.wire.security_event_tokens import SetError
from sidecar.wire.tokens.jws import bounded_object

PUSH = "urn:ietf:rfc:8935"
POLL = "urn:ietf:rfc:8936"

Natural = Annotated[int, msgspec.Meta(ge=0)]

_M = TypeVar("_M")


class InvalidMessage(Exception):  # noqa: N818 - named by who must act: the other end
    """It is not the message that was expected. Values are not quoted."""


class AuthorizationScheme(msgspec.Struct, frozen=True):
    """A protocol by which the management API is protected, by its specification's URN."""

    spec_urn: str


class TransmitterMetadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document `/.well-known/ssf-configuration` ("Transmitter Configuration Metadata")."""

    issuer: str
    spec_version: str = ""
    jwks_uri: str = ""
    delivery_methods_supported: tuple[str, ...] = ()
    configuration_endpoint: str = ""
    status_endpoint: str = ""
    add_subject_endpoint: str = ""
    remove_subject_endpoint: str = ""
    verification_endpoint: str = ""
    critical_subject_members: tuple[str, ...] = ()
    authorization_schemes: tuple[AuthorizationScheme, ...] = ()
    default_subjects: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The delivery of a stream. For push the receiver says where, for poll the transmitter."""

    method: str
    endpoint_url: str = ""
    authorization_header: str = ""


class StreamConfiguration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stream as the transmitter shows it ("Stream Configuration"). `aud` as JWTs have it."""

    stream_id: str
    iss: str
    aud: str | tuple[str, ...]
    delivery: Delivery
    events_delivered: tuple[str, ...] = ()
    events_supported: tuple[str, ...] = ()
    events_requested: tuple[str, ...] = ()
    min_verification_interval: Natural | None = None
    inactivity_timeout: Natural | None = None
    description: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of a stream: `enabled`, `paused` or `disabled`, and why."""

    stream_id: str
    status: str
    reason: str = ""


class PollRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A receiver's poll: what it asks for, acknowledges and refuses (RFC 8936, section 2.2).

    `max_events` None: as many as there are; 0: it only acknowledges.
    """

    max_events: Natural | None = msgspec.field(default=None, name="maxEvents")
    return_immediately: bool = msgspec.field(default=False, name="returnImmediately")
    ack: tuple[str, ...] = ()
    set_errs: Mapping[str, SetError] = msgspec.field(default_factory=dict, name="setErrs")


class PollResponse(msgspec.Struct, frozen=True, kw_only=True):
    """SETs by their `jti`, and whether more are waiting (RFC 8936, section 2.3)."""

    sets: Mapping[str, str]
    more_available: bool = msgspec.field(default=False, name="moreAvailable")


def decode_message(raw: bytes, kind: type[_M]) -> _M:
    """Read a message; raises `InvalidMessage`."""
    try:
        return msgspec.convert(bounded_object(raw), kind)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except ValueError:
        raise InvalidMessage("it is not a JSON object without repeated members") from None


def decode_streams(raw: bytes) -> tuple[StreamConfiguration, ...]:
    """Read a list of streams; one alone counts as a list of one. Raises `InvalidMessage`."""
    try:
        return tuple(msgspec.json.decode(raw, type=list[StreamConfiguration]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return (decode_message(raw, StreamConfiguration),)


def encode_message(message: object) -> bytes:
    """Return a message as JSON."""
    return msgspec.json.encode(message)


def metadata_address(issuer: str, name: str = "ssf-configuration") -> str:
    """Return where an issuer's metadata lies: `.well-known` goes between host and path."""
    scheme, _, rest = issuer.removesuffix("/").partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}/.well-known/{name}{slash}{path}"
