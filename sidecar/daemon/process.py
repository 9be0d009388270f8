"""The daemon, or the transmitter alone, as a process, with its signals and exit statuses."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeAlias

import trio

from sidecar.adapters.files.spool_segments import SpoolInUse
from sidecar.adapters.listening.socket_files import AddressInUse
from sidecar.adapters.process import collector
from sidecar.adapters.process.process_signals import ProcessSignals
from sidecar.adapters.telemetry.foreign_lines import foreign_lines
from sidecar.adapters.telemetry.logs import Logger, LogLines, logger
from sidecar.daemon.configuration.files import read_configuration
from sidecar.daemon.configuration.host_checks import unusable_keys
from sidecar.daemon.lifecycle import Addresses, Daemon
from sidecar.domain.values.causes import ungrouped, words_of
from sidecar.service.ports.calls import Unavailable
from sidecar.wire.settings.settings import Log
from sidecar.wire.yaml.tree import ConfigError

_EXPECTED = (ConfigError, AddressInUse, SpoolInUse, OSError, Unavailable)
"""What the operator can mend; anything else is ours, and its traceback goes into a log line."""


class Program(Protocol):
    """The program of a process: its log, its reload and its run."""

    @property
    def log(self) -> Logger:
        """The logger as it is configured now."""

    def reload(self) -> None:
        """Look at all files again, as SIGHUP asks."""

    async def run(
        self,
        draining: trio.Event,
        *,
        task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run until `draining` is set. Started when the doors are open."""


def daemon(config_file: Path, environ: Mapping[str, str]) -> Program:
    """Return the sidecar; blocks. Raises `ConfigError`."""
    return Daemon(read_configuration(config_file, environ, unusable_keys), environ)


Build: TypeAlias = Callable[[Path, Mapping[str, str]], Program]


def main(config_file: str, build: Build = daemon) -> int:
    """Run until SIGTERM or SIGINT.

    0: ended as asked; 2: it cannot be run like this; 1: it met an error of its own.
    """
    try:
        trio.run(_run, Path(config_file), build)
    except BaseException as error:
        expected, unexpected = _parted(error)
        if any(not isinstance(one, Exception) for one in unexpected):
            raise
        for one in expected:
            _print_error(one)
        for one in unexpected:
            _report_defect(one)
        return 1 if unexpected else 2
    return 0


def _parted(error: BaseException) -> tuple[list[BaseException], list[BaseException]]:
    """Return what the operator can mend, and what else there is; groups are taken apart."""
    leaves = list(ungrouped(error))
    expected: list[BaseException] = [one for one in leaves if isinstance(one, _EXPECTED)]
    return expected, [one for one in leaves if not isinstance(one, _EXPECTED)]


def _print_error(error: BaseException) -> None:
    match error:
        case ConfigError():
            for problem in error.problems:
                print(problem, file=sys.stderr)  # noqa: T201 - to the operator
        case OSError(filename=str() as name):
            print(f"sidecar: {name}: {words_of(error)}", file=sys.stderr)  # noqa: T201 - likewise
        case _:
            print(f"sidecar: {words_of(error)}", file=sys.stderr)  # noqa: T201 - likewise


def _report_defect(error: BaseException) -> None:
    """Report a mistake of this program: a log line with its traceback, and a sentence."""
    trace = traceback.format_exception(error)
    kind = type(error).__name__
    log = logger(Log(), LogLines())
    log.error("ended-by-error", error=kind, traceback="".join(trace).splitlines())
    words = f"{kind} (its traceback is in the line `ended-by-error`); please report it"
    print(f"sidecar: ended by a mistake of its own: {words}", file=sys.stderr)  # noqa: T201


async def _run(config_file: Path, build: Build) -> None:
    process = _Process()
    with ExitStack() as lines:
        await _serve(process, lines, config_file, build)


async def _serve(process: "_Process", lines: ExitStack, config_file: Path, build: Build) -> None:
    async with trio.open_nursery() as nursery:
        signals = ProcessSignals(
            reload=process.reload,
            stop=process.stop,
            stop_now=nursery.cancel_scope.cancel,
        )
        await nursery.start(signals.run)
        with process.starting:
            program = await trio.to_thread.run_sync(build, config_file, os.environ)
            process.took(program)
            lines.enter_context(foreign_lines(lambda: program.log))
            collector.settle()  # before the doors open: it takes as long as tens of checks
            await nursery.start(process.run, program)
        if process.starting.cancelled_caught:
            nursery.cancel_scope.cancel()
        await process.over.wait()
        nursery.cancel_scope.cancel()


class _Process:
    """The handling of signals: while the program starts, and once it runs."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.over = trio.Event()
        self.starting = trio.CancelScope()
        self._program: Program | None = None
        self._is_reload_wanted = False

    def took(self, program: Program) -> None:
        """Take the program; a reload that was asked for before concerns it."""
        self._program = program
        if self._is_reload_wanted:
            program.reload()

    async def run(
        self,
        program: Program,
        *,
        task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run the program to its end."""
        await program.run(self.draining, task_status=task_status)
        self.over.set()

    def reload(self) -> None:
        """Reload, or once there is something to reload."""
        if self._program is None:
            self._is_reload_wanted = True
        else:
            self._program.reload()

    def stop(self) -> None:
        """Drain, or give up the start: then there is nothing to drain."""
        self.draining.set()
        self.starting.cancel()
