"""`sidecar run`: the daemon as a process, with its signals and exit statuses."""

import os
import sys
from pathlib import Path

import trio

from sidecar.adapters.signals import Signals
from sidecar.adapters.socket_files import AddressInUse
from sidecar.adapters.spool_files import SpoolInUse
from sidecar.daemon.configuration import read_configuration
from sidecar.daemon.serving import Daemon
from sidecar.service.answers import Unavailable
from sidecar.wire.positions import ConfigError

_EXPECTED = (ConfigError, AddressInUse, SpoolInUse, OSError, Unavailable)
"""What the operator can mend; anything else is ours, and ends with its traceback."""


def main(config_file: str) -> int:
    """Run until SIGTERM or SIGINT. 0: ended as asked; 2: it cannot be run like this."""
    try:
        trio.run(_run, Path(config_file))
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(_EXPECTED)
        if unexpected is not None:
            raise
        for error in _leaves(expected):
            _tell(error)
        return 2
    except _EXPECTED as error:
        _tell(error)
        return 2
    return 0


def _tell(error: BaseException) -> None:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201 - to the operator
    else:
        print(f"sidecar: {error}", file=sys.stderr)  # noqa: T201 - to the operator


async def _run(config_file: Path) -> None:
    configuration = await trio.to_thread.run_sync(read_configuration, config_file, os.environ)
    daemon = Daemon(configuration, os.environ)
    draining = trio.Event()
    async with trio.open_nursery() as nursery:
        signals = Signals(
            reload=daemon.reload,
            stop=draining.set,
            stop_now=nursery.cancel_scope.cancel,
        )
        await nursery.start(signals.run)
        await daemon.run(draining)
        nursery.cancel_scope.cancel()


def _leaves(group: BaseExceptionGroup[BaseException] | None) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions if group else ():
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
