"""What happens in a scenario: the contract's events, and sign-ins."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from sidecar.domain.facts.signal import Signal
from sidecar.domain.values.assurance import Authentication
from sidecar.tuning.scenario.given import Givens
from sidecar.tuning.scenario.simulation import SOME_DEVICE, Described
from sidecar.wire.events.events import decode_event
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.yaml.nodes import Leaves, inside
from sidecar.wire.yaml.tree import Listing, Node, Place, Scalar, Table

_SIGN_IN = ("session", "acr", "amr", "ago", "ip")
_SKEW = 60.0
_OF_DEVICE = frozenset({"device-compliance-change"})
_OF_USER = frozenset({"risk-level-change", "credential-change"})


class SignIn(NamedTuple):
    """A session shows a new sign-in, from `ip` (empty: from where it was)."""

    session: str
    authentication: Authentication
    ip: str = ""


Action: TypeAlias = Signal | SignIn


class Frame(NamedTuple):
    """Where in a scenario one is: its start, the step's time and session, all sessions."""

    start: float
    now: float
    session: str
    sessions: Mapping[str, Described]


class Whens:
    """Reads what happens; what is wrong goes to the leaves' problems."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._givens = Givens(leaves)
        self._count = 0

    def read(self, node: Node | None, field: str, frame: Frame) -> tuple[Action, ...]:
        """One thing that happens, or a list of them."""
        if node is None:
            return ()
        items = (
            [(f"{field}[{i}]", item) for i, item in enumerate(node.items)]
            if isinstance(node, Listing)
            else [(field, node)]
        )
        read = [self._action(item, at, frame) for at, item in items]
        return tuple(action for action in read if action is not None)

    def _action(self, node: Node, field: str, frame: Frame) -> Action | None:
        if isinstance(node, Table) and "sign_in" in node.entries:
            table = self._leaves.table(node, field, ("sign_in",)) or {}
            return self._sign_in(table["sign_in"], inside(field, "sign_in"), frame)
        if not isinstance(node, Table) or "type" not in node.entries:
            self._leaves.add(node, field, "must be an event with its `type`, or a `sign_in`")
            return None
        return self._event(node, field, frame)

    def _sign_in(self, node: Node, field: str, frame: Frame) -> SignIn | None:
        if isinstance(node, Scalar) and isinstance(node.value, str):  # `sign_in: phr`
            return SignIn(frame.session, Authentication(int(frame.now), node.value))
        table = self._leaves.table(node, field, _SIGN_IN)
        if table is None:
            return None
        ago = 0.0
        if "ago" in table:
            ago = self._givens.duration(table["ago"], inside(field, "ago"))
        session = frame.session
        if "session" in table:
            at = inside(field, "session")
            session = self._givens.one_of(table["session"], at, frame.sessions)
        acr = self._givens.text(table, field, "acr")
        amr = self._givens.texts(table, field, "amr") or ()
        if not acr and not amr:
            self._leaves.add(node, field, "must have `acr` or `amr`")
        authentication = Authentication(int(frame.now - ago), acr, amr)
        return SignIn(session, authentication, self._givens.address(table, field))

    def _event(self, node: Table, field: str, frame: Frame) -> Signal | None:
        raw = plain(node)
        if not isinstance(raw, dict) or frame.session not in frame.sessions:
            return None
        raw.setdefault("subject", self._subject(str(raw.get("type")), frame))
        time = node.entries.get("time")
        if time is not None and isinstance(time.node, Scalar) and isinstance(time.node.value, str):
            text = Scalar(time.node.value.removeprefix("+"), time.node.place)
            raw["time"] = frame.start + self._givens.duration(text, inside(field, "time"))
        self._count += 1
        try:
            signal = decode_event(raw, now=frame.now, skew=_SKEW, new_id=f"~{self._count:06}")
        except InvalidSignal as error:
            at = inside(field, error.field) if error.field else field
            place = _place_of(node, error.field)
            self._leaves.problems.add(place, at, error.message)
            return None
        session = signal.subject.session
        if session and session not in frame.sessions:
            at = f"{field}.subject.session"
            message = f"{session!r} is not in `given.sessions`"
            self._leaves.problems.add(_place_of(node, "subject.session"), at, message)
            return None
        return signal

    def _subject(self, kind: str, frame: Frame) -> dict[str, str]:
        """Whom an event is about that does not say: the step's session, its user or device."""
        described = frame.sessions[frame.session]
        if kind in _OF_USER:
            return {"user": described.user}
        if kind in _OF_DEVICE:
            return {"device": described.device or SOME_DEVICE}
        return {"session": frame.session}


def plain(node: Node) -> object:
    """A tree without its places."""
    match node:
        case Table():
            return {key: plain(entry.node) for key, entry in node.entries.items()}
        case Listing():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.value
        case _:
            return None


def _place_of(node: Node, field: str) -> Place:
    """Where a dotted field stands, or the nearest thing around it."""
    place = node.place
    for key in field.split("."):
        if not isinstance(node, Table) or key not in node.entries:
            break
        place, node = node.entries[key]
    return place
