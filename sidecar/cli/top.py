"""`sidecar top`: a running daemon at a glance."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.adapters import clock
from sidecar.cli.admin_client import add_admin, open_admin_client
from sidecar.cli.exit_status import DONE, Stop
from sidecar.cli.socket_options import seconds

if TYPE_CHECKING:
    from sidecar.cli.top_frame import Frame


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Show a running daemon at a glance, again and again: whether it is ready, and what is not "
        "as it should be; checks by decision, events and marks a second; sessions; the store and "
        "how far behind it the view is; the policy set; the age of keys and of geography "
        "databases; the latest marks with their reasons. It asks the admin listener, by an admin "
        "credential that may look. Rates are of this daemon alone, since the frame before."
    )
    parser.epilog = """\
examples:
  sidecar top --admin-token-file /run/secrets/admin
  sidecar top --once --interval 1                 # one frame, for a pipe
  sidecar top --json | jq .checks                 # a line for each frame
  kubectl port-forward pod/shop 9090 & sidecar top --admin-token-file admin

exit status: 0 done, 1 the daemon cannot say now, 2 bad usage, or no daemon
"""
    parser.add_argument("--once", action="store_true", help="print one frame, and end")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds,
        default=2.0,
        help="seconds between two frames, of which the rates are (default: 2)",
    )
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print each frame as a line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show frames until one is enough, or the user ends it."""
    look = _looking(arguments)
    time.sleep(arguments.interval)
    if arguments.json or arguments.once or not sys.stdout.isatty():
        return _print(look, arguments)
    from rich.live import Live  # noqa: PLC0415 - rich is slow to load

    from sidecar.cli.top_view import drawn  # noqa: PLC0415 - likewise

    frame = look()
    try:
        with Live(drawn(frame), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(arguments.interval)
                try:
                    frame, trouble = look(), ""
                except Stop as stop:  # it may be back soon: what was last seen stays meanwhile
                    trouble = stop.lines[0]
                live.update(drawn(frame, trouble), refresh=True)
    except KeyboardInterrupt:
        return DONE


def _print(look: "Callable[[], Frame]", arguments: argparse.Namespace) -> int:
    """Print one frame, or one after the other."""
    import msgspec  # noqa: PLC0415 - a command starts quickly
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load

    from sidecar.cli.top_view import print_frame  # noqa: PLC0415 - likewise

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    while True:
        frame = look()
        if arguments.json:
            print(msgspec.json.encode(frame).decode(), flush=True)
        else:
            print_frame(frame, console)
        if arguments.once:
            return DONE
        time.sleep(arguments.interval)


def _looking(arguments: argparse.Namespace) -> "Callable[[], Frame]":
    """Return what looks, and compares with the look before; the first of these is made now."""
    from sidecar.cli.top_frame import frame, scrape  # noqa: PLC0415 - a command starts quickly

    with open_admin_client("top", arguments) as client:
        # A credential that is wrong ends it at once, and not after the first interval.
        client.get("/v1/rescore", {})
        before = scrape(client, clock.now())

    def look() -> "Frame":
        nonlocal before
        with open_admin_client("top", arguments) as client:
            now = scrape(client, clock.now())
            found = frame(client, arguments.url, before, now)
        before = now
        return found

    return look
