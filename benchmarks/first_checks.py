"""What the first check of a session costs its daemon: processor time, and commands of the store.

Also what a check costs of a session that the store knows and the view has no room for. Time is that
of the daemon alone, with all that follows a check, from its start to its rest.

Usage: python -m benchmarks.first_checks [COUNT] [--rounds N] [--known] [--tree DIRECTORY ...]

`--tree`: measure the daemons of other work trees, too, with the interpreters in their `.venv`; they
take turns in each round, and medians count. `--known`: only checks of sessions that are known.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import redis

from benchmarks.engine.events import quiet
from benchmarks.engine.flow import flow
from benchmarks.engine.stage import ROOT, Daemon, Sizes, Stage

WAYS = {"1 client": (1, 1), "16 clients": (16, 1), "100 in flight": (1, 100)}
AWAY = "known, not in view, 16 clients"


class Found(NamedTuple):
    """What one check cost, and how many were answered in a second."""

    microseconds: float
    commands: float
    rate: float


def processor_time(pid: int) -> float:
    """Return the seconds of processor time of all threads, more finely than in ticks."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


class Measured:
    """A work tree's daemon and its store."""

    def __init__(self, stage: Stage, daemon: Daemon, client: redis.Redis) -> None:
        self._stage = stage
        self._daemon = daemon
        self._client = client
        self._next = 0

    def new(self, count: int) -> list[bytes]:
        """Return checks of sessions that nobody knows."""
        first, self._next = self._next, self._next + count
        return [self._stage.check(n) for n in range(first, self._next)]

    def ask(self, lines: list[bytes], way: tuple[int, int]) -> Found:
        """Measure these checks."""
        quiet(self._daemon)
        used, commands = processor_time(self._daemon.pid), self._commands()
        rate = flow(self._daemon.socket, lines, connections=way[0], in_flight=way[1]).rate
        quiet(self._daemon)
        count = len(lines)
        took = processor_time(self._daemon.pid) - used
        return Found(took / count * 1e6, (self._commands() - commands) / count, rate)

    def _commands(self) -> int:
        return int(self._client.info("stats")["total_commands_processed"])


@contextmanager
def measured(stage: Stage, tree: Path, view: int) -> Iterator[Measured]:
    """Run a daemon whose view has room for so many sessions."""
    with ExitStack() as stack:
        url = stack.enter_context(stage.store())
        client = redis.Redis.from_url(url, protocol=2)
        stack.callback(client.close)
        more = {"sessions": {"view": view}}
        yield Measured(stage, stack.enter_context(stage.daemon(url, more, tree)), client)


def run(
    count: int, rounds: int, trees: list[Path], ways: dict[str, tuple[int, int]]
) -> dict[str, dict[str, list[Found]]]:
    """Measure these ways and known sessions in all trees; returns what was found, by both."""
    found: dict[str, dict[str, list[Found]]] = {}

    def keep(way: str, tree: Path, measure: Callable[[], Found]) -> None:
        found.setdefault(way, {}).setdefault(tree.name, []).append(measure())

    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        stage = Stage(Path(directory), Sizes.of(quick=False), quick=False)
        wide = {tree: stack.enter_context(measured(stage, tree, 100_000)) for tree in trees}
        narrow = {tree: stack.enter_context(measured(stage, tree, count // 4)) for tree in trees}
        known = {tree: one.new(count) for tree, one in narrow.items()}
        for one in wide.values():
            one.ask(one.new(100), (16, 1))
        for tree, one in narrow.items():
            one.ask(known[tree], (16, 1))
        for number in range(rounds):
            for tree in trees if number % 2 else trees[::-1]:
                for name, way in ways.items():
                    keep(name, tree, lambda: wide[tree].ask(wide[tree].new(count), way))  # noqa: B023 - called here
                keep(AWAY, tree, lambda: narrow[tree].ask(known[tree], (16, 1)))  # noqa: B023 - likewise
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.first_checks")
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--tree", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    trees = [*(tree.resolve() for tree in options.tree), ROOT]
    print(f"{'':32} {'tree':12} {'us a check':>10} {'commands':>9} {'1/s':>7}")
    ways = {} if options.known else WAYS
    for way, by_tree in run(options.count, options.rounds, trees, ways).items():
        for tree, all_found in by_tree.items():
            middle = [median(values) for values in zip(*all_found, strict=True)]
            print(f"{way:32} {tree:12} {middle[0]:10.0f} {middle[1]:9.1f} {middle[2]:7.0f}")


if __name__ == "__main__":
    main()
