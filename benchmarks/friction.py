"""How often people are asked, and whether planted attacks are found, under the shipped policies.

Usage: python -m benchmarks.friction [OCCURRENCES] [--write]   (60,000 if not given)

A made-up population (`benchmarks.recordings`) is replayed with `sidecar replay --labels`: once as
databases know it, once without what keeps prompts few, and over the threshold of the policy on
journeys. `--write` puts the tables into docs/friction.md.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.recordings import recording  # noqa: E402 - run as a file, too
from benchmarks.replay import A_USER_HAS, write  # noqa: E402

OCCURRENCES = 60_000
MOST = 0.1
"""Prompts a user and day that are bearable."""

CURVE = "impossible-travel"
SPEEDS = "300..2100/7"
PAGE = ROOT / "docs" / "friction.md"
BEGIN, END = "<!-- benchmarks/friction.py -->", "<!-- end -->"


class Figures(NamedTuple):
    """What a replay comes to; `points` are a threshold's values, with their prompts and finds."""

    user_days: int
    prompts: float
    detected: int
    attacked: int
    asked: float
    points: tuple[tuple[float, float, int], ...]


def figures(
    count: int, *, carriers: bool = True, remembers: bool = True, threshold: str = ""
) -> Figures:
    """Replay so many occurrences under the shipped policies."""
    with tempfile.TemporaryDirectory() as directory:
        file, report = Path(directory) / "recording.ndjson", Path(directory) / "report.json"
        users = max(20, count // A_USER_HAS)
        write(file, islice(recording(users=users, carriers=carriers), count))
        more = ("--threshold", threshold) if threshold else ()
        subprocess.run(
            [
                *(sys.executable, "-m", "sidecar", "replay", str(file), "--labels", "--quiet"),
                *("--config", str(ROOT / "config" / "sidecar.yaml"), "--json", str(report), *more),
            ],
            check=True,
            cwd=ROOT,
            env=os.environ if remembers else {**os.environ, "SIDECAR_FRICTION__REMEMBER": "0"},
        )
        return _figures(json.loads(report.read_bytes())["sets"][0])


def _figures(found: dict[str, Any]) -> Figures:
    days, labels = found["prompts"]["user_days"], found["labels"]
    points = tuple(
        (point["value"], point["prompts"] / days, point["detected"])
        for curve in found["curves"]
        for point in curve["points"]
    )
    totals = (found["prompts"]["total"] / days, labels["detected"], labels["attacked"])
    return Figures(days, *totals, labels["false_rate"], points)


def tables(count: int) -> Iterator[str]:
    """The lines of the page's tables."""
    found = figures(count, threshold=f"{CURVE}={SPEEDS}")
    yield f"{count:,} occurrences, {found.user_days:,} days of users, {found.attacked} attacks:"
    yield ""
    yield "| | prompts a user and day | attacks found | other sessions asked |"
    yield "| --- | --- | --- | --- |"
    for name, one in (
        ("as shipped, mobile carriers known by the databases", found),
        ("`friction.remember: 0`", figures(count, remembers=False)),
        ("no database knows carriers", figures(count, carriers=False)),
        ("neither", figures(count, carriers=False, remembers=False)),
    ):
        yield f"| {name} | {one.prompts:.3f} | {one.detected} of {one.attacked} | {one.asked:.1%} |"
    yield ""
    yield f"Over the speed of `{CURVE}`, where carriers are known:"
    yield ""
    yield "| at least km/h | prompts a user and day | attacks found by this policy |"
    yield "| --- | --- | --- |"
    for value, prompts, detected in found.points:
        yield f"| {value:,.0f} | {prompts:.3f} | {detected} of {found.attacked} |"


def main() -> None:
    arguments = [each for each in sys.argv[1:] if each != "--write"]
    lines = []
    for line in tables(int(arguments[0]) if arguments else OCCURRENCES):
        lines.append(line)
        print(line, flush=True)
    if "--write" in sys.argv:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text("\n".join((f"{head}{BEGIN}", *lines, f"{END}{tail}")))


if __name__ == "__main__":
    main()
