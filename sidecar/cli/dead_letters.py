"""`sidecar dead-letters`: events that were given up, to be looked at, put back or dropped."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.cli.actions import add_action
from sidecar.cli.admin_answers import AdminLetters
from sidecar.cli.admin_client import AdminClient, add_admin, in_path, open_admin_client
from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.socket_options import plain, print_json

_PAGE = 1000
_COLUMNS = (
    *(("id", 0, 0, True), ("time", 0, 0, True), ("type", 12, 24, True), ("reason", 0, 0, True)),
    *(("error", 12, 32), ("tries",), ("event", 12)),
)
"""The columns of the list, by how much they matter (`tables.Column`)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "An event that failed for its own sake too often is kept in the store with its error. Ask "
        "the daemon's admin listener for these, put one back once its cause is mended, or drop it. "
        "One that is put back takes effect once, however often."
    )
    parser.epilog = """\
examples:
  sidecar dead-letters list --admin-token-file /run/secrets/admin
  sidecar dead-letters show 1764150000000-0
  sidecar dead-letters retry 1764150000000-0
  sidecar dead-letters retry --all
  sidecar dead-letters drop 1764150000000-0

exit status: 0 done, 1 no such letter, or one that could not be put back, 2 bad usage
"""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    listing = add_action(actions, parser, "list", "list them, oldest first")
    listing.add_argument("--limit", type=int, default=100, help="at most so many (default: 100)")
    _add_letter(add_action(actions, parser, "show", "show one with the event that it holds"))
    retrying = add_action(actions, parser, "retry", "put one back, or all")
    which = retrying.add_mutually_exclusive_group(required=True)
    which.add_argument("letter", metavar="ID", nargs="?", help="the letter, as `list` shows it")
    which.add_argument("--all", action="store_true", help="all there are now")
    _add_letter(add_action(actions, parser, "drop", "forget one"))
    for action in actions.choices.values():
        add_admin(action)
        action.add_argument("--json", action="store_true", help="print JSON")


def _add_letter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("letter", metavar="ID", help="the letter, as `list` shows it")


def run(arguments: argparse.Namespace) -> int:
    """Do as asked."""
    with open_admin_client("dead-letters", arguments) as client:
        match arguments.action:
            case "list":
                return _list(client, arguments)
            case "show":
                return _show(client, arguments)
            case "retry":
                return _retry(client, arguments)
            case _:
                return _drop(client, arguments)


def _list(client: AdminClient, arguments: argparse.Namespace) -> int:
    if arguments.limit < 1:
        raise Stop("sidecar dead-letters: --limit: must be at least 1")
    letters: list[dict[str, Any]] = []
    more = False
    for letter in _letters(client):
        more = len(letters) == arguments.limit
        if more:
            break
        letters.append(letter)
    if arguments.json:
        print_json({"letters": letters, "more": more})
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    columns = [tables.TableColumn(*column) for column in _COLUMNS]
    tables.print_rows([*map(_row, letters)], columns, "there are no dead letters")
    if more:
        print("there are more: raise --limit", file=sys.stderr)
    return DONE


def _letters(client: AdminClient) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        query: dict[str, Any] = {"limit": _PAGE, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/dead-letters", query, AdminLetters)
        yield from page["letters"]
        cursor = page.get("cursor", "")
        if not cursor:
            return


def _row(letter: Mapping[str, Any]) -> dict[str, Any]:
    return {**letter, "time": letter.get("at")}


def _show(client: AdminClient, arguments: argparse.Namespace) -> int:
    letter = client.get(_path(arguments.letter), {})
    if arguments.json:
        print_json(letter)
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    letter["time"] = letter.pop("at", None)
    tables.print_record(letter)
    return DONE


def _retry(client: AdminClient, arguments: argparse.Namespace) -> int:
    if arguments.all:
        # Those there are now: one that fails again comes back, and would be met a second time.
        wanted = [str(letter["id"]) for letter in _letters(client)]
    else:
        wanted = [arguments.letter]
    outcomes = [client.ask("POST", f"{_path(letter)}/retry", {}) for letter in wanted]
    failed = [one for one in outcomes if one.get("outcome") != "done"]
    if arguments.json:
        print_json({"letters": outcomes})
    else:
        print(f"{len(outcomes) - len(failed)} put back, {len(failed)} failed")
        for one in failed:
            print(plain(f"{one.get('id')}: {one.get('message')}"), file=sys.stderr)
    return NEGATIVE if failed else DONE


def _drop(client: AdminClient, arguments: argparse.Namespace) -> int:
    dropped = client.ask("DELETE", _path(arguments.letter), {})
    if arguments.json:
        print_json(dropped)
    else:
        print(f"dropped {plain(arguments.letter)}")
    return DONE


def _path(letter: str) -> str:
    return f"/v1/dead-letters/{in_path(letter)}"
