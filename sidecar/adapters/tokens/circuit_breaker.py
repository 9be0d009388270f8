"""A circuit breaker: whether an issuer is asked about another token, by how its answers were.

Anybody can have an issuer asked, with a token that is none. So what is answered of one token says
nothing of others: the breaker opens when the issuer itself has failed `FAILURES` times in a row,
over as many different tokens. While it is open nobody is asked for a pause (`FIRST_PAUSE`, then
twice as long each time, up to `LONGEST_PAUSE`), then one token at a time, and the first answer
closes it. A token that was active lately need not wait for the end of the pause, since nobody can
make one up: those who write tokens that an issuer stumbles over cannot prolong the pause for all.
"""

import math
import random
from collections.abc import Callable

import trio

from sidecar.service.ports.backoff import doubled, spread

FAILURES = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Breaker:
    """Knows tokens by their digests alone. Every `admit` that was True is followed by `ended`."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._failed: set[bytes] = set()
        self._pauses = 0
        self._last_failure = -math.inf
        self._paused_until = -math.inf
        self._trial: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the issuer is left alone."""
        return len(self._failed) >= FAILURES

    def admit(self, digest: bytes, *, known: bool) -> bool:
        """Return whether the issuer may be asked about this token.

        `known`: it was active lately.
        """
        if not self.is_open:
            return True
        begins = self._last_failure + FIRST_PAUSE if known else self._paused_until
        if self._trial is not None or trio.current_time() < begins:
            return False
        self._trial = digest
        return True

    def answered(self) -> None:
        """Take note that the issuer said what it knows of a token."""
        self._failed.clear()
        self._pauses = 0

    def failed(self, digest: bytes) -> None:
        """Take note that the issuer itself failed, when it was asked about this token."""
        was_open = self.is_open
        if not was_open:
            self._failed.add(digest)
        # Questions that were under way when it opened say nothing new.
        if self.is_open and (not was_open or digest == self._trial):
            pause = doubled(FIRST_PAUSE, LONGEST_PAUSE, self._pauses)
            self._pauses += 1
            self._last_failure = trio.current_time()
            self._paused_until = self._last_failure + spread(pause, self._jitter(), 0.2)

    def ended(self, digest: bytes) -> None:
        """Let another token be tried, if this was the one."""
        if self._trial == digest:
            self._trial = None
