"""Bounded queues of callers' operations for the store, which are gathered into batches."""

from collections import deque
from collections.abc import Sequence

import trio

from sidecar.adapters.redis.batch import Item
from sidecar.adapters.redis.commands import Operation
from sidecar.service.ports.calls import Overloaded, Unavailable
from sidecar.service.ports.store import Join, Sign

KEPT_FREE = 8
"""One place in so many is kept free for what events bring: checks alone do not fill a queue."""


class Ticket:
    """The operations of one waiting caller. Done when every item has its outcome."""

    __slots__ = ("abandoned", "confirm", "done", "items")

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.items = [Item(operation) for operation in operations]
        self.confirm = any(isinstance(one, Join | Sign) and one.confirm for one in operations)
        self.done = trio.Event()
        self.abandoned = False

    def finish(self) -> None:
        """Have the caller go on if all is done."""
        for item in self.items:
            if item.outcome is None:
                return
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

    def put(self, ticket: Ticket) -> None:
        """Have this done. Raises `Overloaded`."""
        room = self._bound if ticket.confirm else self._bound - self._bound // KEPT_FREE
        # One that is too large for any queue is let in alone: it could never wait its turn.
        if self._waiting and self._waiting + len(ticket.items) > room:
            raise Overloaded
        self._tickets.append(ticket)
        self._waiting += len(ticket.items)
        self._idle.unpark()

    @property
    def crowded(self) -> float:
        """Return which part of the queue is filled."""
        return self._waiting / self._bound

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
