"""Suppositions of a what-if, each as the event that would say so."""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.domain.facts.signal import Signal
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.entries import Identified

NAMED = "what-if"
"""The id of what is supposed."""


class Supposed(NamedTuple):
    """A kind of thing that may be supposed: what is asked for beside it, and as an example."""

    label: str
    hint: str = ""


SUPPOSED: Mapping[str, Supposed] = {
    "user-risk": Supposed("the user's risk becomes", "low, medium or high"),
    "session-risk": Supposed("the session's risk becomes", "low, medium or high"),
    "network": Supposed("the session moves to the network segment", "its name"),
    "address": Supposed("the session is seen at the address", "203.0.113.9"),
    "signal": Supposed("a detection is reported", "its name, or NAME:WEIGHT"),
    "compliant": Supposed("the device is reported as", "compliant or not-compliant"),
    "sign-in": Supposed("the user signs in again with", "an acr value, such as mfa"),
    "credential": Supposed("the user's credential changes"),
    "revoked": Supposed("the session is revoked"),
}


class Supposition(NamedTuple):
    """A kind of thing that is supposed, and its value."""

    kind: str
    value: str = ""


def supposed_signal(supposed: Supposition, named: Identified, device: str, at: float) -> Signal:
    """Return the event that says what is supposed of a session at that moment (seconds).

    Raises `InvalidSignal`.
    """
    value = supposed.value.strip()
    known = SUPPOSED.get(supposed.kind)
    if known is None:
        raise InvalidSignal("then", f"must be one of {', '.join(SUPPOSED)}")
    if known.hint and not value:
        raise InvalidSignal("value", f"is required: {known.hint}")
    kind, bearer, data = _event_of(supposed.kind, value, at)
    if bearer == "device" and not device:
        raise InvalidSignal("then", "the session is on no device that is known")
    names = {"user": named.user, "session": named.session, "device": device}
    event = {"type": kind, "subject": {bearer: names[bearer]}, "data": data}
    return decode_event(event, now=at, skew=0.0, new_id=NAMED, source="")


def _event_of(kind: str, value: str, at: float) -> tuple[str, str, Mapping[str, object]]:
    """Return the type of an event, of whom it is, and its data."""
    match kind:
        case "user-risk" | "session-risk":
            return "risk-level-change", kind.partition("-")[0], {"current_level": value.upper()}
        case "network":
            return "network-change", "session", {"segment": value}
        case "address":
            return "session-presented", "session", {"ip": value}
        case "signal":
            name, colon, weight = value.rpartition(":")
            data: dict[str, object] = {"name": name if colon else value}
            if colon:
                data["weight"] = _number(weight)
            return "risk-signal", "session", data
        case "compliant":
            return "device-compliance-change", "device", {"current_status": value}
        case "sign-in":
            return "session-established", "session", {"acr": value, "auth_time": int(at)}
        case "credential":
            data = {"credential_type": "password", "change_type": "update"}
            return "credential-change", "user", data
        case _:
            return "session-revoked", "session", {}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidSignal("value", "the weight must be a number from 0 to 100") from None
