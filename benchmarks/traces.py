"""What traces add to a repeated check: off, not in the share, with a caller's context, taken.

`--tree` is a checkout of before, with a `.venv` of its own, which is measured in turn.
Processor time, medians; a ratio of times in one run says whether a check pays for what is off.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import trio

sys.path.append(str(Path(__file__).parents[1]))  # for the pods of tests

from benchmarks.decision_log import CALL, CALLS
from tests.service.checks.call_histories import tokens_shown
from tests.service.memory import SETTINGS, MemoryStore, Pod


async def seconds_of(pod: Pod, *traced: object) -> float:
    """Return the processor time of one repeated check."""
    call = msgspec.structs.replace(CALL, trace=traced[0]) if traced else CALL
    for _ in range(2):
        await pod.checker.check(call)
    check = pod.checker.check_at_once
    assert check(call) is not None
    began = time.process_time()
    for _ in range(CALLS):
        check(call)
    return (time.process_time() - began) / CALLS


async def off() -> float:
    """Return the time of a check in a pod that takes no decisions."""
    return await seconds_of(Pod(MemoryStore(), (), tokens_shown(), SETTINGS))


async def each_way(rounds: int, tree: str | None) -> None:
    """Print the medians of each way."""
    from sidecar.service.checks.decision_takers import takers_of  # noqa: PLC0415 - `--tree` has none
    from sidecar.wire.traces.trace_context import SentContext  # noqa: PLC0415 - likewise
    from tests.service.traces.tracing import tracer  # noqa: PLC0415 - likewise

    sent = SentContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        if tree:
            times.setdefault("before", []).append(before(tree))
        times.setdefault("off", []).append(await off())
        for name, share, traced in (
            ("not in the share", 0.0, ()),
            ("taken", 1.0, ()),
            ("with a context", 0.0, (sent,)),
        ):
            pod = Pod(MemoryStore(), (), tokens_shown(), SETTINGS)
            pod.checker._takers = takers_of(None, tracer(share, 10 * CALLS)[0])  # noqa: SLF001 - pods of tests have none
            times.setdefault(name, []).append(await seconds_of(pod, *traced))
        _, queue, output = tracer(1.0, CALLS)
        pod.checker._takers = takers_of(None, tracer(1.0, CALLS, queue)[0])  # noqa: SLF001 - likewise
        await seconds_of(pod)
        began = time.process_time()
        await queue.flush()
        times.setdefault("put down and encoded", []).append(
            (time.process_time() - began) / output.spans
        )
    base = statistics.median(times["before" if tree else "off"])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:24}{median * 1e6:6.2f} us {median / base:6.2f}")


def before(tree: str) -> float:
    """Return the time of a check in a checkout of before."""
    code = (
        "import trio; from benchmarks.decision_log import seconds_of, tokens_shown;"
        "from tests.service.memory import SETTINGS, MemoryStore, Pod;"
        "print(trio.run(seconds_of, Pod(MemoryStore(), (), tokens_shown(), SETTINGS)))"
    )
    python = Path(tree, ".venv", "bin", "python")
    done = subprocess.run([python, "-c", code], cwd=tree, check=True, capture_output=True)
    return float(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=9)
    parser.add_argument("--tree", help="a checkout of before, with a .venv of its own")
    arguments = parser.parse_args()
    trio.run(each_way, arguments.rounds, arguments.tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())
