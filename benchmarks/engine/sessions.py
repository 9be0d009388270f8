"""Rows of many sessions: first checks, sessions out of view, memory, and stops of the loop."""

import time
from collections.abc import Iterator, Sequence

import jwt
import trio

from benchmarks.engine.events import moved, quiet
from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.flow import flow
from benchmarks.engine.stage import AUDIENCE, ISSUER, PING, Daemon, Stage, processor_time
from benchmarks.engine.stored import OWN, by_kind, in_words
from benchmarks.memory import resident
from benchmarks.session_memory import measured


def first_checks(stage: Stage) -> Iterator[Figure]:
    """Measure the first check of a session: one client, several, and many on one connection."""
    sizes = stage.sizes
    count = max(50, sizes.events // 20)
    ways = {"1 client": (1, 1, 0.15), "16 clients": (16, 1, 0.3), "100 in flight": (1, 100, 0.3)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    verified: list[float] = []
    number = 0
    with stage.daemons(1) as (_, (daemon,)):
        for _ in range(sizes.rounds):
            verified.append(_verifying(stage, count))
            for name, (connections, in_flight, _) in ways.items():
                lines = [stage.check(number + n) for n in range(count)]
                number += count
                quiet(daemon)
                found = flow(daemon.socket, lines, connections=connections, in_flight=in_flight)
                rates[name].append(found.rate)
    for name, (_, _, least) in ways.items():
        beside = {"verifying alone": verified}
        goals = [Goal(least, "verifying alone", at_least=True)]
        if name == "100 in flight":
            beside["16 clients"] = rates["16 clients"]
            goals.append(Goal(1, "16 clients", at_least=True))
        yield Figure(f"first check of a session, {name}", "1/s", rates[name], beside, tuple(goals))


def _verifying(stage: Stage, count: int) -> float:
    """Return how many tokens PyJWT alone verifies in a second."""
    tokens = [stage.token(n) for n in range(min(count, 200))]
    key = stage.key.public_key()
    begun = time.perf_counter()
    for one in tokens:
        jwt.decode(one, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)
    return len(tokens) / (time.perf_counter() - begun)


def out_of_view(stage: Stage) -> Iterator[Figure]:
    """Measure checks of sessions that the store knows and the view has no room for."""
    sizes = stage.sizes
    count = max(100, sizes.events // 10)
    rates: list[float] = []
    with stage.daemons(1, {"sessions": {"view": count // 4}}) as (_, (daemon,)):
        lines = stage.bring(daemon, range(count))
        for _ in range(sizes.rounds):
            quiet(daemon)
            rates.append(flow(daemon.socket, lines, connections=16).rate)
    yield Figure(
        "session known, not in view, 16 clients", "1/s", rates, {}, (Goal(8000, at_least=True),)
    )


def crowd(stage: Stage) -> Iterator[Figure]:
    """Measure a daemon with few sessions and with many: rates, memory, stops, and its rest."""
    sizes = stage.sizes
    few = min(1000, sizes.sessions // 4)
    many = sizes.sessions
    view = {"sessions": {"view": max(50_000, many)}}
    with stage.daemons(1):
        pass  # whoever compiles the modules holds 9 MiB more than one that finds them compiled
    with stage.daemons(1, view) as (client, (daemon,)):
        quiet(daemon)
        idle = resident(daemon.pid)
        stored = client.info("memory")["used_memory"]
        checks = stage.bring(daemon, range(few))
        quiet(daemon)
        each = by_kind(client, few)
        stage.say(f"bringing {many:,} sessions into the view")
        stage.bring(daemon, range(few, many))
        with stage.daemons(1, view) as (_, (other,)):
            stage.bring(other, range(few))
            before, after = _rates(stage, (other, daemon), checks[:100])
        held = resident(daemon.pid)
        kept = client.info("memory")["used_memory"]
        quiet(daemon)
        begun, used = time.perf_counter(), processor_time(daemon.pid)
        time.sleep(max(2.0, sizes.seconds * 5))
        resting = (processor_time(daemon.pid) - used) / (time.perf_counter() - begun) * 100
        stop = _longest_stop(stage, daemon)
    name = f"{few:,} sessions"
    yield Figure(
        f"checks with {many:,} sessions in view", "1/s", after["checks"],
        {name: before["checks"]}, (Goal(0.9, name, at_least=True),),
    )  # fmt: skip
    yield Figure(
        f"events with {many:,} sessions in view", "1/s", after["events"],
        {name: before["events"]}, (Goal(0.9, name, at_least=True),),
    )  # fmt: skip
    yield Figure("check's p99 beside the sweep", "us", after["p99"], {}, (Goal(1000),))
    yield Figure("memory, idle", "MiB", [idle / 2**20], {}, (Goal(48),))
    yield Figure(
        "memory of a session in view",
        "B",
        [(held - idle) / many],
        {},
        (Goal(2048),),
        f"of {many:,}",
    )
    own = sum(each[kind] for kind in OWN)
    yield Figure("store's memory of a session", "B", [own], {}, (Goal(900),), in_words(each))
    name = "store's memory of a session, with history, device and the server's own"
    yield Figure(name, "B", [(kept - stored) / many], {}, ())
    yield Figure("a view that nobody asks", "% of a core", [resting], {}, (Goal(0.5),), f"{many:,}")
    yield Figure("longest stop of the loop", "ms", [stop], {}, (Goal(5),), f"{many:,} sessions")


def session_parts(stage: Stage) -> Iterator[Figure]:
    """Measure what one session in view holds by itself, part by part, in a walk through it."""
    parts = trio.run(measured, 2000 if stage.quick else 20_000)
    for part, size in parts.items():
        yield Figure(f"a session in view, {part}", "B", [size])
    total = sum(parts.values())
    yield Figure("a session in view, all that it alone holds", "B", [total], {}, (Goal(2048),))


def _rates(
    stage: Stage, daemons: Sequence[Daemon], checks: list[bytes]
) -> list[dict[str, list[float]]]:
    """Measure the same sessions at each of the daemons, in turn.

    Their records hold as much at each: an event costs the more, the more they hold.
    """
    found: list[dict[str, list[float]]] = [{"checks": [], "events": [], "p99": []} for _ in daemons]
    for turn in range(stage.sizes.rounds):
        order = [*zip(daemons, found, strict=True)]
        for daemon, one in order if turn % 2 else order[::-1]:
            _one_round(stage, daemon, checks, one)
    return found


def _one_round(
    stage: Stage, daemon: Daemon, checks: list[bytes], found: dict[str, list[float]]
) -> None:
    count = stage.sizes.events
    quiet(daemon)
    lines = [checks[n % len(checks)] for n in range(count)]
    found["checks"].append(flow(daemon.socket, lines, connections=16).rate)
    found["p99"].append(flow(daemon.socket, lines[: count // 4]).part(0.99))
    events = [moved(n % len(checks)) for n in range(max(100, count // 10))]
    found["events"].append(flow(daemon.socket, events, connections=16).rate)
    quiet(daemon)


def _longest_stop(stage: Stage, daemon: Daemon) -> float:
    """Return the longest wait of one who asks all the time, in ms, less the usual one."""
    link = daemon.link()
    waits: list[float] = []
    end = time.perf_counter() + max(1.0, stage.sizes.seconds * 5)
    while (begun := time.perf_counter()) < end:
        link.sure(PING)
        waits.append(time.perf_counter() - begun)
        time.sleep(0.001)
    link.close()
    waits.sort()
    return (waits[-1] - waits[len(waits) // 2]) * 1000
