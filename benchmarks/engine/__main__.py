"""Measure the engine's rows, each beside what it is compared with, in one run.

Usage: python -m benchmarks.engine [--quick] [--row NAME ...] [--out DIRECTORY] [--write]

--quick measures just enough to see that all of it runs; its figures mean nothing. --row measures
those alone whose name is given (`--list` shows them). Figures are kept as JSON, as a table and as a
plot in DIRECTORY (build/bench); --write puts the table and the plot into docs/performance.md.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.engine import calls, decisions, events, sessions, table, work
from benchmarks.engine.figures import Figure, keep, markdown, plot
from benchmarks.engine.peers import versions
from benchmarks.engine.stage import ROOT, Sizes, Stage, Unmeasured

ROWS: dict[str, Callable[[Stage], Iterator[Figure]]] = {
    "socket": calls.over_socket,
    "http": calls.over_http,
    "decide": decisions.decided,
    "facts": decisions.facts,
    "table": table.looked_up,
    "acknowledge": events.acknowledged,
    "elsewhere": events.elsewhere,
    "follow": events.followed,
    "first": sessions.first_checks,
    "out-of-view": sessions.out_of_view,
    "crowd": sessions.crowd,
    "session": sessions.session_parts,
    "rescore": work.rescored,
    "replay": work.replayed,
    "start": work.started,
    "idle": work.resting,
}
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks/engine -->", "<!-- end -->"


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--row", action="append", choices=list(ROWS), default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return
    found: list[Figure] = []
    left_out: list[str] = []
    sizes = Sizes.of(quick=options.quick)
    for name in options.row or ROWS:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            stage = Stage(Path(directory), sizes, quick=options.quick)
            stage.say(name)
            try:
                found += list(ROWS[name](stage))
            except Unmeasured as error:
                left_out.append(f"{name}: {error}")
            stage.say(f"{name}: {time.perf_counter() - begun:.0f} s")
    machine = {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load before and after": [round(each, 1) for each in os.getloadavg()[:2]],
        "peers": versions(),
        "quick": options.quick,
        "left out": left_out,
    }
    keep(options.out, found, machine)
    print(markdown(found))
    for one in found:
        if one.note:
            print(f"{one.name}: {one.note}")
    for line in left_out:
        print(f"left out: {line}")
    missed = [one.name for one in found if any(one.is_met(goal) is False for goal in one.goals)]
    print(f"{len(found)} rows, {len(missed)} miss a goal. Kept in {options.out}.", file=sys.stderr)
    if options.write:
        write(found)


def write(found: list[Figure]) -> None:
    """Put the table into the page, and the plot beside it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(found)}{END}{after}")
    PAGE.with_name("performance.svg").write_text(plot(found))


if __name__ == "__main__":
    main()
