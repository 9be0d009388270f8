"""`sidecar sessions`: list live sessions, or show one."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from sidecar.cli.admin_answers import AdminDetail, AdminPage, AdminProgress
from sidecar.cli.admin_client import AdminClient, add_admin, in_path, open_admin_client
from sidecar.cli.exit_status import DONE, Stop
from sidecar.cli.socket_options import plain, print_json
from sidecar.domain.values.plural import counted

_ENOUGH_PAGES = 1000
COLUMNS = (
    ("session", 20, 40, True),
    ("user", 10, 24, True),
    ("standing", 0, 0, True),
    ("score", 0, 0, True),
    ("marks", 12, 32, True),
    ("level",),
    ("ip",),
    ("country",),
    ("network", 8, 24),
    ("device", 8, 24),
    ("issuer", 12),
    ("apps", 8),
    ("assurance",),
    ("auth_time",),
    ("established",),
)
"""The columns of the list, by how much they matter (`tables.Column`)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "List the live sessions that the daemon's admin listener lists, or show one with its "
        "score, marks, reasons and timeline. Needs the admin credential, from a file or the "
        "environment."
    )
    parser.epilog = """\
examples:
  sidecar sessions --user ada --admin-token-file /run/secrets/admin
  sidecar sessions --standing step_up --json
  sidecar sessions 4f1c2a --url http://10.0.0.7:9090
  sidecar sessions --rescore-status

exit status: 0 done, 1 no such session, or the daemon cannot say now, 2 bad usage, or no daemon
"""
    parser.add_argument("session", metavar="SESSION", nargs="?", help="show this one")
    parser.add_argument(
        "--rescore-status",
        action="store_true",
        help="how far the re-score of all sessions is, after policies or location data changed, "
        "how fast, and which sidecars work on it; likewise of events that touch very many sessions",
    )
    parser.add_argument("--user", help="only sessions of this user")
    parser.add_argument("--device", help="only sessions on this device")
    parser.add_argument("--issuer", help="whose names these are, where there are several issuers")
    parser.add_argument("--standing", choices=("clear", "step_up", "revoked"))
    parser.add_argument("--limit", type=int, default=100, help="at most so many (default: 100)")
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List or show."""
    if arguments.limit < 1:
        raise Stop("sidecar sessions: --limit: must be at least 1")
    with open_admin_client("sessions", arguments) as client:
        if arguments.rescore_status:
            return _rescore_status(client, arguments)
        if arguments.session:
            return _show(client, arguments)
        return _list(client, arguments)


def _list(client: AdminClient, arguments: argparse.Namespace) -> int:
    asked = {name: getattr(arguments, name) for name in ("user", "device", "issuer", "standing")}
    query: dict[str, Any] = {name: value for name, value in asked.items() if value}
    sessions: list[Mapping[str, Any]] = []
    more = True
    for _ in range(_ENOUGH_PAGES):
        left = arguments.limit - len(sessions)
        page = client.get("/v1/sessions", {**query, "limit": min(left, 1000)}, AdminPage)
        sessions += page["sessions"]
        query["cursor"] = page.get("cursor", "")
        more = bool(query["cursor"])
        if not more or len(sessions) >= arguments.limit:
            break
    if arguments.json:
        print_json({"sessions": sessions, "cursor": query["cursor"]})
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    columns = [tables.TableColumn(*column) for column in COLUMNS]
    tables.print_rows([*map(_row, sessions)], columns, "no live session matches")
    if more:
        print("there are more: raise --limit", file=sys.stderr)
    return DONE


def _row(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a session fits a line; for `marks` the policies that set them."""
    row = dict(session)
    marks = session.get("marks") or ()
    row["marks"] = [mark.get("policy", "") for mark in marks if not mark.get("report_only")]
    return row


def _show(client: AdminClient, arguments: argparse.Namespace) -> int:
    session = client.get(f"/v1/sessions/{in_path(arguments.session)}", {}, AdminDetail)
    if arguments.json:
        print_json(session)
        return DONE
    from sidecar.cli.session_text import print_session  # noqa: PLC0415 - likewise

    print_session(session)
    return DONE


def _rescore_status(client: AdminClient, arguments: argparse.Namespace) -> int:
    progress = client.get("/v1/rescore", {}, AdminProgress)
    if arguments.json:
        print_json(progress)
        return DONE
    for line in _progress_lines(progress):
        print(plain(line))
    return DONE


def _progress_lines(progress: Mapping[str, Any]) -> Iterator[str]:
    done, expected = int(progress["done"]), int(progress["expected"])
    match progress["state"]:
        case "none":
            yield "no re-score of all sessions was ever asked for"
        case "waiting":
            yield "a re-score of all sessions was asked for, and waits for a sidecar to begin"
        case "running":
            rate, left = float(progress.get("rate", 0)), float(progress.get("seconds_left", 0))
            pace = f", {rate:,.0f} a second, {timedelta(seconds=round(left))} left" if rate else ""
            yield f"{done:,} of {counted(expected, 'session')} re-scored{pace}"
            yield from _workers(progress)
        case "done":
            took = round(float(progress.get("finished", 0)) - float(progress.get("begun", 0)))
            yield f"{counted(done, 'session')} re-scored, in {timedelta(seconds=took)}"
        case other:
            yield str(other)
    fan_out = progress.get("fan_out") or {}
    if fan_out.get("items"):
        yield f"events that touch very many sessions: {fan_out['sessions']:,} found, not yet logged"
        yield from _workers(fan_out)


def _workers(work: Mapping[str, Any]) -> Iterator[str]:
    for sidecar in work.get("sidecars") or ():
        yield f"  at work: {sidecar}"
