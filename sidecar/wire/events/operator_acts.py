"""An operator's acts, read strictly: from the path and the JSON of a request to an `Order`."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from sidecar.domain.facts.fact_kinds import Scope
from sidecar.wire.events.events import event_id
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.events.socket_lines import wait_of
from sidecar.wire.names import InvalidName, name_of
from sidecar.wire.store.keys import content_digest
from sidecar.wire.tokens.jws import strict_object

MAX_REASON = 500
"""Characters of an operator's reason."""

MAX_BODY = 16384


class Act(StrEnum):
    """An act of an operator."""

    REVOKE = "revoke"
    MARK = "mark"
    CLEAR = "clear"


_PLURALS = {"sessions": Scope.SESSION, "users": Scope.USER, "devices": Scope.DEVICE}
_PATH = re.compile(rf"/v1/({'|'.join(_PLURALS)})/([^/]+)/({'|'.join(Act)})")
ROUTES = {
    f"/v1/{plural}/{{id}}/{act}": (scope, act) for plural, scope in _PLURALS.items() for act in Act
}
"""The routes, as templates."""

_COMMON = frozenset({"reason", "id", "issuer", "user", "unseen", "wait", "timeout"})
_KNOWN = {
    Act.REVOKE: _COMMON,
    Act.MARK: _COMMON | {"contexts", "acr", "max_age", "confirm_risk"},
    Act.CLEAR: _COMMON | {"dismiss_risk"},
}
MAX_CONTEXTS = 99
LONGEST_AGE = 366 * 86400
"""Seconds."""


class Where(NamedTuple):
    """A route as a template, what is done, and to what: `raw` is its name as the path has it."""

    route: str
    act: Act
    scope: Scope
    raw: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order for an act.

    `name` is that of the session, user or device, `issuer` whose name it is (empty: not given);
    `user` narrows down a session that several users have. `id` empty: none was given. `unseen`:
    also where nobody has heard of it. `wait`: for every sidecar, so many seconds.

    A mark is for `contexts` (empty: all) and asks for `acr`, a level, strength or `acr` value
    (empty: as usual), at most `max_age` seconds old (negative: of any age). A mark may say besides
    that the risk is high (`confirm_risk`), and a clear that it is low (`dismiss_risk`).
    """

    act: Act
    scope: Scope
    name: str
    reason: str
    issuer: str = ""
    user: str = ""
    id: str = ""
    unseen: bool = False
    wait: float | None = None
    contexts: tuple[str, ...] = ()
    acr: str = ""
    max_age: int = -1
    confirm_risk: bool = False
    dismiss_risk: bool = False

    @property
    def content(self) -> str:
        """The digest of what it says, where it has an id: the same id means the same."""
        if not self.id:
            return ""
        said = msgspec.structs.replace(self, id="", wait=None, unseen=False)
        return content_digest(msgspec.json.encode(said))


def members_of(act: Act) -> frozenset[str]:
    """Return the members that the order of an act may have."""
    return _KNOWN[act]


def where_of(path: str) -> Where | None:
    """Return what a path asks for; None where it is no act."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    plural, raw, act = found.groups()
    return Where(f"/v1/{plural}/{{id}}/{act}", Act(act), _PLURALS[plural], raw)


def order_of(where: Where, body: bytes) -> Order:
    """Read what is wanted; raises `InvalidSignal`, in words that quote nothing."""
    try:
        values = strict_object(body)
    except ValueError:
        raise InvalidSignal("", "must be one JSON object without repeated members") from None
    strange = sorted(values.keys() - _KNOWN[where.act])
    if strange:
        known = ", ".join(sorted(_KNOWN[where.act]))
        raise InvalidSignal("", f"has a member that is not known here; known are {known}")
    if where.scope is not Scope.SESSION and values.get("user") is not None:
        raise InvalidSignal("user", "narrows down a session, and nothing else")
    return Order(
        act=where.act,
        scope=where.scope,
        name=_name(where),
        reason=_text(values, "reason", MAX_REASON, required=True),
        issuer=_text(values, "issuer"),
        user=_text(values, "user"),
        id=event_id(values.get("id"), ""),
        unseen=_flag(values, "unseen"),
        wait=wait_of(values),
        contexts=_contexts(values),
        acr=_text(values, "acr"),
        max_age=_age(values),
        confirm_risk=_flag(values, "confirm_risk"),
        dismiss_risk=_flag(values, "dismiss_risk"),
    )


def _name(where: Where) -> str:
    try:
        return name_of(unquote_to_bytes(where.raw).decode())
    except UnicodeDecodeError:
        raise InvalidSignal(where.scope, "must be UTF-8") from None
    except InvalidName as error:
        raise InvalidSignal(where.scope, str(error)) from None


def _text(
    values: Mapping[str, object], name: str, limit: int | None = None, *, required: bool = False
) -> str:
    value = values.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value.strip():
        raise InvalidSignal(name, "is required, as a text" if required else "must be a text")
    try:
        return name_of(value) if limit is None else name_of(value.strip(), limit)
    except InvalidName as error:
        raise InvalidSignal(name, str(error)) from None


def _contexts(values: Mapping[str, object]) -> tuple[str, ...]:
    named = values.get("contexts")
    if named is None:
        return ()
    if not isinstance(named, list) or not 1 <= len(named) <= MAX_CONTEXTS:
        raise InvalidSignal("contexts", f"must be a list of 1 to {MAX_CONTEXTS} names")
    if not all(isinstance(name, str) for name in named):
        raise InvalidSignal("contexts", "must hold names")
    try:
        return tuple(sorted({name_of(name) for name in named}))
    except InvalidName:
        raise InvalidSignal("contexts", "must hold names") from None


def _age(values: Mapping[str, object]) -> int:
    value = values.get("max_age")
    if value is None:
        return -1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_AGE:
        raise InvalidSignal("max_age", f"must be 1 to {LONGEST_AGE} seconds")
    return value


def _flag(values: Mapping[str, object], name: str) -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        raise InvalidSignal(name, "must be true or false")
    return value
