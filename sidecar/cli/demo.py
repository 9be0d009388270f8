"""`sidecar demo`: the daemon on sample policies, and a story acted out over it."""

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Start the daemon on an embedded store with sample policies and act out a story over its "
        "real socket and HTTP: sign-in, routine call, signal, challenged call, step-up, clear."
    )
    parser.epilog = """\
examples:
  sidecar demo           leaves the daemon running, to be tried by hand
  sidecar demo --once    ends with status 0 if every step went as expected, else 1

exit status: 0 done, 1 (--once) a step did not go as expected, 2 it cannot start
"""
    parser.add_argument("--once", action="store_true", help="end when the story has ended")


def run(arguments: argparse.Namespace) -> int:
    """Act out the story."""
    from sidecar.demo.story import main  # noqa: PLC0415 - a command starts quickly

    return main(once=arguments.once)
