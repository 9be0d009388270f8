"""`sidecar run`: the daemon."""

import argparse
import os

from sidecar.adapters.process import collector
from sidecar.cli.exit_status import Stop

DEFAULT_CONFIG = "config/sidecar.yaml"
WRITTEN_BY_INIT = ("sidecar/sidecar.yaml", "sidecar.yaml")
"""Where `sidecar init` puts one: seen from where it ran, and from beside it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Run the daemon until SIGTERM or SIGINT. SIGHUP, and a change of any file that the "
        "configuration names, reloads it."
    )
    parser.epilog = """\
examples:
  sidecar run --config /etc/sidecar/sidecar.yaml
  SIDECAR_LOG__LEVEL=debug sidecar run --config config/sidecar.yaml

exit status: 0 it ended as asked, 1 a fault of its own, 2 bad configuration or surroundings
"""
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, the same for every command that reads it."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("SIDECAR_CONFIG", DEFAULT_CONFIG),
        help=f"the configuration (default: $SIDECAR_CONFIG, else {DEFAULT_CONFIG})",
    )


def require_config(file: str) -> None:
    """Raise `Stop` where there is no such file, with where one is or comes from."""
    if os.path.exists(file):  # noqa: PTH110 - pathlib costs start-up time
        return
    near = [one for one in WRITTEN_BY_INIT if os.path.exists(one)]  # noqa: PTH110 - likewise
    hint = "Name one with --config; `sidecar init` writes a first one, `sidecar demo` needs none."
    raise Stop(
        f"{file}: there is no such file",
        f"There is {near[0]}: name it with --config." if near else hint,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon."""
    require_config(arguments.config)
    collector.wait_for_start()
    from sidecar.daemon.process import main  # noqa: PLC0415 - a command starts quickly

    return main(arguments.config)
