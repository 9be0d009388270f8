"""One task that serves whichever connections can be read, without a switch of tasks for each.

To wake a task for each request that comes costs more than to answer it: the system is asked to
watch the descriptor anew, and the scheduler has its round. So all connections that wait for their
clients are in one epoll set, and that set is what trio waits for. A connection is given turns, in
which it reads, answers and sends without waiting for anything; what takes longer it does in its own
task, and is out of the set meanwhile.

Requests are done `AT_A_TIME`, of all connections together; then everything else has its turn.
"""

import select
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, Protocol

import trio

AT_A_TIME = 32
"""Requests that are done before others get their turn. Some cost as much as several."""

SOON = 100e-6
"""Seconds: after a shorter wait there is a look before the next one, while looks find one client.

A client that asks again as soon as it has its reply has done so by the time that everything else
had its turn. To have the system watch the set, sleep and be woken up costs more than to look. Where
clients take longer it is a look too many; and several are served better together, after a wait.
"""

_AT_ONCE = 64
"""Connections that are looked at in one go; the system has those that were left come first."""


class Readable(Protocol):
    """A connection that can be given turns."""

    def turn(self, most: int) -> int:
        """Do requests without waiting for anything, `most` of them; return how many were done."""

    @property
    def has_more(self) -> bool:
        """Return whether requests are left which another turn is to do."""

    def silent_since(self) -> float:
        """Return since when its client has asked nothing; infinite where that does not matter."""

    def give_up(self) -> None:
        """End, as the client has been silent for too long."""


class _Member(NamedTuple):
    connection: Readable
    over: trio.lowlevel.ParkingLot


class ReadySet:
    """The connections that wait for their clients."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._members: dict[int, _Member] = {}
        self._pause = trio.CancelScope()

    async def give_turns(self, descriptor: int, connection: Readable) -> None:
        """Give turns to a connection whenever it can be read, until they end.

        They have ended before its descriptor is closed.
        """
        self._epoll.register(descriptor, select.EPOLLIN)
        member = self._members[descriptor] = _Member(connection, trio.lowlevel.ParkingLot())
        try:
            await member.over.park()
        finally:
            self.end_turns(descriptor)

    def end_turns(self, descriptor: int) -> bool:
        """Have a connection's own task go on; return whether it was given turns."""
        member = self._members.pop(descriptor, None)
        if member is None:
            return False
        self._epoll.unregister(descriptor)
        member.over.unpark()
        return True

    async def end_silent(self, patience: Callable[[], float]) -> None:
        """Give up each connection whose client is silent for so many seconds, until cancelled."""
        while True:
            now, seconds = trio.current_time(), patience()
            next_time = now + seconds  # of all that are given turns from now on
            for member in tuple(self._members.values()):
                at = member.connection.silent_since() + seconds
                if at <= now:
                    member.connection.give_up()
                else:
                    next_time = min(next_time, at)
            with trio.CancelScope(deadline=next_time) as self._pause:
                await trio.sleep_forever()

    def patience_changed(self) -> None:
        """Look again at who is silent for too long."""
        self._pause.cancel()

    def close(self) -> None:
        """Give back the set, once no connection is left."""
        self._epoll.close()

    async def run(self) -> None:
        """Give turns until cancelled; connections may still wait for some after that."""
        unfinished: list[int] = []
        comes_soon = False
        while True:
            if unfinished or comes_soon:
                await trio.lowlevel.checkpoint()
            else:
                begun = perf_counter()
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                comes_soon = perf_counter() - begun < SOON
            readable = [descriptor for descriptor, _ in self._epoll.poll(0, _AT_ONCE)]
            comes_soon = comes_soon and len(readable) == 1 and not unfinished
            unfinished = await self._round(unfinished, readable)

    async def _round(self, unfinished: list[int], readable: list[int]) -> list[int]:
        """Give a turn to all that can be read or have requests left; return which still have."""
        ready = [*unfinished, *(one for one in readable if one not in unfinished)]
        left: list[int] = []
        done = 0
        for descriptor in ready:
            if done >= AT_A_TIME:
                done = 0
                await trio.lowlevel.checkpoint()
            # Meanwhile it may have gone, or be at something that takes longer.
            member = self._members.get(descriptor)
            if member is None:
                continue
            done += member.connection.turn(AT_A_TIME)
            if member.connection.has_more:
                left.append(descriptor)
        return left
