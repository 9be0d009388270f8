"""Spreads what checks have found: what the view learned here goes to the store, soon and once.

A check never waits for it. While the store is away the facts stay in the view, which is bounded,
and are saved when it is back; a sidecar that dies first loses the call facts of those moments.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.ports.calls import Overloaded, StoreRefused, Unavailable
from sidecar.service.records.facts import FactRecords
from sidecar.service.records.writes import Write, Written
from sidecar.service.view.live_session import NO_ENTRIES, NO_FIELDS, Entries, Fields, Tracked
from sidecar.service.view.view import View

_BATCH = 256


class WriteBack:
    """Saves what is unsaved in the view.

    `saved` hears of each record that was, unless all that it concerns is known to be logged.
    """

    def __init__(
        self,
        *,
        view: View,
        records: FactRecords,
        telemetry: Telemetry,
        saved: Callable[[Tracked], Awaitable[None]],
    ) -> None:
        self._view = view
        self._records = records
        self._telemetry = telemetry
        self._saved = saved

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save for ever; on a store that does not answer, try again with growing pauses."""
        task_status.started()
        pause = 0.0
        while True:
            taken = await self._view.take_unsaved()
            try:
                await self.save(taken)
                pause = 0.0
            except (Unavailable, Overloaded):
                pause = min(2.0, pause * 2 or 0.05)
                await trio.sleep(pause)

    async def save(self, taken: list[Tracked]) -> None:
        """Join these records into the store. Raises `Unavailable`, with nothing lost."""
        for start in range(0, len(taken), _BATCH):
            batch = taken[start : start + _BATCH]
            try:
                await self._save(batch)
            except BaseException:
                for tracked in taken[start + len(batch) :]:
                    self._view.put_back(tracked, tracked.unsaved, tracked.indexes)
                raise

    async def _one_by_one(self, batch: list[Tracked]) -> None:
        for place, tracked in enumerate(batch):
            try:
                await self._save([tracked])
            except BaseException:
                for left in batch[place + 1 :]:
                    self._view.put_back(left, left.unsaved, left.indexes)
                raise

    async def _save(self, batch: list[Tracked]) -> None:
        attempts: list[tuple[Tracked, Fields, Entries]] = []
        writes: list[Write] = []
        for tracked in batch:
            fields, tracked.unsaved = tracked.unsaved, NO_FIELDS
            indexes, tracked.indexes = tracked.indexes, NO_ENTRIES
            attempts.append((tracked, fields, indexes))
            until, channel = tracked.expire_at, tracked.publish
            writes.append(
                self._records.save(tracked.key, fields, indexes, publish=channel, until=until)
            )
        try:
            answers = await self._records.join(*writes)
        except StoreRefused as error:
            if len(attempts) == 1:
                # What one record may not take must not keep the others from being saved. The view
                # goes on with it; it is not tried again before there is more to save of it.
                self._telemetry.record(WorkerFailed(where="saver", error=error))
                return
            for tracked, fields, indexes in attempts:
                tracked.unsaved, tracked.indexes = fields, indexes
            await self._one_by_one(batch)
            return
        except BaseException:
            for tracked, fields, indexes in attempts:
                self._view.put_back(tracked, fields, indexes)
            raise
        await self._take_up(batch, answers)

    async def _take_up(self, batch: Sequence[Tracked], answers: Iterable[Written]) -> None:
        """Take up what the store says of records that were saved, and have them looked at."""
        turns = Turns()
        for tracked, answer in zip(batch, answers, strict=True):
            await turns.give_way()
            if answer.record:
                self._view.hear(tracked.key, answer.record)
            if all(live.is_audited for live in tracked.lives):
                continue
            try:
                await self._saved(tracked)
            except Exception as error:  # noqa: BLE001 - a worker loop: counted, and on
                self._telemetry.record(WorkerFailed(where="saver", error=error))
