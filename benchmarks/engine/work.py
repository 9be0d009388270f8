"""Rows of work beside calls: re-score of all, replay, starting, and doing nothing."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import redis

from benchmarks.engine.events import quiet
from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.stage import POLICIES, ROOT, Stage, in_turn, processor_time, switches
from benchmarks.recordings import recording
from benchmarks.replay import A_USER_HAS, write
from benchmarks.scaling import swept
from sidecar.service.view.store_epoch import BEAT, LOOK_EACH

PACKAGES = "trio, hypercorn, redis, jwt, maxminddb, prometheus_client"
CHANGES = {
    "concerns nobody": "{user_risk: {at_least: high}}",
    "concerns all": "{score: {at_least: 90}}",
}
"""Conditions of a policy that is added: one that no session's facts can meet, one that all may."""


SHARES = {"": 0.5, ", that does nothing else": 1.0}
"""`work.rescore_share`: by default a sidecar rests for as long as it has worked."""


def rescored(stage: Stage) -> Iterator[Figure]:
    """Measure the re-score of all sessions, which no view has, after a change of policies."""
    sessions = stage.sizes.sessions
    rates: dict[tuple[str, str], list[float]] = {(c, s): [] for c in CHANGES for s in SHARES}
    reading: list[float] = []
    with ExitStack() as stack:
        url = stack.enter_context(stage.store())
        client = redis.Redis.from_url(url, protocol=2)
        stack.callback(client.close)
        with stage.daemon(url) as first:
            stage.bring(first, range(sessions))
            quiet(first)
        for share, of_its_time in SHARES.items():
            with stage.daemon(url, {"work": {"rescore_share": of_its_time}}) as daemon:
                quiet(daemon)
                file = Path(daemon.socket).parent / "policies" / "bench.yaml"
                policies = POLICIES
                for turn in range(min(3, stage.sizes.rounds)):
                    for change, condition in CHANGES.items():
                        reading.append(_read_all(client))
                        asked = swept(client)[0]
                        policies += (
                            f"  - {{id: more-{of_its_time:.0f}-{turn}-{change[-3:]}, "
                            "contexts: [c1], grant: mfa, "
                            f"conditions: {condition}}}\n"
                        )
                        file.write_text(policies)
                        rates[change, share].append(_rate_after(client, asked))
    name = "reading the records"
    for (change, share), found in rates.items():
        yield Figure(
            f"re-score of all ({sessions:,}), one sidecar{share}, a change that {change}",
            "1/s",
            found,
            {name: reading},
            (Goal(0.3, name, at_least=True),),
            f"`work.rescore_share` {SHARES[share]}",
        )


def _rate_after(client: redis.Redis, asked: float) -> float:
    """Return how many sessions a second the re-score looks at that is asked for next."""
    while True:
        at, begun, finished = swept(client)
        if at > asked and finished is not None:
            return finished.done / max(1e-6, finished.at / 1e6 - begun / 1e6)
        time.sleep(0.05)


def _read_all(client: redis.Redis) -> float:
    """Return how many sessions' records a bare client reads in a second, a hundred at a time."""
    names = list(client.scan_iter("su:{u*}:s*", count=1000))
    begun = time.perf_counter()
    for first in range(0, len(names), 100):
        with client.pipeline(transaction=False) as pipe:
            for name in names[first : first + 100]:
                pipe.hgetall(name)
            pipe.execute()
    return len(names) / max(1e-9, time.perf_counter() - begun)


def replayed(stage: Stage) -> Iterator[Figure]:
    """Measure a replay on all cores, beside reading the recording as JSON."""
    count = stage.sizes.events * (1 if stage.quick else 10)
    file = stage.directory / "recording.ndjson"
    write(file, islice(recording(users=max(20, count // A_USER_HAS)), count))
    report = stage.directory / "report.json"
    rates: list[float] = []
    read: list[float] = []
    for _ in range(min(3, stage.sizes.rounds)):
        begun = time.perf_counter()
        with file.open("rb") as lines:
            for line in lines:
                json.loads(line)
        read.append(count / (time.perf_counter() - begun))
        begun = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "sidecar", "replay", str(file)),
                *("--config", str(ROOT / "config" / "sidecar.yaml"), "--quiet"),
                *("--json", str(report)),
            ],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        rates.append(count / (time.perf_counter() - begun))
    yield Figure(
        "replay, whole process",
        "1/s",
        rates,
        {"json.loads alone": read},
        (Goal(50_000, at_least=True),),
    )


def started(stage: Stage) -> Iterator[Figure]:
    """Measure from the start of a daemon to its socket's first answer, beside its imports."""

    def ready() -> float:
        with stage.daemon(url) as daemon:
            return daemon.ready_after * 1000

    def imports() -> float:
        begun = time.perf_counter()
        command = [sys.executable, "-c", f"import {PACKAGES}"]
        subprocess.run(command, check=True, cwd=ROOT, env=stage.environ)
        return (time.perf_counter() - begun) * 1000

    name = "imports of its six packages"
    with stage.store() as url:
        found = in_turn(stage.sizes.rounds + 1, {"ready": ready, name: imports})
    yield Figure("start to ready", "ms", found["ready"], {name: found[name]}, (Goal(1.3, name),))


def resting(stage: Stage) -> Iterator[Figure]:
    """Measure what an idle sidecar asks of the store, and how often it wakes up."""
    # Two rounds of its looks, one each 21 s: a shorter time has one of them, or two.
    seconds = 2.0 if stage.quick else 2 * LOOK_EACH * BEAT
    with stage.daemons(1) as (client, (daemon,)):
        quiet(daemon)
        time.sleep(seconds / 2)  # what it asks as it begins is done then
        begun, woken = time.perf_counter(), switches(daemon.pid)
        used, commands = processor_time(daemon.pid), _commands(client)
        time.sleep(seconds)
        took = time.perf_counter() - begun
        asked = (_commands(client) - commands - 1) / took
        wakes = (switches(daemon.pid) - woken) / took
        share = (processor_time(daemon.pid) - used) / took * 100
    yield Figure("idle sidecar, commands", "1/s", [asked], {}, (Goal(2),))
    yield Figure("idle sidecar, wake-ups", "1/s", [wakes], {}, ())
    yield Figure("idle sidecar, processor time", "% of a core", [share], {}, ())


def _commands(client: redis.Redis) -> int:
    """Return the commands that a store has carried out: each of a script's counts, too."""
    return int(client.info("stats")["total_commands_processed"])
