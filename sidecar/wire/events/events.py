"""The contract's events, read strictly: JSON to the values of `domain.facts.signal`.

An event changes what sessions may do, so what is not understood is refused, not skipped: a
misspelt `subject.session` beside a right `subject.user` would revoke too much. Only `data` may
hold more than is known here, since CAEP's events are extensible.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import msgspec

from sidecar.domain.facts.signal import (
    AssuranceLevelChange,
    CredentialChange,
    DeviceComplianceChange,
    NetworkChange,
    RiskLevelChange,
    RiskSignal,
    SessionEstablished,
    SessionPresented,
    SessionRevoked,
    Signal,
    Subject,
    TokenClaimsChange,
)
from sidecar.domain.policy.policy import RiskLevel
from sidecar.domain.values import address, stamp
from sidecar.wire.names import MAX_NAME, InvalidName, composed, is_fit, name_of
from sidecar.wire.store.keys import content_digest
from sidecar.wire.tokens.claim_values import MAX_CLAIM_VALUE, claim_text
from sidecar.wire.tokens.claims import LATEST_TIME, MAX_CLAIMS
from sidecar.wire.tokens.jws import strict_object

MAX_EVENT_ID = 128
MAX_TEXT = 1024
MAX_LIST = 1024
LONGEST_HALF_LIFE = 10 * 365 * 86400.0
AS_CONFIGURED = -1.0
"""The `weight` and `half_life` of a risk signal that does not tell its own."""

_KEYS = frozenset({"type", "time", "id", "source", "subject", "data"})
_SUBJECT_KEYS = ("session", "user", "device", "issuer")
_DOOR_KEYS = frozenset({"op", "ref", "wait", "timeout", "credential"})
_SIGNAL_NAME = re.compile(r"[a-z0-9._-]{1,64}")
_SPACE_SEPARATED = ("scope", "scp")  # as `wire.tokens.claims` reads them
_LEVELS = {"LOW": RiskLevel.LOW, "MEDIUM": RiskLevel.MEDIUM, "HIGH": RiskLevel.HIGH}
_STATUSES = ("compliant", "not-compliant")
_DIRECTIONS = ("increase", "decrease")
_CREDENTIAL_CHANGES = ("create", "revoke", "update", "delete")


class InvalidSignal(Exception):  # noqa: N818 - named by who must act: the sender
    """The event is refused. `field` is the dotted name of what is wrong, empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def decode_event(
    raw: Mapping[str, object] | bytes,
    *,
    now: float,
    skew: float,
    new_id: str,
    source: str | None = None,
) -> Signal:
    """Read one event; raises `InvalidSignal`.

    `now` (seconds since the epoch) and `new_id` are the time and id of an event that has none.
    A time above `now + skew` is refused, since it would freeze its fact (contract, "Meaning" 5).
    `source` is who says it, as the door has authenticated it; what the event itself calls its
    source is then a label. None: there is no door, but a file whose author is believed.
    The doors' own keys (`op`, `ref`, `wait`, `timeout`, `credential`) are passed over.
    """
    event = raw if isinstance(raw, Mapping) else _parse(raw)
    _refuse_unknown(event, _KEYS | _DOOR_KEYS, "")
    top = _Fields(event, "")
    kind = event.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise InvalidSignal("type", f"must be one of {', '.join(_SHAPES)}")
    data = _Fields(_mapping(event.get("data"), "data"), "data.")
    latest = now + skew
    time = top.number("time", 0, latest)
    label = top.text("source", MAX_NAME)
    envelope = _Envelope(
        stamp=stamp.at(now if time is None else time, event_id(event.get("id"), new_id)),
        subject=_subject(event.get("subject"), shape.touches),
        source=label if source is None else source,
        latest=latest,
    )
    signal = shape.read(data, envelope)
    if source is None:
        return signal
    content = _content_of(event) if event.get("id") is not None else ""
    if not (label or content):
        return signal
    return msgspec.structs.replace(signal, label=label, content=content)


def _content_of(event: Mapping[str, object]) -> str:
    """Return the digest of what an event says, without its id and what only its sender calls it."""
    said = {name: event.get(name) for name in ("type", "subject", "data", "time")}
    return content_digest(json.dumps(said, sort_keys=True).encode())


def _parse(raw: bytes) -> Mapping[str, object]:
    try:
        return strict_object(raw)
    except ValueError:
        raise InvalidSignal("", "must be one JSON object without repeated members") from None


class _Envelope(NamedTuple):
    """What every event has. `latest`: no time in it may lie after that."""

    stamp: stamp.Stamp
    subject: Subject
    source: str
    latest: float


class _Fields(NamedTuple):
    """Members of an object, read by type; null counts as absent."""

    values: Mapping[str, object]
    prefix: str

    def refuse(self, name: str, message: str) -> NoReturn:
        raise InvalidSignal(self.prefix + name, message)

    def text(self, name: str, limit: int = MAX_TEXT, *, required: bool = False) -> str:
        value = self.values.get(name)
        if value is None and not required:
            return ""
        least = 1 if required else 0
        if not isinstance(value, str) or not _is_text(value, least, limit):
            self.refuse(name, f"must be {least} to {limit} characters without control characters")
        return composed(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > MAX_LIST:
            self.refuse(name, f"must be a list of at most {MAX_LIST} strings")
        for item in value:
            if not isinstance(item, str) or not _is_text(item, 1, MAX_NAME):
                self.refuse(name, f"must hold strings of 1 to {MAX_NAME} characters")
        return tuple(composed(item) for item in value)

    def informing(self, name: str) -> str:
        """A text that only people read: empty where it cannot be, since it never vetoes an event.

        Control characters are left out of it, and what is too long is cut.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            return ""
        plain = "".join(one if is_fit(one) else " " for one in value[:MAX_TEXT])
        return composed(plain)[:MAX_TEXT]

    def choice(self, name: str, allowed: Sequence[str], *, required: bool = False) -> str:
        """One of these, in any case; of what has several spellings the one that is allowed."""
        value = self.values.get(name)
        if value is None and not required:
            return ""
        found = _spelled(value) if isinstance(value, str) else ""
        meant = [one for one in allowed if _spelled(one) == found]
        if not meant:
            self.refuse(name, f"must be one of {', '.join(allowed)}")
        return meant[0]

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within bounds, which also keep out NaN, infinities and huge integers."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, "must be a number")
        if not least <= value <= most:
            self.refuse(name, f"must be a number from {least:g} to {most:.15g}")
        return value

    def ip(self) -> str:
        text = self.text("ip", 80)
        canonical = address.canonical(text)
        if text and not canonical:
            self.refuse("ip", "must be an IPv4 or IPv6 address")
        return canonical


def _spelled(value: str) -> str:
    return value.casefold().replace("_", "-")


def _is_text(value: str, least: int, most: int) -> bool:
    """Whether it is a name, as `wire.names` says; or empty, or longer, where that may be."""
    if not value:
        return not least
    try:
        name_of(value, most)
    except InvalidName:
        return False
    return True


def _mapping(value: object, field: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidSignal(field, "must be an object")
    return value


def _refuse_unknown(values: Mapping[str, object], known: frozenset[str], prefix: str) -> None:
    if not values.keys() <= known:
        name = min((key for key in values if key not in known), key=str)
        allowed = ", ".join(sorted(known - _DOOR_KEYS))
        shown = name[:64] if is_fit(name[:64]) else "?"
        raise InvalidSignal(f"{prefix}{shown}", f"is not known here; known are {allowed}")


def event_id(value: object, new_id: str) -> str:
    """Return the id that a sender gives an event; `new_id` where it gives none."""
    if value is None:
        return new_id
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_EVENT_ID:
        raise InvalidSignal("id", f"must be a string of 1 to {MAX_EVENT_ID} characters")
    if not value.isprintable():
        raise InvalidSignal("id", "must have printable characters only")
    return value


def _subject(value: object, touches: tuple[str, ...]) -> Subject:
    members = _mapping(value, "subject")
    _refuse_unknown(members, frozenset(_SUBJECT_KEYS), "subject.")
    fields = _Fields(members, "subject.")
    named = {
        name: fields.text(name, MAX_NAME, required=True)
        for name in _SUBJECT_KEYS
        if members.get(name) is not None
    }
    if not any(name in named for name in touches):
        if len(touches) == 1:
            raise InvalidSignal(f"subject.{touches[0]}", "is required")
        raise InvalidSignal("subject", f"must name at least one of {', '.join(touches)}")
    return Subject(**named)


def _established(data: _Fields, envelope: _Envelope) -> Signal:
    # A sign-in from the future would prove away marks that are still to come.
    return SessionEstablished(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        ip=data.ip(),
        app=data.text("app", MAX_NAME),
        acr=data.text("acr", MAX_NAME),
        amr=data.texts("amr"),
        auth_time=int(data.number("auth_time", 0, envelope.latest) or 0),
        exp=int(data.number("exp", 0, LATEST_TIME) or 0),
        user_agent=data.text("user_agent"),
    )


def _presented(data: _Fields, envelope: _Envelope) -> Signal:
    return SessionPresented(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        ip=data.ip(),
        user_agent=data.text("user_agent"),
    )


def _revoked(data: _Fields, envelope: _Envelope) -> Signal:
    return SessionRevoked(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        reason=data.informing("reason"),
    )


def _network(data: _Fields, envelope: _Envelope) -> Signal:
    return NetworkChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        segment=data.text("segment", MAX_NAME, required=True),
    )


def _compliance(data: _Fields, envelope: _Envelope) -> Signal:
    return DeviceComplianceChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        compliant=data.choice("current_status", _STATUSES, required=True) == "compliant",
    )


def _risk_level(data: _Fields, envelope: _Envelope) -> Signal:
    return RiskLevelChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        level=_LEVELS[data.choice("current_level", tuple(_LEVELS), required=True)],
        reason=data.informing("risk_reason"),
    )


def _credential(data: _Fields, envelope: _Envelope) -> Signal:
    return CredentialChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        credential_type=data.text("credential_type", MAX_NAME),
        change_type=data.choice("change_type", _CREDENTIAL_CHANGES),
    )


def _assurance(data: _Fields, envelope: _Envelope) -> Signal:
    return AssuranceLevelChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        namespace=data.text("namespace", MAX_NAME),
        level=data.text("current_level", MAX_NAME, required=True),
        direction=data.choice("change_direction", _DIRECTIONS) or _DIRECTIONS[0],
    )


def _claims(data: _Fields, envelope: _Envelope) -> Signal:
    claims = data.values.get("claims")
    if not isinstance(claims, Mapping) or not 1 <= len(claims) <= MAX_CLAIMS:
        data.refuse("claims", f"must be an object of 1 to {MAX_CLAIMS} claims")
    for name in claims:
        if not _is_text(name, 1, MAX_NAME):
            data.refuse("claims", f"must have names of 1 to {MAX_NAME} printable characters")
    return TokenClaimsChange(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        claims=tuple((composed(name), _claim(name, claims[name])) for name in sorted(claims)),
    )


def _claim(name: str, value: object) -> tuple[str, ...]:
    """A claim's values as `tokens.claims` reads those of a token; null: it has none any more."""
    if value is None:
        return ()
    if isinstance(value, str) and name in _SPACE_SEPARATED:
        value = value.split()
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_LIST:
        raise InvalidSignal(f"data.claims.{name}", f"must have at most {MAX_LIST} values")
    return tuple(_claim_value(name, item) for item in items)


def _claim_value(name: str, value: object) -> str:
    text = claim_text(value)
    if text is None:
        raise InvalidSignal(
            f"data.claims.{name}",
            f"must be a text of at most {MAX_CLAIM_VALUE} characters, a number, true or false,"
            " or a list of these",
        )
    return text


def _risk_signal(data: _Fields, envelope: _Envelope) -> Signal:
    name = data.values.get("name")
    if not isinstance(name, str) or not _SIGNAL_NAME.fullmatch(name):
        data.refuse("name", "must be 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'")
    weight = data.number("weight", 0, 100)
    half_life = data.number("half_life", 0, LONGEST_HALF_LIFE)
    return RiskSignal(
        stamp=envelope.stamp,
        subject=envelope.subject,
        source=envelope.source,
        name=name,
        weight=AS_CONFIGURED if weight is None else float(weight),
        half_life=AS_CONFIGURED if half_life is None else float(half_life),
    )


class _Shape(NamedTuple):
    """What an event type touches (it must name one of these), and how its data is read."""

    touches: tuple[str, ...]
    read: Callable[[_Fields, _Envelope], Signal]


_SHAPES = {
    "session-established": _Shape(("session",), _established),
    "session-presented": _Shape(("session",), _presented),
    "session-revoked": _Shape(("session", "user", "device"), _revoked),
    "network-change": _Shape(("session", "device"), _network),
    "device-compliance-change": _Shape(("device",), _compliance),
    "risk-level-change": _Shape(("user", "device", "session"), _risk_level),
    "credential-change": _Shape(("user",), _credential),
    "assurance-level-change": _Shape(("session",), _assurance),
    "token-claims-change": _Shape(("user", "session"), _claims),
    "risk-signal": _Shape(("user", "device", "session"), _risk_signal),
}
