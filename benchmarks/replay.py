"""How fast a recording is replayed: a made-up one, under the project's own policies.

Usage: python -m benchmarks.replay [OCCURRENCES]   (1,000,000 if not given)
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.recordings import Line, recording  # noqa: E402 - run as a file, too

OCCURRENCES = 1_000_000
A_USER_HAS = 250


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else OCCURRENCES
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "recording.ndjson"
        begun = time.perf_counter()
        write(file, islice(recording(users=max(20, count // A_USER_HAS)), count))
        print(f"made    {count:9,} occurrences in {time.perf_counter() - begun:7.1f} s")
        report = Path(directory) / "report.json"
        html = Path(directory) / "report.html"
        begun = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "sidecar", "replay", str(file)),
                *("--config", str(ROOT / "config" / "sidecar.yaml"), "--quiet"),
                *("--json", str(report), "--html", str(html)),
            ],
            check=True,
            cwd=ROOT,
        )
        seconds = time.perf_counter() - begun
        figures = json.loads(report.read_bytes())
        done = figures["recording"]["occurrences"]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"replayed {done:8,} occurrences in {seconds:7.1f} s: {done / seconds:,.0f}/s, "
            f"peak {peak:,.0f} MiB"
        )
        prompts = figures["sets"][0]["prompts"]
        print(f"{prompts['total']:,} prompts, p95 {prompts['p95']} a user and day")


def write(file: Path, lines: Iterator[Line]) -> None:
    """Write a recording as NDJSON."""
    with file.open("w") as output:
        for line in lines:
            output.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
