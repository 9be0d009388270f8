"""Describes what happens in a scenario: the contract's events, and sign-ins."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from sidecar.domain.facts.signal import Signal
from sidecar.domain.values.assurance import Authentication
from sidecar.tuning.scenario.given import ADDRESS, TEXTS, Duration
from sidecar.tuning.scenario.simulation import SOME_DEVICE, Described
from sidecar.tuning.scenario.then import SESSION_NAME
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.kinds import EVENTS, data_schema, envelope_schema
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.grammar.records import Given, Record, RecordKey, shape_of
from sidecar.wire.grammar.rules import FileReading, Name, Schema, Text
from sidecar.wire.yaml.nodes import inside
from sidecar.wire.yaml.structs import Missing
from sidecar.wire.yaml.tree import FilePosition, Listing, Node, Scalar, Table, plain

_SKEW = 60.0
_OF_DEVICE = frozenset({"device-compliance-change"})
_OF_USER = frozenset({"risk-level-change", "credential-change"})


class SignInStep(NamedTuple):
    """A session shows a new sign-in, from `ip` (empty: from where it was)."""

    session: str
    authentication: Authentication
    ip: str = ""


Action: TypeAlias = Signal | SignInStep


class StepFrame(NamedTuple):
    """The frame of a step: the scenario's start, the step's time and session, all sessions."""

    start: float
    now: float
    session: str
    sessions: Mapping[str, Described]


class Shown(NamedTuple):
    """A sign-in as a file has it. `session` empty: the step's; `ago` in seconds."""

    session: str = ""
    acr: str = ""
    amr: tuple[str, ...] = ()
    ago: float = 0.0
    ip: str = ""


def _anything(given: Given) -> Iterable[tuple[str, str]]:
    if not given.values.get("acr") and not given.values.get("amr"):
        yield "", "must have `acr` or `amr`"


SIGN_IN: Record[Shown] = Record(
    {
        "session": RecordKey(Name(SESSION_NAME), "whose sign-in it is", default="the step's"),
        "acr": RecordKey(Text(), "its authentication context class"),
        "amr": RecordKey(TEXTS, "its authentication methods"),
        "ago": RecordKey(Duration(), "so long before the step", default="`0s`"),
        "ip": RecordKey(ADDRESS, "from where", default="where the session was"),
    },
    Shown,
    needs=("acr", "amr"),
    check=_anything,
)
_LATE = Duration(signed=True)


def action_schema() -> Schema:
    """Return the JSON Schema of a sign-in, or an event: the step can give its subject and time."""
    sign_in = {"anyOf": [Text().schema(), SIGN_IN.schema()]}
    events = envelope_schema()
    time = {"anyOf": [events["time"], _LATE.schema()["anyOf"][1]]}
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}},
            "then": {
                "properties": {"data": data_schema(kind)},
                "required": ["data"] if kind.required else [],
            },
        }
        for name, kind in EVENTS.items()
    ]
    event = shape_of({**events, "time": time}, ["type"])
    return {"oneOf": [shape_of({"sign_in": sign_in}, ["sign_in"]), {**event, "allOf": by_type}]}


class Whens:
    """Reads what happens; problems go to the reading's."""

    def __init__(self, reading: FileReading) -> None:
        self._reading = reading
        self._count = 0

    def read(self, node: Node | None, field: str, frame: StepFrame) -> tuple[Action, ...]:
        """Return one thing that happens, or several."""
        if node is None:
            return ()
        items = (
            [(f"{field}[{i}]", item) for i, item in enumerate(node.items)]
            if isinstance(node, Listing)
            else [(field, node)]
        )
        read = [self._action(item, at, frame) for at, item in items]
        return tuple(action for action in read if action is not None)

    def _action(self, node: Node, field: str, frame: StepFrame) -> Action | None:
        if isinstance(node, Table) and "sign_in" in node.entries:
            table = self._reading.table(node, field, ("sign_in",)) or {}
            return self._sign_in(table["sign_in"], inside(field, "sign_in"), frame)
        if not isinstance(node, Table) or "type" not in node.entries:
            self._reading.add(node, field, "must be an event with its `type`, or a `sign_in`")
            return None
        return self._event(node, field, frame)

    def _sign_in(self, node: Node, field: str, frame: StepFrame) -> SignInStep | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):  # `sign_in: phr`
            return SignInStep(frame.session, Authentication(int(frame.now), node.value))
        shown = SIGN_IN.read(node, field, self._reading)
        if isinstance(shown, Missing):
            return None
        authentication = Authentication(int(frame.now - shown.ago), shown.acr, shown.amr)
        return SignInStep(shown.session or frame.session, authentication, shown.ip)

    def _event(self, node: Table, field: str, frame: StepFrame) -> Signal | None:
        raw = plain(node)
        if not isinstance(raw, dict) or frame.session not in frame.sessions:
            return None
        raw.setdefault("subject", self._subject(str(raw.get("type")), frame))
        time = node.entries.get("time")
        if time is not None and isinstance(time.node, Scalar) and isinstance(time.node.value, str):
            late = _LATE.read(time.node, inside(field, "time"), self._reading)
            raw["time"] = frame.start + (0.0 if isinstance(late, Missing) else late)
        self._count += 1
        try:
            signal = decode_event(raw, now=frame.now, skew=_SKEW, new_id=f"~{self._count:06}")
        except InvalidSignal as error:
            at = inside(field, error.field) if error.field else field
            place = _place_of(node, error.field)
            self._reading.problems.add(place, at, error.message)
            return None
        session = signal.subject.session
        if session and session not in frame.sessions:
            at = f"{field}.subject.session"
            message = f"{session!r} is not in `given.sessions`"
            self._reading.problems.add(_place_of(node, "subject.session"), at, message)
            return None
        return signal

    def _subject(self, kind: str, frame: StepFrame) -> dict[str, str]:
        """Return whom an event is about that does not say: the step's session, user or device."""
        described = frame.sessions[frame.session]
        if kind in _OF_USER:
            return {"user": described.user}
        if kind in _OF_DEVICE:
            return {"device": described.device or SOME_DEVICE}
        return {"session": frame.session}


def _place_of(node: Node, field: str) -> FilePosition:
    """Return where a dotted field stands, or the nearest thing around it."""
    place = node.place
    for key in field.split("."):
        if not isinstance(node, Table) or key not in node.entries:
            break
        place, node = node.entries[key]
    return place
