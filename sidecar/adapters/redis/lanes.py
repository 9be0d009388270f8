"""Bounded queues of callers' operations for the store, which are gathered into batches."""

from collections import deque
from collections.abc import Sequence

import trio

from sidecar.adapters.redis.batch import Item
from sidecar.adapters.redis.commands import Operation
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Join

KEPT_FREE = 8
"""One place in so many is kept free for what events bring: checks alone do not fill a queue."""


class Ticket:
    """The operations of one waiting caller. Done when every item has its outcome."""

    __slots__ = ("abandoned", "done", "items")

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.items = [Item(operation) for operation in operations]
        self.done = trio.Event()
        self.abandoned = False

    def finish(self) -> None:
        """Have the caller go on if all is done."""
        if all(item.outcome is not None for item in self.items):
            self.done.set()

    def fail(self, reason: str) -> None:
        """Have the caller go on; what has no outcome is `Unavailable`."""
        for item in self.items:
            item.outcome = item.outcome or Unavailable(reason)
        self.finish()


class Lane:
    """A queue of at most `bound` operations, taken in batches of `batch`.

    There are two where writes are to be confirmed, so that reads do not wait for replicas.
    """

    def __init__(self, bound: int, batch: int) -> None:
        self._bound = bound
        self._batch = batch
        self._tickets: deque[Ticket] = deque()
        self._waiting = 0
        self._idle = trio.lowlevel.ParkingLot()

    def put(self, operations: Sequence[Operation]) -> Ticket:
        """Have these done. Raises `Overloaded`."""
        # One that is too large for any queue is let in alone: it could never wait its turn.
        if self._waiting and self._waiting + len(operations) > self._room_for(operations):
            raise Overloaded
        ticket = Ticket(operations)
        self._tickets.append(ticket)
        self._waiting += len(operations)
        self._idle.unpark()
        return ticket

    def _room_for(self, operations: Sequence[Operation]) -> int:
        if any(isinstance(one, Join) and one.confirm for one in operations):
            return self._bound
        return self._bound - self._bound // KEPT_FREE

    async def gather(self) -> list[Ticket]:
        """Wait for work; take all there is, up to the size of a batch, but one caller's at least.

        What callers gave up is left out: there may be nothing.
        """
        while not self._tickets:
            await self._idle.park()
        batch: list[Ticket] = []
        room = self._batch
        while self._tickets and (not batch or len(self._tickets[0].items) <= room):
            ticket = self._take()
            if not ticket.abandoned:
                batch.append(ticket)
                room -= len(ticket.items)
        return batch

    def close(self) -> None:
        """Fail all that waits."""
        while self._tickets:
            self._take().fail("the store is closed")

    def _take(self) -> Ticket:
        ticket = self._tickets.popleft()
        self._waiting -= len(ticket.items)
        return ticket
