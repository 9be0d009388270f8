"""Queues in memory, held to the real ones by tests/contracts."""

import itertools
from collections.abc import Callable, Sequence

from sidecar.service.ports.calls import Unavailable
from sidecar.service.ports.store import (
    Append,
    Appended,
    Browse,
    Claim,
    Counted,
    Entries,
    Finish,
    Hold,
    Join,
    JoinResult,
    Length,
    QueueEntry,
    Store,
)


class MemoryQueues:
    """`now` (seconds) says how long an entry has been in somebody's hands."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.store = store
        self.now = now
        self.queues: dict[bytes, dict[bytes, bytes]] = {}
        self.taken: dict[tuple[bytes, bytes], tuple[float, int]] = {}
        self.away = False
        self._numbers = itertools.count(1)

    async def append(self, one: Append, *joins: Join) -> tuple[Appended, list[JoinResult]]:
        self._trip()
        joined = await self.store.join(*joins) if joins else []
        queue = self.queues.setdefault(one.key, {})
        if len(queue) >= one.bound:
            return Appended(b""), joined
        name = b"%d-0" % next(self._numbers)
        queue[name] = one.payload
        if one.group:
            self.taken[one.key, name] = (self.now(), 1)
        return Appended(name), joined

    async def append_all(
        self, batch: Sequence[tuple[Append, Sequence[Join]]]
    ) -> list[tuple[Appended, list[JoinResult]] | Unavailable]:
        answers: list[tuple[Appended, list[JoinResult]] | Unavailable] = []
        before = getattr(self.store, "round_trips", 0)
        for one, joins in batch:
            try:
                answers.append(await self.append(one, *joins))
            except Unavailable as error:
                answers.append(error)
        if hasattr(self.store, "round_trips"):
            self.store.round_trips = before + 1
        return answers

    async def finish(self, *finishes: Finish) -> list[Counted]:
        self._trip()
        counts = []
        for one in finishes:
            queue = self.queues.get(one.key, {})
            gone = [name for name in one.ids if queue.pop(name, None) is not None]
            for name in gone:
                self.taken.pop((one.key, name), None)
            counts.append(Counted(len(gone)))
        return counts

    async def hold(self, *holds: Hold) -> list[Counted]:
        self._trip()
        counts = []
        for one in holds:
            there = [name for name in one.ids if (one.key, name) in self.taken]
            for name in there:
                self.taken[one.key, name] = (self.now(), self.taken[one.key, name][1])
            counts.append(Counted(len(there)))
        return counts

    async def claim(self, *claims: Claim) -> list[Entries]:
        self._trip()
        return [Entries(tuple(self._claim(one))) for one in claims]

    def _claim(self, claim: Claim) -> list[QueueEntry]:
        claimed: list[QueueEntry] = []
        for name, payload in self.queues.get(claim.key, {}).items():
            since, times = self.taken.get((claim.key, name), (self.now(), 0))
            if times and self.now() - since >= claim.idle and len(claimed) < claim.count:
                self.taken[claim.key, name] = (self.now(), times + 1)
                claimed.append(QueueEntry(name, payload, times + 1))
        return claimed

    async def browse(self, browse: Browse) -> Entries:
        self._trip()
        queue = self.queues.get(browse.key, {})
        first = browse.first.removeprefix(b"(")
        later = [
            QueueEntry(name, payload)
            for name, payload in queue.items()
            if _order(name) > _order(first) or (name == first and not browse.first.startswith(b"("))
        ]
        return Entries(tuple(later[: browse.count]))

    async def lengths(self, *lengths: Length) -> list[int]:
        self._trip()
        return [len(self.queues.get(one.key, {})) for one in lengths]

    def _trip(self) -> None:
        if self.away:
            raise Unavailable("the store is away")


def _order(name: bytes) -> int:
    return int(name.partition(b"-")[0] or 0)
