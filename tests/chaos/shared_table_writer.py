"""A writer of a shared table at full speed, as a process: `shared_table_writer TABLE STATES SEED`.

Each of `CALLS` calls has a word in STATES that both sides have in memory: odd where the call may be
in the table, even once it is certain that it is not, as an acknowledged event would make it.
"""

import mmap
import os
import random
import sys
import time
from pathlib import Path

from sidecar.adapters.shared_memory.table_files import TableFiles, boot_id
from sidecar.wire.shared_table.layout import (
    KEY_BYTES,
    ContextBit,
    Description,
    TableSession,
    call_text,
    key_of,
    shown_text,
)
from sidecar.wire.shared_table.table import ClockReading, TableOrigin, TableWriter

CALLS = 64
CONTEXTS = {f"c{number}": ContextBit(number, 10_000_000_000) for number in range(1, 9)}
PATIENCE = 500_000_000
SWAP_EVERY = 4096
"""Steps after which another table begins, on the average."""


def token_of(number: int) -> str:
    return f"header.payload.signature-{number}"


def bits_of(number: int) -> int:
    """Return the bits of the contexts in which this call passes whenever it is published."""
    return sum(1 << bit for bit in range(1, 9) if number >> (bit % 6) & 1)


def text_of(number: int) -> str:
    whose = TableSession("https://id.example", "ada", f"s{number}")
    return call_text(shown_text(whose, 1000 + number, "mfa", token_of(number)), "192.0.2.1", "")


def states(path: Path) -> memoryview:
    """Return the words of the calls, which are made where they are not there yet."""
    with path.open("ab") as file:
        file.truncate(CALLS * 8)
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), CALLS * 8)).cast("Q")


class Writer:
    """The writer. What it begins with is dead before anything is said of the calls in it."""

    def __init__(self, table: Path, known: memoryview, seed: int) -> None:
        self._files = TableFiles(str(table))
        self._files.claim()
        self._known = known
        self._random = random.Random(seed)
        self._texts = [text_of(number) for number in range(CALLS)]
        self._settle()
        self._begin()

    def _settle(self) -> None:
        for number, word in enumerate(self._known):
            if word % 2:
                self._known[number] = word + 1

    def _begin(self) -> None:
        memory = self._files.make(self._random.choice((128, 256, 1024)))
        key = os.urandom(KEY_BYTES)
        origin, described = TableOrigin(boot_id(), 1, key), Description(CONTEXTS)
        self._table = TableWriter(memory.words, origin, described, patience=PATIENCE, now=moment())
        self._keys = [key_of(text, key) for text in self._texts]
        self._places: list[int | None] = [None] * CALLS
        self._beat()
        self._table.go_live()

    def _beat(self) -> None:
        now = moment()
        self._table.beat(now, now.monotonic)

    def step(self) -> None:
        number = self._random.randrange(CALLS)
        if self._known[number] % 2:
            place = self._places[number]
            if place is not None:
                self._table.withdraw(place)
            self._known[number] += 1
        else:
            self._known[number] += 1
            until = time.time() + self._random.choice((0.1, 5.0, 60.0))  # noqa: TID251
            self._places[number] = self._table.publish(self._keys[number], bits_of(number), until)

    def swap(self) -> None:
        self._table.die()
        self._settle()
        self._begin()

    def run(self) -> None:
        while True:
            for _ in range(self._random.randrange(2 * SWAP_EVERY)):
                self.step()
                if not self._random.randrange(64):
                    self._beat()
            self.swap()


def moment() -> ClockReading:
    return ClockReading(time.time_ns(), time.monotonic_ns())


if __name__ == "__main__":
    Writer(Path(sys.argv[1]), states(Path(sys.argv[2])), int(sys.argv[3])).run()
