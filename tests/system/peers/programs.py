"""Programs of others from the npm registry, where `tools/set-up-peers` has installed them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PEERS = Path(sys.prefix) / "peers"
"""Beside the packages of Python, and made with them."""


def installed(package: str) -> bool:
    """Whether there is Node.js, and this package for it."""
    return shutil.which("node") is not None and (PEERS / "node_modules" / package).is_dir()


@contextmanager
def node(script: Path, *arguments: str, more: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    """A script that serves, as long as the block lasts; gives the first line that it prints."""
    process = subprocess.Popen(
        ["node", str(script), *arguments],
        env={**os.environ, "PEERS": str(PEERS), **dict(more)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, f"{script.name} ended with {process.wait()}"
        yield line
    finally:
        process.kill()
        process.communicate()
