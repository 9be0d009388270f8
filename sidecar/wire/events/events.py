"""Reads the contract's events strictly: JSON to the values of `domain.facts.signal`.

An event changes what sessions may do, so what is not understood is refused, not skipped: a
misspelt `subject.session` beside a right `subject.user` would revoke too much. Only `data` may
hold more than is known here, since CAEP's events are extensible. `kinds` says what each may hold.
"""

import json
from collections.abc import Mapping

import msgspec

from sidecar.domain.facts.signal import Signal, Subject
from sidecar.domain.values import stamp
from sidecar.wire.events.kinds import ENVELOPE, EVENTS, MAX_EVENT_ID, SUBJECT_KEYS
from sidecar.wire.events.members import InvalidSignal, Members, MemberText, number_of
from sidecar.wire.names import is_fit
from sidecar.wire.store.keys import content_digest
from sidecar.wire.tokens.jws import strict_object
from sidecar.wire.traces.trace_context import TRACE_MEMBERS

_KEYS = frozenset(ENVELOPE)
_DOOR_KEYS = frozenset({"op", "ref", "wait", "timeout", "credential", *TRACE_MEMBERS})
_LABEL = MemberText()
_NAME = MemberText(required=True)
_as_said = json.JSONEncoder(sort_keys=True).encode  # `json.dumps` makes one for each text


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
    The doors' own keys (`op`, `ref`, `wait`, `timeout`, `credential`, `traceparent`,
    `tracestate`) are passed over.
    """
    event = raw if isinstance(raw, Mapping) else _parse(raw)
    _refuse_unknown(event, _KEYS | _DOOR_KEYS, "")
    latest = now + skew
    top = Members(event, "", latest)
    name = event.get("type")
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidSignal("type", f"must be one of {', '.join(EVENTS)}")
    data = Members(_mapping(event.get("data"), "data"), "data.", latest)
    time = number_of(top, "time", latest)
    label = _LABEL.read(top, "source")
    said_at = stamp.at(now if time is None else time, event_id(event.get("id"), new_id))
    subject = subject_of(event.get("subject"), kind.touches)
    values = {
        member.to: member.rule.read(data, name) for name, member in kind.data.items() if member.to
    }
    signal: Signal = kind.signal(
        stamp=said_at, subject=subject, source=label if source is None else source, **values
    )
    if source is None:
        return signal
    content = _content_of(event) if event.get("id") is not None else ""
    if not (label or content):
        return signal
    return msgspec.structs.replace(signal, label=label, content=content)


def _content_of(event: Mapping[str, object]) -> str:
    """Return the digest of what an event says, without its id and what only its sender calls it."""
    said = {name: event.get(name) for name in ("type", "subject", "data", "time")}
    return content_digest(_as_said(said).encode())


def _parse(raw: bytes) -> Mapping[str, object]:
    try:
        return strict_object(raw)
    except ValueError:
        raise InvalidSignal("", "must be one JSON object without repeated members") from None


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


def subject_of(value: object, touches: tuple[str, ...]) -> Subject:
    """Read an event's subject, which names at least one of `touches`; raises `InvalidSignal`."""
    members = _mapping(value, "subject")
    _refuse_unknown(members, frozenset(SUBJECT_KEYS), "subject.")
    fields = Members(members, "subject.", 0.0)
    named = {
        name: _NAME.read(fields, name) for name in SUBJECT_KEYS if members.get(name) is not None
    }
    if not any(name in named for name in touches):
        if len(touches) == 1:
            raise InvalidSignal(f"subject.{touches[0]}", "is required")
        raise InvalidSignal("subject", f"must name at least one of {', '.join(touches)}")
    return Subject(**named)
