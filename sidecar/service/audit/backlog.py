"""The port to shared work: items that outlive whoever took them.

A backlog is a queue in the store. Any sidecar takes an item, and replaces it by what is then left
to do: nothing, or other items. Replacing is atomic, and happens once however many did the same
work. An item whose taker has died is taken by another.
"""

from typing import Protocol

import msgspec

STALE = 5.0
"""Seconds after which an item that its taker has not kept goes to another."""


class TakenItem(msgspec.Struct, frozen=True, gc=False):
    """An item that is to be worked on; `id` is the store's name for it."""

    id: bytes
    body: bytes


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """The progress of a backlog.

    `begun` is when (microseconds since the epoch; 0: never), `left` counts items, `done` and
    `expected` what the items counted; `workers` have taken one.
    """

    begun: int = 0
    left: int = 0
    done: int = 0
    expected: int = 0
    workers: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Return whether it was begun, and nothing is left."""
        return bool(self.begun) and not self.left


class Backlogs(Protocol):
    """The backlogs that services work on, each under its name.

    All raise `Unavailable` where the store does not answer in time, `Overloaded` where too much
    is waiting for it.
    """

    async def begin(self, name: str, moment: int, body: bytes) -> bool:
        """Put the first item, unless this backlog was ever begun; return whether it was put."""

    async def put(self, name: str, body: bytes, once: str = "") -> None:
        """Put an item behind all others.

        `once`: not where an item that was put with the same word still waits to be taken.
        """

    async def take(self, name: str, who: str) -> TakenItem | None:
        """Take an item: first what another left, then the oldest; None: nothing is to be had."""

    async def keep(self, name: str, who: str, item: TakenItem) -> bool:
        """Say that the item is still worked on; False where another has it by now."""

    async def replace(
        self, name: str, item: TakenItem, *bodies: bytes, done: int = 0, expected: int = 0
    ) -> bool:
        """Have these items instead of this one, and count; False where that was done before."""

    async def outlook(self, name: str) -> Outlook:
        """Return how far it is."""
