"""Whether the store takes the writes of a process that holds no view, as `sidecar transmit` is one.

Those that do hold one write a sign of life, and look for what is lost: see `store_epoch`.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Join, Joined, Shard
from sidecar.wire.store.keys import Names
from sidecar.wire.store.losses import encode_moment, tag_of

BEAT = 1.0
LIVES = 60.0
"""Seconds for which the record of a process is kept that has ended."""


class PulsedStore(Protocol):
    """What this needs of the store. All raise `Unavailable`, and `join` also `Overloaded`."""

    async def join(self, *joins: Join) -> list[Joined]:
        """Join each; the answers are in order."""

    def shards(self) -> tuple[Shard, ...]:
        """All servers that have records, as far as it is known."""

    async def lacks(self, shard: Shard) -> str:
        """Which rights a server does not grant us, in words; empty: none."""


class Pulse:
    """Writes a record to each server once a second; `refused` is told why one does not take it."""

    def __init__(
        self,
        *,
        process: str,
        store: PulsedStore,
        names: Names,
        clock: Callable[[], float],
        refused: Callable[[str], None],
    ) -> None:
        self._process = process
        self._store = store
        self._names = names
        self._clock = clock
        self._refused = refused

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write for ever."""
        task_status.started()
        while True:
            self._refused(await self.beat())
            await trio.sleep(BEAT)

    async def beat(self) -> str:
        """Write once; gives why not all servers took it, in words; empty: they did."""
        refusals = {await self._refusal(shard) for shard in self._store.shards()}
        return "; ".join(sorted(refusals - {""}))

    async def _refusal(self, shard: Shard) -> str:
        now = int(self._clock() * 1000)
        record = self._names.beats_record(tag_of(shard.slot), self._process)
        sign = {b"beat:0": encode_moment(now)}
        try:
            lacks = await self._store.lacks(shard)
            if not lacks:
                await self._store.join(
                    Join(record, sign, now + int(LIVES * 1000), now, want_record=False)
                )
        except (Unavailable, Overloaded) as error:
            return str(error)
        return lacks
