"""Taking events while the store is away: on the disk first, into the store when it is back.

    event --> intake ----------------------------------> "ok"
                 '-- the store is away, or does not answer
                       '--> disk --> this sidecar's view --> "ok, spooled"
                              '-- when the store is back --> intake

An event that is spooled takes effect here at once: the checks of this sidecar are judged by it.
The others learn of it when it is replayed.

Once the store is back, events go there directly, past those that still wait. That does no harm: a
session's state is a function of the *set* of its facts, ordered by the events' own stamps
(`domain.session.fold`), so it does not matter in which order they arrive. For the same reason an
event that the store cannot take yet holds up no other, and one that it refuses for good becomes a
dead letter after some tries. Replaying is idempotent, as an event id counts once: a crash between
acceptance and removal costs work, and changes nothing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from sidecar.domain.facts.signal import SessionRevoked, Signal
from sidecar.service.intake.dead_letters import DeadLetters, describe
from sidecar.service.intake.intake import Intake
from sidecar.service.intake.outcomes import AcceptedOrNot, accept_each
from sidecar.service.observations.observations import (
    DeadReason,
    SpoolReplayed,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.backoff import spread
from sidecar.service.ports.calls import Accepted, Overloaded, StoreRefused, Unavailable
from sidecar.service.records.spooled_facts import Pending, key_of
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.store.worklog import Letter, enclose

CONCURRENT = 64
"""Events that are replayed at a time: fresh ones find room in the store's queue beside them."""

FRUITLESS = 256
"""So many failures without a success end a pass over the spool."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
LOOK_AGAIN = 30.0
"""How often (seconds) the spool is looked at though nothing is known to wait in it."""


class SpoolFull(Overloaded):
    """The spool has no room for an event that is needed so much."""


class Spool(Protocol):
    """Keeps events on disk, in segments that are handed on in order."""

    @property
    def waiting(self) -> int:
        """Return how many events have not been accepted yet."""

    async def keep(self, signal: Signal) -> None:
        """Return once it is durable. Raises `SpoolFull`, `Unavailable`."""

    async def segments(self) -> list[int]:
        """Return the segments that can be read, oldest first."""

    async def read(self, segment: int) -> list[Signal]:
        """Return the events of a segment, in order. Raises `Unavailable`."""

    def accepted(self, signal: Signal) -> None:
        """Note that one of a segment that was read need not wait any longer."""

    async def remove(self, segment: int) -> None:
        """Remove a segment of which all was accepted. Raises `Unavailable`."""


class SpoolFallback:
    """Takes events as `Intake` does, and keeps them where the store does not.

    `away` says that no part of the store is known to answer; then it is not asked at all, and a
    sender need not wait for its time-out. An event that fails for its own sake `tries` times goes
    to the dead `letters`.
    """

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        intake: Intake,
        spool: Spool,
        pending: Pending,
        away: Callable[[], bool],
        telemetry: Telemetry,
        letters: DeadLetters,
        tries: Callable[[], int],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._intake = intake
        self._letters = letters
        self._tries = tries
        self._spool = spool
        self._pending = pending
        self._away = away
        self._telemetry = telemetry
        self._jitter = jitter
        self._replaying = trio.Lock()
        self._done: dict[int, set[int]] = {}
        self._failures: dict[tuple[int, int], int] = {}
        self._fruitless = 0
        self._wake = trio.Event()

    @property
    def waiting(self) -> int:
        """Return how many events wait for the store."""
        return self._spool.waiting

    async def accept(self, signal: Signal) -> Accepted:
        """Make an event durable, and see to it that it takes effect.

        Raises `Overloaded` where the spool is full, `Unavailable` where neither store nor disk
        can keep it, `InvalidSignal` where nobody knows whom it concerns: then nothing is
        acknowledged.
        """
        self._intake.attributed(signal)  # what concerns nobody is refused, whatever else is amiss
        if self._away():
            return await self._keep_all(signal)
        try:
            return await self._intake.accept(signal)
        except (Unavailable, Overloaded) as error:
            return await self._fall_back(signal, error)

    async def accept_all(self, signals: Sequence[Signal]) -> list[AcceptedOrNot]:
        """Take several as `accept` does, together while the store is there; each fails alone."""
        if self._away():
            return await accept_each(self.accept, signals)
        outcomes = await self._intake.accept_all(signals)
        failed = {
            id(signal): outcome
            for signal, outcome in zip(signals, outcomes, strict=True)
            if isinstance(outcome, Unavailable | Overloaded)
        }
        if not failed:
            return outcomes

        async def fall_back(signal: Signal) -> Accepted:
            return await self._fall_back(signal, failed[id(signal)])

        left = [signal for signal in signals if id(signal) in failed]
        again = iter(await accept_each(fall_back, left))
        return [
            next(again) if id(signal) in failed else outcome
            for signal, outcome in zip(signals, outcomes, strict=True)
        ]

    async def _fall_back(self, signal: Signal, error: Unavailable | Overloaded) -> Accepted:
        """Keep what the store has not taken; raises `error` where it is to be sent again."""
        # The disk is no queue before the store; but a revocation is the last to be refused.
        overloaded = isinstance(error, Overloaded) and not self._away()
        if overloaded and not isinstance(signal, SessionRevoked):
            raise error
        return await self._keep_all(signal)

    async def _keep_all(self, signal: Signal) -> Accepted:
        kept = [await self._keep(one) for one in self._intake.attributed(signal)]
        return Accepted(signal.stamp.id, duplicate=not any(kept), spooled=True)

    async def _keep(self, signal: Signal) -> bool:
        """Keep an event on the disk; False where it waits there already."""
        if key_of(signal) in self._pending:
            return False
        await self._spool.keep(signal)
        self._learn(signal)
        self._wake.set()
        return True

    def _learn(self, signal: Signal) -> None:
        # Before any checkpoint: nobody hears of the event while this sidecar does not know it.
        if key_of(signal) not in self._pending:
            self._pending.add(key_of(signal), self._intake.learn_locally(signal))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Replay for ever. Started once what an earlier daemon left is known here."""
        await self.recall()
        task_status.started()
        pause = FIRST_PAUSE
        while True:
            self._wake = trio.Event()
            if not self._away() and await self.replay():
                pause = FIRST_PAUSE
                with trio.move_on_after(LOOK_AGAIN):
                    await self._wake.wait()
            else:
                await trio.sleep(spread(pause, self._jitter()))
                pause = min(LONGEST_PAUSE, pause * 2)

    async def recall(self) -> None:
        """Have what an earlier daemon left take effect here."""
        for segment in await self._spool.segments():
            try:
                for signal in await self._spool.read(segment):
                    self._learn(signal)
            except Unavailable:
                continue  # logged by the spool, and tried again when it is replayed

    async def replay(self) -> bool:
        """Hand to the store what waits, once; True where nothing is left."""
        async with self._replaying:
            self._fruitless = 0
            tally = _Tally()
            for segment in await self._spool.segments():
                try:
                    tally.whole &= await self._replay(segment, tally)
                except Unavailable:
                    tally.whole = False  # the disk's trouble: logged by the spool
            if tally.events:
                self._telemetry.record(
                    SpoolReplayed(
                        events=tally.events, duplicates=tally.duplicates, left=self.waiting
                    )
                )
            return tally.whole

    async def _replay(self, segment: int, tally: "_Tally") -> bool:
        """Hand in what of a segment is not yet; True where all of it is."""
        if self._is_futile():
            return False
        signals = await self._spool.read(segment)
        done = self._done.setdefault(segment, set())
        places = [place for place in range(len(signals)) if place not in done]

        async def hand_in(place: int) -> None:
            if await self._hand_in(signals[place], (segment, place), tally):
                done.add(place)

        for start in range(0, len(places), CONCURRENT):
            if self._is_futile():
                return False
            async with trio.open_nursery() as nursery:
                for place in places[start : start + CONCURRENT]:
                    nursery.start_soon(hand_in, place)
        if len(done) < len(signals):
            return False
        await self._spool.remove(segment)
        del self._done[segment]
        return True

    def _is_futile(self) -> bool:
        return self._away() or self._fruitless >= FRUITLESS

    async def _hand_in(self, signal: Signal, where: tuple[int, int], tally: "_Tally") -> bool:
        """Hand an event to the store; True where it need not wait any longer."""
        try:
            accepted = await self._intake.accept(signal)
        except (StoreRefused, InvalidSignal) as error:
            self._fruitless += 1
            return await self._failed(signal, where, DeadReason.REFUSED, str(error))
        except (Unavailable, Overloaded):
            self._fruitless += 1
            return False
        except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
            self._fruitless += 1
            self._telemetry.record(WorkerFailed(where="spool", error=error))
            return await self._failed(signal, where, DeadReason.FAILED, describe(error))
        self._fruitless = 0
        tally.events += 1
        tally.duplicates += accepted.duplicate
        self._over(signal, where)
        return True

    async def _failed(
        self, signal: Signal, where: tuple[int, int], reason: DeadReason, error: str
    ) -> bool:
        """Return an event failed for its own sake: after so many times it becomes a dead letter."""
        tries = self._failures[where] = self._failures.get(where, 0) + 1
        if tries < self._tries():
            return False
        letter = Letter(0.0, "", "", 0, signal.kind, signal.stamp.id, enclose(signal))
        try:
            if not await self._letters.bury(reason, error, tries, letter):
                return False
        except (Unavailable, Overloaded):
            return False
        self._over(signal, where)
        return True

    def _over(self, signal: Signal, where: tuple[int, int]) -> None:
        self._failures.pop(where, None)
        self._spool.accepted(signal)
        self._pending.drop(key_of(signal))


@dataclass
class _Tally:
    """The tally of one pass over the spool."""

    events: int = 0
    duplicates: int = 0
    whole: bool = True
