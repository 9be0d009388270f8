"""One watch for a whole process: however many streams are open, the sidecar has one watcher.

A thread holds the connection while somebody follows. It wakes those whose session's standing has
changed, and everybody when it is connected anew or cut off, since changes may have been missed:
who is woken asks again. So the waking may be too often, and is never too seldom.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from sidecar.client.local import LocalClient
from sidecar.client.protocol import Refused, Unreachable, socket_path

RETRY = 1.0
"""Seconds between attempts to reach the sidecar."""


class Woken:
    """Tells a thread that it was woken, or that its time has come."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._event.set()  # the first look is always due
        self._since = monotonic()

    def set(self) -> None:
        """Wake; from any thread."""
        self._event.set()

    def is_due(self, seconds: float) -> bool:
        """Whether it was woken, or as much time has gone by, since this was last true."""
        if not self._event.is_set() and monotonic() - self._since < seconds:
            return False
        self._event.clear()
        self._since = monotonic()
        return True


class Standings:
    """Followers of sessions, and the thread that wakes them."""

    def __init__(self, path: str = "", timeout: float = 5.0) -> None:
        self._path = socket_path(path)
        self._timeout = timeout
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._followers: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._watch: _Watch | None = None

    @contextmanager
    def following(self, session: str, wake: Callable[[], None]) -> Iterator[None]:
        """Have `wake` called, from another thread, when the session's standing may have changed."""
        if self._process != os.getpid():
            self._renew()  # a fork has no threads
        with self._lock:
            self._followers[session].append(wake)
            if self._watch is None:
                self._watch = _Watch(LocalClient(self._path, self._timeout), self._tell)
                self._watch.start()
        try:
            yield
        finally:
            with self._lock:
                self._followers[session].remove(wake)
                if not self._followers[session]:
                    del self._followers[session]
                if not self._followers and self._watch is not None:
                    self._watch.end()
                    self._watch = None

    def _tell(self, session: str | None) -> None:
        with self._lock:
            if session is not None:
                wakes = list(self._followers.get(session, ()))
            else:
                wakes = [wake for followers in self._followers.values() for wake in followers]
        for wake in wakes:
            wake()


class _Watch(threading.Thread):
    """Watches all sessions until it is ended; tells their names, None for all."""

    def __init__(self, client: LocalClient, tell: Callable[[str | None], None]) -> None:
        super().__init__(name="sidecar-standings", daemon=True)
        self._client = client
        self._tell = tell
        self._ended = threading.Event()

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
                self._tell(None)
            self._ended.wait(RETRY)
        self._client.close()

    def _follow(self) -> None:
        self._client.start_watching()
        self._tell(None)
        while not self._ended.is_set():
            change = self._client.next_change()
            if change is not None:
                self._tell(change.session)
