"""A check that the store takes writes, for a process without a view: `sidecar transmit` is one.

Those that do hold one write a sign of life, and look for what is lost: see `store_epoch`.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Shard
from sidecar.service.records.epochs import EpochRecords

BEAT = 1.0
LIVES = 60.0
"""Seconds for which the record of a process is kept that has ended."""


class PulsedStore(Protocol):
    """The part of the store that this needs. Both raise `Unavailable`."""

    def shards(self) -> tuple[Shard, ...]:
        """Return all servers that have records, as far as it is known."""

    async def lacks(self, shard: Shard) -> str:
        """Return which rights a server does not grant us, in words; empty: none."""


class Pulse:
    """Writes a record to each server once a second; passes why one fails to `refused`."""

    def __init__(
        self,
        *,
        store: PulsedStore,
        records: EpochRecords,
        refused: Callable[[str], None],
    ) -> None:
        self._store = store
        self._records = records
        self._refused = refused

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write for ever."""
        task_status.started()
        while True:
            self._refused(await self.beat())
            await trio.sleep(BEAT)

    async def beat(self) -> str:
        """Write once; return why not all servers took it, in words; empty: they did."""
        refusals = {await self._refusal(shard) for shard in self._store.shards()}
        return "; ".join(sorted(refusals - {""}))

    async def _refusal(self, shard: Shard) -> str:
        try:
            lacks = await self._store.lacks(shard)
            if not lacks:
                await self._records.beat(shard, LIVES)
        except (Unavailable, Overloaded) as error:
            return str(error)
        return lacks
