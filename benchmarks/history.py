"""The history's cost: of an event, with it and without, of an entry, and of an idle sidecar.

Usage: python -m benchmarks.history [EVENTS [ROUNDS]]

A daemon of its own takes events of 200 sessions that it has in its view, which mark them and take
the marks away, 25 at a time on one connection; with the history and without take turns. Shown are
medians of the rounds: the daemon's processor time for an event with all that follows, and the
store's commands, those that scripts call included; the store's bytes for an entry; and the commands
a second of a sidecar that nobody asks.
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jwt
import redis
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from benchmarks.memory import configure
from benchmarks.scaling import ISSUER, ready
from sidecar.adapters import clock
from sidecar.adapters.redis_server.embedded import EmbeddedStore

SESSIONS, BATCH = 200, 25
REST = 5.0
"""Seconds that what follows events may take; an idle sidecar is watched for twice as long."""


class Cost(NamedTuple):
    """The cost of an event (microseconds, commands), an entry (bytes), of idleness (commands)."""

    processor: float
    commands: float
    entry: float
    idle: float


def processor(process: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def commands(client: redis.Redis) -> int:
    """Return how many commands the server has run."""
    return int(client.info("stats")["total_commands_processed"])


class Lines:
    """The local socket of a daemon, a line for each request."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._left = b""

    async def ask(self, *requests: dict[str, object]) -> None:
        """Send these, and read as many replies."""
        await self._stream.send_all(b"".join(json.dumps(one).encode() + b"\n" for one in requests))
        lines = self._left.count(b"\n")
        while lines < len(requests):
            more = await self._stream.receive_some(65536)
            self._left += more
            lines += more.count(b"\n")
        for line in self._left.splitlines()[: len(requests)]:
            assert json.loads(line)["ok"], line
        self._left = b""


@asynccontextmanager
async def running(
    key: ec.EllipticCurvePrivateKey, url: str, *, kept: bool
) -> AsyncIterator[tuple[int, Path]]:
    """Run a daemon; give its process and its socket."""
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as name:
        directory = Path(name)
        config = configure(directory, key, url, "", {"history": {"enabled": kept}})
        async with trio.open_nursery() as nursery:
            with (directory / "log").open("wb") as log:
                command = [sys.executable, "-m", "sidecar", "run", "--config", str(config)]
                process = await nursery.start(
                    partial(trio.run_process, command, stderr=log, check=False)
                )
                await ready(directory / "a.sock")
                yield process.pid, directory / "a.sock"
            process.terminate()


async def measure(events: int, *, kept: bool) -> Cost:
    """Take events, and rest."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = int(clock.now())
    async with trio.open_nursery() as nursery:
        url = await nursery.start(EmbeddedStore().run)
        with redis.Redis.from_url(url) as client:
            async with running(key, url, kept=kept) as (process, path):
                lines = Lines(await trio.open_unix_socket(str(path)))
                for number in range(SESSIONS):
                    claims = {
                        "iss": ISSUER,
                        "aud": "payroll",
                        "sub": f"u{number}",
                        "sid": f"s{number}",
                        "iat": now,
                        "exp": now + 3600,
                        "auth_time": now,
                        "acr": "mfa",
                    }
                    token = jwt.encode(claims, key, "ES256", headers={"kid": "k"})
                    await lines.ask({"op": "check", "token": token})
                await trio.sleep(REST)
                used, ran = processor(process), commands(client)
                for first in range(0, events, BATCH):
                    await lines.ask(*(event(number) for number in range(first, first + BATCH)))
                await trio.sleep(REST)
                used, ran = processor(process) - used, commands(client) - ran
                keys = list(client.scan_iter("su:{u*}:h"))
                entries = sum(client.hlen(one) - 1 for one in keys)
                taken = sum(client.memory_usage(one) or 0 for one in keys)
                idle = commands(client)
                await trio.sleep(2 * REST)
                idle = commands(client) - idle
        nursery.cancel_scope.cancel()
    return Cost(used / events * 1e6, ran / events, taken / max(1, entries), idle / (2 * REST))


def event(number: int) -> dict[str, object]:
    """Return an event: each session moves into the restricted segment, out of it, and so on."""
    segment = "office" if number // SESSIONS % 2 else "restricted"
    subject = {"session": f"s{number % SESSIONS}"}
    return {
        "op": "event",
        "type": "network-change",
        "id": f"e{number}",
        "subject": subject,
        "data": {"segment": segment},
    }


def main() -> None:
    """Measure, and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    console = Console()
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    for _ in range(rounds):
        for kept, found in costs.items():
            found.append(trio.run(partial(measure, events, kept=kept)))
    for kept, found in costs.items():
        median = Cost(*(statistics.median(column) for column in zip(*found, strict=True)))
        console.print(
            f"{'with' if kept else 'without'} the history: an event {median.processor:,.0f} us of"
            f" the daemon, {median.commands:.1f} commands; {median.entry:.0f} bytes an entry;"
            f" idle {median.idle:.1f} commands a second"
        )


if __name__ == "__main__":
    main()
