"""Changes of a session in words, as a command line has them: `ip=192.0.2.1,country=PT`.

Each becomes what the daemon would learn of it: one of the contract's events, or a sign-in.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from sidecar.domain.values import address
from sidecar.domain.values.assurance import Authentication
from sidecar.domain.values.location import Place
from sidecar.tuning.scenario.simulation import SOME_DEVICE, Described
from sidecar.tuning.scenario.when import Action, SignInStep
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.places import place_values
from sidecar.wire.policies.conditions import ANONYMIZERS
from sidecar.wire.yaml import scalars
from sidecar.wire.yaml.structs import suggestion

SESSION = "session"
DUMMY = "192.0.0.8"
"""Where a session is that is only said to be in a country: an address of nobody's (RFC 7600)."""


class InvalidChange(ValueError):  # noqa: N818 - named by who must act: whoever typed it
    """This is no change of a session; says why."""


class Change(NamedTuple):
    """A change of a session: after a pause (seconds) actions, at addresses of these places."""

    label: str
    pause: float
    actions: tuple[Action, ...]
    places: Mapping[str, Place]


class ChangeFrame(NamedTuple):
    """The frame of a change: its session, time (seconds), places of addresses, and number."""

    described: Described
    now: float
    place_of: Callable[[str], Place]
    number: int


DEFAULT_PAUSE = 60.0


def pause_of(text: str) -> float:
    """Return how long after the one before a change happens; raises `InvalidChange`."""
    after = _words(text).get("after")
    if after is None:
        return DEFAULT_PAUSE
    try:
        seconds = scalars.duration(after)
    except ValueError as error:
        raise InvalidChange(f"after: {error}") from None
    if not 0 <= seconds <= scalars.LONGEST:
        raise InvalidChange("after: must be a duration from 0s to 3650d")
    return float(seconds)


def read_change(text: str, frame: ChangeFrame) -> Change:
    """Read one change; raises `InvalidChange`."""
    words = _words(text)
    pause = pause_of(text)
    given = {key: words.pop(key) for key in PLACE_KEYS if key in words}
    words.pop("after", None)
    actions: list[Action] = []
    places: dict[str, Place] = {}
    if given:
        ip, place = read_place(given, frame.place_of, frame.number)
        places[ip] = place
        actions.append(_event("session-presented", {"ip": ip}, frame, len(actions)))
    for key, value in words.items():
        actions.append(_READ[key](value, frame, len(actions)))
    return Change(text, pause, tuple(actions), places)


def _words(text: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not (key and equals and value):
            raise InvalidChange(f"{part.strip()[:64]!r} is not KEY=VALUE")
        if key not in KEYS:
            raise InvalidChange(f"{key[:64]!r} is not known{suggestion(key[:64], KEYS)}")
        if key in words:
            raise InvalidChange(f"{key} is given twice; use another --then")
        words[key] = value
    return words


def read_place(
    given: Mapping[str, str], place_of: Callable[[str], Place], number: int = 0
) -> tuple[str, Place]:
    """Return an address and its place, of which what is `given` wins; raises `InvalidChange`.

    Without an address, the place gets one of nobody's: another for each `number`.
    """
    text = given.get("ip", "")
    ip = address.canonical(text) if text else f"{DUMMY.rpartition('.')[0]}.{8 + number % 200}"
    if not ip:
        raise InvalidChange(f"ip: {text[:64]!r} is no IP address")
    changes: dict[str, object] = {}
    for key, value in given.items():
        try:
            changes.update(_READ_PLACE[key](value) if key in _READ_PLACE else {})
        except ValueError as error:
            raise InvalidChange(f"{key}: {error}") from None
    return ip, msgspec.structs.replace(place_of(ip), **changes)


def _coordinates(value: str) -> dict[str, object]:
    latitude, slash, longitude = value.partition("/")
    numbers = {"latitude": latitude, "longitude": longitude}
    try:
        found = {name: place_values.NUMBERS[name](text) for name, text in numbers.items()}
    except ValueError:
        found = {}
    if not slash or None in found.values() or not found:
        raise ValueError("must be LATITUDE/LONGITUDE in degrees, such as 52.5/13.4")
    return dict(found)


def _anonymizer(value: str) -> dict[str, object]:
    kinds = tuple(value.split("+"))
    for kind in kinds:
        if kind not in ANONYMIZERS:
            raise ValueError(f"{kind[:64]!r} is not known{suggestion(kind[:64], ANONYMIZERS)}")
    return {"anonymizer": kinds}


_READ_PLACE: Mapping[str, Callable[[str], dict[str, object]]] = {
    "country": lambda value: {"country": place_values.country(value)},
    "region": lambda value: {"region": value},
    "asn": lambda value: {"asn": place_values.asn(value)},
    "coordinates": _coordinates,
    "anonymizer": _anonymizer,
}
PLACE_KEYS = ("ip", *_READ_PLACE)
"""What says where a session is, in the order in which `read_place` takes it."""


def read_signal(text: str) -> tuple[str, float]:
    """`NAME=WEIGHT` or `NAME:WEIGHT`; raises `InvalidChange`."""
    name, _, weight = text.replace(":", "=", 1).partition("=")
    try:
        points = float(weight)
    except ValueError:
        points = -1
    if not name or not 0 <= points <= 100:
        raise InvalidChange(f"{text[:64]!r} is not NAME=WEIGHT, with a weight from 0 to 100")
    return name, points


def read_claim(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=VALUE` or `NAME:VALUE`, with `+` between several values; raises `InvalidChange`."""
    name, _, values = text.replace(":", "=", 1).partition("=")
    if not name or not values:
        raise InvalidChange(f"{text[:64]!r} is not NAME=VALUE")
    return name, tuple(values.split("+"))


def _risk(of: str) -> Callable[[str, ChangeFrame, int], Action]:
    def read(value: str, frame: ChangeFrame, index: int) -> Action:
        subject = {of: _subject(of, frame)}
        level = {"current_level": value.upper()}
        return _event("risk-level-change", level, frame, index, subject)

    return read


def _subject(of: str, frame: ChangeFrame) -> str:
    match of:
        case "user":
            return frame.described.user
        case "device":
            return frame.described.device or SOME_DEVICE
        case _:
            return SESSION


def _compliant(value: str, frame: ChangeFrame, index: int) -> Action:
    if value not in ("true", "false"):
        raise InvalidChange("compliant: must be true or false")
    status = {"current_status": "compliant" if value == "true" else "not-compliant"}
    subject = {"device": _subject("device", frame)}
    return _event("device-compliance-change", status, frame, index, subject)


def _device(value: str, frame: ChangeFrame, index: int) -> Action:
    subject = {"session": SESSION, "device": value}
    return _event("session-presented", {}, frame, index, subject)


def _signal(value: str, frame: ChangeFrame, index: int) -> Action:
    name, weight = read_signal(value)
    return _event("risk-signal", {"name": name, "weight": weight}, frame, index)


def _claim(value: str, frame: ChangeFrame, index: int) -> Action:
    name, values = read_claim(value)
    return _event("token-claims-change", {"claims": {name: list(values)}}, frame, index)


def _sign_in(value: str, frame: ChangeFrame, _index: int) -> Action:
    acr, _, amr = value.rpartition(":")
    methods = tuple(amr.split("+")) if "+" in amr or acr else ()
    shown = acr if methods else value
    return SignInStep(SESSION, Authentication(int(frame.now), shown, methods))


_READ: Mapping[str, Callable[[str, ChangeFrame, int], Action]] = {
    "network": lambda v, frame, i: _event("network-change", {"segment": v}, frame, i),
    "user-agent": lambda v, frame, i: _event("session-presented", {"user_agent": v}, frame, i),
    "device": _device,
    "compliant": _compliant,
    "user-risk": _risk("user"),
    "session-risk": _risk("session"),
    "device-risk": _risk("device"),
    "signal": _signal,
    "claim": _claim,
    "credential": lambda v, frame, i: _event(
        "credential-change", {"credential_type": v}, frame, i, {"user": frame.described.user}
    ),
    "revoked": lambda v, frame, i: _event("session-revoked", {"reason": v}, frame, i),
    "sign-in": _sign_in,
}
KEYS = frozenset({*_READ, *PLACE_KEYS, "after"})
"""What a change can be of."""


def _event(
    kind: str,
    data: Mapping[str, object],
    frame: ChangeFrame,
    index: int,
    subject: Mapping[str, str] | None = None,
) -> Action:
    raw = {"type": kind, "subject": subject or {"session": SESSION}, "data": data}
    new_id = f"~{frame.number:04}-{index}"
    try:
        return decode_event(raw, now=frame.now, skew=60.0, new_id=new_id)
    except InvalidSignal as error:
        raise InvalidChange(f"{error.field.removeprefix('data.')}: {error.message}") from None
