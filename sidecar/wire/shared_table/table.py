"""The writer's side of a table: its words, in memory that others may read meanwhile."""

from typing import NamedTuple

import msgspec

from sidecar.wire.shared_table import layout
from sidecar.wire.shared_table.layout import (
    HEADER_WORDS,
    KEY_OF_CALL_WORDS,
    LATEST_TICK,
    PROBES,
    SLOT_WORDS,
    TICK,
    WORD,
    Description,
    decision_of,
    decisions_at,
)

MASK = (1 << 64) - 1
LATEST = 1e10
"""Seconds of the wall clock: what holds longer is said to hold until then."""


class ClockReading(NamedTuple):
    """One moment by both clocks, in nanoseconds."""

    wall: int
    monotonic: int

    @property
    def offset(self) -> int:
        """Return by how much the wall clock is ahead of the monotonic one."""
        return self.wall - self.monotonic


class TableOrigin(NamedTuple):
    """The origin of a table: the machine's boot, the writer's life, and the key of its hash."""

    boot: bytes
    start: int
    key: bytes


class TableWriter:
    """A table in `words`, a writable view of 64-bit words that are 0 at first."""

    def __init__(
        self,
        words: memoryview,
        origin: TableOrigin,
        description: Description,
        *,
        patience: int,
        now: ClockReading,
    ) -> None:
        """Write the header; the table is believed only from `go_live` on."""
        self._words = words
        self.key = origin.key
        self.slots = (len(words) - HEADER_WORDS) // SLOT_WORDS
        self._decisions = decisions_at(self.slots)
        self.used = 0
        self.live = 0
        self._epoch = now.wall
        text = msgspec.json.encode(description)
        if layout.TEXT_BYTE + len(text) > layout.HEADER_BYTES:
            raise ValueError("the contexts do not fit the header")
        words.cast("B")[layout.TEXT_BYTE : layout.TEXT_BYTE + len(text)] = text
        words[layout.AT_TEXT] = len(text)
        _put(words, layout.AT_KEY, origin.key)
        _put(words, layout.AT_BOOT, origin.boot)
        words[layout.AT_START] = origin.start
        words[layout.AT_SLOTS] = self.slots
        words[layout.AT_PATIENCE] = patience
        words[layout.AT_EPOCH] = now.wall
        words[layout.AT_VERSION] = layout.VERSION
        words[layout.AT_MAGIC] = layout.MAGIC

    def beat(self, now: ClockReading, fresh: int) -> None:
        """Show that the writer lives, and as of when (monotonic) its view has all news."""
        self._words[layout.AT_OFFSET] = now.offset & MASK
        self._words[layout.AT_FRESH] = max(0, fresh)
        self._words[layout.AT_BEAT] = now.monotonic

    def go_live(self) -> None:
        """Have the table believed from now on."""
        self._words[layout.AT_STATE] = layout.LIVE

    def die(self) -> None:
        """Have nothing of the table believed any more, at once and for good."""
        self._words[layout.AT_STATE] = layout.DEAD

    def publish(self, key: tuple[int, int], bits: int, until: float) -> int | None:
        """Write what is decided of a call; return the place of that, None where no slot is free.

        It passes in the contexts of these bits before `until` (seconds of the wall clock).
        """
        place = self._place(key)
        if place is None:
            return None
        ticks = (int(min(until, LATEST) * 1_000_000_000) - self._epoch) // TICK
        word = decision_of(bits, min(ticks, LATEST_TICK)) if bits and ticks > 0 else 0
        self.live += bool(word) - bool(self._words[place])
        self._words[place] = word
        return place

    def withdraw(self, place: int) -> None:
        """Have nothing decided of the call whose decision is there."""
        if self._words[place]:
            self._words[place] = 0
            self.live -= 1

    def _place(self, key: tuple[int, int]) -> int | None:
        """Return where the decision of a key is, after writing the key where it is new.

        The key is whole before the slot has a decision: a reader that sees the one without the
        other finds another key, or no decision.
        """
        words, slots = self._words, self.slots
        first, second = key
        for probe in range(first, first + PROBES):
            slot = probe % slots
            at = HEADER_WORDS + slot * KEY_OF_CALL_WORDS
            held = words[at], words[at + 1]
            if held == key:
                return self._decisions + slot
            if held == (0, 0):
                words[at + 1] = second
                words[at] = first
                self.used += 1
                return self._decisions + slot
        return None


def _put(words: memoryview, at: int, value: bytes) -> None:
    for number in range(len(value) // WORD):
        words[at + number] = int.from_bytes(value[number * WORD : (number + 1) * WORD], "little")
