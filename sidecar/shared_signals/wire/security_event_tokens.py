"""Security Event Tokens: their claims as values (RFC 8417, as SSF 1.0 profiles it), and back.

Signatures are no matter of this module. `InvalidSet` says it in the words that both ways of
delivery use for a refusal (RFC 8935, section 2.4; RFC 8936, section 2.6).
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.shared_signals.wire.security_events import (
    KINDS,
    InvalidSecurityEvent,
    SecurityEvent,
    encode_security_event,
    name_of,
    read_security_event,
    seconds_of,
)
from sidecar.wire.events.security_event_names import Fault
from sidecar.wire.subjects.subject_ids import (
    InvalidSubjectId,
    SubjectId,
    decode_subject,
    encode_subject,
)

TYPE = "secevent+jwt"
"""The `typ` of a SET's header (RFC 8417, section 2.3)."""

MEDIA_TYPE = "application/secevent+jwt"
MAX_ID = 1024
LATEST_TIME = 9_999_999_999
_MAX_AUDIENCES = 64
_MAX_EVENTS = 8


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a SET, as its signature shows it, and the parts that may be logged.

    `transmitter` is the configured name, `event` the short name of the event's type, and `id` our
    own: theirs may say anything.
    """

    transmitter: str = ""
    event: str = ""
    id: str = ""
    transaction: str = ""


class InvalidSet(Exception):  # noqa: N818 - named by who must act: the transmitter
    """The SET is refused. `description` is for a person there; it quotes nothing.

    `origin` says whose it is where it is well signed.
    """

    def __init__(self, fault: Fault, description: str, origin: Origin | None = None) -> None:
        super().__init__(f"{fault.value}: {description}")
        self.fault = fault
        self.description = description
        self.origin = origin


class SetError(msgspec.Struct, frozen=True):
    """A refusal as it is sent (RFC 8935, section 2.3; RFC 8936, section 2.3)."""

    err: str
    description: str = ""


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a type that is not known here."""

    uri: str


Event: TypeAlias = SecurityEvent | UnknownEvent


class SecurityEventToken(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a SET. Times are seconds since the epoch.

    `subject` is None only where an event needs none (a verification of the drafts).
    `left_out` are members that only inform and cannot be read (`INFORMING`, `toe`).
    `time_of_event` is `toe`. `transaction` is `txn`: alike in SETs of one cause.
    """

    issuer: str
    id: str
    issued_at: float
    audiences: tuple[str, ...]
    event: Event
    subject: SubjectId | None = None
    transaction: str = ""
    time_of_event: float | None = None
    left_out: tuple[str, ...] = ()

    @property
    def time(self) -> float:
        """Return when it happened.

        What the event says, else `toe`, else when the SET was issued.
        """
        happened = None if isinstance(self.event, UnknownEvent) else self.event.event_timestamp
        if happened is None:
            happened = self.time_of_event
        return self.issued_at if happened is None else seconds_of(happened)


def decode_claims(claims: Mapping[str, object]) -> SecurityEventToken:
    """Read the claims of a SET; raises `InvalidSet`.

    `sub` and `exp` are refused: they would let it pass for another kind of token (SSF 1.0,
    "Distinguishing SETs from other Kinds of JWTs"). A `subject` inside of the event, as drafts
    had it, counts where there is no `sub_id`.
    """
    for name in ("sub", "exp"):
        if name in claims:
            raise _invalid(f"{name} must not be present in a security event token")
    uri, payload, (event, left_out) = _event(claims.get("events"))
    happened = _informing_time(claims.get("toe"))
    if happened is None and claims.get("toe") is not None:
        left_out = (*left_out, "toe")
    return SecurityEventToken(
        issuer=_text(claims, "iss"),
        id=_text(claims, "jti"),
        issued_at=_required_time(claims, "iat"),
        audiences=_audiences(claims.get("aud")),
        event=event,
        subject=_subject(claims, uri, payload),
        transaction=_transaction(claims.get("txn")),
        time_of_event=happened,
        left_out=left_out,
    )


def origin_of(claims: Mapping[str, object], transmitter: str) -> Origin:
    """Return what may be logged of claims that this transmitter signed, right or wrong.

    What is missing or of another type is empty.
    """
    issuer, token_id, events = claims.get("iss"), claims.get("jti"), claims.get("events")
    named = isinstance(issuer, str) and isinstance(token_id, str) and bool(token_id)
    kinds = [KINDS[uri] for uri in events if uri in KINDS] if isinstance(events, Mapping) else []
    return Origin(
        transmitter=transmitter,
        event=name_of(kinds[0]) if kinds else "",
        id=event_id_of(str(issuer), str(token_id)) if named else "",
        transaction=_transaction(claims.get("txn")),
    )


def event_id_of(issuer: str, token_id: str) -> str:
    """Return the id under which a SET's event counts here: once, whichever sidecar it came to."""
    text = f"{len(issuer)}:{issuer}{token_id}".encode("utf-8", "surrogatepass")
    return f"set:{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def encode_claims(token: SecurityEventToken) -> dict[str, object]:
    """Return the claims of a SET, as the final specifications have them.

    Raises ValueError for an `UnknownEvent`: what is not understood is not passed on.
    """
    if isinstance(token.event, UnknownEvent):
        raise ValueError("an event of an unknown type cannot be written")  # noqa: TRY004 - a value
    uri, payload = encode_security_event(token.event)
    audiences = token.audiences
    claims: dict[str, object] = {
        "iss": token.issuer,
        "jti": token.id,
        "iat": _whole(token.issued_at),
        "aud": audiences[0] if len(audiences) == 1 else list(audiences),
        "events": {uri: payload},
    }
    if token.subject is not None:
        claims["sub_id"] = encode_subject(token.subject)
    if token.transaction:
        claims["txn"] = token.transaction
    if token.time_of_event is not None:
        claims["toe"] = _whole(token.time_of_event)
    return claims


def _invalid(description: str) -> InvalidSet:
    return InvalidSet(Fault.INVALID_REQUEST, description)


class _Read(NamedTuple):
    event: Event
    left_out: tuple[str, ...] = ()


def _event(events: object) -> tuple[str, Mapping[str, object], _Read]:
    """Return one event.

    It may stand under several URIs, if they mean the same (SSF 1.0, "events").
    """
    if not isinstance(events, Mapping) or not 1 <= len(events) <= _MAX_EVENTS:
        raise _invalid("events must be an object that holds one event")
    known = [uri for uri in events if uri in KINDS]
    if len({KINDS[uri] for uri in known}) > 1 or (not known and len(events) > 1):
        raise _invalid("events must hold one event")
    uri = known[0] if known else next(iter(events))
    payload = events[uri]
    if not isinstance(payload, Mapping):
        raise _invalid("events: must have an object for each event type")
    if not known:
        return uri, payload, _Read(UnknownEvent(uri[:MAX_ID]))
    try:
        return uri, payload, _Read(*read_security_event(uri, payload))
    except InvalidSecurityEvent as error:
        raise _invalid(str(error)) from None


def _subject(
    claims: Mapping[str, object], uri: str, payload: Mapping[str, object]
) -> SubjectId | None:
    for holder, name, field in ((claims, "sub_id", "sub_id"), (payload, "subject", "subject")):
        if holder.get(name) is not None:
            try:
                return decode_subject(holder[name], field)
            except InvalidSubjectId as error:
                if uri not in KINDS:
                    return None  # nothing will be done with it
                raise _invalid(str(error)) from None
    return None


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise _invalid(f"{name} must be a text of 1 to {MAX_ID} characters")
    return value


def _transaction(value: object) -> str:
    """Return the transaction. It is only ever logged, so what is no text counts as none."""
    return value[:MAX_ID] if isinstance(value, str) and value.isprintable() else ""


def _audiences(value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= _MAX_AUDIENCES:
        raise InvalidSet(Fault.INVALID_AUDIENCE, "aud must be a text or a list of texts")
    if not all(isinstance(item, str) for item in values):
        raise InvalidSet(Fault.INVALID_AUDIENCE, "aud must be a text or a list of texts")
    return tuple(values)


def _time(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"{name} must be a number of seconds")
    if not 0 <= value <= LATEST_TIME:
        raise _invalid(f"{name} must be a number of seconds since 1970")
    return value


def _informing_time(value: object) -> float | None:
    """Return `toe`, for which `iat` stands in; None also where it is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= LATEST_TIME else None


def _required_time(claims: Mapping[str, object], name: str) -> float:
    value = _time(claims, name)
    if value is None:
        raise _invalid(f"{name} is required")
    return value


def _whole(time: float) -> int | float:
    return int(time) if time == int(time) else time
