"""`sidecar transmit`: the transmitter of shared signals alone."""

import argparse

from sidecar.cli.run import add_config, require_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Run the transmitter of shared signals and its listener, and nothing else: what the "
        "sidecars on the same store have recorded is delivered to the configured recipients. Of "
        "several, and of sidecars with `transmitter.deliver`, one delivers at a time. SIGHUP, and "
        "a change of a key or credential, reloads keys and credentials."
    )
    parser.epilog = """\
examples:
  sidecar transmit --config /etc/sidecar/sidecar.yaml
  SIDECAR_TRANSMITTER__BIND=0.0.0.0:8090 sidecar transmit

exit status: 0 it ended as asked, 1 a fault of its own, 2 bad configuration or surroundings
"""
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the transmitter."""
    require_config(arguments.config)
    from sidecar.daemon.process import main  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.programs.transmitter_process import transmitter  # noqa: PLC0415 - likewise

    return main(arguments.config, transmitter)
