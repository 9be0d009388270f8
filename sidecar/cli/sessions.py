"""`sidecar sessions`: list live sessions, or show one."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from sidecar.cli.asking import plain, print_json, seconds
from sidecar.cli.stopping import DONE, NEGATIVE, Stop

DEFAULT_URL = "http://127.0.0.1:9090"
_ENOUGH_PAGES = 1000
_COLUMNS = ("session", "user", "device", "standing", "score", "level", "ip", "country", "network")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "List the live sessions that the daemon's admin listener tells of, or show one with its "
        "score, marks, reasons and timeline. Needs the admin credential, from a file or the "
        "environment."
    )
    parser.epilog = """\
examples:
  sidecar sessions --user ada --admin-token-file /run/secrets/admin
  sidecar sessions --standing step_up --json
  sidecar sessions 4f1c2a --url http://10.0.0.7:9090
  sidecar sessions --rescore-status
"""
    parser.add_argument("session", metavar="SESSION", nargs="?", help="show this one")
    parser.add_argument(
        "--rescore-status",
        action="store_true",
        help="how far the re-score of all sessions is, after policies or location data changed",
    )
    parser.add_argument("--user", help="only sessions of this user")
    parser.add_argument("--device", help="only sessions on this device")
    parser.add_argument("--standing", choices=("clear", "step_up", "revoked"))
    parser.add_argument("--limit", type=int, default=100, help="at most so many (default: 100)")
    parser.add_argument(
        "--url",
        default=os.environ.get("SIDECAR_ADMIN_URL", DEFAULT_URL),
        help=f"the admin listener (default: $SIDECAR_ADMIN_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--admin-token-file",
        metavar="FILE",
        default=os.environ.get("SIDECAR_ADMIN__TOKEN_FILE"),
        help="the credential (default: $SIDECAR_ADMIN__TOKEN_FILE, else $SIDECAR_ADMIN__TOKEN)",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=5.0)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List or show."""
    if arguments.limit < 1:
        raise Stop("sidecar sessions: --limit: must be at least 1")
    headers = {"Authorization": f"Bearer {_token(arguments.admin_token_file)}"}
    try:
        with httpx.Client(
            base_url=arguments.url, headers=headers, timeout=arguments.timeout, trust_env=False
        ) as client:
            if arguments.rescore_status:
                return _rescore_status(client, arguments)
            if arguments.session:
                return _show(client, arguments)
            return _list(client, arguments)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Stop(
            f"sidecar sessions: nobody answers at {plain(arguments.url)} ({type(error).__name__})",
            "Name the admin listener with --url; it is on where `admin.enabled` is true.",
        ) from error


def _token(file: str | None) -> str:
    token = ""
    if file:
        try:
            token = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Stop(f"{file}: {getattr(error, 'strerror', None) or 'not text'}") from error
    token = token or os.environ.get("SIDECAR_ADMIN__TOKEN", "")
    if not token:
        raise Stop("sidecar sessions: no admin credential: name a file with --admin-token-file")
    if not token.isascii() or not token.isprintable():
        raise Stop("sidecar sessions: the admin credential holds what no HTTP header can carry")
    return token


def _list(client: httpx.Client, arguments: argparse.Namespace) -> int:
    asked = {name: getattr(arguments, name) for name in ("user", "device", "standing")}
    query: dict[str, Any] = {name: value for name, value in asked.items() if value}
    sessions: list[Mapping[str, Any]] = []
    more = True
    for _ in range(_ENOUGH_PAGES):
        left = arguments.limit - len(sessions)
        page = _get(client, "/v1/sessions", {**query, "limit": min(left, 1000)})
        sessions += page["sessions"]
        query["cursor"] = page.get("cursor", "")
        more = bool(query["cursor"])
        if not more or len(sessions) >= arguments.limit:
            break
    if arguments.json:
        print_json({"sessions": sessions, "cursor": query["cursor"]})
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    tables.print_rows([_row(session) for session in sessions], "no live session matches")
    if more:
        print("there are more: raise --limit", file=sys.stderr)
    return DONE


def _row(session: Mapping[str, Any]) -> dict[str, Any]:
    """What of a session fits a line; for `marks` the policies that set them."""
    row = {name: session.get(name) for name in _COLUMNS}
    marks = session.get("marks") or ()
    row["marks"] = [mark.get("policy", "") for mark in marks if not mark.get("report_only")]
    return row


def _show(client: httpx.Client, arguments: argparse.Namespace) -> int:
    session = _get(client, f"/v1/sessions/{quote(arguments.session, safe='')}", {})
    if arguments.json:
        print_json(session)
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    tables.print_record(session)
    return DONE


def _rescore_status(client: httpx.Client, arguments: argparse.Namespace) -> int:
    progress = _get(client, "/v1/rescore", {})
    if arguments.json:
        print_json(progress)
        return DONE
    done, expected = int(progress["done"]), int(progress["expected"])
    words = {
        "none": "no re-score of all sessions was ever asked for",
        "waiting": "a re-score of all sessions was asked for, and waits for a sidecar to begin",
        "running": f"{done:,} of {expected:,} sessions are re-scored",
        "done": f"all {done:,} sessions are re-scored",
    }
    print(words.get(progress["state"], plain(str(progress["state"]))))
    return DONE


def _get(client: httpx.Client, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
    response = client.get(path, params=query)
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code == 200 and isinstance(body, dict):
        return body
    detail = plain(str(body.get("detail", ""))) if isinstance(body, dict) else ""
    match response.status_code:
        case 401:
            raise Stop("sidecar sessions: this is not the daemon's admin credential")
        case 404 if path.count("/") > 2 and detail:
            raise Stop(f"sidecar sessions: {detail}", status=NEGATIVE)
        case 404:
            raise Stop(
                "sidecar sessions: the listener does not show sessions",
                "Give the daemon an admin credential: admin.token_file.",
            )
        case 400:
            raise Stop(f"sidecar sessions: {detail}")
        case status:
            raise Stop(f"sidecar sessions: status {status}: {detail}", status=NEGATIVE)
