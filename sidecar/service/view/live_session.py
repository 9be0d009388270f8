"""A session as this sidecar holds it: the records it depends on, its state, its standing."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.facts import Fact, SetAside
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.standing import Standing
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.view.fold_records import Culprit, assemble, checkpoint_of
from sidecar.wire.store.keys import SessionName, session_name
from sidecar.wire.store.losses import lost_before

RESTANDING_INTERVAL = 1.0
"""Seconds for which a standing counts that may change by time alone."""


class Identity(NamedTuple):
    """The names of a session, in plain text: its namespace, its user, itself."""

    namespace: str
    user: str
    session: str


UNREAD = 1 << 62
"""The turn of a record that was not read yet."""


class Tracked:
    """One record, shared by the sessions that depend on it, and what the store lacks of it.

    `publish` is the channel for news of its growth; `expire_at` is in unix milliseconds, and
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

    def __init__(self, key: bytes, slot: int, publish: bytes | None = None) -> None:
        self.key = key
        self.publish = publish
        self.record: Record = {}
        self.lives: set[Live] = set()
        self.unsaved: Record = {}
        self.indexes: dict[tuple[bytes, bytes], int] = {}
        self.expire_at = 0
        self.expires_at = 0
        self.since = UNREAD
        self.slot = slot


JUDGED_BOUND = 8
"""Tokens of a session, and seconds of sign-ins, whose standing is remembered."""


class Live:
    """A session in the view: its records, its state, its standing, and those of its tokens.

    `namespace` says whose names `user`, `session` and its devices are.
    """

    __slots__ = (
        "_behind",
        "_culprits",
        "_earlier",
        "_judged",
        "_latest",
        "_standing",
        "_standing_at",
        "_state",
        "audited",
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
        "presented",
        "seen_at",
        "session",
        "token",
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
        self._state = State(issuer=self.namespace)
        self._culprits: tuple[Culprit, ...] = ()
        self._behind: Evaluator | None = None
        self.evaluator: Evaluator | None = None
        self.expires_at = 0.0
        self.seen_at = 0.0
        self.channels: list[bytes] = []
        self.token: object = None
        self.audited: tuple[object, ...] = ()
        self.coarse = "clear"
        self.gone = False
        self._standing: Standing | None = None
        self._standing_at = 0.0
        self._judged: dict[Presented, tuple[Standing, float]] = {}
        self._latest: tuple[Presented, Standing, float] | None = None
        self.presented: tuple[object, object, str, Presented] | None = None
        self._earlier: dict[int, State] = {}

    @property
    def state(self) -> State:
        """Return what its records say, folded; if it has fallen behind them, it is folded now."""
        if self._behind is not None:
            self.refold(self._behind)
        return self._state

    @property
    def culprits(self) -> tuple[Culprit, ...]:
        """Return what had to be set aside for the state."""
        if self._behind is not None:
            self.refold(self._behind)
        return self._culprits

    @property
    def is_behind(self) -> bool:
        """True where its records have what its state has not: then it keeps no standing either.

        What comes meanwhile needs no second notice: all of it is folded with the rest.
        """
        return self._behind is not None

    def fall_behind(self, evaluator: Evaluator) -> None:
        """Leave what has come to whoever next asks for the state.

        One record may be that of thousands of sessions, which cannot all be folded at once.
        """
        self._behind = evaluator
        self._standing = None
        self._forget_judged()
        self._earlier.clear()

    @property
    def identity(self) -> Identity:
        """Return what it is known by."""
        return Identity(self.namespace, self.user, self.session)

    @property
    def tracked(self) -> Iterator[Tracked]:
        """All records it depends on."""
        yield self.own
        yield self.users
        yield self.locator
        yield from self.devices.values()

    def has_elsewhere(self, tracked: Tracked, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Return whether other records than this one hold all of these fields, as they are."""
        others = [one.record for one in self.tracked if one is not tracked]
        return all(any(one.get(f) == value for one in others) for f, value in fields)

    def refold(self, evaluator: Evaluator) -> None:
        """Fold everything anew: after a reload, a new device, or facts that came late."""
        self._state, self._culprits = self._folded(evaluator)
        self._behind = None
        self.evaluator = evaluator
        self._standing = None
        self._forget_judged()
        self._earlier.clear()

    def _folded(
        self, evaluator: Evaluator, until: int | None = None
    ) -> tuple[State, tuple[Culprit, ...]]:
        others = [t.record for t in self.tracked if t is not self.own]
        records, issuer = (self.own.record, others), self.namespace
        folded = assemble(evaluator, self.name.session, *records, until, issuer=issuer)
        state, floors = folded.state, evaluator.floors
        state.lost = max(lost_before(t.record, floors.of(t.slot)) for t in self.tracked)
        return state, folded.culprits

    def checkpoint(self, evaluator: Evaluator) -> Checkpoint | None:
        """Return a new checkpoint if it is time for one."""
        return checkpoint_of(
            evaluator,
            self.name.session,
            self.own.record,
            [tracked.record for tracked in self.tracked if tracked is not self.own],
            lambda: (self.state, self.culprits),
            issuer=self.namespace,
        )

    def advance(self, evaluator: Evaluator, facts: list[Fact]) -> None:
        """Take up new facts: one step if they are the latest, else all over again."""
        if self._behind is not None:
            return  # its records have them, and are folded when they are asked for
        stamps: set[Stamp] = {fact.stamp for fact in facts}
        if self.evaluator is evaluator and len(stamps) == 1:
            after = self._advanced(evaluator, facts, self.state)
            if after is not None:
                earlier = self._earlier
                self._earlier = {}
                for until, state in earlier.items():
                    then = self._advanced(evaluator, facts, state, until)
                    if then is not None:
                        self._earlier[until] = then
                self._state = after
                aside = (fact.stamp for fact in facts if isinstance(fact, SetAside))
                self._culprits += tuple(map(Culprit, aside))
                self._standing = None
                self._forget_judged()
                return
        self.refold(evaluator)

    def _advanced(
        self, evaluator: Evaluator, facts: list[Fact], state: State, until: int | None = None
    ) -> State | None:
        """Return the state after new facts; None where it must be folded from the beginning."""
        try:
            return evaluator.advance(self.name.session, state, facts, until)
        except Exception:  # noqa: BLE001 - what it is, `assemble` finds out and sets aside
            return None

    def standing(self, evaluator: Evaluator, now: float) -> Standing:
        """Return how the session stands at `now` (seconds)."""
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        standing = self._standing
        if standing is not None and _counts(standing, self._standing_at, now):
            return standing
        standing = evaluator.standing(self.state, int(now * MICROSECONDS))
        self._standing, self._standing_at = standing, now
        return standing

    def _forget_judged(self) -> None:
        self._judged.clear()
        self._latest = None

    def judged(self, evaluator: Evaluator, now: float, presented: Presented) -> Standing:
        """Return how a call stands at `now` (seconds) whose token shows this.

        See `Evaluator.standing`.
        """
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        latest = self._latest
        if latest is not None and latest[0] is presented and _counts(latest[1], latest[2], now):
            return latest[1]
        known = self._judged.get(presented)
        if known is None or not _counts(*known, now):
            state = self.as_of(evaluator, presented)
            known = evaluator.standing(state, int(now * MICROSECONDS), presented=presented), now
            _remember(self._judged, presented, known)
        self._latest = (presented, *known)
        return known[0]

    def as_of(self, evaluator: Evaluator, presented: Presented | None) -> State:
        """Return the state by which a call is judged whose token shows this (None: it has none)."""
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        until = None if presented is None else evaluator.until(self.state, presented)
        if until is None:
            return self.state
        state = self._earlier.get(until)
        if state is None:
            state, _ = self._folded(evaluator, until)
            _remember(self._earlier, until, state)
        return state

    @property
    def missing_device(self) -> str:
        """The device the session is on, where its record is not tracked yet."""
        device = self.state.device
        return "" if not device or device in self.devices else device


def _counts(standing: Standing, at: float, now: float) -> bool:
    """Return whether a standing of then counts now, where no new fact has come."""
    return not standing.timed or abs(now - at) < RESTANDING_INTERVAL


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _remember(memory: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep the latest few."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > JUDGED_BOUND:
        del memory[next(iter(memory))]
