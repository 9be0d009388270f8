"""Remembers until when the store keeps the sessions that had to make room in the view.

What a session's first check says of it, so that it can be found and lives as long as its tokens,
need not be said again by each check that brings it back.
"""

import mmap
from hashlib import blake2b

from sidecar.service.view.live_session import Live

PLACES = 16
"""Sessions that are remembered for each that the view has room for: far more come and go."""
LEAST = 4096


class Departed:
    """Remembers most of those that made room lately, of `PLACES` for each of a view's.

    Each takes sixteen bytes: half of a digest of its name, and the second. Of two that fall on one
    place the first is forgotten, which costs no more than to say again what is said of it.
    """

    def __init__(self, room: int) -> None:
        self._places = max(LEAST, room * PLACES)
        self.forget()

    def forget(self) -> None:
        """Forget all, as the store may have lost some of what was said of them."""
        # The system gives memory to what was written of it, and no more; of pages that processes
        # share, as they are where nothing else is asked for, it would to what was only read.
        pages = mmap.mmap(-1, 16 * self._places, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._words = memoryview(pages).cast("Q")

    def note(self, live: Live) -> None:
        """Note that a session has made room."""
        name = _name_of(live)
        place = name % self._places * 2
        self._words[place], self._words[place + 1] = name, int(live.expires_at)

    def recall(self, live: Live, now: float) -> None:
        """Have a session that was read again know until when it is kept."""
        name = _name_of(live)
        place = name % self._places * 2
        if self._words[place] == name:
            until = float(self._words[place + 1])
            self._words[place] = 0
            if until > now:
                live.expires_at = max(live.expires_at, until)


def _name_of(live: Live) -> int:
    return int.from_bytes(blake2b(str(live.name).encode(), digest_size=8).digest())
