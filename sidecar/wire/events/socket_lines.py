"""The request lines of the local socket: contract, section 4.

A member that is not known is an error here: a misspelt `context` would make a call routine, and a
misspelt `sessions` would watch all of them.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.signal import Signal
from sidecar.domain.values import address
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.http.gateway_calls import InvalidCall, contexts_of
from sidecar.wire.names import MAX_NAME, InvalidName, is_fit, name_of
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.tokens.jws import strict_object
from sidecar.wire.traces.trace_context import TRACE_MEMBERS, SentContext, sent_members

MAX_REF = 256
REF_BOUND = 2**63
MAX_IP = 80
MAX_CREDENTIAL = 8192
MAX_WAIT = 60.0
MAX_WATCHED = 1024
"""Sessions of one watch."""
DEFAULT_WAIT = 5.0

Ref: TypeAlias = str | int | float | bool | msgspec.UnsetType | None
"""What the request wants to have back; UNSET: nothing."""

CHECK_TEXTS = {"token": 65536, "method": 32, "host": 260, "path": 65536, "user_agent": 1024}
CHECK_TEXTS |= {"dpop": 8192, "certificate": 64}
_KNOWN = {
    "check": frozenset({"op", "ref", "context", "ip", *CHECK_TEXTS, *TRACE_MEMBERS}),
    "watch": frozenset({"op", "ref", "sessions", "credential"}),
    "ping": frozenset({"op", "ref"}),
}


class EventRequest(msgspec.Struct, frozen=True, gc=False):
    """Take this event. `wait`: answer when every sidecar has, after so many seconds at the most.

    `credential`: what its sender shows, to speak as the source that it belongs to.
    """

    signal: Signal
    wait: float | None = None
    ref: Ref = msgspec.UNSET
    credential: str = ""
    trace: SentContext | None = None


class CheckRequest(msgspec.Struct, frozen=True, gc=False):
    """A request to check a call. `path` is normalised; empty texts were not given.

    `dpop` and `certificate` are what the client showed with its token (RFC 9449, RFC 8705).
    """

    token: str
    contexts: frozenset[str] = frozenset()
    method: str = ""
    host: str = ""
    path: str = ""
    ip: str = ""
    user_agent: str = ""
    dpop: str = ""
    certificate: str = ""
    ref: Ref = msgspec.UNSET
    trace: SentContext | None = None


class WatchRequest(msgspec.Struct, frozen=True, gc=False):
    """A request to be notified when these sessions' standing changes (None: all of this pod's)."""

    sessions: frozenset[str] | None = None
    ref: Ref = msgspec.UNSET
    credential: str = ""


class PingRequest(msgspec.Struct, frozen=True, gc=False):
    """Only asks for a reply."""

    ref: Ref = msgspec.UNSET


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The line is refused: a code of the contract, the field (if one is to blame), and why."""

    error: str
    message: str
    field: str = ""
    ref: Ref = msgspec.UNSET


LineRequest: TypeAlias = EventRequest | CheckRequest | WatchRequest | PingRequest | Refusal


def decode_line(
    line: bytes | bytearray,
    *,
    now: float,
    skew: float,
    new_id: Callable[[], str],
) -> LineRequest:
    """Read one line without its end. Never raises: what is wrong with it becomes a `Refusal`.

    `new_id` names an event that has no id; `now` and `skew` as for `events.decode_event`. An event
    has no source yet: that is for the door to say, and what it calls its source is a label.
    """
    try:
        values = strict_object(bytes(line))
    except ValueError:
        return Refusal("invalid_json", "a line is one JSON object without repeated members")
    try:
        ref = ref_of(values)
    except InvalidSignal as error:
        return Refusal("invalid_event", error.message, error.field)
    try:
        if values.get("op") == "event":
            return event_request(values, ref, now=now, skew=skew, new_id=new_id, source="")
        return _request(values, ref)
    except InvalidSignal as error:
        return Refusal("invalid_event", error.message, error.field, ref)


def event_request(  # noqa: PLR0913 - what a door knows, by name
    values: Mapping[str, object],
    ref: Ref,
    *,
    now: float,
    skew: float,
    new_id: Callable[[], str],
    source: str,
) -> EventRequest:
    """Read an event and how long its sender wants to wait; raises `InvalidSignal`."""
    fresh = new_id() if values.get("id") is None else ""
    signal = decode_event(values, now=now, skew=skew, new_id=fresh, source=source)
    return EventRequest(signal, wait_of(values), ref, credential_of(values), sent_members(values))


def credential_of(values: Mapping[str, object]) -> str:
    """Return what the sender shows to speak as another source; raises `InvalidSignal`."""
    credential = values.get("credential", "")
    if not isinstance(credential, str) or len(credential) > MAX_CREDENTIAL:
        raise InvalidSignal("credential", f"must be a text of at most {MAX_CREDENTIAL} characters")
    return credential


def wait_of(values: Mapping[str, object]) -> float | None:
    """Return the seconds that an event's sender would wait for every sidecar; None: not at all.

    Raises `InvalidSignal`.
    """
    wait = values.get("wait")
    timeout = values.get("timeout", DEFAULT_WAIT)
    if wait is not None and wait != "everywhere":
        raise InvalidSignal("wait", "must be 'everywhere'")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise InvalidSignal("timeout", "must be a number of seconds")
    if not 0 <= timeout <= MAX_WAIT:
        raise InvalidSignal("timeout", f"must be from 0 to {MAX_WAIT:g} seconds")
    return None if wait is None else float(timeout)


def _request(values: Mapping[str, object], ref: Ref) -> LineRequest:
    match values.get("op"):
        case "check":
            _refuse_unknown(values, "check")
            return _check(values, ref)
        case "watch":
            _refuse_unknown(values, "watch")
            return WatchRequest(_sessions(values.get("sessions")), ref, credential_of(values))
        case "ping":
            _refuse_unknown(values, "ping")
            return PingRequest(ref)
        case _:
            return Refusal("unknown_op", "must be event, check, watch or ping", "op", ref)


def _check(values: Mapping[str, object], ref: Ref) -> LineRequest:
    token = values.get("token", "")
    if not isinstance(token, str):
        return Refusal("invalid_token", "must be text", "token", ref)
    texts = {name: _text(values, name, limit) for name, limit in CHECK_TEXTS.items()}
    if texts["path"]:
        try:
            texts["path"] = normalise(texts["path"])
        except PathInvalid as error:
            raise InvalidSignal("path", str(error)) from None
    ip = _text(values, "ip", MAX_IP)
    canonical = address.canonical(ip)
    if ip and not canonical:
        raise InvalidSignal("ip", "must be an IPv4 or IPv6 address")
    contexts, trace = _contexts(values.get("context")), sent_members(values)
    return CheckRequest(**texts, contexts=contexts, ip=canonical, ref=ref, trace=trace)


def _text(values: Mapping[str, object], name: str, limit: int) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit or not is_fit(value):
        raise InvalidSignal(name, f"must be at most {limit} characters, none of them control ones")
    return value


def _contexts(value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    named = value if isinstance(value, list) else [value]
    texts = [name for name in named if isinstance(name, str)]
    if len(texts) != len(named):
        raise InvalidSignal("context", "must be a string or a list of strings")
    try:
        return frozenset(contexts_of(texts))
    except InvalidCall as error:
        raise InvalidSignal("context", str(error)) from None


def _sessions(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidSignal("sessions", "must be a list of session names")
    if len(value) > MAX_WATCHED:
        raise InvalidSignal("sessions", f"must have at most {MAX_WATCHED} names")
    if not all(isinstance(name, str) for name in value):
        raise InvalidSignal("sessions", f"must hold strings of 1 to {MAX_NAME} characters")
    try:
        return frozenset(map(name_of, value))
    except InvalidName as error:
        raise InvalidSignal("sessions", f"must hold names, and one {error}") from None


def _refuse_unknown(values: Mapping[str, object], op: str) -> None:
    for name in values:
        if name not in _KNOWN[op]:
            raise InvalidSignal(name[:64], f"is no member of a {op} request")


def ref_of(values: Mapping[str, object]) -> Ref:
    """Return what the sender wants to have back with the reply; raises `InvalidSignal`."""
    value = values.get("ref", msgspec.UNSET)
    match value:
        case None | bool() | msgspec.UnsetType():
            return value
        case str() if len(value) <= MAX_REF:
            return value
        case int() if abs(value) < REF_BOUND:
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            raise InvalidSignal("ref", f"must be a scalar of at most {MAX_REF} characters")
