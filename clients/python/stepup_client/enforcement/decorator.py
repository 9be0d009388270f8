"""Shared by the decorators of all frameworks: contexts, a gate, and doors made when needed."""

from __future__ import annotations

from functools import cached_property

from stepup_client.enforcement.doors import AsyncDoor, SyncDoor
from stepup_client.gate import Gate


class Doors:
    """A gate and its doors: one for handlers in threads, one for those on an event loop."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate or Gate()

    @cached_property
    def sync(self) -> SyncDoor:
        """Return the door that asks in the calling thread."""
        return SyncDoor(self.gate)

    @cached_property
    def on_loop(self) -> AsyncDoor:
        """Return the door that asks on the running event loop."""
        return AsyncDoor(self.gate)

    def close(self) -> None:
        """Close what lies idle; the next call opens another."""
        self.sync.close()
        self.on_loop.close()


def named(contexts: tuple[object, ...]) -> tuple[str, ...]:
    """Return the contexts of a decorator; raise TypeError if it was used without parentheses."""
    names = tuple(name for name in contexts if isinstance(name, str))
    if len(names) != len(contexts):
        raise TypeError('write @step_up("c1"), or @step_up() for routine calls')
    return names
