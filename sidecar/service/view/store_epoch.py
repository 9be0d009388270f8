"""Noticing that the store has lost something, so that a lost mark is not a cleared one.

Every server of the store has an *epoch*: a record with an id, made by the first sidecar that finds
none. Every `BEAT` seconds each sidecar counts a sign of its own life beside each, and every
`LOOK_EACH` times it looks at all of it: at the epoch, the rights that it has, and what the server
says of itself. Of a server it knows, it takes for a loss

    emptied    another epoch, or none
    restored   a sign of its own that was acknowledged and is not there any more: an older backup,
               or a replica that had not got everything
    evicted    more keys evicted than when it looked last
    vanished   a record in its view that is gone before its time, or began anew; the view is gone
               through within `sessions.revalidate_interval`

A count that is not beyond the one before shows the first two, and is looked into then and there. A
server that may evict, or with which anything is amiss, is looked at each time.

The epoch and the signs are also read behind the records of each session that comes into the view.

Then a *floor* is raised: a moment before which what was known of that server's slots may be lost.
A session of which any record is not known to be whole as of the floor must sign in anew before its
next sensitive call. Sidecars inform each other, by their channel and in each epoch's record; each
vouches for the records that it held all through the loss, and writes back what they lack.

What nobody can know: where all sidecars are new as well, an empty store is simply a new one.
"""

import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial

import trio

from sidecar.domain.values.lattice import Record
from sidecar.domain.values.loss import ALL_SLOTS, Floor, Floors
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.admin.echo import UNHEARD, Echo
from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import (
    StoreEvicts,
    StoreLoss,
    StoreLost,
    StoreWrittenBack,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import GuardedStore, Load, Loaded, Shard, Vitals
from sidecar.service.records.epochs import (
    SIGNS_LIVE,
    EpochRecords,
    epoch_in,
    evicted_in,
    signs_in,
    turn_in,
)
from sidecar.service.records.life_signs import LifeSigns
from sidecar.service.view.live_session import Tracked
from sidecar.service.view.view import View
from sidecar.wire.store.losses import floors_in, tag_of

BEAT = 1.75
"""Seconds between signs: with an answer's time a loss is noticed within two."""

PROMPT = 1.0
"""Seconds between signs where views may be stale for a few seconds only."""

LOOK_EACH = 12
"""Signs of which one is written with a look at all else."""

EPOCH_LIVES = 30 * 86400.0
"""Seconds for which an epoch is kept at least after the last look of any sidecar."""

KEEPS = "noeviction"
"""The one policy under which a server that is full forgets nothing."""


def pace_of(max_staleness: float) -> float:
    """Return the seconds between signs: some of them within what a view may be stale."""
    return min(BEAT, max(PROMPT, max_staleness / 5))


class _Known:
    """The knowledge of one server, as of the last look that found nothing amiss.

    `kept`: until when (ms) which epoch was last had to live. `turn` is that of the last look,
    `counted` that of the last sign, and `keeping` that in which it last was to evict nothing.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self.epoch = b""
        self.signs = LifeSigns(draw)
        self.counted = 0
        self.run = ""
        self.evicted = 0
        self.floor = 0
        self.turn = 0
        self.keeping = -math.inf
        self.looked = -float("inf")
        self.written = -float("inf")
        self.refusal = ""
        self.lacks = ""
        self.echo = Echo()
        self.kept = (b"", 0)
        self.looking = trio.Lock()

    def is_other(self, epoch: Mapping[bytes, bytes]) -> bool:
        """Return whether another epoch than the known one began, or it is gone."""
        return bool(self.epoch) and epoch_in(epoch) != self.epoch

    def is_older(self, signs: Mapping[bytes, bytes]) -> bool:
        """Return whether a sign of ours that was acknowledged is not there."""
        return self.signs.is_lost or not self.signs.have(signs_in(signs))

    def may_count(self, turn: int) -> bool:
        """Return whether a sign is enough this time: all was well, and it was looked at of late."""
        amiss = self.refusal or self.lacks or self.signs.is_lost or self.echo.is_waiting
        return bool(self.epoch) and not amiss and turn - self.turn < LOOK_EACH


class Guard:
    """Watches over the store for one sidecar.

    `max_staleness` and `revalidate_interval` (seconds) and `accepts_eviction` are asked for at each
    look. `trouble` is called with what is wrong, `refused` with why a server takes no writes;
    empty: nothing is. `listens` says whether the link for news is whole: then what is published
    must be heard.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        store: GuardedStore,
        view: View,
        records: EpochRecords,
        telemetry: Telemetry,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        ttl: Callable[[], float],
        max_staleness: Callable[[], float],
        revalidate_interval: Callable[[], float],
        accepts_eviction: Callable[[], bool],
        trouble: Callable[[str], None] = lambda _: None,
        refused: Callable[[str], None] = lambda _: None,
        listens: Callable[[], bool] = lambda: False,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._draw = draw
        self._listens = listens
        self._own = sidecar.encode()
        self._store = store
        self._view = view
        self._records = records
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._ttl = ttl
        self._max_staleness = max_staleness
        self._interval = revalidate_interval
        self._accepts_eviction = accepts_eviction
        self._trouble = trouble
        self._refused = refused
        self._known: dict[int, _Known] = {}
        self._shards: tuple[Shard, ...] = ()
        self._policies: dict[int, str | None] = {}
        self._to_mend = trio.Event()
        self._written = -math.inf
        self._lacks = ""

    # Looking

    async def check(self) -> None:
        """Look at all servers, as whenever the link is whole again. Raises `Unavailable`."""
        for error in await self._look_at_all():
            raise error

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look once a second, and write back after a loss, for ever.

        A server that does not answer holds up nobody's look at the others.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_doing, self._go_round, BEAT)
            nursery.start_soon(self._mend)
            task_status.started()
            while True:
                turn = self._next_turn()
                for shard in self._shards:
                    if not self._known_of(shard).looking.locked():
                        nursery.start_soon(self._keep_doing, partial(self._count, shard, turn), 0)
                await trio.sleep(pace_of(self._max_staleness()))

    async def _keep_doing(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do it, once or with pauses for ever; what goes wrong is counted, and on."""
        while True:
            try:
                await work()
            except (Unavailable, Overloaded):
                pass  # `staleness` shows it, and the next turn tries again
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="guard", error=error))
            if not pause:
                return
            await trio.sleep(pause)

    async def beat(self) -> None:
        """Look at all servers, and whether the next of the view's records are there still."""
        await self._look_at_all()
        with contextlib.suppress(Unavailable, Overloaded):
            await self._go_round()

    async def _go_round(self) -> None:
        vanished = await self._view.vanished(self._store, BEAT / self._interval())
        for shard in self._shards:
            if any(shard.has(tracked.slot) for tracked in vanished):
                await self._vanished(shard)

    async def _vanished(self, shard: Shard) -> None:
        try:
            await self._raise(shard, StoreLoss.VANISHED)
        except (Unavailable, Overloaded):
            return  # what has vanished was written back, and what has not is looked at again

    def _next_turn(self) -> int:
        self._shards = self._store.shards()
        self._view.turn += 1
        self._reckon()
        return self._view.turn

    def _known_of(self, shard: Shard) -> _Known:
        known = self._known.get(shard.slot)
        if known is None:
            known = self._known[shard.slot] = _Known(self._draw)
        return known

    def _reckon(self) -> None:
        """Work out since when every server takes our writes."""
        now, present = trio.current_time(), map(self._known_of, self._shards)
        written = (min(one.written, one.echo.silent_since(now)) for one in present)
        self._written = min(written, default=-math.inf)

    async def _look_at_all(self) -> list[Unavailable | Overloaded]:
        turn = self._next_turn()
        troubles: list[Unavailable | Overloaded] = []

        async def look(shard: Shard) -> None:
            try:
                await self._look(shard, turn)
            except (Unavailable, Overloaded) as error:
                troubles.append(error)

        async with trio.open_nursery() as nursery:
            for shard in self._shards:
                nursery.start_soon(look, shard)
        return troubles

    def evidence(self, slots: Collection[int]) -> list[Load]:
        """Return what to read behind records, so that it shows whether they were read whole."""
        concerned = [shard for shard in self._shards if any(map(shard.has, slots))]
        return [load for shard in concerned for load in self._records.loads(shard)]

    async def weigh(
        self, loads: Iterable[Load], loaded: Iterable[Loaded], absent: Collection[bytes]
    ) -> None:
        """Look at once where evidence shows a loss, or may hide one.

        Of records that are `absent` on a server that may evict, the count of evictions shows
        whether they were there. Raises `Unavailable`, `Overloaded`.
        """
        found = {one.key: answer.record for one, answer in zip(loads, loaded, strict=True)}
        for shard in self._shards:
            epoch, signs = (found.get(load.key) for load in self._records.loads(shard))
            known = self._known.get(shard.slot)
            if epoch is None or signs is None or known is None:
                continue
            evicts = self._policies.get(shard.slot, KEEPS) not in {KEEPS, None}
            may_hide = evicts and any(shard.has(self._records.slot(key)) for key in absent)
            if may_hide or known.is_other(epoch) or known.is_older(signs):
                await self._look(shard, self._view.turn)

    async def count(self) -> None:
        """Write a sign at all servers, and look at those at which that is not enough."""
        turn = self._next_turn()
        for shard in self._shards:
            await self._count(shard, turn)

    async def _count(self, shard: Shard, turn: int) -> None:
        known = self._known_of(shard)
        keeps = self._policies.get(shard.slot, KEEPS) in {KEEPS, None}
        await self._look(shard, turn, alone=keeps and known.may_count(turn))

    async def _look(self, shard: Shard, turn: int, *, alone: bool = False) -> None:
        """Look at a server; `alone`: a sign is enough, where its count is beyond the last."""
        known = self._known_of(shard)
        async with known.looking:
            try:
                if alone:
                    await self._sign(shard, known)
                if alone and not known.signs.is_lost:
                    known.counted, known.looked = turn, self._clock()
                else:
                    await self._examine(shard, known, turn)
            except Unavailable as error:
                known.refusal = str(error)
                raise
            finally:
                self._say_refusals()
                self._reckon()

    def _say_refusals(self) -> None:
        present = [self._known_of(shard) for shard in self._shards]
        now = trio.current_time()
        unheard = {UNHEARD for one in present if one.echo.silent_since(now) < now}
        self._lacks = "; ".join(sorted(({one.lacks for one in present} | unheard) - {""}))
        self._refused("; ".join(sorted(({one.refusal for one in present} | unheard) - {""})))

    @property
    def lacks(self) -> str:
        """The reason why what is written may reach nobody, in words; empty: none is known.

        A right is missing, or what is published is not heard.
        """
        return self._lacks

    async def _examine(self, shard: Shard, known: _Known, turn: int) -> None:
        known.lacks = await self._store.lacks(shard)
        if known.lacks:
            raise Unavailable(known.lacks)
        vitals = await self._store.vitals(shard)
        self._note_policy(shard, vitals)
        if vitals is not None and vitals.policy == KEEPS:
            known.keeping = turn
        epoch, signs = await self._records.look(shard)
        found = floors_in(epoch)
        is_reported = Floors(found).of(shard.slot) > known.floor and known.turn > 0
        loss = self._loss(known, epoch, signs, vitals)
        try:
            if loss is not None and not (is_reported and loss is not StoreLoss.EVICTED):
                epoch = await self._raise(shard, loss, epoch)
            elif not epoch_in(epoch):
                epoch = await self._begin(shard, ())
            self._take_up(floors_in(epoch))
        finally:
            # Signs that are lost with it must not be missed once more. Until the floor stands they
            # are: they show the loss to whoever brings a session into the view meanwhile.
            if loss is None and not known.is_older(signs):
                known.signs.found(signs_in(signs))
            else:
                known.signs.forget()
                known.kept = b"", 0
        await self._hand_on(shard, epoch, vitals)
        known.epoch = epoch_in(epoch)
        if vitals is not None:
            known.run, known.evicted = vitals.run, vitals.evicted
        known.floor = self._view.evaluator.floors.of(shard.slot)
        known.turn = known.counted = turn
        known.looked = self._clock()
        await self._sign(shard, known)

    def _loss(
        self, known: _Known, epoch: Record, signs: Record, vitals: Vitals | None
    ) -> StoreLoss | None:
        """Return what is amiss by what was found, if anything is."""
        away = self._clock() - known.looked
        if known.is_other(epoch):
            return StoreLoss.EMPTIED if away < self._epoch_lives / 2 else None
        if known.is_older(signs) and away < SIGNS_LIVE / 2:
            return StoreLoss.RESTORED
        if vitals is not None and epoch_in(epoch):
            counted = evicted_in(epoch, vitals.run)
            if vitals.evicted > max(counted, known.evicted if known.run == vitals.run else 0):
                return StoreLoss.EVICTED
        return None

    @property
    def _epoch_lives(self) -> float:
        return max(self._ttl(), EPOCH_LIVES)

    async def _sign(self, shard: Shard, known: _Known) -> None:
        """Count a sign of life, and have the epoch live on. What it comes to shows what was there.

        So what is restored between a look and this is noticed, too.
        """
        known.signs.begin(trio.current_time())
        try:
            # Confirmed: else a replica that takes over need not have it, and it would be missed.
            count = await self._write_sign(shard, known, confirmed=True)
        except (Unavailable, Overloaded):
            if await self._is_taken(shard, known):
                known.written = trio.current_time()  # though it is not counted on
        else:
            known.signs.acknowledged(count)
            known.written, known.refusal = trio.current_time(), ""
            if self._listens():
                known.echo.sent(known.written)
            else:
                known.echo.heard()

    async def _write_sign(self, shard: Shard, known: _Known, *, confirmed: bool) -> int:
        kept = known.epoch, self._epoch_expires()
        until = kept[1] if known.kept != kept else 0
        signs = known.signs
        count = await self._records.sign(shard, signs.step, signs.turn, until, confirmed=confirmed)
        known.kept = kept
        return count

    async def _is_taken(self, shard: Shard, known: _Known) -> bool:
        """Return whether a server takes a write at all, though no replica may have it."""
        try:
            await self._write_sign(shard, known, confirmed=False)
        except (Unavailable, Overloaded) as error:
            known.refusal = str(error)
            return False
        known.refusal = ""
        return True

    def staleness(self) -> float:
        """Seconds since every server took a write of ours; 0 before there is any to be asked.

        One that takes none takes none of the others' either: what they learn stays with them.
        """
        return trio.current_time() - self._written if self._shards else 0.0

    def channel(self, tag: str) -> bytes:
        """Return the channel on which a sidecar hears itself, at the server of this tag's slot.

        So that whoever may not publish, or not hear of it, finds that out at each look.
        """
        return self._records.channel(tag)

    def has_heard(self, key: bytes, fields: Mapping[bytes, bytes]) -> bool:
        """Take up news that are a sign of our own; False where they are of something else."""
        known = self._known_by(key)
        if known is None:
            return False
        known.echo.heard()
        if turn_in(fields) == known.signs.turn:
            known.signs.heard = known.signs.sent
        return True

    def heard_since(self, channel: bytes) -> float:
        """Return when the latest sign was sent that was heard on this channel of ours.

        What its server published before that has arrived, too.
        """
        known = self._known_by(channel)
        return -math.inf if known is None else known.signs.heard

    def _known_by(self, key: bytes) -> _Known | None:
        """Return the knowledge of the server at which this is our signs' key, and channel."""
        if not key.endswith(self._own):
            return None
        found = (one for one in self._shards if key == self.channel(tag_of(one.slot)))
        shard = next(found, None)
        return None if shard is None else self._known_of(shard)

    def _epoch_expires(self) -> int:
        """Unix milliseconds, by the hour: it need not be written at each look."""
        hour = 3600_000
        return (int((self._clock() + self._epoch_lives) * 1000) // hour + 1) * hour

    # What is reported to others

    async def _raise(
        self, shard: Shard, loss: StoreLoss, epoch: Mapping[bytes, bytes] | None = None
    ) -> Record:
        """Raise the floor of a server's slots; gives the record of the `epoch` that was found."""
        before = self._view.evaluator.floors
        moment = max(int(self._clock() * MICROSECONDS), 1 + before.of(shard.slot))
        spans = shard.spans if len(shard.spans) <= 8 else ((0, ALL_SLOTS - 1),)
        # A server that kept all is looked at now and then: some do not know since when it evicts.
        kept_of_late = self._view.turn - self._known_of(shard).keeping < 3 * LOOK_EACH
        vague = loss is StoreLoss.VANISHED or (loss is StoreLoss.EVICTED and kept_of_late)
        floors = [Floor(first, last, moment, vague) for first, last in spans]
        all_floors = before.joined(floors)
        is_gone = epoch is not None and not epoch_in(epoch)
        # Of two who find it empty at once, one begins the epoch; the other takes up its floor.
        try:
            began = await self._begin(shard, all_floors, anew=is_gone)
        except (Unavailable, Overloaded):
            self._take_up(
                floors, loss
            )  # the others cannot hear of it, and it counts here all the same
            raise
        is_ours = Floors(floors_in(began)).of(shard.slot) == moment
        self._take_up(floors_in(began), loss if is_ours else StoreLoss.REPORTED)
        await self._records.notify(all_floors, self._ttl())
        return began

    async def _begin(self, shard: Shard, floors: Iterable[Floor], *, anew: bool = True) -> Record:
        """Join floors into an epoch's record, with a new epoch if there is none; return it."""
        until = self._epoch_expires()
        if anew:
            record = await self._records.begin(shard, floors, self._new_id(), until)
        else:
            record = await self._records.raise_floors(shard, floors, until)
        if not epoch_in(record):  # it went in this very moment
            return await self._begin(shard, floors)
        return record

    async def _hand_on(self, shard: Shard, epoch: Record, vitals: Vitals | None) -> None:
        """Have the epoch's record say what others must know: all floors, what was evicted."""
        run, evicted = (vitals.run, vitals.evicted) if vitals is not None else ("", 0)
        floors, until = self._view.evaluator.floors, self._epoch_expires()
        await self._records.hand_on(shard, epoch, floors, run, evicted, until)

    def heard(self, fields: Mapping[bytes, bytes]) -> None:
        """Take up another sidecar's floors."""
        self._take_up(floors_in(fields))

    def _take_up(self, found: Iterable[Floor], loss: StoreLoss = StoreLoss.REPORTED) -> None:
        before = self._view.evaluator.floors
        since = (self._clock() - self._ttl()) * MICROSECONDS  # older facts are forgotten anyway
        taken = (one for one in found if one.moment > since)
        floors = before.joined(map(self._records.widened, taken))
        if floors == before:
            return
        news = [one for one in floors if one not in before]
        slots = tuple((first, last) for first, last, *_ in news)
        moment = max(one.moment for one in news)
        self._telemetry.record(StoreLost(loss=loss, floor=moment / MICROSECONDS, slots=slots))
        is_fresh = self._view.staleness() <= self._max_staleness()
        signs_show = loss is not StoreLoss.EVICTED
        self._view.lose(
            floors,
            lambda tracked: is_fresh and self._was_held(tracked, floors, signs_show=signs_show),
        )
        self._to_mend.set()
        self._say()

    def _was_held(self, tracked: Tracked, floors: Floors, *, signs_show: bool) -> bool:
        """Return whether a record was read before the last look that found its server whole.

        `signs_show`: the last sign would have shown this loss as well as a look.
        """
        shard = next((one for one in self._shards if one.has(tracked.slot)), None)
        known = self._known.get(shard.slot) if shard is not None else None
        if known is None:
            return False
        # What vanished may have done so at any time since the last round of looks.
        since = 2 * self._interval() / pace_of(self._max_staleness())
        rounds = int(since) + 2 if floors.is_vague(tracked.slot) else 0
        return tracked.since < (known.counted if signs_show else known.turn) - rounds

    # What is written back

    async def _mend(self) -> None:
        while True:
            await self._to_mend.wait()
            began = trio.current_time()
            try:
                await self.mend()
            except (Unavailable, Overloaded):
                self._to_mend.set()
                await trio.sleep(BEAT / 4)
                continue
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="guard", error=error))
            # A store that keeps evicting must not keep all sidecars busy with reading their views.
            await trio.sleep(10 * (trio.current_time() - began))

    async def mend(self) -> None:
        """Write back what the view holds and the store lacks. Raises `Unavailable`."""
        self._to_mend = trio.Event()
        records = await self._view.revalidate()
        self._say()
        self._telemetry.record(StoreWrittenBack(records=records))
        turns = Turns()
        for live in self._view:
            self._view.note(live)
            await turns.give_way()

    def _note_policy(self, shard: Shard, vitals: Vitals | None) -> None:
        """Log of each server, once and when it changes, that it may evict, or does not say."""
        policy = vitals.policy if vitals is not None else None
        if self._policies.get(shard.slot, KEEPS) != policy:
            self._telemetry.record(StoreEvicts(policy=policy or "", slots=shard.spans))
        self._policies[shard.slot] = policy
        self._say()

    def remind(self) -> None:
        """Say once more what servers do when they are full: the configuration was read again."""
        self._policies.clear()

    def _say(self) -> None:
        """Say what is wrong now; empty: nothing is."""
        evicting = sorted({one for one in self._policies.values() if one not in {KEEPS, None}})
        if evicting and not self._accepts_eviction():
            words = (
                f"the store may evict records (maxmemory-policy {', '.join(map(str, evicting))})"
            )
            self._trouble(f"{words}: make it {KEEPS}, or set store.eviction to accept")
        elif self._to_mend.is_set():
            self._trouble("the store has lost records: what the view has is written back")
        else:
            self._trouble("")
