"""Runs the real command in a process of its own."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import Any, NamedTuple

import trio

CLEAN = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONWARNINGS": "error"}


class Done(NamedTuple):
    """How it ended."""

    status: int
    out: str
    err: str


async def sidecar(*words: str, given: str = "", **environ: str) -> Done:
    """`python -m sidecar WORDS`, with `given` on its standard input and this environment only.

    Bytes that are no text are given as Python has them in names of files (`surrogateescape`).
    """
    bytes_given = given.encode(errors="surrogateescape")
    options: dict[str, Any] = {"env": {**CLEAN, **environ}, "stdin": bytes_given}
    with trio.fail_after(60):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [sys.executable, "-m", "sidecar", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            **options,
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


async def on_a_terminal(columns: int, *words: str, **environ: str) -> Done:
    """As `sidecar`, with its standard output on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in CLEAN.items() if name != "COLUMNS"}
    written = bytearray()

    def read() -> None:
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while some := terminal.read(65536):
                    written.extend(some)
            except OSError:  # nobody has the other end any more
                return

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, read)
            try:
                done: subprocess.CompletedProcess[bytes] = await trio.run_process(
                    [sys.executable, "-m", "sidecar", *words],
                    stdout=its,
                    capture_stderr=True,
                    check=False,
                    env={**env, **environ},
                )
            finally:
                os.close(its)
    return Done(done.returncode, written.decode().replace("\r\n", "\n"), done.stderr.decode())
