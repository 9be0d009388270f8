"""`sidecar run`: the daemon."""

import argparse
import os

from sidecar.cli.stopping import Stop

DEFAULT_CONFIG = "config/sidecar.yaml"


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


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon."""
    if not os.path.exists(arguments.config):  # noqa: PTH110 - pathlib costs start-up time
        raise Stop(
            f"{arguments.config}: there is no such file",
            "Name one with --config; `sidecar demo` needs none.",
        )
    from sidecar.daemon import main  # noqa: PLC0415 - a command starts quickly

    return main(arguments.config)
