"""Checks over the unix socket against a bare echo of trio and msgspec, in turn in one run.

A real `sidecar run` on its embedded store answers the load generator `socket_load.c` (it takes a C
compiler); so does an echo that reads each line with msgspec and writes a reply with it, on trio's
own streams, and one in C, which shows what the generator can ask for. In each round each of them
has its turn; medians count. Other load on the machine changes processor time least: `cpu` is what
the server used for one reply. `busy` is the generator's share of a core.

Usage: python -m benchmarks.sockets [SECONDS] [--rounds N] [--tree DIRECTORY ...] [--json]

`--tree`: measure the daemons of other work trees, too, with the interpreters in their `.venv`.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.checks import AUDIENCE, ISSUER, key_and_token

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
POLICY = """\
policies:
  - id: restricted-segment
    contexts: [c1]
    conditions: {networks: {include: [restricted]}}
    grant: mfa
  - id: another-country
    contexts: [c1]
    conditions: {changed: [country]}
    grant: phishing-resistant
  - id: large-payments
    contexts: [c2]
    grant: phishing-resistant
"""
ALLOWED = {"op": "check", "context": "c1", "ip": "192.0.2.1", "method": "GET", "path": "/pay/17"}
STEP_UP = {**ALLOWED, "context": "c2"}


class Load(NamedTuple):
    """So many connections, each with so many requests under way."""

    name: str
    connections: int
    in_flight: int
    asked: dict[str, str]
    decision: str


LOADS = (
    Load("16 clients", 16, 1, ALLOWED, "allow"),
    Load("100 in flight", 1, 100, ALLOWED, "allow"),
    Load("one client", 1, 1, ALLOWED, "allow"),
    Load("16 clients, step_up", 16, 1, STEP_UP, "step_up"),
    Load("100 in flight, step_up", 1, 100, STEP_UP, "step_up"),
)


class Server(NamedTuple):
    """A process that answers at a socket."""

    name: str
    path: str
    pid: int


def serve_echo(path: str) -> None:
    """Answer each line as an allowed check is answered, with nothing decided."""
    import msgspec  # noqa: PLC0415 - only in the child
    import trio  # noqa: PLC0415

    class Line(msgspec.Struct):
        token: str
        context: str
        ref: int = 0

    class Reply(msgspec.Struct):
        ok: bool
        decision: str
        status: int
        session: str
        subject: str
        assurance: str
        ref: int

    decode, encode = msgspec.json.Decoder(Line).decode, msgspec.json.Encoder().encode

    async def answer(stream: trio.SocketStream) -> None:
        unread = b""
        with suppress(trio.BrokenResourceError):  # the generator ends with requests under way
            async for data in stream:
                *lines, unread = (unread + data).split(b"\n")
                refs = [decode(line).ref for line in lines]
                replies = (Reply(True, "allow", 200, "s-1", "alice", "mfa", ref) for ref in refs)
                await stream.send_all(b"".join(encode(reply) + b"\n" for reply in replies))

    async def serve() -> None:
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(path)
        listener.listen(64)
        await trio.serve_listeners(answer, [trio.SocketListener(listener)])

    trio.run(serve)


@contextmanager
def started(name: str, path: Path, command: list[str], directory: Path) -> Iterator[Server]:
    """Run a server until its socket is there, and end it afterwards."""
    process = subprocess.Popen(command, cwd=directory)
    try:
        while not path.exists():
            if process.poll() is not None:
                raise SystemExit(f"{name} does not start")
            time.sleep(0.05)
        yield Server(name, str(path), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def configured(directory: Path, home: Path, path: Path) -> Path:
    """Write the configuration of a daemon; return its file."""
    (home / "policies").mkdir()
    (home / "policies" / "bench.yaml").write_text(POLICY)
    issuer = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks_file": str(directory / "jwks.json"),
    }
    file = home / "sidecar.yaml"
    file.write_text(
        json.dumps(
            {
                "app": {"id": AUDIENCE},
                "socket": {"path": str(path)},
                "http": {"enabled": False},
                "admin": {"enabled": False},
                "log": {"level": "error"},
                "store": {"embedded_dir": str(home)},
                "contexts": {"c1": {"name": "Payments"}, "c2": {"name": "Large payments"}},
                "routes": [{"path": "/pay/{id}", "contexts": ["c1"]}],
                "tokens": {"issuers": [issuer]},
                "policies": {"path": str(home / "policies")},
            }
        )
    )
    return file


@contextmanager
def servers(directory: Path, trees: list[Path], generator: Path) -> Iterator[list[Server]]:
    """Run the echoes and the daemons of all work trees."""
    with ExitStack() as stack:
        found = []
        for name, command in (
            ("C echo", [str(generator), "--echo"]),
            ("echo", [sys.executable, "-m", "benchmarks.sockets", "--serve-echo"]),
        ):
            path = directory / f"{name.replace(' ', '')}.sock"
            found.append(stack.enter_context(started(name, path, [*command, str(path)], ROOT)))
        for tree in trees:
            home = directory / tree.name
            home.mkdir()
            path = home / "s.sock"
            python = tree / ".venv" / "bin" / "python"
            command = [str(python if python.exists() else sys.executable), "-m", "sidecar", "run"]
            command += ["--config", str(configured(directory, home, path))]
            found.append(stack.enter_context(started(tree.name, path, command, tree)))
        yield found


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measured(server: Server, load: Load, seconds: float, generator: Path, lines: Path) -> Any:
    """Have the generator ask; return what it found, and what the server used."""
    used = processor_time(server.pid)
    command = [str(generator), server.path, str(load.connections), str(load.in_flight)]
    done = subprocess.run(
        [*command, str(seconds), str(lines)], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    found["cpu_us"] = (processor_time(server.pid) - used) / found["count"] * 1e6
    if server.name not in ("echo", "C echo"):
        assert f"'decision':'{load.decision}'" in found["sample"], found["sample"]
    return found


def lines_of(load: Load, token: str, directory: Path) -> Path:
    """Write the requests of a load: alike but for what the client wants to have back."""
    file = directory / f"{load.name.replace(' ', '-')}.lines"
    lines = [json.dumps({**load.asked, "token": token, "ref": ref}) for ref in range(64)]
    file.write_text("\n".join(lines) + "\n")
    return file


def built(directory: Path) -> Path:
    """Compile the load generator."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("this takes a C compiler (`cc`)")
    generator = directory / "socket_load"
    source = ROOT / "benchmarks" / "socket_load.c"
    subprocess.run([compiler, "-O2", "-o", str(generator), str(source), "-lm"], check=True)
    return generator


def run(seconds: float, rounds: int, trees: list[Path], names: list[str]) -> dict[str, Any]:
    """Measure all; return the medians by load and server."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        generator = built(directory)
        _, token = key_and_token(directory)
        table: dict[str, Any] = {}
        with servers(directory, trees, generator) as found:
            for load in LOADS:
                if names and load.name not in names:
                    continue
                lines = lines_of(load, token, directory)
                of: dict[str, list[Any]] = {server.name: [] for server in found}
                for _ in range(rounds):
                    for server in found:
                        of[server.name].append(measured(server, load, seconds, generator, lines))
                table[load.name] = {name: medians(each) for name, each in of.items()}
        return table


def medians(rounds: list[Any]) -> dict[str, float]:
    """Return the medians of rounds."""
    keys = [key for key, value in rounds[0].items() if isinstance(value, float)]
    return {key: statistics.median(one[key] for one in rounds) for key in keys}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", nargs="?", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=Path, nargs="*", default=[])
    parser.add_argument("--load", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve-echo", metavar="PATH")
    options = parser.parse_args()
    if options.serve_echo:
        serve_echo(options.serve_echo)
        return
    trees = [*(tree.resolve() for tree in options.tree), ROOT]
    table = run(options.seconds, options.rounds, trees, options.load)
    if options.json:
        print(json.dumps(table, indent=1))
        return
    columns = ("replies/s", "of echo", "cpu us", "echo/cpu", "p50 us", "p99 us", "busy")
    print(f"{'':34}" + "".join(f"{name:>11}" for name in columns))
    for load, found in table.items():
        bare = found["echo"]
        for name, one in found.items():
            print(
                f"{load + ', ' + name:34}{one['rate']:11,.0f}{one['rate'] / bare['rate']:11.2f}"
                f"{one['cpu_us']:11.1f}{bare['cpu_us'] / one['cpu_us']:11.2f}"
                f"{one['p50_us']:11,.0f}{one['p99_us']:11,.0f}{one['busy']:11.2f}"
            )


if __name__ == "__main__":
    main()
