"""Watches sessions for a whole process: many streams share a connection.

Only those are watched that somebody here follows: to watch every session of the sidecar would take
a power that an app need not have. A thread holds each connection while somebody follows. It wakes
those whose session's standing has changed, and everybody when it watches anew or is cut off, since
changes may have been missed: who is woken asks again. So the waking may be too often, and is never
too seldom.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from stepup_client.connection.protocol import Refused, Unreachable, named_path
from stepup_client.local import LocalClient

RETRY = 1.0
"""Seconds between attempts to reach the sidecar."""

TOGETHER = 128
"""Sessions that are watched on one connection, so that a request line stays a short one."""


class Woken:
    """A flag by which any thread may wake another one, which also looks now and then by itself."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._event.set()  # the first look is always due
        self._since = monotonic()

    def set(self) -> None:
        """Wake; from any thread."""
        self._event.set()

    def is_due(self, seconds: float) -> bool:
        """Return whether it was woken, or as much time has gone by, since this was last true."""
        if not self._event.is_set() and monotonic() - self._since < seconds:
            return False
        self._event.clear()
        self._since = monotonic()
        return True


class Standings:
    """Followers of sessions, and the thread that wakes them."""

    def __init__(self, path: str = "", timeout: float = 5.0) -> None:
        self._path = named_path(path)
        self._timeout = timeout
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._followers: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._watches: list[_Watch] = []

    @contextmanager
    def following(self, session: str, wake: Callable[[], None]) -> Iterator[None]:
        """Have `wake` called, from another thread, when the session's standing may have changed.

        Without a session `wake` is never called: such a call passed unasked.
        """
        if not session:
            yield
            return
        if self._process != os.getpid():
            self._renew()  # a fork has no threads
        with self._lock:
            if session not in self._followers:
                self._watch(session)
            self._followers[session].append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._followers[session].remove(wake)
                if not self._followers[session]:
                    del self._followers[session]
                    self._unwatch(session)

    def _watch(self, session: str) -> None:
        """Have a session watched, together with others where there is room."""
        for watch in self._watches:
            if len(watch) < TOGETHER:
                watch.add(session)
                return
        watch = _Watch(session, LocalClient(self._path, self._timeout), self._wake)
        self._watches.append(watch)
        watch.start()

    def _unwatch(self, session: str) -> None:
        for watch in self._watches:
            watch.discard(session)
            if not watch:
                watch.end()
        self._watches = [watch for watch in self._watches if watch]

    def _wake(self, session: str | None) -> None:
        with self._lock:
            if session is not None:
                wakes = list(self._followers.get(session, ()))
            else:
                wakes = [wake for followers in self._followers.values() for wake in followers]
        for wake in wakes:
            wake()


class _Watch(threading.Thread):
    """Watches some sessions until it is ended; calls `wake` with a session, None for all."""

    def __init__(
        self, session: str, client: LocalClient, wake: Callable[[str | None], None]
    ) -> None:
        super().__init__(name="sidecar-standings", daemon=True)
        self._sessions = {session}
        self._asking = threading.Lock()
        self._client = client
        self._wake = wake
        self._ended = threading.Event()

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: str) -> None:
        """Watch this one, too: also where the connection is only being made."""
        with self._asking:
            self._sessions.add(session)
            self._client.watch_also(self._sessions)

    def discard(self, session: str) -> None:
        """Let this one go: when next another one is added, it is watched no longer."""
        with self._asking:
            self._sessions.discard(session)

    def end(self) -> None:
        """End soon."""
        self._ended.set()
        self._client.interrupt()

    def run(self) -> None:
        """Watch, and when cut off watch again."""
        while not self._ended.is_set():
            try:
                self._follow()
            except (Unreachable, Refused):
                self._client.close()
                self._wake(None)
            self._ended.wait(RETRY)
        self._client.close()

    def _follow(self) -> None:
        with self._asking:  # a session that is added meanwhile is asked for after these
            self._client.start_watching(self._sessions)
        self._wake(None)
        while not self._ended.is_set():
            change = self._client.next_change()
            self._wake(None if change is None else change.session)
