"""A session as this sidecar holds it: the records it depends on, its state, its standing."""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from sidecar.domain.evaluation.decision import coarse
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import Fact, SetAside
from sidecar.domain.session.presented import Presented, is_of_session
from sidecar.domain.session.standing import Standing
from sidecar.domain.session.state import Checkpoint, State
from sidecar.domain.values.lattice import Record
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.service.compact.packing import Packing
from sidecar.service.view.fold_records import Culprit, assemble, new_checkpoint
from sidecar.service.view.upkeep.fullness import room_in
from sidecar.wire.store.keys import SessionName, session_name
from sidecar.wire.store.losses import lost_before
from sidecar.wire.store.records import folded_of, holds_fact

RESTANDING_INTERVAL = 1.0
"""Seconds for which a standing counts that may change by time alone, where nobody knows when."""


class Identity(NamedTuple):
    """The names of a session, in plain text: its namespace, its user, itself."""

    namespace: str
    user: str
    session: str


UNREAD = 1 << 62
"""The turn of a record that was not read yet."""

Fields: TypeAlias = Mapping[bytes, bytes]
Entries: TypeAlias = Mapping[tuple[bytes, bytes], int]

NO_FIELDS: Fields = MappingProxyType({})
NO_ENTRIES: Entries = MappingProxyType({})

_NOTHING = NO_FIELDS, NO_ENTRIES  # what the store lacks of nearly all records


class Tracked:
    """One record, shared by the sessions that depend on it, and what the store lacks of it.

    `publish` is the channel for news of its growth; `expire_at` is in unix milliseconds, and
    `expires_at` is when it was last seen to expire in the store (0: it never was there). `since` is
    the view's turn in which it was first read: from then on nothing of it was missed. `unsaved` and
    `indexes` are replaced, never changed. `packing`: None where it is no part of a view, and stays
    unpacked. `room` is how much may still grow before a group of it may be nearly full (`room_in`);
    0: it must be gone through to know.
    """

    __slots__ = (
        "_lacks",
        "_lives",
        "_packed",
        "_packing",
        "_record",
        "expire_at",
        "expires_at",
        "key",
        "publish",
        "room",
        "since",
        "slot",
    )

    def __init__(
        self,
        key: bytes,
        slot: int,
        publish: bytes | None = None,
        packing: Packing | None = None,
    ) -> None:
        self.key = key
        self.publish = publish
        self._packing = packing
        self._record: Record | None = None
        self._packed: bytes | None = b""
        self._lives: Live | set[Live] | None = None
        self._lacks: tuple[Fields, Entries] = _NOTHING
        self.expire_at = 0
        self.expires_at = 0
        self.room = 0
        self.since = UNREAD
        self.slot = slot

    @property
    def record(self) -> Record:
        """The record. It is replaced, never changed."""
        record = self._record
        if record is None:
            packing, packed = self._packing, self._packed
            if packing is None or not packed:
                return {}
            record = self._record = packing.packers.unpack_record(packed)
            packing.note_record(self)
        return record

    @record.setter
    def record(self, record: Record) -> None:
        self._record = record or None
        self._packed = None if record else b""
        for live in self.lives:
            live.audited = 0
        if record and self._packing is not None:
            self._packing.note_record(self)

    def pack(self) -> None:
        """Hold the record packed."""
        record, packing = self._record, self._packing
        if record is not None and packing is not None:
            if self._packed is None:
                self._packed = packing.packers.pack_record(record)
            self._record = None

    @property
    def is_empty(self) -> bool:
        """True where there is nothing in it; it is not unpacked to know."""
        return not (self._record or self._packed)

    @property
    def is_packed(self) -> bool:
        """True where nobody has asked for the record lately."""
        return self._record is None

    @property
    def unsaved(self) -> Fields:
        """The fields that the store lacks."""
        return self._lacks[0]

    @unsaved.setter
    def unsaved(self, fields: Fields) -> None:
        self._lacks = (fields, self.indexes) if fields or self.indexes else _NOTHING

    @property
    def indexes(self) -> Entries:
        """The entries of indexes that the store lacks."""
        return self._lacks[1]

    @indexes.setter
    def indexes(self, entries: Entries) -> None:
        self._lacks = (self.unsaved, entries) if entries or self.unsaved else _NOTHING

    def lack(self, fields: Fields) -> None:
        """Note that the store lacks these fields."""
        if fields:
            self.unsaved = {**self.unsaved, **fields}

    def list_in(self, entries: Entries) -> None:
        """Note that the store lacks these entries of indexes."""
        self.indexes = {**self.indexes, **entries}

    def put_back(self, fields: Fields, entries: Entries) -> None:
        """Note that the store lacks these still; what is newer here stays."""
        known = self.unsaved
        self.lack({f: value for f, value in fields.items() if known.get(f, b"") < value})
        self.indexes = {**entries, **self.indexes}

    @property
    def lives(self) -> "Collection[Live]":
        """The sessions that depend on it. Nearly all records are of one session."""
        lives = self._lives
        if lives is None:
            return ()
        return lives if isinstance(lives, set) else (lives,)

    def add(self, live: "Live") -> None:
        """Have a session depend on it."""
        lives = self._lives
        if lives is None:
            self._lives = live
        elif isinstance(lives, set):
            lives.add(live)
        elif lives is not live:
            self._lives = {lives, live}

    def discard(self, live: "Live") -> None:
        """Have a session depend on it no longer."""
        lives = self._lives
        if lives is live:
            self._lives = None
        elif isinstance(lives, set):
            lives.discard(live)
            if not lives:
                self._lives = None


_VERSIONS = itertools.count(1)

JUDGED_BOUND = 8
"""Tokens of a session, and seconds of sign-ins, whose standing is remembered."""


class Published(Protocol):
    """The decisions about calls of a session that others may read without asking."""

    def withdraw(self) -> None:
        """Have none of them believed any more; it is done when this returns."""


class Live:
    """A session in the view: its records, its state, its standing, and those of its tokens.

    `namespace` says whose names `user`, `session` and its devices are. `version` is another one, in
    all the view, whenever its state or what it is judged by has changed. `due` is when time may
    next change how it stands. `coarse` is how it stood when it was last looked at, in a word; it is
    empty where nobody has looked yet. `standing_number` is another one whenever it stands anew;
    `stepped` and `audited` are that when it was last looked at (0: that must be done again).
    `folded_as` is its version as it was read, and the digest of its facts (`upkeep.kept_folds`);
    None: the store had none.

    Its state lies packed unless it is one of those that were asked for last (`packing`; None: it is
    no session of a view, and stays unpacked).
    """

    __slots__ = (
        "_behind",
        "_culprits",
        "_devices",
        "_earlier",
        "_judged",
        "_latest",
        "_packed",
        "_packing",
        "_standing",
        "_standing_at",
        "_state",
        "audited",
        "coarse",
        "due",
        "evaluator",
        "expires_at",
        "folded_as",
        "gone",
        "locator",
        "namespace",
        "own",
        "presented",
        "published",
        "seen_at",
        "session",
        "standing_number",
        "stepped",
        "token",
        "user",
        "users",
        "version",
    )

    def __init__(
        self,
        whose: Identity,
        own: Tracked,
        users: Tracked,
        locator: Tracked,
        packing: Packing | None = None,
    ) -> None:
        self.namespace, self.user, self.session = whose
        self.own = own
        self.users = users
        self.locator = locator
        self._devices: tuple[str | Tracked, ...] = ()  # a name, its record, the next name
        self._packing = packing
        self._state: State | None = None
        self._packed: bytes | None = None
        self._culprits: tuple[Culprit, ...] = ()
        self._behind: Evaluator | None = None
        self.evaluator: Evaluator | None = None
        self.expires_at = 0.0
        self.due = math.inf
        self.seen_at = 0.0
        self.token: object = None
        self.audited = 0
        self.stepped = 0
        self.standing_number = 0
        self.coarse = "clear"
        self.folded_as: tuple[int, bytes] | None = None
        self.gone = False
        self.version = next(_VERSIONS)
        self._standing: Standing | None = None
        self._standing_at = 0.0
        self._judged: dict[Presented, tuple[Standing, float]] | None = None
        self._latest: tuple[Presented, Standing, float] | None = None
        self.presented: tuple[object, object, str, Presented] | None = None
        self.published: Published | None = None
        self._earlier: dict[int, State] | None = None

    @property
    def state(self) -> State:
        """Return what its records say, folded; if it has fallen behind them, it is folded now."""
        if self._behind is not None:
            self.refold(self._behind)
        state = self._state
        if state is None:
            if self._packing is None or self._packed is None:
                return State(issuer=self.namespace)  # nothing of it was folded yet
            state = self._packing.packers.unpack_state(self._packed)
            self._hold(state, self._packed)
        return state

    @property
    def is_packed(self) -> bool:
        """True where nobody has asked for the state lately."""
        return self._state is None

    def _hold(self, state: State, packed: bytes | None = None) -> None:
        self._state, self._packed = state, packed
        if self._packing is not None and not self.gone:
            self._packing.note_state(self)

    def pack(self) -> None:
        """Hold its state packed, and of what follows from it what the latest call was judged by.

        All else is derived again once it is asked for.
        """
        state, packing = self._state, self._packing
        if state is None or packing is None:
            return
        if self._behind is None and self._packed is None:
            self._packed = packing.packers.pack_state(state)
        self._state = None
        self._standing = self._judged = self._earlier = None

    def forget(self) -> None:
        """Remember no longer by what the latest call was judged."""
        self._latest = self.presented = None

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

    @property
    def is_audited(self) -> bool:
        """True where nothing of it can be left to log, but for what time brings."""
        return 0 != self.audited == self.standing_number and self._behind is None

    def fall_behind(self, evaluator: Evaluator) -> None:
        """Leave what has come to whoever next asks: one record may be that of thousands."""
        self._behind = evaluator
        self._forget_standing()
        self._earlier = None

    @property
    def name(self) -> SessionName:
        """Return its name in the store: kept by none of many, as it follows from what it is."""
        return session_name(self.namespace, self.user, self.session)

    @property
    def devices(self) -> dict[str, Tracked]:
        """Return the records of its devices. Most sessions have one, which takes less as a pair."""
        pairs = self._devices
        return dict(zip(pairs[::2], pairs[1::2], strict=True))  # type: ignore[arg-type]  # likewise

    def put_device(self, device: str, tracked: Tracked) -> None:
        """Have it depend on the record of a device."""
        devices = self.devices
        devices.pop(device, None)
        devices[device] = tracked
        self._devices = tuple(one for pair in devices.items() for one in pair)

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
        yield from self._devices[1::2]  # type: ignore[misc]  # each second is a record

    @property
    def channels(self) -> Iterable[bytes]:
        """Return the channels on which it is heard of its records, each once."""
        return dict.fromkeys(one.publish for one in self.tracked if one.publish is not None)

    def has_elsewhere(self, tracked: Tracked, fields: Record) -> bool:
        """Return whether another record than this one has the facts of these fields, as they are.

        What is said of a session lies in its own record and in its locator; what is said of users
        and devices in no other. So no other record need be unpacked to know.
        """
        if tracked is self.own:
            other = self.locator
        elif tracked is self.locator:
            other = self.own
        else:
            return False
        if other.is_empty:
            return False
        record = other.record
        return all(record.get(f) == value for f, value in fields.items() if holds_fact(f))

    def refold(self, evaluator: Evaluator) -> None:
        """Fold everything anew: after a reload, a new device, or facts that came late."""
        state, self._culprits = self._folded(evaluator)
        self._behind = None
        self._hold(state)
        self.evaluator = evaluator
        self._forget_standing()
        self._earlier = None

    def resume(self, evaluator: Evaluator, packed: bytes) -> None:
        """Take up a state that is known to be what its records come to by this evaluator."""
        self._state, self._packed = None, packed
        self.evaluator = evaluator
        self._forget_standing()

    def to_resume(self, evaluator: Evaluator) -> bytes | None:
        """Return its state, packed; None where its records may come to another one."""
        if self._behind is not None or self.evaluator is not evaluator or self._culprits:
            return None
        state, packing = self._state, self._packing
        if self._packed is None and state is not None and packing is not None:
            return packing.packers.pack_state(state)
        return self._packed

    def _folded(
        self, evaluator: Evaluator, until: int | None = None
    ) -> tuple[State, tuple[Culprit, ...]]:
        floors = evaluator.floors
        tracked = tuple(self.tracked)
        lost = max([lost_before(t.record, floors.of(t.slot)) for t in tracked])
        if all(t.is_empty for t in tracked):  # as of every session that is new
            return State(issuer=self.namespace, lost=lost), ()
        others = [t.record for t in tracked if t is not self.own]
        records, issuer = (self.own.record, others), self.namespace
        folded = assemble(evaluator, self.name.session, *records, until, issuer=issuer)
        folded.state.lost = lost
        return folded.state, folded.culprits

    def checkpoint(self, evaluator: Evaluator) -> Checkpoint | None:
        """Return a new checkpoint if it is time for one."""
        if not self._is_nearly_full():
            return None
        return new_checkpoint(
            evaluator,
            self.name.session,
            self.own.record,
            [tracked.record for tracked in self.tracked if tracked is not self.own],
            (self.state, self.culprits),
            issuer=self.namespace,
        )

    def _is_nearly_full(self) -> bool:
        """Return whether it is time for a checkpoint: only records that have no room are looked at.

        What other sessions share with this one, they ask for themselves.
        """
        for tracked in self.tracked:
            if tracked.room or tracked.is_empty:
                continue
            room = room_in(tracked.record, folded_of(self.own.record))
            if not room:
                return True
            if len(tracked.lives) <= 1:
                tracked.room = room
        return False

    def advance(self, evaluator: Evaluator, facts: list[Fact]) -> None:
        """Take up new facts: one step if they are the latest, else all over again."""
        if self._behind is not None:
            return  # its records have them, and are folded when they are asked for
        stamps: set[Stamp] = {fact.stamp for fact in facts}
        if self.evaluator is evaluator and len(stamps) == 1:
            after = self._advanced(evaluator, facts, self.state)
            if after is not None:
                earlier = self._earlier or {}
                then = {
                    until: self._advanced(evaluator, facts, state, until)
                    for until, state in earlier.items()
                }
                self._earlier = {until: one for until, one in then.items() if one} or None
                self._hold(after)
                aside = (fact.stamp for fact in facts if isinstance(fact, SetAside))
                self._culprits += tuple(map(Culprit, aside))
                self._forget_standing()
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
        self.standing_number = next(_VERSIONS)
        return standing

    def word(self, evaluator: Evaluator, now: float) -> str:
        """Return how it stood when it was last looked at, in a word; now, if nobody has yet."""
        if not self.coarse:
            self.coarse = coarse(self.standing(evaluator, now), now)
        return self.coarse

    def _forget_standing(self) -> None:
        self.version = next(_VERSIONS)
        self._standing = self._judged = self._latest = None
        self.withdraw()

    def withdraw(self) -> None:
        """Withdraw what is published of the session: it is no longer known to hold."""
        if self.published is not None:
            self.published.withdraw()
            self.published = None

    def judged(self, evaluator: Evaluator, now: float, presented: Presented) -> Standing:
        """Return how a call stands at `now` (seconds) whose token shows this.

        See `Evaluator.standing`.
        """
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        latest = self._latest
        if latest is not None and latest[0] is presented and _counts(latest[1], latest[2], now):
            return latest[1]
        known = None if self._judged is None else self._judged.get(presented)
        if known is None or not _counts(*known, now):
            if is_of_session(presented, self.state):
                known = self.standing(evaluator, now), self._standing_at
            else:
                state = self.as_of(evaluator, presented)
                known = evaluator.standing(state, int(now * MICROSECONDS), presented=presented), now
            self._judged = _remembered(self._judged, presented, known)
        self._latest = (presented, *known)
        if self._packing is not None and not self.gone:
            self._packing.note_judged(self)
        return known[0]

    def as_of(self, evaluator: Evaluator, presented: Presented | None) -> State:
        """Return the state by which a call is judged whose token shows this (None: it has none)."""
        if self.evaluator is not evaluator:
            self.refold(evaluator)
        until = None if presented is None else evaluator.until(self.state, presented)
        if until is None:
            return self.state
        state = None if self._earlier is None else self._earlier.get(until)
        if state is None:
            state, _ = self._folded(evaluator, until)
            self._earlier = _remembered(self._earlier, until, state)
        return state

    @property
    def missing_device(self) -> str:
        """The device the session is on, where its record is not tracked yet."""
        device = self.state.device
        return "" if device in self._devices[::2] else device


def _counts(standing: Standing, at: float, now: float) -> bool:
    """Return whether a standing of then counts now, where no new fact has come."""
    until = standing.until
    return until is None or abs(now - at) < RESTANDING_INTERVAL or at <= now < until / MICROSECONDS


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _remembered(memory: dict[_Key, _Value] | None, key: _Key, value: _Value) -> dict[_Key, _Value]:
    """Return the latest few, with one more."""
    if memory is None:
        return {key: value}
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > JUDGED_BOUND:
        del memory[next(iter(memory))]
    return memory
