"""The daemon's real local socket in a thread of its own, for clients that are not on trio."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from sidecar.service.ports.calls import StandingChange
from tests.client.sidecar import Sidecar


class Daemon:
    """A `Sidecar` that may be stopped and started again."""

    def __init__(self, portal: BlockingPortal, path: Path) -> None:
        self.portal = portal
        self.path = path
        self._scope: trio.CancelScope | None = None
        self.start()

    def start(self) -> None:
        self.sidecar = Sidecar(self.path)
        self._ended, _ = self.portal.start_task(self._run)

    async def _run(self, *, task_status: Any) -> None:
        with trio.CancelScope() as self._scope:
            await self.sidecar.run(task_status=task_status)

    def stop(self) -> None:
        assert self._scope is not None
        self.portal.call(self._scope.cancel)
        self._ended.result(20)

    def say(self, session: str, standing: str) -> None:
        self.portal.call(self.sidecar.say, StandingChange(session, standing))

    def do(self, work: Callable[..., Any], *args: Any) -> Any:
        return self.portal.call(work, *args)


@contextmanager
def daemon(directory: Path) -> Iterator[Daemon]:
    with start_blocking_portal("trio") as portal:
        running = Daemon(portal, directory / "s.sock")
        try:
            yield running
        finally:
            running.stop()
