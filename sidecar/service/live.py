"""A session as this sidecar holds it: the records it depends on, its state, its standing."""

from collections.abc import Iterator
from typing import NamedTuple

from sidecar.domain.evaluator import Evaluator
from sidecar.domain.facts import Fact
from sidecar.domain.lattice import Record
from sidecar.domain.stamp import MICROSECONDS, Stamp
from sidecar.domain.standing import Standing
from sidecar.domain.state import State
from sidecar.service.assembly import assemble
from sidecar.wire.losses import lost_before, slot_of
from sidecar.wire.naming import SessionName, session_name

RESTANDING_INTERVAL = 1.0
"""Seconds for which a standing counts that may change by time alone."""


class Identity(NamedTuple):
    """What a session is known by, in plain text: whose names these are, its user, itself."""

    namespace: str
    user: str
    session: str


UNREAD = 1 << 62
"""The turn of a record that was not read yet."""


class Tracked:
    """One record, shared by the sessions that depend on it, and what the store lacks of it.

    `publish` is the channel on which its growth is told; `expire_at` is in unix milliseconds, and
    `expires_at` is when it was last seen to expire in the store (0: it never was there). `since` is
    the view's turn in which it was first read: from then on nothing of it was missed.
    """

    __slots__ = (
        "expire_at",
        "expires_at",
        "indexes",
        "key",
        "lives",
        "publish",
        "record",
        "since",
        "slot",
        "unsaved",
    )

    def __init__(self, key: bytes, publish: bytes | None = None) -> None:
        self.key = key
        self.publish = publish
        self.record: Record = {}
        self.lives: set[Live] = set()
        self.unsaved: Record = {}
        self.indexes: dict[tuple[bytes, bytes], int] = {}
        self.expire_at = 0
        self.expires_at = 0
        self.since = UNREAD
        self.slot = slot_of(key)


class Live:
    """A session in the view: its records, its state, its standing.

    `namespace` tells whose names `user`, `session` and its devices are.
    """

    __slots__ = (
        "_standing",
        "_standing_at",
        "channels",
        "coarse",
        "devices",
        "evaluator",
        "expires_at",
        "gone",
        "locator",
        "name",
        "namespace",
        "own",
        "seen_at",
        "session",
        "state",
        "token",
        "told",
        "user",
        "users",
    )

    def __init__(self, whose: Identity, own: Tracked, users: Tracked, locator: Tracked) -> None:
        self.namespace, self.user, self.session = whose
        self.name: SessionName = session_name(*whose)
        self.own = own
        self.users = users
        self.locator = locator
        self.devices: dict[str, Tracked] = {}
        self.state = State()
        self.evaluator: Evaluator | None = None
        self.expires_at = 0.0
        self.seen_at = 0.0
        self.channels: list[bytes] = []
        self.token: object = None
        self.told: tuple[object, ...] = ()
        self.coarse = "clear"
        self.gone = False
        self._standing: Standing | None = None
        self._standing_at = 0.0

    @property
    def identity(self) -> Identity:
        """What it is known by."""
        return Identity(self.namespace, self.user, self.session)

    @property
    def tracked(self) -> Iterator[Tracked]:
        """All records it depends on."""
        yield self.own
        yield self.users
        yield self.locator
        yield from self.devices.values()

    def refold(self, evaluator: Evaluator) -> None:
        """Fold everything anew: after a reload, a new device, or facts that came late."""
        others = [t.record for t in self.tracked if t is not self.own]
        self.state = assemble(evaluator, self.name.session, self.own.record, others).state
        floors = evaluator.floors
        self.state.lost = max(lost_before(t.record, floors.of(t.slot)) for t in self.tracked)
        self.evaluator = evaluator
        self._standing = None

    def advance(self, evaluator: Evaluator, facts: list[Fact]) -> None:
        """Take up new facts: one step if they are the latest, else all over again."""
        stamps: set[Stamp] = {fact.stamp for fact in facts}
        if self.evaluator is evaluator and len(stamps) == 1:
            after = self._advanced(evaluator, facts)
            if after is not None:
                self.state = after
                self._standing = None
                return
        self.refold(evaluator)

    def _advanced(self, evaluator: Evaluator, facts: list[Fact]) -> State | None:
        """The state after new facts; None where it must be folded from the beginning."""
        try:
            return evaluator.advance(self.name.session, self.state, facts)
        except Exception:  # noqa: BLE001 - what it is, `assemble` finds out and sets aside
            return None

    def standing(self, evaluator: Evaluator, now: float) -> Standing:
        """How the session stands at `now` (seconds)."""
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        standing = self._standing
        if standing is not None and not (
            standing.timed and abs(now - self._standing_at) >= RESTANDING_INTERVAL
        ):
            return standing
        standing = evaluator.standing(self.state, int(now * MICROSECONDS))
        self._standing, self._standing_at = standing, now
        return standing

    @property
    def missing_device(self) -> str:
        """The device the session is on, where its record is not tracked yet."""
        device = self.state.device
        return "" if not device or device in self.devices else device
