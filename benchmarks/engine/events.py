"""Rows of events: acknowledged, marked at another sidecar, many at once, and all that follows."""

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.engine.figures import Figure, Goal
from benchmarks.engine.flow import StoreLink, flow
from benchmarks.engine.stage import Daemon, Stage, Unmeasured, processor_time

_numbers = itertools.count()

UNLIMITED = {"limits": {"rate": 1e6, "burst": 1_000_000}}
"""How many events a source may send: the door's limit is not what is measured."""

NETWORKS = {"networks": [{"name": name} for name in ("restricted", "lab", "other")]}


def event(kind: str, subject: str, n: int, **data: str) -> bytes:
    """Return the line of an event that nobody has sent before."""
    line = {
        "op": "event",
        "type": kind,
        "id": f"bench-{next(_numbers)}",
        "subject": {subject: f"{subject}-{n}"},
        "data": data,
    }
    return json.dumps(line).encode() + b"\n"


def moved(n: int) -> bytes:
    """Return an event of a session that brings about no mark."""
    return event("network-change", "session", n, segment="lab" if next(_numbers) % 2 else "other")


def quiet(daemon: Daemon, share: float = 0.1, within: float = 60.0) -> float:
    """Wait until a daemon has done what was to do: it uses hardly any processor time.

    Return how much it has used meanwhile. Raises `Unmeasured` where it is busy for so long.
    """
    begun, end = processor_time(daemon.pid), time.perf_counter() + within
    while time.perf_counter() < end:
        before = processor_time(daemon.pid)
        time.sleep(0.25)
        now = processor_time(daemon.pid)
        if now - before <= share * 0.25:
            return now - begun
    raise Unmeasured(f"a daemon is not done with what it was given within {within:.0f} s")


def one_at_a_time(
    daemon: Daemon, line: Callable[[int], bytes], count: int, pause: float = 0.005
) -> list[float]:
    """Send so many events, each a `pause` after the one before was acknowledged.

    Return how long each took to be, in microseconds. All go by one connection, as an app's do.
    """
    link, took = daemon.link(), []
    for n in range(count):
        time.sleep(pause)
        asked = line(n % 100)
        begun = time.perf_counter()
        link.sure(asked)
        took.append((time.perf_counter() - begun) * 1e6)
    link.close()
    return took


class _Load(NamedTuple):
    """How many events a second were acknowledged, and done with all that follows.

    `cost`: the processor time of the daemon for one, all that follows with it, in microseconds;
    `busy`: the generator's own part of a core.
    """

    rate: float
    sustained: float
    cost: float
    busy: float


def _loaded(
    daemon: Daemon,
    line: Callable[[int], bytes],
    seconds: float,
    *,
    connections: int = 1,
    in_flight: int = 1,
) -> _Load:
    """Send events for so long, and wait for all that follows; the daemon was idle before."""
    quiet(daemon)
    used, begun = processor_time(daemon.pid), time.perf_counter()
    found = flow(
        daemon.socket,
        map(line, itertools.count()),
        connections=connections,
        in_flight=in_flight,
        seconds=seconds,
    )
    quiet(daemon)
    took = time.perf_counter() - begun - 0.25  # of which it was seen to be quiet
    used = processor_time(daemon.pid) - used
    done = len(found.latencies)
    return _Load(found.rate, done / took, used / done * 1e6, found.busy)


def _note(loads: list[_Load]) -> str:
    cost = statistics.median(one.cost for one in loads)
    busiest = max(one.busy for one in loads)
    return (
        f"{cost:.0f} us of the daemon's processor time for each, all that follows with it;"
        f" generator busy {busiest:.2f} at most"
    )


def acknowledged(stage: Stage) -> Iterator[Figure]:
    """Measure one event at a time, each while all is idle; and many under way."""
    sizes = stage.sizes
    with stage.daemons(1, {**NETWORKS, **UNLIMITED}) as (client, (daemon,)):
        stage.bring(daemon, range(100))
        stage.say("acknowledge: one event at a time")
        store = StoreLink(client.connection_pool.connection_kwargs["path"])
        took: dict[str, list[float]] = {"p50": [], "p99": []}
        bare: dict[str, list[float]] = {"p50": [], "p99": []}
        for _ in range(sizes.rounds):
            quiet(daemon)
            pairs = sorted(store.get_and_publish(sizes.seconds / 2))
            bare["p50"].append(pairs[len(pairs) // 2])
            bare["p99"].append(pairs[int(len(pairs) * 0.99)])
            ours = sorted(one_at_a_time(daemon, moved, max(20, sizes.events // 50)))
            took["p50"].append(ours[len(ours) // 2])
            took["p99"].append(ours[int(len(ours) * 0.99)])
        for part, most in (("p50", 8), ("p99", 40)):
            name = "store GET + PUBLISH"
            beside = {name: bare["p50"]}
            yield Figure(
                f"event acknowledged, idle, {part}", "us", took[part], beside, (Goal(most, name),)
            )
        rates: dict[tuple[int, int], list[_Load]] = {}
        pairs_rate: list[float] = []
        for turn in range(sizes.rounds):
            pairs_rate.append(store.pipelined(sizes.seconds / 2))
            for connections, in_flight in ((1, 1), (16, 1), (1, 64)):
                stage.say(f"acknowledge: {connections} x {in_flight} under way, round {turn + 1}")
                found = _loaded(
                    daemon,
                    lambda n: moved(n % 100),
                    sizes.seconds,
                    connections=connections,
                    in_flight=in_flight,
                )
                rates.setdefault((connections, in_flight), []).append(found)
        store.close()
        for (connections, in_flight), least in (
            ((1, 1), 3000),
            ((16, 1), 10_000),
            ((1, 64), 20_000),
        ):
            under_way = max(connections, in_flight)
            found_here = rates[connections, in_flight]
            yield Figure(
                f"events, {under_way} under way, session in view",
                "1/s",
                [one.rate for one in found_here],
                {"store GET + PUBLISH, pipelined": pairs_rate},
                (Goal(least, at_least=True),),
                _note(found_here),
            )


def followed(stage: Stage) -> Iterator[Figure]:
    """Measure events with all that follows done, and risks of users that mark sessions."""
    sizes = stage.sizes
    sessions = min(sizes.events, 2000)
    sustained: list[_Load] = []
    marked: list[_Load] = []
    levels = [itertools.cycle(("HIGH", "LOW")) for _ in range(sessions)]
    with stage.daemons(1, {**NETWORKS, **UNLIMITED}) as (_, (daemon,)):
        stage.bring(daemon, range(sessions))
        for turn in range(sizes.rounds):
            stage.say(f"follow: risk of users, round {turn + 1}")
            marked.append(
                _loaded(
                    daemon,
                    lambda n: event(
                        "risk-level-change",
                        "user",
                        n % sessions,
                        current_level=next(levels[n % sessions]),
                    ),
                    sizes.seconds,
                    connections=16,
                )
            )
            stage.say(f"follow: events and all that follows, round {turn + 1}")
            sustained.append(
                _loaded(daemon, lambda n: moved(n % sessions), 2 * sizes.seconds, in_flight=64)
            )
    yield Figure(
        "user's risk with marks, in view, 16 clients",
        "1/s",
        [one.rate for one in marked],
        {},
        (Goal(5000, at_least=True),),
        _note(marked),
    )
    yield Figure(
        "events sustained, with all that follows done",
        "1/s",
        [one.sustained for one in sustained],
        {},
        (Goal(5000, at_least=True),),
        _note(sustained),
    )


def elsewhere(stage: Stage) -> Iterator[Figure]:
    """Measure from an event at one sidecar to the mark that a watcher sees at another."""
    sizes = stage.sizes
    with stage.daemons(2) as (client, (here, there)):
        stage.bring(here, range(200))
        stage.bring(there, range(200))
        store = StoreLink(client.connection_pool.connection_kwargs["path"])
        bare: list[float] = []
        idle: dict[str, list[float]] = {"p50": [], "p99": []}
        loaded: list[float] = []
        for turn in range(sizes.rounds):
            quiet(here)
            pairs = store.get_and_publish(sizes.seconds / 4)
            bare.append(statistics.median(pairs))
            count = max(20, sizes.events // 50)
            alone = sorted(_marks(here, there, count, 0, turn))
            idle["p50"].append(alone[len(alone) // 2])
            idle["p99"].append(alone[int(len(alone) * 0.99)])
            busy = sorted(_marks(here, there, count, 5, turn))
            loaded.append(busy[int(len(busy) * 0.99)])
        store.close()
    name = "store GET + PUBLISH"
    yield Figure("mark at another sidecar, p50", "us", idle["p50"], {name: bare}, (Goal(12, name),))
    yield Figure(
        "mark at another sidecar under load, p99",
        "us",
        loaded,
        {"idle p99": idle["p99"]},
        (Goal(3, "idle p99"),),
        "load: five events of other sessions with each",
    )


def _marks(here: Daemon, there: Daemon, count: int, others: int, turn: int) -> list[float]:
    """Return how long each mark took to be seen there, in microseconds."""
    watch, asked = there.link(), here.link()
    took: list[float] = []
    watched = [f"session-{n}" for n in range(100)]
    watch.sure(json.dumps({"op": "watch", "sessions": watched}).encode() + b"\n")
    for at in range(count):
        n = (at + turn) % 100
        for segment in ("restricted", "lab"):
            more = [moved_other(100 + (at * others + k) % 100) for k in range(others)]
            begun = time.perf_counter()
            asked.socket.sendall(
                event("network-change", "session", n, segment=segment) + b"".join(more)
            )
            seen = b""
            while b"\n" not in seen:
                seen += watch.socket.recv(65536)
            if segment == "restricted":
                took.append((time.perf_counter() - begun) * 1e6)
            answers = b""
            while answers.count(b"\n") < 1 + others:
                answers += asked.socket.recv(65536)
            time.sleep(0.002)
    watch.close()
    asked.close()
    return took


def moved_other(n: int) -> bytes:
    """Return an event of a session that nobody watches."""
    return event("network-change", "session", n, segment="lab")
