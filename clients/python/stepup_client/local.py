"""A synchronous client of the local socket, of the standard library alone.

    with LocalClient() as sidecar:
        decision = sidecar.check(token, context="c1")
        if not decision.allowed:
            return decision.status, {"WWW-Authenticate": decision.www_authenticate}

It speaks the protocol of the manual's "local socket": one JSON object a line, replies in order. It
connects when first used, and once again where the daemon closed a connection that lay idle. A
process that was forked opens a connection of its own. Threads take turns, one call at a time;
`pool.PooledClient` has their calls run side by side. A watch needs a client of its own.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from stepup_client.connection import requests
from stepup_client.connection.calls import Calls
from stepup_client.connection.liveness import is_closed
from stepup_client.connection.protocol import (
    DEFAULT_PATH,
    LONGEST_LINE,
    Change,
    Decision,
    Lines,
    Mismatched,
    Reason,
    Receipt,
    Refused,
    Stale,
    Unreachable,
    accepted,
    change_of,
    decoded,
    matched,
    named_path,
    receipt_of,
    referred,
    unreachable,
    usual_path,
)
from stepup_client.connection.requests import Request

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = (
    "DEFAULT_PATH",
    "LONGEST_LINE",
    "WINDOW",
    "Change",
    "Decision",
    "LocalClient",
    "Mismatched",
    "Reason",
    "Receipt",
    "Refused",
    "Unreachable",
)

T = TypeVar("T")

WINDOW = 64
"""Events that are under way at once: few enough for the replies to fit any socket buffer."""


class LocalClient(Calls):
    """A connection to the sidecar at `path` (default: `SIDECAR_SOCKET`, else the usual place).

    `timeout` is in seconds, for a turn, for connecting and for each reply. Every method raises
    `Unreachable`, and those that can be refused raise `Refused`.
    """

    def __init__(self, path: str = "", timeout: float = 5.0) -> None:
        self._named = named_path(path)
        self.path = self._named or usual_path()
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._turn = threading.Lock()  # a thread of the other process may hold the one before
        self.close()  # here only: the other process keeps its own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._lines, self._used = None, Lines(), False
        self._watching: set[str] = set()

    def events(
        self, events: Iterable[Mapping[str, Any]], window: int = WINDOW
    ) -> Generator[Receipt | Refused, None, None]:
        """Push many, `window` under way at once; gives what became of each, in their order."""
        coming = iter(events)
        while batch := [_referred(event) for event in islice(coming, window)]:
            outcomes: list[Receipt | Refused] = []
            # Replies that nobody has read would stand in the way of another call: all are read
            # before the first is yielded. Where some are not known, those before them still are.
            try:
                self._exchange(batch, outcomes)
            except Unreachable:
                yield from outcomes
                raise
            yield from outcomes

    def _exchange(
        self, batch: Iterable[tuple[bytes, str] | Refused], outcomes: list[Receipt | Refused]
    ) -> None:
        """Send events, and add what became of each to `outcomes`."""
        with self._our_turn(self._timeout):
            self._send(b"".join(one[0] for one in batch if not isinstance(one, Refused)))
            for one in batch:
                if isinstance(one, Refused):
                    outcomes.append(one)
                    continue
                try:
                    reply = matched(self._receive(self._timeout), one[1], self.path)
                except Refused as error:  # the connection, and so all that is still to come
                    raise Unreachable(f"{self.path}: {error}") from error
                outcomes.append(receipt_of(reply) if reply.get("ok") else Refused(reply))

    def watch(self, sessions: Iterable[str] | None = None) -> Generator[Change, None, None]:
        """Yield the changes of these sessions' standing as they come.

        None: of all that the sidecar serves, which takes a source that may (`may_watch`).

        It waits for as long as it takes, and holds the connection while it lasts: have a client of
        its own for it. Raises `Unreachable` where changes may have been missed: watch anew, and
        check again. It watches from the first `next`: what came before is left out.
        """
        self.start_watching(sessions)
        try:
            while True:
                change = self.next_change()
                if change is not None:
                    yield change
        finally:
            self.close()

    def start_watching(self, sessions: Iterable[str] | None = None) -> None:
        """Begin to watch before it returns; `next_change` waits for changes."""
        self.ask(requests.watch(sessions))

    def next_change(self) -> Change | None:
        """Wait for a line of a watch; return None for one that is no change.

        Raises `Refused` where the watch that `watch_also` asked for is refused.
        """
        line = self._receive(None)
        if "ok" not in line:
            return change_of(line)
        ref = str(line.get("ref"))
        if ref not in self._watching:
            self.close()
            raise Mismatched(f"what came from {self.path} answers another request")
        self._watching.discard(ref)
        return change_of(accepted(line))

    def watch_also(self, sessions: Iterable[str]) -> None:
        """Change the open watch, from another thread, to these sessions.

        `next_change` returns None when that is done. Does nothing where no watch is open.
        """
        connection = self._socket
        if connection is None:
            return
        line, ref = referred(requests.watch(sessions).message)
        self._watching.add(ref)
        with suppress(OSError):  # it was closed meanwhile
            if connection.send(line) < len(line):
                self.interrupt()

    def interrupt(self) -> None:
        """Make calls that wait in this client fail with `Unreachable`; from another thread."""
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # it was closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def ask(self, request: Request[T]) -> T:
        """Send a request and return what its reply says.

        Raises `Stale` where a connection from before had broken.
        """
        patience = request.patience or self._timeout
        with self._our_turn(patience):
            line, ref = referred(request.message)
            self._send(line)
            reply = matched(self._receive(patience), ref, self.path)
        return request.read(accepted(reply))

    @contextmanager
    def _our_turn(self, patience: float) -> Iterator[None]:
        """Have the connection to ourselves; it is closed where the body fails."""
        if self._process != os.getpid():
            self._renew()  # two processes that read one socket would read each other's replies
        turn = self._turn
        if not turn.acquire(timeout=patience):
            raise Unreachable(
                f"another thread has used the connection to {self.path} for {patience:g} s",
                "Have a PooledClient for many threads, and a client of its own for each watch.",
            )
        settled = False
        try:
            yield
            settled = True
        finally:
            if not settled:  # a reply that comes later would answer the next request
                self.close()
            turn.release()

    def _send(self, data: bytes) -> None:
        if self._socket is not None and is_closed(self._socket):
            self.close()
        connection = self._socket or self._connect()
        try:
            connection.settimeout(self._timeout)
            connection.sendall(data)
        except OSError as error:
            raise self._broken(error) from error

    def _connect(self) -> socket.socket:
        self.path = self._named or usual_path()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(self.path)
        except OSError as error:
            connection.close()
            raise unreachable(self.path, error) from error
        self._socket = connection
        return connection

    def _receive(self, timeout: float | None) -> Mapping[str, Any]:
        """Read the next line; `timeout` None: however long it takes."""
        line = self._read_line(timeout)
        try:
            reply = decoded(line, self.path)
        except Unreachable:
            self.close()
            raise
        self._used = True
        return reply

    def _read_line(self, timeout: float | None) -> bytes:
        connection = self._socket
        if connection is None:
            raise Unreachable(f"the connection to {self.path} is closed")
        end = None if timeout is None else monotonic() + timeout
        try:
            while (line := self._lines.next()) is None:
                # Anew each time: a reply that comes byte after byte would never be too late.
                connection.settimeout(None if end is None else max(0.0, end - monotonic()))
                self._lines.feed(connection.recv(65536))
        except OSError as error:
            raise self._broken(error) from error
        return line

    def _broken(self, error: OSError) -> Unreachable:
        """Close the connection; return what its error means."""
        is_stale = self._used and self._lines.is_empty and isinstance(error, ConnectionError)
        self.close()
        raised = unreachable(self.path, error)
        return Stale(str(raised), raised.hint) if is_stale else raised


def _referred(event: Mapping[str, Any]) -> tuple[bytes, str] | Refused:
    try:
        return referred(requests.event(event).message)
    except Refused as refused:
        return refused
