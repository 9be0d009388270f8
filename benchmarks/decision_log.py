"""The price of the decision log on the path of a repeated check, and beside it.

One sidecar's services on a store in memory answer the same call again and again
(`Checker.check_at_once`): without a log, with one that takes none of its session's decisions, and
with one that takes all. The log's output is nothing. Processor time; the three in turn, the median
of the rounds. `built` is what one record takes, off the path.

With `--tree DIR` the first column is a checkout before there was a log, in a process of its own.

Usage: python -m benchmarks.decision_log [ROUNDS] [--tree DIR]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).parents[1]))  # for the pods of tests

from sidecar.service.ports.calls import Call
from tests.service.checks.call_histories import tokens_shown
from tests.service.memory import SETTINGS, MemoryStore, Pod

CALLS = 20_000
CALL = Call("plain", frozenset(("c1",)), "POST", "shop.example", "/pay/7", "192.0.2.1")


async def seconds_of(pod: Pod) -> float:
    """Return the processor time of one repeated check."""
    for _ in range(2):
        await pod.checker.check(CALL)
    check = pod.checker.check_at_once
    assert check(CALL) is not None
    began = time.process_time()
    for _ in range(CALLS):
        check(CALL)
    return (time.process_time() - began) / CALLS


async def with_log(rounds: int) -> None:
    """Print the medians of each way."""
    from sidecar.service.checks.decision_takers import takers_of  # noqa: PLC0415 - likewise
    from sidecar.service.decisions.decision_log import (  # noqa: PLC0415 - `--tree` has none
        DecisionLog,
    )
    from sidecar.service.decisions.record_builder import (  # noqa: PLC0415 - likewise
        RecordBuilder,
    )
    from sidecar.wire.decision_log.masks import Masks  # noqa: PLC0415 - likewise

    class Nothing:
        async def write(self, records: Sequence[bytes]) -> None:
            """Write nothing."""

    pods: dict[str, Pod] = {}
    logs: dict[str, DecisionLog] = {}
    for name, share in (("off", None), ("not taken", 0.0), ("taken", 1.0)):
        pod = pods[name] = Pod(MemoryStore(), (), tokens_shown(), SETTINGS)
        if share is None:
            continue
        routes = pod.in_force.configuration.routes
        masks = Masks(SETTINGS.decision_log, SETTINGS.privacy)
        logs[name] = DecisionLog(
            output=Nothing(),
            builder=RecordBuilder(masks, "digest", routes.template, lambda _: "app"),
            share=share,
            bound=10 * CALLS,
            telemetry=pod.telemetry,
            clock=pod.clock,
        )
        pod.checker._takers = takers_of(logs[name], None)  # noqa: SLF001 - pods of tests have none
    times: dict[str, list[float]] = {name: [] for name in (*pods, "built")}
    for _ in range(rounds):
        for name, pod in pods.items():
            times[name].append(await seconds_of(pod))
        began = time.process_time()
        await logs["taken"].flush()
        times["built"].append((time.process_time() - began) / CALLS)
    for name, found in times.items():
        print(f"{name:12}{statistics.median(found) * 1e6:6.2f} us")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=9)
    parser.add_argument("--tree", help="a checkout of before, with a .venv of its own")
    parser.add_argument("--before", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.before:
        pod = Pod(MemoryStore(), (), tokens_shown(), SETTINGS)
        found = [trio.run(seconds_of, pod) for _ in range(arguments.rounds)]
        print(f"{'before':12}{statistics.median(found) * 1e6:6.2f} us")
        return 0
    if arguments.tree:
        tree = Path(arguments.tree)
        paths = os.pathsep.join((str(tree), str(tree / "clients" / "python")))
        command = [str(tree / ".venv/bin/python"), __file__, str(arguments.rounds), "--before"]
        subprocess.run(command, check=True, cwd=tree, env={**os.environ, "PYTHONPATH": paths})
    trio.run(with_log, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
