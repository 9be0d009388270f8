"""The sessions that this sidecar serves, in memory: what a check reads instead of the store.

A session comes into the view at its first check, and stays until it expires or must make room.
From then on every join by any sidecar reaches `View.hear` as news, which is the same join made
here; so the view needs no reading back, and a check no waiting. When news may have been missed,
`revalidate` reads every record again before the view counts as fresh.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import trio

from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.session.standing import Standing
from sidecar.domain.values.lattice import Record, join
from sidecar.domain.values.loss import Floors
from sidecar.domain.values.namespaces import Namespaces
from sidecar.service.audit.turns import Turns
from sidecar.service.compact.namesakes import Namesakes
from sidecar.service.compact.packing import Packing
from sidecar.service.compact.records import RecordTables
from sidecar.service.observations.observations import Telemetry, ViewEvicted, WorkerFailed
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.ports.store import Load, News, Reader, Shards
from sidecar.service.records.writes import Write
from sidecar.service.view.changes import Changes
from sidecar.service.view.growth import Growth, NewFacts, grow, has_room, spread
from sidecar.service.view.live_session import UNREAD, Identity, Live, Tracked
from sidecar.service.view.upkeep.departed import Departed
from sidecar.service.view.upkeep.kept_folds import KeptFolds
from sidecar.service.view.upkeep.lagging import Lagging
from sidecar.service.view.upkeep.rereading import Rereading
from sidecar.service.view.upkeep.set_aside import SetAsideCounter
from sidecar.service.view.watchers import Watches, Words
from sidecar.service.view.witness import Witness
from sidecar.wire.store.entries import Encoded, Said, encode
from sidecar.wire.store.event_keys import event_field
from sidecar.wire.store.keys import SessionName, StoreKeys, digest, member_of_user, session_name
from sidecar.wire.store.losses import vouched
from sidecar.wire.store.records import owners_of

AT_ONCE = 8
"""Sessions of one record that are folded as it grows; of more, all soon, or once asked for."""

BROUGHT_INTERVAL = 1.0
"""Seconds for which it counts as known who has a session: others may have come to have it since."""


class View:
    """All sessions of this sidecar, judged by `evaluator`; `use` and `lose` replace it.

    `waiting` gives what waits for the store of a record, as events in the spool do.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        store: Reader,
        news: News,
        names: StoreKeys,
        evaluator: Evaluator,
        watches: Watches,
        telemetry: Telemetry,
        clock: Callable[[], float],
        bound: int,
        namespaces: Callable[[], Namespaces] = Namespaces,
        waiting: Callable[[bytes], Record] = lambda _: {},
    ) -> None:
        self.evaluator = evaluator
        self._store = store
        self._news = news
        self._names = names
        self._watches = watches
        self._telemetry = telemetry
        self._clock = clock
        self._bound = bound
        self._namespaces = namespaces
        self._waiting = waiting
        self._lives: OrderedDict[tuple[str, str, str], Live] = OrderedDict()
        self._namesakes = Namesakes()
        self._brought: dict[str, float] = {}
        self._records = RecordTables()
        self._opening: dict[Identity, trio.Event] = {}
        self._dirty: dict[bytes, Tracked] = {}
        self._has_dirty = trio.Event()
        self.packing = Packing()
        self._lagging = Lagging(self._catch_up)
        self._departed = Departed(bound)
        self.kept_folds = KeptFolds()
        self._words = Words(watches, self._namesakes, lambda: self.evaluator, clock)
        self._set_aside = SetAsideCounter(telemetry)
        self._rereading = Rereading(
            store=store,
            records=self._records,
            clock=clock,
            hear=self.hear,
            keep=self._keep,
            refused=self._refused,
        )
        self.began = self._rereading.began
        self.turn = 0
        self.changes = Changes(self.__iter__)
        self.witness: Witness | None = None
        self.stepped: Callable[[Live, Standing, float], None] = lambda _, __, ___: None

    def use(self, evaluator: Evaluator) -> None:
        """Judge by these policies from now on; each session is folded anew when next looked at."""
        self.evaluator = evaluator.above(self.evaluator.floors)
        self.changes.add_all()

    def keep_namespaces(self) -> None:
        """Let go the sessions of namespaces that no issuer speaks for any more."""
        known = self._namespaces().all
        for live in self:
            if live.namespace not in known:
                self.drop(live)

    def lose(self, floors: Floors, was_held: Callable[[Tracked], bool]) -> None:
        """Take up what the store has lost; each session is judged by it when next looked at.

        `was_held`: whether a record was held here all through the loss, and so is whole.
        """
        before = self.evaluator.floors
        for tracked in self._records.in_turn():
            floor, known = floors.of(tracked.slot), before.of(tracked.slot)
            if floor > known and was_held(tracked):
                # These only grow, and there is one of each: no need of a whole join.
                tracked.record = {**tracked.record, **vouched(tracked.record, floor, known)}
        self.evaluator = self.evaluator.above(floors)
        self._departed.forget()
        self.changes.add_all()

    def __len__(self) -> int:
        return len(self._lives)

    @property
    def limit(self) -> int:
        """Return how many sessions are held at most; more are read when they are asked for."""
        return self._bound

    @limit.setter
    def limit(self, limit: int) -> None:
        self._bound = limit
        self._make_room()

    def __iter__(self) -> Iterator[Live]:
        return iter(tuple(self._lives.values()))

    def find(self, namespace: str, user: str, session: str) -> Live | None:
        """Return the session if it is in the view."""
        key = (namespace, user, session)  # equal to its `Identity`, and made in less time
        live = self._lives.get(key)
        if live is not None:
            self._lives.move_to_end(key)
        return live

    def find_session(
        self, session: str, namespaces: Collection[str] | None = None
    ) -> tuple[Live, ...]:
        """Return all sessions of this identifier in these namespaces (None: all), of any user."""
        found = self._namesakes.of(session)
        return tuple(one for one in found if namespaces is None or one.namespace in namespaces)

    def held(self, name: SessionName) -> Live | None:
        """Return the session of this name, where all of it is here and the store lacks nothing."""
        own = self._records.get(self._names.session_record(name))
        live = next((one for one in own.lives if one.own is own), None) if own else None
        if live is None or self._lives.get(live.identity) is not live:
            return None
        if live.missing_device or any(tracked.unsaved for tracked in live.tracked):
            return None
        return live

    def staleness(self) -> float:
        """Seconds since it was last certain that the view had all news."""
        heard = self._news.staleness()
        return heard if self.witness is None else max(heard, self.witness.staleness())

    async def open(self, namespace: str, user: str, session: str, device: str = "") -> Live:
        """Bring a session into the view. Raises `Unavailable` where the store cannot give it.

        Callers that ask for the same session at once share one reading.
        """
        key = Identity(namespace, user, session)
        while (under_way := self._opening.get(key)) is not None:
            await under_way.wait()
        live = self.find(*key)
        if live is not None:
            if device or live.missing_device:
                await self._attach(live, device or live.missing_device)
            return live
        (live,) = await self._open({key: device})
        return live

    async def open_all(self, wanted: Mapping[Identity, str]) -> None:
        """Bring sessions, each with its device, into the view together: those that are not there.

        It takes one round trip to follow them all and one to read them all. Raises `Unavailable`,
        and then none has come: each can still be opened by itself.
        """
        strangers = {
            whose: device
            for whose, device in wanted.items()
            if whose not in self._lives and whose not in self._opening
        }
        if strangers:
            await self._open(strangers)

    async def _open(self, wanted: Mapping[Identity, str]) -> list[Live]:
        done = trio.Event()
        self._opening.update(dict.fromkeys(wanted, done))
        try:
            lives = await self._read(wanted)
            for live in lives:
                self._lives[live.identity] = live
                self._namesakes.add(live)
                self.changes.add(live)
            self._make_room()
            return lives
        finally:
            for whose in wanted:
                del self._opening[whose]
            done.set()

    async def bring(self, session: str) -> None:
        """Take all sessions of this identifier into the view, that are known and can be read."""
        now = self._clock()
        if 0 <= now - self._brought.get(session, -math.inf) < BROUGHT_INTERVAL:
            return
        namespaces = self._namespaces().all
        locators = [self._names.locator(digest(each, session)) for each in namespaces]
        try:
            located = await self._store.load(*map(Load, locators))
            for namespace, answer in zip(namespaces, located, strict=True):
                for owner in owners_of(answer.record):
                    await self.open(namespace, owner.user, session)
            if session in self._namesakes:
                self._brought[session] = now
        except (Unavailable, Overloaded):
            return  # its first check brings it

    async def _read(self, wanted: Mapping[Identity, str]) -> list[Live]:
        lives: list[Live] = []
        followed: list[bytes] = []
        turns = Turns(share=1)  # their calls wait for it
        try:
            lives += [self._unfolded(whose, device) for whose, device in wanted.items()]
            # Followed before they are read: what grows in between comes as news, and twice at most.
            # Were they read first, what grew between the two would be in neither.
            channels = [channel for live in lives for channel in live.channels]
            await self._news.follow(*channels)
            followed = channels
            await self._load(*dict.fromkeys(one for live in lives for one in live.tracked))
            turns.begin()
            for live in lives:
                if live is not lives[0]:
                    await turns.give_way()
                self.kept_folds.fold(live, self.evaluator)
                self._set_aside.note(live)
                if live.missing_device:
                    await self._attach(live, live.missing_device)
                self._departed.recall(live, self._clock())
                self._words.begin(live)
        except BaseException:
            for live in lives:
                self._untrack(live, follows=bool(followed))
            raise
        return lives

    def _unfolded(self, whose: Identity, device: str) -> Live:
        """Make a session of records that are yet to be read."""
        name = session_name(*whose)
        channel = self._names.user_channel(name.user)
        own = self._track(self._names.session_record(name), channel)
        users = self._track(self._names.user_record(name.user), channel, own.slot)
        locator = self._track(self._names.locator(name.session), None)
        live = Live(whose, own, users, locator, self.packing)
        if device:
            live.put_device(device, self._device_of(live, device))
        for tracked in live.tracked:
            tracked.add(live)
        return live

    def unread(self, whose: Identity, device: str, shown: Iterable[Fact] = ()) -> Live:
        """Make a session that cannot be read now, of what is known here and a call has `shown`.

        It is no session of the view: nothing that is learned reaches it, and nothing of it is kept.
        """
        name = session_name(*whose)
        own = self._known(self._names.session_record(name))
        own.record = join(own.record, encode(shown).fields)
        users = self._known(self._names.user_record(name.user))
        live = Live(whose, own, users, self._known(self._names.locator(name.session)))
        if device:
            key = self._names.device_record(digest(live.namespace, device))
            live.put_device(device, self._known(key))
        live.refold(self.evaluator)
        return live

    def remember(self, whose: Identity, facts: Iterable[Fact], expire_at: int) -> None:
        """Have facts of a session that cannot be read now saved, once that can be."""
        fields = encode(facts).fields
        name = session_name(*whose)
        own = self._new(self._names.session_record(name), self._names.user_channel(name.user))
        own.record, own.expire_at = fields, expire_at
        self._keep(own, fields)

    def _known(self, key: bytes) -> Tracked:
        """Return a copy of a record as far as it is known here."""
        copy = Tracked(key, self._names.slot(key))
        for tracked in (self._records.get(key), self._dirty.get(key)):
            if tracked is not None:
                copy.record = join(copy.record, join(tracked.record, tracked.unsaved))
                copy.since = min(copy.since, tracked.since)
        copy.record = join(copy.record, self._waiting(key))
        return copy

    async def _load(self, *tracked: Tracked) -> None:
        evidence = self.witness.evidence({one.slot for one in tracked}) if self.witness else []
        loaded = await self._store.load(*(Load(one.key) for one in tracked), *evidence)
        records, shown = loaded[: len(tracked)], loaded[len(tracked) :]
        for one, answer in zip(tracked, records, strict=True):
            if answer.record:
                one.record, one.room = join(one.record, answer.record), 0
            one.since = min(one.since, self.turn)
        if self.witness:
            absent = [one.key for one in tracked if not one.record]
            await self.witness.weigh(evidence, shown, absent)

    async def _attach(self, live: Live, device: str) -> None:
        if device in live.devices:
            return
        tracked = self._device_of(live, device)
        # From here on news of the device reaches the record, though the session is not yet on it.
        tracked.add(live)
        channels = () if tracked.publish is None else (tracked.publish,)
        attached = followed = False
        try:
            await self._news.follow(*channels)
            followed = True
            await self._load(tracked)
            attached = not live.gone
        finally:
            if not attached:
                for channel in channels if followed else ():
                    self._news.unfollow(channel)
                tracked.discard(live)
                self._forget(tracked)
        if attached:
            live.put_device(device, tracked)
            live.refold(self.evaluator)
            self.changes.add(live)

    def _device_of(self, live: Live, device: str) -> Tracked:
        named = digest(live.namespace, device)
        return self._track(self._names.device_record(named), self._names.device_channel(named))

    def device(self, device: str) -> Tracked:
        """Return a device's record (by digest) to write to, also where no session is on it."""
        key = self._names.device_record(device)
        channel = self._names.device_channel(device)
        return self._records.get(key) or self._dirty.get(key) or self._new(key, channel)

    def _new(self, key: bytes, publish: bytes | None = None, slot: int | None = None) -> Tracked:
        slot = self._names.slot(key) if slot is None else slot
        return Tracked(key, slot, publish, self.packing)

    def _track(self, key: bytes, publish: bytes | None, slot: int | None = None) -> Tracked:
        """Return a record, to be read if it is new; `slot`: where it is known, and held already."""
        tracked = self._records.get(key)
        if tracked is None:
            tracked = self._dirty.get(key) or self._new(key, publish, slot)
            self._records.put(tracked)
            tracked.since = UNREAD  # what became of it while nobody followed it is not known
        return tracked

    def _untrack(self, live: Live, *, follows: bool = True) -> None:
        live.gone = True
        self._words.leave(live)
        self.changes.add(live)
        self.packing.leave(live)
        for tracked in live.tracked:
            tracked.discard(live)
            self._forget(tracked)
        self._namesakes.discard(live)
        if live.session not in self._namesakes:
            self._brought.pop(live.session, None)
        for channel in live.channels if follows else ():
            self._news.unfollow(channel)

    def _forget(self, tracked: Tracked) -> None:
        if not tracked.lives and self._records.get(tracked.key) is tracked:
            self._records.discard(tracked.key)
            self.packing.records.discard(tracked)

    def _make_room(self) -> None:
        evicted = 0
        passes = len(self._lives)
        while len(self._lives) > self._bound and passes:
            passes -= 1
            key, live = self._lives.popitem(last=False)
            if self._watches.wants(live.session):
                self._lives[key] = live
                continue
            self.kept_folds.note(live, self.evaluator)
            self._untrack(live)
            self._departed.note(live)
            evicted += 1
        if evicted:
            self._telemetry.record(ViewEvicted(sessions=evicted))

    def drop(self, live: Live) -> None:
        """Let a session go, as it has expired."""
        if self._lives.pop(live.identity, None) is not None:
            self._untrack(live)

    def _refused(self, tracked: Tracked, error: StoreRefused) -> None:
        """Let the sessions of a record go that the store refuses to read."""
        self._telemetry.record(WorkerFailed(where="view", error=error))
        for live in tuple(tracked.lives):
            self.drop(live)

    def has_event(self, key: bytes, event: str) -> bool:
        """Return whether the view lacks nothing of an event that went into this record.

        A record that is not in the view lacks nothing: whoever needs it will read it.
        """
        tracked = self._records.get(key)
        return tracked is None or event_field(event) in tracked.record

    def has_room(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Return whether a record is here, and known to have room for these fields (`growth`)."""
        return has_room(self._records.get(key), fields)

    def hear(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Join what the store says of a record: news, an answer, a reading.

        Return whether any of it was news here.
        """
        growth = grow(self._records.get(key), fields)
        if growth is not None:
            news: NewFacts = {}
            self._spread(growth, self._set_aside.facts_of(growth.fields), news)
            self._fold_in(news)
        return growth is not None

    def learn(self, *writes: Write) -> None:
        """Join what is written here, of which nothing is decoded, and fold each session once."""
        news: NewFacts = {}
        for write in writes:
            self._take_up(write.key, write.said, news)
        self._fold_in(news)

    def _take_up(self, key: bytes, said: Encoded, news: NewFacts) -> None:
        growth = grow(self._records.get(key), said.fields)
        if growth is not None:
            self._spread(growth, said.facts_in(growth.fields), news)

    def _spread(self, growth: Growth, facts: list[Fact], news: NewFacts) -> None:
        if not facts and growth.was_logged:  # without that, what has ended since is no news
            for live in growth.tracked.lives:
                self.changes.add(live)
        if len(growth.tracked.lives) <= AT_ONCE:
            spread(growth, facts, news)
        elif facts or growth.has_vouchers:
            self._lagging.leave(growth.tracked.lives, self.evaluator)

    def _fold_in(self, news: NewFacts) -> None:
        for live, facts in news.items():
            self.changes.add(live)
            if facts is None:
                live.refold(self.evaluator)
                self.note(live)
            else:
                self._advance(live, facts)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fold what has fallen behind and notify its watchers, for ever, and give way meanwhile."""
        await self._lagging.run(task_status=task_status)

    def _catch_up(self, live: Live) -> None:
        if not live.gone:
            self.changes.add(live)
            try:
                self.note(live)
            except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
                self._telemetry.record(WorkerFailed(where="fold", error=error))
                self.drop(live)

    def _advance(self, live: Live, facts: list[Fact]) -> None:
        try:
            live.advance(self.evaluator, facts)
            self.note(live)
        except Exception as error:  # noqa: BLE001 - one session's trouble is not the others'
            # Out of the view: its next check reads it again, and is refused if that fails too.
            self._telemetry.record(WorkerFailed(where="fold", error=error))
            self.drop(live)

    def write(self, *sayings: tuple[Tracked, Iterable[Said]]) -> None:
        """Take up what this sidecar says of records: here at once, soon in the store (`WriteBack`).

        Each session is folded once, however many of its records have something new.
        """
        by_record: dict[Tracked, list[Said]] = {}
        for tracked, said in sayings:
            by_record.setdefault(tracked, []).extend(said)
        news: NewFacts = {}
        kept: list[tuple[Tracked, Tracked]] = []
        for tracked, all_said in by_record.items():
            encoded = encode(all_said)
            kept.append((tracked, self._keep(tracked, encoded.fields)))
            self._take_up(tracked.key, encoded, news)
        self._fold_in(news)
        for tracked, saved in kept:
            for live in tuple(tracked.lives):
                if live.own is tracked:
                    self._fold_for_good(live)
            # What fell out of the record behind a checkpoint need not be saved any more.
            if len(saved.unsaved) > len(tracked.record):
                saved.unsaved = {f: v for f, v in saved.unsaved.items() if f in tracked.record}

    def _fold_for_good(self, live: Live) -> None:
        """Have a checkpoint made before the record lets facts go: checks can bring many of them."""
        checkpoint = live.checkpoint(self.evaluator)
        if checkpoint is not None:
            fields = encode((checkpoint,)).fields
            self._keep(live.own, fields)
            live.own.record = join(live.own.record, fields)

    def list_session(self, live: Live, until: int, device: str = "") -> None:
        """List a session among those of its user, or of a device (by digest), until then (ms)."""
        name = live.name
        if device:
            tracked, index = self.device(device), self._names.device_index(device)
            member = str(name).encode()
        else:
            tracked, index = live.own, self._names.user_index(name.user)
            member = member_of_user(name)
        self._keep(tracked, {}).list_in({(index, member): until})

    def _keep(self, tracked: Tracked, fields: Mapping[bytes, bytes]) -> Tracked:
        """Have fields saved. A record may have left the view and come back meanwhile."""
        kept = self._dirty.setdefault(tracked.key, self._records.get(tracked.key) or tracked)
        kept.lack(fields)
        kept.expire_at = max(kept.expire_at, tracked.expire_at)
        self._has_dirty.set()
        return kept

    @property
    def has_unsaved(self) -> bool:
        """Return whether there is something that the store does not know yet."""
        return bool(self._dirty)

    async def take_unsaved(self) -> list[Tracked]:
        """Wait until there is something that the store does not know yet; take all of it.

        It is bounded by what is tracked: a session that changes often waits once.
        """
        await self._has_dirty.wait()
        self._has_dirty = trio.Event()
        taken, self._dirty = list(self._dirty.values()), {}
        return taken

    def put_back(
        self,
        tracked: Tracked,
        fields: Mapping[bytes, bytes],
        indexes: Mapping[tuple[bytes, bytes], int],
    ) -> None:
        """Undo `take_unsaved` for a record that could not be saved."""
        self._keep(tracked, {}).put_back(fields, indexes)

    def note(self, live: Live) -> None:
        """Have the history know of new facts, and watchers if the session stands otherwise."""
        now = self._clock()
        standing = live.standing(self.evaluator, now)
        self.stepped(live, standing, now)
        self._words.note(live, standing, now)

    async def revalidate(self) -> int:
        """Read all records again, as news may have been missed; see `Rereading`."""
        return await self._rereading.revalidate()

    async def vanished(self, store: Shards, share: float) -> list[Tracked]:
        """Look whether the next records in turn are in the store still; see `Rereading`."""
        return await self._rereading.vanished(store, share)
