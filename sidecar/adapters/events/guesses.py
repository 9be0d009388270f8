"""The rate limit for wrong credentials: a few at once, then one a second, for each guesser.

That is a network address (IPv6 addresses share by /64, since one host has as many as it likes of
these) or, on a unix socket, a uid. What one has left says nothing of others, so that nobody can
lock out whoever calls from elsewhere.

Where several callers share an address, as over loopback and behind a proxy, a door that takes
events looks at each credential all the same: a right one is taken, and wrong ones are turned away.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import trio

from sidecar.adapters.listening.seats import address_owner

AT_ONCE = 20
EVERY = 1.0
"""Seconds after which an address may try once more."""
ADDRESSES = 4096
"""How many are remembered; the one that tried longest ago leaves first."""


class _Left(NamedTuple):
    tries: float
    at: float


class GuessLimit:
    """Counts wrong credentials. The caller looks at none where `left` says that none is left."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        self._left: OrderedDict[str, _Left] = OrderedDict()

    def left(self, address: str) -> bool:
        """Return whether another credential of this address may be looked at."""
        return self._tries(address_owner(address)) >= 1

    def wrong(self, address: str) -> None:
        """Take note that the address has shown a wrong one."""
        network = address_owner(address)
        self._left[network] = _Left(self._tries(network) - 1, self._clock())
        self._left.move_to_end(network)
        while len(self._left) > ADDRESSES:
            self._left.popitem(last=False)

    def _tries(self, network: str) -> float:
        left = self._left.get(network)
        if left is None:
            return AT_ONCE
        return min(AT_ONCE, left.tries + (self._clock() - left.at) / EVERY)
