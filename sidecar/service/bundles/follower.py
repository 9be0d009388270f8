"""Follows which bundle of policies the store names, and has it at hand before it is in force."""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import trio

from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.bundles.library import BundleLibrary
from sidecar.service.bundles.ports import PolicySets
from sidecar.service.bundles.turnover import Turnover
from sidecar.service.observations.bundles import BundleInForce, BundleNamed, BundleRefused
from sidecar.service.observations.observations import (
    FactsSetAside,
    SetAsideReason,
    Telemetry,
    WorkerFailed,
)
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import News
from sidecar.service.records.generations import GenerationRecords
from sidecar.wire.bundles.bundle import Bundle
from sidecar.wire.bundles.generations import (
    ACTIVE,
    SEALED,
    Generation,
    PolicyAct,
    encode,
    field_of,
    generations_in,
)
from sidecar.wire.bundles.refusal import FORGED, BundleFlaw, InvalidBundle
from sidecar.wire.yaml.tree import ConfigError

LOOK = 1.0
"""Seconds between two looks at the record; news of it bring one at once."""

LOOK_IN_TURN = 0.1
"""The same while a turn is under way."""

UNSEALED = 2.0
"""Seconds after its moment at which a generation is sealed by whoever sees that nobody has."""

AHEAD = 0.7
"""Seconds between an activation and the moment from which it is in force."""

RETRIES = (0.2, 30.0)
"""The first and the longest pause before a bundle is tried again that could not be had."""

READY, IN_FORCE = "ready", "in-force"
"""The stages at which sidecars say that they have a generation."""


class BundleFollower:
    """One sidecar's part. `judge` is called with why calls are not judged, and with what limps."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        sidecar: str,
        records: GenerationRecords,
        news: News,
        library: BundleLibrary,
        turnover: Turnover,
        sets: PolicySets,
        telemetry: Telemetry,
        clock: Callable[[], float],
        max_staleness: Callable[[], float],
        judge: Callable[[str, str], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sidecar = sidecar.encode()
        self._records = records
        self._news = news
        self._library = library
        self._turnover = turnover
        self._sets = sets
        self._telemetry = telemetry
        self._clock = clock
        self._max_staleness = max_staleness
        self._judge = judge
        self._jitter = jitter
        self._look_now = trio.Event()
        self._work_now = trio.Event()
        self._enlisted = float("-inf")
        self._tried: set[int] = set()
        self._ended: set[int] = set()
        self._reasons: dict[int, str] = {}

    def heard(self, key: bytes, _fields: Mapping[bytes, bytes]) -> bool:
        """Take up news of the record; False where they are of another."""
        if key != self._records.key:
            return False
        self._look_now.set()
        return True

    def reconsider(self) -> None:
        """Have what is at hand looked at again: the configuration is another."""
        self._tried.clear()
        self._ended.clear()
        self._work_now.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow, for ever; take leave at the end."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_following)
                nursery.start_soon(self._keep_looking)
                nursery.start_soon(self._keep_working)
                nursery.start_soon(self._keep_turning)
                task_status.started()
        finally:
            with trio.move_on_after(0.5, shield=True), suppress(Unavailable, Overloaded):
                await self._records.leave(self._sidecar)

    async def _keep_following(self) -> None:
        while True:
            try:
                await self._news.follow(self._records.channel)
            except (Unavailable, Overloaded):
                await trio.sleep(0.2)
            else:
                self._look_now.set()
                return

    # Looking

    async def _keep_looking(self) -> None:
        while True:
            self._look_now = trio.Event()
            try:
                await self.look()
            except (Unavailable, Overloaded):
                pass
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="bundles", error=error))
            self._report()
            with trio.move_on_after(LOOK_IN_TURN if self._turnover.is_open else LOOK):
                await self._look_now.wait()

    async def look(self) -> None:
        """Read which generation is named. Raises `Unavailable`, `Overloaded`."""
        await self._enlist()
        asked = trio.current_time()
        record = await self._records.load()
        now = int(self._clock() * MICROSECONDS)
        known = self._turnover.named
        named = generations_in(record, now)
        self._turnover.take(named, asked)
        if named.unread > known.unread:
            self._telemetry.record(
                FactsSetAside(reason=SetAsideReason.VERSION, facts=named.unread, group="policies")
            )
        await self._give_back(known.latest, known.sealed, named.latest)
        pending = self._turnover.pending
        unsealed = pending is not None and named.sealed is None
        if unsealed and pending and now > pending.moment + UNSEALED * MICROSECONDS:
            await self._records.seal(pending.term, now + int(AHEAD * MICROSECONDS))
            self._look_now.set()
        if any(one.term not in self._tried for one in self._turnover.wanted()):
            self._work_now.set()

    async def _enlist(self) -> None:
        life = max(24.0, 2.4 * self._max_staleness())
        if trio.current_time() - self._enlisted > life / 4:
            await self._records.enlist(self._sidecar, life)
            self._enlisted = trio.current_time()

    async def _give_back(
        self, known: Generation | None, sealed: int | None, latest: Generation | None
    ) -> None:
        """Give the store back what it has lost: a bundle does not go out of force by that."""
        if known is None or (latest is not None and latest.term >= known.term):
            return
        fields = {field_of(ACTIVE, known.term): encode(known, known.term)}
        if sealed is not None:
            fields[field_of(SEALED, known.term)] = encode(sealed, known.term)
        await self._records.join(fields)

    def _report(self) -> None:
        turnover = self._turnover
        bad, latest = turnover.trouble(), turnover.named.latest
        reason = "" if latest is None else self._reasons.get(latest.term, "")
        in_force = turnover.in_force
        limps = ""
        if latest is not None:
            waits = in_force is None or in_force.term < latest.term
            if waits and reason:
                limps = f"bundle {latest.sequence} is refused here: {reason}"
            self._telemetry.record(BundleNamed(sequence=latest.sequence, waits=waits))
        self._judge(f"{bad}: {reason}" if bad and reason else bad, limps)

    # Having at hand

    async def _keep_working(self) -> None:
        pause, longest = RETRIES
        while True:
            self._work_now = trio.Event()
            wanted = [one for one in self._turnover.wanted() if one.term not in self._ended]
            self._tried = {one.term for one in wanted}
            missing = [one for one in wanted if not await self._get(one)]
            pause = min(pause * 2, longest) if missing else RETRIES[0]
            with trio.move_on_after(pause * (0.5 + self._jitter()) if missing else float("inf")):
                await self._work_now.wait()

    async def _get(self, generation: Generation) -> bool:
        """Have a generation's bundle at hand; return whether that has come to an end."""
        try:
            self._check_order(generation)
            bundle = await self._library.get(generation.sequence, generation.digest)
            self._turnover.hold(bundle, await self._prepared(bundle))
        except InvalidBundle as error:
            await self._refuse(generation, error)
            if error.flaw is BundleFlaw.OLDER:  # all else a source may have had for a moment only
                self._ended.add(generation.term)
            return error.flaw is BundleFlaw.OLDER
        except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
            self._telemetry.record(WorkerFailed(where="bundles", error=error))
            return False
        self._reasons.pop(generation.term, None)
        self._look_now.set()
        return await self._say(READY, generation)

    def _check_order(self, generation: Generation) -> None:
        """Raise `InvalidBundle` for an older one than what is in force, unless it is a rollback."""
        before = self._turnover.in_force
        if generation.act is PolicyAct.ROLLBACK or before is None or before == generation:
            return
        if generation.sequence <= before.sequence and generation.term > before.term:
            words = f"it is number {generation.sequence}, and {before.sequence} is in force"
            raise InvalidBundle(BundleFlaw.OLDER, words)

    async def _prepared(self, bundle: Bundle) -> Any:
        try:
            return await self._sets.prepare(bundle)
        except ConfigError as error:
            words = "; ".join(str(problem) for problem in error.problems[:5])
            raise InvalidBundle(BundleFlaw.UNUSABLE, words) from error

    async def _refuse(self, generation: Generation, error: InvalidBundle) -> None:
        if self._reasons.get(generation.term) != str(error):
            self._telemetry.record(
                BundleRefused(sequence=generation.sequence, flaw=error.flaw, detail=str(error))
            )
        self._reasons[generation.term] = str(error)
        if error.flaw in FORGED and generation == self._turnover.pending:
            self._turnover.reject(generation)
        await self._say(READY, generation, f"{error.flaw}: {error}")

    async def _say(self, stage: str, generation: Generation, reason: str = "") -> bool:
        try:
            await self._records.answer(stage, generation.term, self._sidecar, reason)
        except (Unavailable, Overloaded):
            return False
        return True

    # The moment

    async def _keep_turning(self) -> None:
        turnover, known = self._turnover, self._turnover.in_force
        while True:
            changed, moment = turnover.changed, turnover.moment
            left = float("inf") if moment is None else moment - self._clock()
            with trio.move_on_after(left if left > 0 else float("inf")):
                await changed.wait()
            if changed.is_set():
                turnover.changed = trio.Event()
            turnover.passes(self._clock())
            if turnover.in_force is not known:
                known = turnover.in_force
                await self._turned()

    async def _turned(self) -> None:
        generation, bundle = self._turnover.in_force, self._turnover.bundle
        if generation is None or bundle is None:
            return
        self._telemetry.record(
            BundleInForce(
                sequence=generation.sequence,
                digest=generation.digest,
                term=generation.term,
                act=generation.act,
                made_at=bundle.contents.manifest.made_at,
                signed_by=bundle.signed_by,
                by=generation.by,
                reason=generation.reason,
            )
        )
        self._report()
        await self._say(IN_FORCE, generation)
        await self._sets.followed()
