"""Runs the real command in a process of its own."""

import subprocess
import sys
from typing import Any, NamedTuple

import trio

CLEAN = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONWARNINGS": "error"}


class Done(NamedTuple):
    """How it ended."""

    status: int
    out: str
    err: str


async def sidecar(*words: str, given: str = "", **environ: str) -> Done:
    """`python -m sidecar WORDS`, with `given` on its standard input and this environment only."""
    options: dict[str, Any] = {"env": {**CLEAN, **environ}, "stdin": given.encode()}
    with trio.fail_after(60):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [sys.executable, "-m", "sidecar", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            **options,
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
