"""Runs workers as they are configured: new ones start, and those that are left out end."""

from collections.abc import Iterable
from typing import Protocol

import trio


class Worker(Protocol):
    """Something that runs until it is cancelled."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run; started when it is of use, or has failed to be."""


class Workers:
    """Runs the workers that `keep` names, once `begin` has given it a nursery."""

    def __init__(self) -> None:
        self._kept: dict[Worker, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def keep(self, workers: Iterable[Worker]) -> None:
        """Run these from now on, and no others."""
        wanted = set(workers)
        for worker in self._kept.keys() - wanted:
            self._kept.pop(worker).cancel()
        for worker in wanted - self._kept.keys():
            self._kept[worker] = trio.CancelScope()
            if self._nursery is not None:
                self._start(self._nursery, worker)

    def begin(self, nursery: trio.Nursery) -> list[trio.Event]:
        """Start those that are kept; each event is set once one has started, or is left out."""
        self._nursery = nursery
        return [self._start(nursery, worker) for worker in self._kept]

    def _start(self, nursery: trio.Nursery, worker: Worker) -> trio.Event:
        tried = trio.Event()
        nursery.start_soon(_run, worker, self._kept[worker], tried)
        return tried


async def _run(worker: Worker, scope: trio.CancelScope, tried: trio.Event) -> None:
    try:
        with scope:
            async with trio.open_nursery() as own:
                await own.start(worker.run)
                tried.set()
    finally:
        tried.set()
