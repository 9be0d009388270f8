"""Requests of which each is new, as events and first checks are: sent from several connections."""

import math
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Flow(NamedTuple):
    """How fast requests were answered: a second, and each one's seconds; `busy`: our own share."""

    rate: float
    latencies: list[float]
    busy: float

    def part(self, part: float) -> float:
        """Return the latency below which this part of all is, in microseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1e6


def flow(  # noqa: PLR0913 - by name
    path: str,
    lines: Iterable[bytes],
    *,
    connections: int = 1,
    in_flight: int = 1,
    seconds: float = math.inf,
    sure: bool = True,
    each: Callable[[bytes], None] | None = None,
) -> Flow:
    """Ask all lines, with so many under way on each connection; every answer must be good.

    After so many seconds no more are asked; those that are under way are still waited for.
    """
    left = iter(lines)
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        links = [_Link(path) for _ in range(connections)]
        begun, used = time.perf_counter(), time.process_time()
        for link in links:
            selector.register(link.socket, selectors.EVENT_READ, link)
            link.send(left, in_flight)
        open_links = sum(bool(link.sent) for link in links)
        while open_links:
            for key, _ in selector.select():
                link = key.data
                answers = link.receive()
                now = time.perf_counter()
                for answer in answers:
                    if sure and not answer.startswith(b'{"ok":true'):
                        raise SystemExit(f"not answered: {answer!r}")
                    if each is not None:
                        each(answer)
                    latencies.append(now - link.sent.pop(0))
                if answers:
                    if now - begun < seconds:
                        link.send(left, len(answers))
                    open_links -= not link.sent
        took = time.perf_counter() - begun
        busy = (time.process_time() - used) / took
        for link in links:
            link.socket.close()
    return Flow(len(latencies) / took, latencies, busy)


class _Link:
    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.sent: list[float] = []
        self._unread = b""

    def send(self, lines: Iterator[bytes], count: int) -> None:
        """Send so many more, or what is left."""
        batch = [line for _, line in zip(range(count), lines, strict=False)]
        if batch:
            self.sent += [time.perf_counter()] * len(batch)
            self.socket.sendall(b"".join(batch))

    def receive(self) -> list[bytes]:
        """Return the answers that have come."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the daemon hung up")
        *answers, self._unread = (self._unread + data).split(b"\n")
        return answers


class StoreLink:
    """A bare connection to the store: what GET and PUBLISH cost, and nothing else."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self.ask(_command(b"SET", b"bench", bytes(200)), b"+OK\r\n")
        self._both = _command(b"GET", b"bench") + _command(b"PUBLISH", b"bench", bytes(200))

    def ask(self, request: bytes, ending: bytes) -> None:
        """Send, and read up to an ending."""
        self._socket.sendall(request)
        data = b""
        while not data.endswith(ending):
            data += self._socket.recv(65536)

    def get_and_publish(self, seconds: float) -> list[float]:
        """Return how long each pair took, in microseconds."""
        took: list[float] = []
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            self.ask(self._both, b":0\r\n")
            took.append((time.perf_counter() - begun) * 1e6)
        return took

    def pipelined(self, seconds: float, count: int = 100) -> float:
        """Return the pairs a second, so many at a time."""
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            self._socket.sendall(self._both * count)
            data = b""
            while data.count(b"\r\n:0\r\n") < count:
                data += self._socket.recv(1 << 18)
            done += count
        return done / (time.perf_counter() - begun)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
