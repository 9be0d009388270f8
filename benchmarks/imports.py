"""What each package costs a sidecar that starts: time, memory, and how many modules of it.

Usage: python -m benchmarks.imports [--admin] [--tree DIRECTORY]

`--admin`: with the admin listener, and its libraries. `--tree`: another work tree, whose daemon and
packages take turns with ours, by the interpreter in its `.venv`.

One daemon, a process of its own, with its socket, on a store beside it. The table has each package
(of the sidecar's own, each room) that is executed until the daemon ends: its own processor time,
and the memory that it has allocated, without those of what it imports in turn. Below: what the
memory of an idle daemon is of (Linux), the processor time from the start until it is ready, and
that of the imports of six packages alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.memory import configure, resident  # noqa: E402 - run as a file, too
from benchmarks.scaling import ready  # noqa: E402
from sidecar.adapters.redis_server.embedded import EmbeddedStore  # noqa: E402

ROUNDS = 5
PATIENCE = 60
SHOWN = 45
LARGEST = 8
SIX = "trio, msgspec, redis, httpx, prometheus_client, cryptography.hazmat.primitives.asymmetric.ec"
Costs = dict[str, tuple[int, float, float]]
KINDS = {"": "Python's objects", "[heap]": "what C has allocated", "[stack]": "stacks"}


def processor_time(process: int) -> float:
    """Return the seconds of processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """What a daemon was found to take once: bytes, of these its own, and seconds."""

    held: float
    own: float
    used: float
    six: float


def of_six(python: str, environ: dict[str, str]) -> float:
    """Return the processor time of importing six packages."""
    code = f"import time, {SIX}; print(time.process_time())"
    return float(subprocess.check_output([python, "-c", code], env=environ))


def mappings(process: int) -> dict[str, tuple[float, float]]:
    """Return the MiB that a process holds, and those that are its own, by what they are of."""
    found: dict[str, tuple[float, float]] = {}
    kind = ""
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            name = rest[4] if len(rest) > 4 else ""
            kind = KINDS.get(name, Path(name).name.partition(".")[0])
        elif first in {"Rss:", "Private_Dirty:", "Private_Clean:"}:
            size = int(rest[0]) / 1024
            held, own = found.get(kind, (0.0, 0.0))
            found[kind] = (held + size, own) if first == "Rss:" else (held, own + size)
    return found


async def start(
    tree: Path,
    config: Path,
    command: list[str],
    environ: dict[str, str],
    shown: dict[str, Any] | None = None,
) -> tuple[int, float]:
    """Start a daemon in a work tree; return what it holds and has used once it is ready.

    `shown` gets what its memory is of.
    """
    with config.with_suffix(".log").open("wb") as log:
        daemon = await trio.lowlevel.open_process(command, stderr=log, env=environ, cwd=tree)
        try:
            with trio.fail_after(PATIENCE):
                await ready(config.with_suffix(".sock"))
                while b'"ready"' not in config.with_suffix(".log").read_bytes():  # noqa: ASYNC110
                    await trio.sleep(0.05)  # it listens a little before
            used = processor_time(daemon.pid)
            if shown is not None:
                shown.update(mappings(daemon.pid))
            return resident(daemon.pid), used
        finally:
            daemon.terminate()
            await daemon.wait()


async def measure(
    *, admin: bool, trees: Sequence[Path]
) -> tuple[Costs, dict[str, tuple[float, float]], dict[Path, list[Round]]]:
    """Return what each package cost once, what is mapped, and the rounds of each tree."""
    key = ec.generate_private_key(ec.SECP256R1())
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as name:
        directory = Path(name)
        async with trio.open_nursery() as nursery:
            url = await nursery.start(EmbeddedStore().run)
            config = configure(
                directory, key, url, "", {} if admin else {"admin": {"enabled": False}}
            )
            rounds: dict[Path, list[Round]] = {tree: [] for tree in trees}
            held: dict[str, tuple[float, float]] = {}
            for number in range(ROUNDS + 1):
                for tree in trees:
                    mapped: dict[str, tuple[float, float]] = {}
                    found = await one_round(tree, config, mapped)
                    if number:  # the first has compiled what it is of
                        rounds[tree].append(found)
                        held = mapped if tree == ROOT else held
            environ = {**environ_of(ROOT, config), "PYTHONPATH": str(ROOT)}
            by = {what: await counted(what, config, environ) for what in ("time", "memory")}
            nursery.cancel_scope.cancel()
        costs = {
            package: (modules, seconds, by["memory"].get(package, (0, 0, 0))[2])
            for package, (modules, seconds, _) in by["time"].items()
        }
        return costs, held, rounds


def environ_of(tree: Path, config: Path) -> dict[str, str]:
    """Return an environment in which modules are compiled once, as in an image."""
    compiled = config.with_name(f"compiled-{tree.name}")
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled), "PYTHONPATH": str(tree)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


async def one_round(tree: Path, config: Path, mapped: dict[str, tuple[float, float]]) -> Round:
    """Return what the daemon of a tree takes, and the six packages of its interpreter."""
    python, environ = str(tree / ".venv" / "bin" / "python"), environ_of(tree, config)
    command = [python, "-m", "sidecar", "run", "--config", str(config)]
    held, used = await start(tree, config, command, environ, mapped)
    own = sum(size for _, size in mapped.values()) * 2**20
    return Round(held, own, used, of_six(python, environ))


async def counted(what: str, config: Path, environ: dict[str, str]) -> Costs:
    """Return the time or the memory of each package in a daemon that counts them."""
    report = config.with_name(f"{what}.json")
    measured = str(ROOT / "benchmarks" / "measured_imports.py")
    await start(ROOT, config, [sys.executable, measured, what, str(config), str(report)], environ)
    found: Costs = json.loads(report.read_text())
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admin", action="store_true")
    parser.add_argument("--tree", type=lambda text: Path(text).resolve())
    given = parser.parse_args()
    trees = [ROOT, *([given.tree] if given.tree else [])]
    costs, mapped, rounds = trio.run(partial(measure, admin=given.admin, trees=trees))
    table = Table("package", "modules", "ms", "KiB", title="executed by a sidecar that starts")
    for column in table.columns[1:]:
        column.justify = "right"
    ordered = sorted(costs.items(), key=lambda each: -each[1][2])
    rest = [cost for _, cost in ordered[SHOWN:]]
    ordered[SHOWN:] = [("all others", tuple(map(sum, zip(*rest, strict=True))))]  # type: ignore[list-item]
    for package, (modules, seconds, grew) in ordered:
        table.add_row(package, f"{modules:,}", f"{seconds * 1e3:,.0f}", f"{grew / 1024:,.0f}")
    console = Console()
    console.print(table)
    table = Table("memory", "MiB", "of its own", title="held by an idle sidecar")
    most = sorted(mapped.items(), key=lambda each: -each[1][0])
    others = [size for _, size in most[LARGEST:]]
    most[LARGEST:] = [("all others", tuple(map(sum, zip(*others, strict=True))))]  # type: ignore[list-item]
    for kind, (whole, own) in most:
        table.add_row(kind, f"{whole:,.1f}", f"{own:,.1f}")
    console.print(table)
    for tree, found in rounds.items():
        held, own, used, six = (statistics.median(column) for column in zip(*found, strict=True))
        console.print(
            f"{tree.name}: until ready {used * 1e3:,.0f} ms of processor time,"
            f" {used / six:.2f} times the imports of six packages ({six * 1e3:,.0f} ms);"
            f" {held / 2**20:,.1f} MiB, of its own {own / 2**20:,.1f}"
        )


if __name__ == "__main__":
    main()
