"""`sidecar history`: what happened to a user or a session, and why, in sentences."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from sidecar.cli.admin_answers import AdminHistory
from sidecar.cli.admin_client import AdminClient, add_admin, open_admin_client
from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.socket_options import plain, print_json
from sidecar.domain.values.moments import to_second
from sidecar.wire.yaml.scalars import Misspelt, duration

_PAGE = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Say what happened to a user or a session, the oldest first: signals with their source, "
        "marks with their cause, challenges, sign-ins, clearings, revocations and what operators "
        "did; also of a session that has ended. Asks the daemon's admin listener, with its "
        "credential."
    )
    parser.epilog = """\
examples:
  sidecar history --user ada --admin-token-file /run/secrets/admin
  sidecar history --user ada --since 7d
  sidecar history --session 4f1c2a
  sidecar history --decision 9f1c2a7be004-1a2b

A decision is there if its call was not allowed: the first one in a session, context and standing.
Once a session has ended for long, say whose it was: `--user`, with `--session` beside it.

exit status: 0 done, 1 nothing is known, or the daemon cannot say now, 2 bad usage, or no daemon
"""
    parser.add_argument("--user", help="what happened to this user, in all sessions")
    parser.add_argument("--session", help="only in this session, and to all of its user's")
    parser.add_argument("--decision", metavar="ID", help="the answer of a check with this id")
    parser.add_argument("--issuer", help="whose names these are, where there are several issuers")
    parser.add_argument(
        "--since", metavar="DURATION", type=_duration, help="only so far back: 90m, 7d"
    )
    parser.add_argument(
        "--limit", type=int, default=1000, help="the newest so many (default: 1000)"
    )
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _duration(text: str) -> str:
    try:
        duration(text)
    except Misspelt as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print."""
    if arguments.limit < 1:
        raise Stop("sidecar history: --limit: must be at least 1")
    if not (arguments.user or arguments.session or arguments.decision):
        raise Stop("sidecar history: say whose: --user, --session or --decision")
    names = ("user", "session", "decision", "issuer", "since")
    asked = {name: getattr(arguments, name) for name in names}
    query: dict[str, Any] = {name: value for name, value in asked.items() if value}
    with open_admin_client("history", arguments) as client:
        entries, unread = _entries(client, query)
    shown = entries[-arguments.limit :]
    if arguments.json:
        print_json({"entries": shown})
    else:
        for entry in shown:
            print(plain(_line(entry)))
    if len(entries) > len(shown):
        print("there are older ones: raise --limit", file=sys.stderr)
    if unread:
        print(f"{unread} cannot be read: of another release, or damaged", file=sys.stderr)
    elif not entries:
        print("nothing is known", file=sys.stderr)
    return DONE if entries else NEGATIVE


def _entries(client: AdminClient, query: dict[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    entries: list[Mapping[str, Any]] = []
    cursor = ""
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = client.get("/v1/history", {**query, "limit": _PAGE, **more}, AdminHistory)
        entries += page["entries"]
        cursor = page.get("cursor", "")
        if not cursor:
            return entries, page.get("unread", 0)


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry in a line: `2026-11-30 12:01:03Z session s-1: marked by policy office`."""
    session = entry.get("session")
    where = f"session {session}: " if session else ""
    return f"{to_second(entry['time'])} {where}{entry['sentence']}"
