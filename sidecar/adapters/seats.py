"""Which open connection makes room for a new one, so that no peer takes the places of all.

A listener has a bounded number of places. No peer holds more than three quarters of them; and when
all are taken, one of those who have most gives up the connection that has waited longest for its
client. A peer is a uid on a unix socket and a network address elsewhere. Over loopback all peers
look alike: there the oldest connection goes on which no request was ever whole.

What works on a request is never given up, so all places can be taken; then the new one is refused.
"""

import ipaddress
import math
from collections import Counter
from enum import IntEnum

import trio

KEPT_FREE = 4
"""One place in so many is kept free of any one peer."""


class Waiting(IntEnum):
    """What a connection waits for; the lower, the sooner it makes room. `WORKING`: it never does.

    `NEW`: its first request, of which a part may have come. `IDLE`: a later one. `WATCHING`: it is
    told of changes, and ends only for a peer that has fewer connections.
    """

    NEW = 0
    IDLE = 1
    WATCHING = 2
    WORKING = 3


class Seat:
    """The place of one connection. Its server says whether it waits for its client."""

    __slots__ = ("_served", "owner", "scope", "since", "waiting")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.scope = trio.CancelScope()
        self._served = False
        self.waits()

    def waits(self) -> None:
        """Wait for the next request, of which nothing or only a part has come."""
        self.waiting = Waiting.IDLE if self._served else Waiting.NEW
        self.since = trio.current_time()

    def works(self) -> None:
        """Work on a request that is whole."""
        self.waiting = Waiting.WORKING
        self._served = True

    def watches(self) -> None:
        """Wait for changes to tell of."""
        self.waiting = Waiting.WATCHING
        self.since = trio.current_time()


class Seats:
    """All places of a listener."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = limit - limit // KEPT_FREE
        self._taken: dict[Seat, None] = {}
        self._of_owner = Counter[str]()

    def take(self, owner: str) -> tuple[Seat | None, Seat | None]:
        """Return the place of a new connection, and of the one that makes room for it.

        The latter's scope is cancelled. No place: all work, or have more right to theirs.
        """
        has = self._of_owner[owner]
        leaving: Seat | None = None
        if has >= self._share or len(self._taken) >= self._limit:
            leaving = self._leaving(owner, has)
            if leaving is None:
                return None, None
            self.leave(leaving)
            leaving.scope.cancel()
        seat = Seat(owner)
        self._taken[seat] = None
        self._of_owner[owner] += 1
        return seat, leaving

    def leave(self, seat: Seat) -> None:
        """Give a place back; one that made room has done so already."""
        if seat in self._taken:
            del self._taken[seat]
            self._of_owner[seat.owner] -= 1
            if not self._of_owner[seat.owner]:
                del self._of_owner[seat.owner]

    def _leaving(self, owner: str, has: int) -> Seat | None:
        """Return who makes room: the longest waiting of the owner with most connections."""
        best: Seat | None = None
        lowest: tuple[float, int, float] = (math.inf, 0, 0.0)
        for seat in self._taken:
            waiting = seat.waiting
            if waiting is Waiting.WORKING:
                continue
            other = self._of_owner[seat.owner]
            if seat.owner == owner:
                may = waiting is not Waiting.WATCHING
            else:
                # Who would have no more than the newcomer keeps what has shown itself to be of use.
                may = has < self._share and (waiting is Waiting.NEW or other > has + 1)
            rank = (-other, waiting, seat.since)
            if may and rank < lowest:
                best, lowest = seat, rank
        return best


def address_owner(address: str) -> str:
    """Return who is behind a network address; a host has as many of an IPv6 /64 as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def uid_owner(uid: int | None) -> str:
    """Return who is at the other end of a unix socket."""
    return f"uid {'unknown' if uid is None else uid}"
