"""The client and options shared by commands that ask a running daemon over its local socket."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stepup_client.local import DEFAULT_PATH, LocalClient, Unreachable

from sidecar.cli.exit_status import Stop
from sidecar.wire.checks.url_credentials import credential_in


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where the daemon is."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default="",
        help=f"the daemon's socket (default: $SIDECAR_SOCKET, else {DEFAULT_PATH}, or where that"
        " directory cannot be written $XDG_RUNTIME_DIR/sidecar.sock)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=5.0,
        help="how long to wait for a reply (default: 5)",
    )
    parser.add_argument("--json", action="store_true", help="print the daemon's reply as JSON")


def seconds(text: str) -> float:
    """Return a positive number of seconds, for argparse."""
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError(text)
    return value


def address(text: str) -> str:
    """Return a URL without credentials, for argparse.

    Arguments are seen in the list of processes.
    """
    part = credential_in(text)
    if part:
        raise argparse.ArgumentTypeError(f"must not hold {part}: name a file, if one is needed")
    return text


@contextmanager
def open_socket_client(arguments: argparse.Namespace) -> Iterator[LocalClient]:
    """Yield a client of the daemon; one that cannot be reached ends the command."""
    try:
        with LocalClient(arguments.socket, arguments.timeout) as client:
            yield client
    except Unreachable as error:
        hints = (error.hint,) if error.hint else ()
        raise Stop(f"sidecar: {error}", *hints) from error


def print_json(value: Mapping[str, Any]) -> None:
    """Print a reply on a line of its own."""
    json.dump(value, sys.stdout)
    print()


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: control characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
