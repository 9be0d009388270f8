"""A synchronous client for many threads: some connections, each used by one call at a time.

    sidecar = PooledClient()
    decision = sidecar.check(token, context="c1", ip=address)

At most `connections` calls are under way; a further one waits for its turn, `timeout` seconds at
the most, and then raises `Unreachable`. A connection that broke while it lay idle is replaced and
the request sent once more, if doing it twice is the same as once (checks, pings, and events with an
id). A process that was forked opens connections of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from stepup_client.connection.calls import Calls
from stepup_client.connection.protocol import (
    Change,
    Stale,
    Unreachable,
    named_path,
    usual_path,
)
from stepup_client.connection.requests import Request
from stepup_client.local import LocalClient

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class PooledClient(Calls):
    """Connections to the sidecar at `path` (default: `SIDECAR_SOCKET`, else the usual place).

    `timeout` is in seconds, for a turn, for connecting and for each reply. Every method raises
    `Unreachable`, and those that can be refused raise `Refused`.
    """

    def __init__(self, path: str = "", *, timeout: float = 5.0, connections: int = 16) -> None:
        self._named = named_path(path)
        self._timeout = timeout
        self._connections = connections
        self._idle: list[LocalClient] = []
        self._renew()

    @property
    def path(self) -> str:
        """Return the path where the sidecar is."""
        return self._named or usual_path()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._turns = threading.BoundedSemaphore(self._connections)
        self.close()  # here only: the other process keeps its own
        self._idle = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what lies idle; the next call opens another."""
        while self._idle:
            self._idle.pop().close()

    def watch(self, sessions: Iterable[str] | None = None) -> Generator[Change, None, None]:
        """Watch as `LocalClient.watch` does, on a connection of its own beside the pool."""
        with LocalClient(self._named, self._timeout) as client:
            yield from client.watch(sessions)

    def ask(self, request: Request[T]) -> T:
        """Send a request on any connection, and return what its reply says."""
        with self._connection() as client:
            try:
                return client.ask(request)
            except Stale:
                if not request.may_repeat:
                    raise
                return client.ask(request)

    @contextmanager
    def _connection(self) -> Iterator[LocalClient]:
        if self._process != os.getpid():
            self._renew()  # two processes that read one socket would read each other's replies
        turns, idle = self._turns, self._idle
        if not turns.acquire(timeout=self._timeout):
            raise Unreachable(
                f"all {self._connections} connections to {self.path} are busy",
                "Have more connections, or find out why the sidecar is slow: see its /metrics.",
            )
        try:
            client = _last(idle) or LocalClient(self._named, self._timeout)
            try:
                yield client
            finally:
                idle.append(client)
        finally:
            turns.release()


def _last(idle: list[LocalClient]) -> LocalClient | None:
    try:
        return idle.pop()
    except IndexError:
        return None
