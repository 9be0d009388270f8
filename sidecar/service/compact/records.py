"""The records of a view by their keys, in parts that can be gone through one after the other.

There are hundreds of thousands. A list of all of them would stop the loop, as would a table that
has to grow and moves all that is in it; each part is a small table of its own.
"""

from collections.abc import Iterator

from sidecar.service.view.live_session import Tracked

_PARTS = 256
_ABOVE = 24
"""Bits of a hash that tables place their entries by: parts go by others, which differ in each."""


class RecordTables:
    """Records by their keys."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = tuple[dict[bytes, Tracked], ...]({} for _ in range(_PARTS))

    def _of(self, key: bytes) -> dict[bytes, Tracked]:
        return self._parts[(hash(key) >> _ABOVE) % _PARTS]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def get(self, key: bytes) -> Tracked | None:
        """Return the record of a key; None: it is not here."""
        return self._of(key).get(key)

    def put(self, tracked: Tracked) -> None:
        """Hold a record."""
        self._of(tracked.key)[tracked.key] = tracked

    def discard(self, key: bytes) -> None:
        """Let go of the record of a key."""
        self._of(key).pop(key, None)

    def in_turn(self) -> Iterator[Tracked]:
        """Yield all records, while others come and go: of those each is yielded, or is not."""
        for part in self._parts:
            yield from tuple(part.values())
