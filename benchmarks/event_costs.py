"""What events cost a daemon and its store, and how long they take, in turn with other work trees.

Each tree has a store of its own and a `sidecar run` of its own, both whole processes. In each round
each of them has its turn, with the same events: of one client and of sixteen that each have one
under way, of one client that has 64 under way, of one that waits between its events, and of users'
risks that mark their sessions. Other load on the machine changes processor time least: `daemon us`
and `store us` are what an event takes of it, all that follows with it.

Usage: python -m benchmarks.event_costs [SECONDS] [--rounds N] [--sessions N] [--tree DIRECTORY ...]

`--sessions`: events go to so many sessions by turns; the fewer they are, the more their records
hold. `--load` measures those alone whose name is given.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import redis

from benchmarks.engine.events import (
    NETWORKS,
    UNLIMITED,
    event,
    moved,
    one_at_a_time,
    quiet,
)
from benchmarks.engine.flow import flow
from benchmarks.engine.stage import ROOT, Daemon, Sizes, Stage, processor_time


class Load(NamedTuple):
    """So many connections, each with so many events under way; `pause`: seconds between two."""

    name: str
    connections: int = 1
    in_flight: int = 1
    pause: float = 0.0
    risk: bool = False


LOADS = (
    Load("lone", pause=0.005),
    Load("1 under way"),
    Load("16 clients", connections=16),
    Load("64 under way", in_flight=64),
    Load("risk, 16 clients", connections=16, risk=True),
)


class Server(NamedTuple):
    """A daemon, its store's process, and the risks that its users have by turns."""

    name: str
    daemon: Daemon
    store: int
    levels: Iterator[str]


def lines(load: Load, sessions: int, levels: Iterator[str]) -> Callable[[int], bytes]:
    """Return what makes the lines of a load's events."""

    def risk(n: int) -> bytes:
        level = next(levels)
        return event("risk-level-change", "user", n % sessions, current_level=level)

    return risk if load.risk else lambda n: moved(n % sessions)


def measured(server: Server, load: Load, seconds: float, sessions: int) -> dict[str, float]:
    """Send events for so long, wait for all that follows, and return what they took."""
    quiet(server.daemon)
    line = lines(load, sessions, server.levels)
    pids = {"daemon us": server.daemon.pid, "store us": server.store}
    used = {name: processor_time(pid) for name, pid in pids.items()}
    begun = time.perf_counter()
    if load.pause:
        latencies = one_at_a_time(server.daemon, line, int(seconds / load.pause / 2), load.pause)
        rate = 1e6 / statistics.fmean(latencies)
    else:
        found = flow(
            server.daemon.socket,
            map(line, itertools.count()),
            connections=load.connections,
            in_flight=load.in_flight,
            seconds=seconds,
        )
        latencies, rate = [one * 1e6 for one in found.latencies], found.rate
    quiet(server.daemon)
    took = time.perf_counter() - begun - 0.25  # of which it was seen to be quiet
    latencies.sort()
    return {
        "per s": rate,
        "done per s": len(latencies) / took,
        "p50 us": latencies[len(latencies) // 2],
        "p99 us": latencies[int(len(latencies) * 0.99)],
        **{n: (processor_time(pid) - used[n]) / len(latencies) * 1e6 for n, pid in pids.items()},
    }


def run(options: argparse.Namespace) -> None:
    """Measure all, and print the medians and the spread of processor time."""
    trees = [*(tree.resolve() for tree in options.tree), ROOT]
    loads = [one for one in LOADS if not options.load or one.name in options.load]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stage = Stage(directory, Sizes.of(quick=False), quick=False)
        servers = []
        for tree in trees:
            url = stack.enter_context(stage.store())
            client = redis.Redis.from_url(url, protocol=2)
            stack.callback(client.close)
            daemon = stack.enter_context(stage.daemon(url, {**NETWORKS, **UNLIMITED}, tree))
            stage.bring(daemon, range(options.sessions))
            levels = itertools.cycle(["HIGH"] * options.sessions + ["LOW"] * options.sessions)
            servers.append(Server(tree.name, daemon, client.info("server")["process_id"], levels))
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for turn in range(options.rounds):
            for load in loads:
                for server in servers if turn % 2 else servers[::-1]:
                    stage.say(f"{load.name}, {server.name}, round {turn + 1}")
                    one = measured(server, load, options.seconds, options.sessions)
                    found.setdefault((load.name, server.name), []).append(one)
    columns = list(next(iter(found.values()))[0])
    print(f"{'':34}" + "".join(f"{name:>12}" for name in columns) + f"{'least..most us':>18}")
    for (load_name, name), rounds in found.items():
        medians = [statistics.median(one[column] for one in rounds) for column in columns]
        costs = [one["daemon us"] for one in rounds]
        spread = f"{min(costs):.0f}..{max(costs):.0f}"
        title = f"{load_name}, {name}"
        print(f"{title:34}" + "".join(f"{m:12,.0f}" for m in medians) + f"{spread:>18}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", nargs="?", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--tree", type=Path, nargs="*", default=[])
    parser.add_argument("--load", action="append", default=[])
    run(parser.parse_args())


if __name__ == "__main__":
    main()
