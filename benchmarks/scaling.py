"""What one session, check, signal and sidecar cost the store, and what that allows on a Cluster.

Usage: python -m benchmarks.scaling [SESSIONS]

Two whole daemons on a server of their own, spoken to over their sockets. Each row is what the
server says of itself (INFO: memory, commandstats, net input and output, CPU of the main thread)
after a phase, less what it said before, less what idle daemons cost in that time, by operation.
The second table computes from the first what `docs/scaling.md` quotes.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import redis
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

from sidecar.adapters import clock
from sidecar.adapters.redis.links import call
from sidecar.adapters.redis_server.embedded import EmbeddedStore
from sidecar.daemon.lifecycle import Addresses, serve
from sidecar.wire.settings.settings import Sessions, StoreSettings, Work
from sidecar.wire.store.keys import StoreKeys
from sidecar.wire.store.rescore_records import Finished, backlog_of, current_of, finished_of

ISSUER = "https://id.example"
POLICIES = """\
policies:
  - id: places
    contexts: {include: [c1]}
    conditions: {any: [{networks: {include: [restricted]}}, {device: {compliant: false}}]}
    grant: mfa
  - id: risk
    contexts: {include: [c1]}
    conditions: {user_risk: {at_least: medium}}
    grant: mfa
"""
IDLE_SECONDS = 15.0
QUIET = 2
"""Scripts and reads of an idle daemon in a second, at most."""

BUSY_WITH = ("evalsha", "hgetall")

SESSIONS = 100_000_000
SIDECARS = 10_000
SIGNALS = 50_000
NODE_MEMORY = 64 * 2**30
BUSY = 0.6
"""The part of a node's one core, and of its memory, that is planned with."""

NODE_NETWORK = 10e9 / 8 * BUSY
ACTIVE = 0.1
"""The part of live sessions that make calls in any five minutes: an assumption."""


class Cost(NamedTuple):
    """Memory and net bytes, commands (those in scripts among them), scripts, seconds of CPU."""

    memory: float
    commands: float
    scripts: float
    received: float
    sent: float
    cpu: float

    def less(self, other: "Cost", times: float = 1) -> "Cost":
        """The difference to so many of another."""
        return Cost(*(a - b * times for a, b in zip(self, other, strict=True)))

    def each(self, count: float) -> "Cost":
        """Of one among so many."""
        return Cost(*(value / count for value in self))


class Run(NamedTuple):
    """A re-score of all: what a session of it costs the store, and sessions a second."""

    cost: Cost
    rate: float


KINDS = {
    (b"u", b"s"): "session record",
    (b"u", b"f"): "user record",
    (b"u", b"x"): "index of a user",
    (b"d", b"f"): "device record",
    (b"d", b"x"): "index of a device",
    (b"s", b"l"): "locator",
}
MORE = """\
policies:
  - id: {policy}
    contexts: {{include: [c1]}}
    conditions: {{user_risk: {{at_least: high}}}}
    grant: mfa
"""
NOTHING = Cost(0, 0, 0, 0, 0, 0)


class Bench:
    """The server, the daemons' sockets, and what idle daemons cost a second."""

    def __init__(self, client: redis.Redis, key: Any, sessions: int) -> None:
        self.client = client
        self.key = key
        self.sessions = sessions
        self.idle = self.asking = NOTHING
        self.links: list[trio.SocketStream] = []
        self.table = Table("one", "memory B", "commands", "scripts", "in B", "out B", "CPU us")
        for column in self.table.columns[1:]:
            column.justify = "right"

    def now(self) -> Cost:
        """What the server has spent so far, and holds."""
        info: dict[str, Any] = call(self.client, "INFO", "everything")
        calls = {name: one["calls"] for name, one in info.items() if name.startswith("cmdstat_")}
        asked = calls.get("cmdstat_info", 0)
        cpu = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
        cost = Cost(
            info["used_memory"],
            sum(calls.values()),
            calls.get("cmdstat_evalsha", 0),
            info["total_net_input_bytes"],
            info["total_net_output_bytes"],
            cpu,
        )
        return cost.less(self.asking, asked)

    def weigh_asking(self) -> None:
        """Find out what `now` itself costs, to leave it out."""
        first = self.now()
        for _ in range(100):
            last = self.now()
        self.asking = last.less(first).each(100)._replace(memory=0)

    async def quiet(self) -> None:
        """Until nothing is read or written but what idle daemons do."""
        while True:
            before = self.busy()
            await trio.sleep(1)
            if self.busy() - before <= 2 + 2 * QUIET:
                return

    def busy(self) -> int:
        """Scripts and reads of records so far."""
        # The whole of it, as `now` asks: what asking costs is left out by the count of asking.
        info: dict[str, Any] = call(self.client, "INFO", "everything")
        return sum(info.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in BUSY_WITH)

    async def phase(self, name: str, pod: int, lines: Iterable[dict[str, Any]]) -> Cost:
        """Ask a daemon all this, and what one of it cost."""
        asked = list(lines)
        await self.quiet()
        begun, before = time.perf_counter(), self.now()
        await ask(self.links[pod], asked)
        await self.quiet()
        spent = self.now().less(before).less(self.idle, time.perf_counter() - begun)
        return self.show(name, spent.each(len(asked)))

    def show(self, name: str, cost: Cost) -> Cost:
        """A line of the table."""
        self.table.add_row(
            name,
            f"{cost.memory:,.0f}",
            *(f"{value:,.2f}" for value in (cost.commands, cost.scripts)),
            *(f"{value:,.0f}" for value in (cost.received, cost.sent)),
            f"{cost.cpu * 1e6:,.1f}",
        )
        return cost

    def check(self, n: int, ip: str = "192.0.2.1") -> dict[str, Any]:
        """A check of the n-th session."""
        issued = int(clock.now())
        claims = {
            "iss": ISSUER, "aud": "payroll", "azp": "payroll", "sub": f"user-{n}",
            "sid": f"session-{n}", "deviceid": f"device-{n}", "iat": issued, "exp": issued + 3600,
            "auth_time": issued - 60, "acr": "single-factor",
        }  # fmt: skip
        token = jwt.encode(claims, self.key, "ES256", {"kid": "k"})
        return {"op": "check", "token": token, "context": "c1", "ip": ip}


async def ask(link: trio.SocketStream, lines: list[dict[str, Any]]) -> None:
    """Ask all, a hundred at a time, and read as many answers."""
    for first in range(0, len(lines), 100):
        batch = lines[first : first + 100]
        await link.send_all(b"".join(json.dumps(line).encode() + b"\n" for line in batch))
        data = b""
        while data.count(b"\n") < len(batch):
            data += await link.receive_some(65536)
        for answer in data.splitlines():
            assert json.loads(answer)["ok"], answer


def event(kind: str, n: int, subject: str, tag: str, **data: str) -> dict[str, Any]:
    return {
        "op": "event",
        "type": kind,
        "id": f"{tag}-{n}",
        "subject": {subject: f"{subject}-{n}"},
        "data": data,
    }


async def measure(bench: Bench, alone: Cost) -> dict[str, Cost]:
    await bench.quiet()
    before = bench.now()
    await trio.sleep(IDLE_SECONDS)
    bench.idle = bench.now().less(before).each(IDLE_SECONDS)._replace(memory=0)
    idle = bench.idle.less(alone).each(2)
    costs = {"idle": bench.show("idle sidecar, a second", idle)}
    every = range(bench.sessions)
    checks = [bench.check(n) for n in every]
    costs["session"] = await bench.phase("session, its first check", 0, checks)
    costs["check"] = await bench.phase("check in the view", 0, checks)
    moved = [{**one, "ip": "198.51.100.7"} for one in checks]
    costs["moved"] = await bench.phase("check from another address", 0, moved)
    signals = [event("network-change", n, "session", "s", segment="lab") for n in every]
    costs["signal"] = await bench.phase("signal of a session", 0, signals)
    rises = [event("risk-level-change", n, "user", "u", current_level="HIGH") for n in every]
    costs["user"] = await bench.phase("signal of a user, and a mark", 0, rises)
    costs["follow"] = await bench.phase("session at a second sidecar", 1, checks)
    heard = [event("network-change", n, "session", "h", segment="dmz") for n in every]
    costs["heard"] = await bench.phase("signal that a second one hears", 0, heard)
    return costs


async def rescore(bench: Bench, configs: list[Path], policy: str) -> Run:
    """Have these daemons, processes of their own, re-score all for one more policy."""
    daemons = [
        await trio.lowlevel.open_process([sys.executable, "-m", "sidecar", "run", "--config", one])
        for one in configs
    ]
    try:
        for config in configs:
            await ready(config.with_suffix(".sock"))
        await bench.quiet()
        asked = swept(bench.client)[0]
        begun, before = time.perf_counter(), bench.now()
        (configs[0].parent / "policies" / f"{policy}.yaml").write_text(MORE.format(policy=policy))
        done, seconds = await _done(bench.client, asked)
        spent = bench.now().less(before).less(bench.idle, time.perf_counter() - begun)
        name = f"re-score, by {len(daemons)} with empty views"
        return Run(bench.show(name, spent.each(done)), done / seconds)
    finally:
        for daemon in daemons:
            daemon.terminate()
            await daemon.wait()


async def ready(path: Path) -> None:
    """Wait until a daemon listens; a socket that is left over answers nobody."""
    while True:
        with suppress(OSError):
            async with await trio.open_unix_socket(str(path)):
                return
        await trio.sleep(0.05)


async def _done(client: redis.Redis, asked: float) -> tuple[int, float]:
    """Wait until one that was asked for later is done: its sessions, and seconds."""
    while True:
        at, begun, finished = swept(client)
        if at > asked and finished is not None:
            return finished.done, (finished.at - begun) / 1e6
        await trio.sleep(0.1)


def swept(client: redis.Redis) -> tuple[float, int, Finished | None]:
    """When the latest was asked for, when it was begun, and its end."""
    names = StoreKeys("su")
    record: dict[bytes, bytes] = call(client, "HGETALL", names.rescore_record())
    current = current_of(record)
    if current is None:
        return 0.0, 0, None
    begun = call(client, "HGET", names.backlog_counts(backlog_of(current)), "begun")
    return current.at, int(begun or 0), finished_of(record, current)


def kinds(client: redis.Redis) -> str:
    """MEMORY USAGE of the keys of each kind, on average."""
    sizes: dict[str, list[int]] = {}
    for key in client.scan_iter("su:{*", count=1000):
        kind = KINDS.get((key[4:5], key.rpartition(b"}:")[2][:1]))
        if kind:
            sizes.setdefault(kind, []).append(call(client, "MEMORY USAGE", key, "SAMPLES", 0))
    return ", ".join(f"{k} {statistics.mean(v):,.0f}" for k, v in sorted(sizes.items()))


def limits(costs: dict[str, Cost], connection: float, runs: list[Run]) -> Table:
    """What the constants mean for the size that is planned with."""
    table = Table("for", "how much", "nodes")
    for column in table.columns[1:]:
        column.justify = "right"

    needed: list[float] = []
    cores = 0.0

    def row(name: str, amount: float, unit: str, capacity: float = 0) -> None:
        if capacity:
            needed.append(amount / capacity)
        nodes = f"{math.ceil(amount / capacity):,}" if capacity else ""
        digits = 0 if amount >= 10 else 2
        table.add_row(name, f"{amount:,.{digits}f} {unit}", nodes)

    sessions, signal, idle = costs["session"], costs["signal"], costs["idle"]
    memory = SESSIONS * sessions.memory
    row("memory of 100,000,000 sessions", memory / 2**30, "GiB", NODE_MEMORY * BUSY / 2**30)
    for name, times, what in (
        ("50,000 signals a second", SIGNALS, signal.cpu),
        ("a tenth of the sessions seen anew", SESSIONS * ACTIVE / Sessions().seen_interval, 0.0),
        ("each session begins once a day", SESSIONS / Sessions().min_ttl, sessions.cpu),
        ("10,000 idle sidecars", SIDECARS, idle.cpu),
    ):
        work = times * (what or costs["moved"].cpu)
        cores += work
        row(name, work, f"cores ({times:,.0f}/s)", BUSY)
    row("all of these", cores, "cores", BUSY)
    news = max(0.0, costs["heard"].sent - signal.sent)
    row("news, for each sidecar that hears", SIGNALS * news / 2**20, "MiB/s", NODE_NETWORK / 2**20)
    row("answers to signals", SIGNALS * signal.sent / 2**20, "MiB/s", NODE_NETWORK / 2**20)
    table.add_row("so, masters (and as many replicas)", "", f"{math.ceil(max(needed)):,}")
    table.add_section()
    row("scripts of idle sidecars, on two slots", SIDECARS * idle.scripts, "a second")
    links = SIDECARS * (StoreSettings().threads + 1)
    row("connections at each node", links, f"({links * connection / 2**30:,.1f} GiB)")
    row("`wait: everywhere`, each event", SIDECARS * signal.cpu, "core seconds")
    rate = runs[0].rate
    row("re-score of all, by one sidecar", SESSIONS / rate / 3600, f"hours ({rate:,.0f}/s)")
    # Beside the rest, a tenth of each core; pages come from all nodes in turn.
    nodes = math.ceil(max(needed))
    most = nodes * 0.1 / runs[0].cost.cpu
    row(
        "re-score of all, at a tenth of the cores", SESSIONS / most / 3600, f"hours ({most:,.0f}/s)"
    )
    row("sidecars that takes", most / rate, f"at `work.rescore_share` {Work().rescore_share}")
    return table


async def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        directory = Path(name)
        (directory / "policies").mkdir()
        (directory / "policies" / "all.yaml").write_text(POLICIES)
        jwks = {"keys": [{**public, "kid": "k", "alg": "ES256", "use": "sig"}]}
        (directory / "jwks.json").write_text(json.dumps(jwks))
        async with trio.open_nursery() as nursery:
            url = await nursery.start(EmbeddedStore().run)
            client = redis.Redis.from_url(url, protocol=2)
            bench = Bench(client, key, sessions)
            bench.weigh_asking()
            begun, before = time.perf_counter(), bench.now()
            await trio.sleep(IDLE_SECONDS / 3)
            alone = bench.now().less(before).each(time.perf_counter() - begun)
            fresh = client.info("memory")["used_memory"], client.info("clients")
            serving = [trio.CancelScope() for _ in range(2)]
            for pod in range(2):
                config = directory / f"{pod}.yaml"
                config.write_text(json.dumps(configuration(directory, pod, url)))
                addresses = await nursery.start(serve_within, serving[pod], config)
                bench.links.append(await trio.open_unix_socket(addresses.socket))
            await bench.quiet()
            used, known = client.info("memory")["used_memory"], client.info("clients")
            links = known["connected_clients"] - fresh[1]["connected_clients"]
            connection = (used - fresh[0]) / max(1, links)
            costs = await measure(bench, alone._replace(memory=0))
            sizes = kinds(client)
            for scope in serving:  # their views hold the sessions: they would look at them, too
                scope.cancel()
            configs = [directory / f"{pod}.yaml" for pod in range(2)]
            runs = [
                await rescore(bench, configs[:1], "once"),
                await rescore(bench, configs, "twice"),
            ]
            nursery.cancel_scope.cancel()
    console = Console(width=110)
    console.print(bench.table)
    console.print(f"MEMORY USAGE in B: {sizes}.")
    console.print(f"A connection: {connection:,.0f} B at the server; {links} of two idle sidecars.")
    console.print(
        f"Nodes of {NODE_MEMORY >> 30} GiB, one core and 10 Gbit/s, planned to {BUSY:.0%}:"
    )
    console.print(limits(costs, connection, runs))


async def serve_within(
    scope: trio.CancelScope,
    config: Path,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    with scope:
        await serve(config, {}, task_status=task_status)


def configuration(directory: Path, pod: int, url: str) -> dict[str, Any]:
    return {
        "app": {"id": "payroll"},
        "socket": {"path": str(directory / f"{pod}.sock")},
        "http": {"enabled": False},
        "admin": {"enabled": False},
        "store": {"url": url},
        "tokens": {
            "issuers": [
                {
                    "issuer": ISSUER,
                    "audiences": ["payroll"],
                    "jwks_file": str(directory / "jwks.json"),
                }
            ]
        },
        "contexts": {"c1": {"name": "Payments"}},
        "networks": [{"name": "lab"}, {"name": "dmz"}, {"name": "restricted"}],
        "log": {"level": "error"},
        "policies": {"path": str(directory / "policies")},
    }


if __name__ == "__main__":
    trio.run(main)
