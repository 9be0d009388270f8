"""The choice of the connection that makes room for a new one, so that no peer takes all places.

A listener has a bounded number of places. No peer holds more than three quarters of them; and when
all are taken, one of those who have most gives up the connection that has waited longest for its
client. A peer is a uid on a unix socket and a network address elsewhere. Over loopback all peers
look alike: there the oldest connection goes on which no request was ever whole.

What works on a request is never given up, so all places can be taken; then the new one is refused.
"""

import ipaddress
import math
from collections import OrderedDict
from enum import IntEnum

import trio

KEPT_FREE = 4
"""One place in so many is kept free of any one peer."""

BY_UID, BY_ADDRESS = 200.0, 2000.0
"""Connections a second by which one peer may replace its own; more are refused, which costs less.

An address may be that of many, as loopback's is.
"""

BY_ADDRESS_LONG = 100.0
"""The same where connections are made to last, and cost more to begin."""


_UID = "uid "


class SeatState(IntEnum):
    """The state of a connection; the lower, the sooner it makes room. `WORKING`: it never does.

    `NEW`: its first request, of which a part may have come. `IDLE`: a later one. `WATCHING`: it is
    sent changes, and ends only for a peer that has fewer connections.
    """

    NEW = 0
    IDLE = 1
    WATCHING = 2
    WORKING = 3


class _Owner:
    """A peer, and its waiting connections by state; those that have waited longest first."""

    __slots__ = ("_at", "_left", "_rate", "connections", "name", "waiting")

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self._rate = BY_UID if name.startswith(_UID) else rate
        self.connections = 0
        self._left = 0.0
        self._at = -math.inf
        self.waiting: tuple[OrderedDict[Seat, None], ...] = tuple(OrderedDict() for _ in range(3))

    def may_replace(self) -> bool:
        """Return whether one more of its connections may make room for another of its own."""
        now = trio.current_time()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def first(self, most: SeatState) -> "Seat | None":
        """Return which makes room, of those that wait for no more than this."""
        for waiting in self.waiting[: most + 1]:
            if waiting:
                return next(iter(waiting))
        return None


class Seat:
    """The place of one connection. Its server says whether it waits for its client."""

    __slots__ = ("_owner", "_served", "left", "scope", "since", "waiting")

    def __init__(self, owner: _Owner) -> None:
        self._owner = owner
        self._served = False
        self.left = False
        self.scope = trio.CancelScope()
        self.since = 0.0
        self.waiting = SeatState.WORKING
        self.waits()

    @property
    def owner(self) -> str:
        """Return the owner."""
        return self._owner.name

    def waits(self) -> None:
        """Wait for the next request, of which nothing or only a part has come."""
        self._wait(SeatState.IDLE if self._served else SeatState.NEW)

    def works(self) -> None:
        """Work on a request that is whole."""
        self._served = True
        self.stop_waiting()
        self.waiting = SeatState.WORKING

    def served(self) -> None:
        """Wait for the next request, after some that were answered at once."""
        self._served = True
        if self.waiting is SeatState.IDLE and not self.left:
            self.since = trio.current_time()
            self._owner.waiting[SeatState.IDLE].move_to_end(self)
        else:
            self._wait(SeatState.IDLE)

    def watches(self) -> None:
        """Wait for changes to send."""
        self._wait(SeatState.WATCHING)

    def stop_waiting(self) -> None:
        """Be none of those that wait."""
        if self.waiting is not SeatState.WORKING:
            self._owner.waiting[self.waiting].pop(self, None)

    def _wait(self, waiting: SeatState) -> None:
        self.stop_waiting()
        self.waiting = waiting
        self.since = trio.current_time()
        if not self.left:
            self._owner.waiting[waiting][self] = None


class Seats:
    """All places of a listener. `rate`: see `BY_ADDRESS`."""

    def __init__(self, limit: int, rate: float = BY_ADDRESS) -> None:
        self._limit = limit
        self._rate = rate
        self._share = limit - limit // KEPT_FREE
        self._taken = 0
        self._owners: dict[str, _Owner] = {}

    def take(self, name: str) -> tuple[Seat | None, Seat | None]:
        """Return the place of a new connection, and of the one that makes room for it.

        The latter's scope is cancelled. No place: all work, or have more right to theirs.
        """
        owner = self._owners.get(name) or _Owner(name, self._rate)
        leaving: Seat | None = None
        if owner.connections >= self._share or self._taken >= self._limit:
            full = owner.connections >= self._share
            leaving = owner.first(SeatState.IDLE) if full else self._leaving(owner)
            if leaving is None or (leaving.owner == name and not owner.may_replace()):
                return None, None
            self._ask_to_leave(leaving)
        self._owners[name] = owner
        self._taken += 1
        owner.connections += 1
        return Seat(owner), leaving

    def make_room(self) -> Seat | None:
        """Have the one leave that has most and waits, whoever comes; None where all work."""
        leaving = self._leaving(_Owner("", self._rate))
        if leaving is not None:
            self._ask_to_leave(leaving)
        return leaving

    def leave(self, seat: Seat) -> None:
        """Give a place back; one that made room has done so already."""
        if seat.left:
            return
        seat.left = True
        seat.stop_waiting()
        self._taken -= 1
        owner = self._owners[seat.owner]
        owner.connections -= 1
        if not owner.connections:
            del self._owners[seat.owner]

    def _ask_to_leave(self, seat: Seat) -> None:
        self.leave(seat)
        seat.scope.cancel()

    def _leaving(self, newcomer: _Owner) -> Seat | None:
        """Return who makes room: the longest waiting of the owner with most connections."""
        best: Seat | None = None
        lowest: tuple[float, int, float] = (math.inf, 0, 0.0)
        for owner in self._owners.values():
            if owner is newcomer:
                most = SeatState.IDLE
            elif owner.connections > newcomer.connections + 1:
                most = SeatState.WATCHING
            else:
                # Who would have no more than the newcomer keeps what has been of use.
                most = SeatState.NEW
            seat = owner.first(most)
            if seat is not None:
                rank = (-owner.connections, seat.waiting, seat.since)
                if rank < lowest:
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
    return f"{_UID}{'unknown' if uid is None else uid}"
