"""Recordings: lines of sign-ins, signals and calls, as they were, to occurrences in order.

A line is one of

- an event in the contract's form (section 4), which may also describe the call that showed it
  (`context`, or `method`, `host`, `path`), of the place of its address (`place`), of the token's
  `claims`, and whether it was an attack (`label`);
- a check: `{"op": "check", "time": ..., "session": ..., "user": ..., "ip": ..., "context": ...}`;
- a line of the daemon's own log: `checked` is a call of that session - with `log.explain` it also
  names the address, the device, the groups and the sign-in -, `session-marked` is kept to be held
  against the replay, and all others are passed over.

Times are read by `times`, places by `place_values`. The format is described in docs/replay.md.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from sidecar.domain.facts.signal import SessionEstablished, SessionPresented, Signal, Subject
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.domain.values.stamp import Stamp
from sidecar.tuning.formats.times import moment
from sidecar.tuning.recording.json_documents import mended
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.names import composed
from sidecar.wire.places.place_values import InvalidPlace, read_place, says_nothing
from sidecar.wire.routes.readings import PathInvalid, normalise
from sidecar.wire.tokens.claim_values import claim_text

SKEW = 60.0
"""Seconds by which a sign-in may seem to lie after the event that reports it."""

_EXTRAS = ("label", "context", "contexts", "method", "host", "path", "app", "place", "claims")
_CHECK_KEYS = frozenset(
    {
        *("op", "type", "ref", "time", "id", "source", "subject", "session", "user", "device"),
        "issuer",
        *("ip", "user_agent", "acr", "amr", "auth_time", "token", *_EXTRAS),
    }
)
_SHOWN = ("ip", "user_agent", "acr", "amr", "auth_time")
_LABELS = {
    **dict.fromkeys(("attack", "malicious", "true", "yes", "1"), True),
    **dict.fromkeys(("legitimate", "benign", "false", "no", "0"), False),
}
_MARKED = ("session-marked", "session-would-be-marked")
_TIMES = frozenset({"auth_time", "exp"})
_UNDECIDED = frozenset({"invalid_token", "unavailable"})


class RecordedCall(msgspec.Struct, frozen=True):
    """A call of the app. `path` is normalised, empty where it is not given."""

    contexts: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    path: str = ""


class Occurrence(msgspec.Struct, frozen=True):
    """Something that happened, as recorded.

    `is_event` false: it was seen in a check, of which only what is new counts. `authentication`
    and `claims` are what its token showed; `place` overrules the geography databases; `attack`
    None: nobody knows.
    """

    signal: Signal
    is_event: bool = True
    call: RecordedCall | None = None
    app: str = ""
    authentication: Authentication | None = None
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    place: Place | None = None
    attack: bool | None = None

    @property
    def stamp(self) -> Stamp:
        """Return when it happened."""
        return self.signal.stamp

    @property
    def subject(self) -> Subject:
        """Return whom it concerns."""
        return self.signal.subject


class LoggedMark(msgspec.Struct, frozen=True):
    """The daemon logged that a policy marked a session, or would have."""

    policy: str
    report_only: bool
    count: int = 1


class PassedOver(msgspec.Struct, frozen=True):
    """A line of the daemon's log that replay has no use for."""

    event: str


Recorded: TypeAlias = Occurrence | LoggedMark | PassedOver


def is_own(raw: Mapping[str, object]) -> bool:
    """Return whether an object is in our own form.

    An event, a check, or a line of the daemon's log.
    """
    if "subject" in raw or "session" in raw:
        return "type" in raw or "op" in raw
    return "level" in raw and "event" in raw


def read_line(line: bytes) -> Recorded:
    """Read one line of NDJSON; raises `InvalidSignal`."""
    raw = decode(line)
    if not isinstance(raw, dict):
        raise InvalidSignal("", "must be one JSON object")
    return read(raw, line)


def decode(text: bytes) -> object:
    """Return what JSON says; raises `InvalidSignal`.

    `NaN` and `Infinity`, as Python writes them, are read, and halves of surrogate pairs replaced.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(mended(text.decode()))
    except UnicodeDecodeError:
        raise InvalidSignal("", "is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise InvalidSignal("", "must be one JSON object") from None


def read(raw: dict[str, object], line: bytes) -> Recorded:
    """Read one object; raises `InvalidSignal`. Without an id, the text of its line is one."""
    if "level" in raw and isinstance(raw.get("event"), str):
        return _logged(raw, line)
    if raw.get("op") == "check" or raw.get("type") == "check":
        return _check(raw, line)
    extras = {name: raw.pop(name) for name in _EXTRAS if name in raw}
    data = raw.get("data")
    if isinstance(data, dict):
        extras = {**{name: data[name] for name in _EXTRAS if name in data}, **extras}
    time = raw["time"] = _time(raw.get("time"))
    if isinstance(data, dict):
        raw["data"] = _timed(data)
    signal = decode_event(raw, now=time, skew=SKEW, new_id=_id(line) if "id" not in raw else "")
    if isinstance(signal, SessionEstablished) and not signal.auth_time:
        # Who recorded a sign-in recorded when it was.
        signal = msgspec.structs.replace(signal, auth_time=int(time))
    if not extras:
        return Occurrence(signal)
    return Occurrence(
        signal,
        call=_call(extras),
        app=_text(extras, "app"),
        claims=_claims(extras),
        place=_place(extras),
        attack=_label(extras),
    )


def _id(line: bytes) -> str:
    return hashlib.blake2b(line.strip(), digest_size=9).hexdigest()


def _time(value: object) -> float:
    try:
        return moment(value)
    except ValueError as error:
        raise InvalidSignal("time", str(error)) from None


def _timed(data: Mapping[str, object]) -> dict[str, object]:
    """Read the times in an event's data, as its own is read; one that says nothing is none."""
    found = dict(data)
    for name in _TIMES & data.keys():
        value = found.pop(name)
        if not says_nothing(value):
            try:
                found[name] = int(moment(value))
            except ValueError as error:
                raise InvalidSignal(f"data.{name}", str(error)) from None
    return found


def _logged(raw: Mapping[str, object], line: bytes) -> Recorded:
    event = str(raw["event"])
    if event in _MARKED:
        more = raw.get("and", 0)  # a line may count how many more of its event there were like it
        count = 1 + more if isinstance(more, int) and more > 0 else 1
        return LoggedMark(_text(raw, "policy"), event != _MARKED[0], count)
    if event != "checked" or _text(raw, "decision") in _UNDECIDED or not raw.get("session"):
        return PassedOver(event)
    context = raw.get("context")
    names = tuple(context.split(",")) if isinstance(context, str) and context else ()
    check: dict[str, object] = {"op": "check", "context": list(names)}
    for name, theirs in (("time", "time"), ("session", "session"), ("user", "subject")):
        if raw.get(theirs):
            check[name] = raw[theirs]
    for name in ("ip", "user_agent", "device", "app", "issuer"):
        if isinstance(raw.get(name), str):
            check[name] = raw[name]
    return _check({**check, **_explained(raw.get("explanation"))}, line)


def _explained(explanation: object) -> dict[str, object]:
    """Return what a logged explanation says of the session.

    Where, on what, of whom, by which sign-in.
    """
    session = explanation.get("session") if isinstance(explanation, Mapping) else None
    if not isinstance(explanation, Mapping) or not isinstance(session, Mapping):
        return {}
    found: dict[str, object] = {"app": explanation.get("app")}
    found |= {name: session[name] for name in ("ip", "device") if session.get(name)}
    unknown = session.get("unknown") or []
    found["claims"] = {
        name: session.get(name) or [] for name in ("groups", "roles") if name not in unknown
    }
    sign_ins = session.get("sign_ins")
    proofs = [s for s in sign_ins if isinstance(s, Mapping)] if isinstance(sign_ins, list) else []
    if proofs:  # the latest comes first
        latest = proofs[0]
        found |= {name: latest[name] for name in ("acr", "amr", "auth_time") if latest.get(name)}
    return found


def _check(raw: Mapping[str, object], line: bytes) -> Occurrence:
    data = raw.get("data")
    if isinstance(data, Mapping):
        raw = {**data, **{name: value for name, value in raw.items() if name != "data"}}
    unknown = raw.keys() - _CHECK_KEYS
    if unknown:
        raise InvalidSignal(min(unknown, key=str), "is not known here")
    subject = raw.get("subject")
    subject = dict(subject) if isinstance(subject, Mapping) else {}
    for name in ("session", "user", "device", "issuer"):
        if raw.get(name) is not None:
            subject[name] = raw[name]
    if "session" not in subject:
        raise InvalidSignal("session", "is required; no token is looked into")
    time = _time(raw.get("time"))
    event = {
        "type": "session-established",
        "time": time,
        "id": raw.get("id", _id(line)),
        "subject": subject,
        "data": _timed({name: raw[name] for name in _SHOWN if name in raw}),
    }
    shown = decode_event(event, now=time, skew=SKEW, new_id="")
    auth_time = getattr(shown, "auth_time", 0)
    return Occurrence(
        SessionPresented(
            stamp=shown.stamp,
            subject=shown.subject,
            ip=getattr(shown, "ip", ""),
            user_agent=getattr(shown, "user_agent", ""),
        ),
        is_event=False,
        call=_call(raw) or RecordedCall(),
        app=_text(raw, "app"),
        authentication=Authentication(
            auth_time, getattr(shown, "acr", ""), getattr(shown, "amr", ())
        )
        if auth_time
        else None,
        claims=_claims(raw),
        place=_place(raw),
        attack=_label(raw),
    )


def _call(extras: Mapping[str, object]) -> RecordedCall | None:
    contexts = (*_texts(extras, "contexts"), *_texts(extras, "context"))
    path = _text(extras, "path")
    if not path and not contexts and "context" not in extras and "contexts" not in extras:
        return None
    if path:
        try:
            path = normalise(path)
        except PathInvalid as error:
            raise InvalidSignal("path", str(error)) from None
    return RecordedCall(contexts, _text(extras, "method"), _text(extras, "host"), path)


def _text(extras: Mapping[str, object], name: str) -> str:
    value = extras.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidSignal(name, "must be text")
    return value


def _texts(extras: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = extras.get(name)
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidSignal(name, "must be a text, or a list of texts")
    return tuple(value)


def _claims(extras: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    claims = extras.get("claims")
    if claims is None:
        return ()
    if not isinstance(claims, Mapping):
        raise InvalidSignal("claims", "must be an object")
    return tuple((composed(str(name)), _values(name, claims[name])) for name in sorted(claims))


def _values(name: str, value: object) -> tuple[str, ...]:
    """Return the values of a claim, as those of a token are read."""
    if value is None or value == "":
        return ()
    texts = [claim_text(one) for one in (value if isinstance(value, list) else [value])]
    found = tuple(text for text in texts if text is not None)
    if len(found) < len(texts):
        raise InvalidSignal(f"claims.{name}", "must be a text, a number, true or false, or a list")
    return found


def _place(extras: Mapping[str, object]) -> Place | None:
    value = extras.get("place")
    if says_nothing(value):
        return None
    if not isinstance(value, Mapping):
        raise InvalidSignal("place", "must be an object")
    try:
        return read_place(value)
    except InvalidPlace as error:
        raise InvalidSignal(f"place.{error.member}", error.message) from None


def _label(extras: Mapping[str, object]) -> bool | None:
    value = extras.get("label")
    if value is None or isinstance(value, bool):
        return value
    known = _LABELS.get(str(value).lower())
    if known is None:
        raise InvalidSignal("label", "must be attack or legitimate, or true or false")
    return known
