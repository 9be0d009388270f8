"""`sidecar policies` for the fleet: which bundle is in force, asked of an admin listener."""

import argparse
from collections.abc import Mapping
from typing import Any

from sidecar.cli.admin_answers import AdminBundles, AdminPolicyAct
from sidecar.cli.admin_client import add_admin, open_admin_client
from sidecar.cli.exit_status import DONE, NEGATIVE
from sidecar.cli.socket_options import plain, print_json, seconds
from sidecar.domain.values.plural import counted

_WAIT = 10.0
_SETTLES = 15.0
"""Seconds more than it waits for sidecars that the listener may take."""


def configure_activate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("sequence", metavar="N", type=int, help="the bundle's number")
    _configure_act(parser)


def configure_rollback(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "sequence",
        metavar="N",
        type=int,
        nargs="?",
        default=0,
        help="the bundle's number (default: the last older one that was in force)",
    )
    _configure_act(parser)


def configure_list(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _configure_act(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, help="why, for whoever looks at it later")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=_WAIT,
        help=f"until every live sidecar has the bundle at hand (default: {_WAIT:g})",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="also where some have not: these answer no checks until they have",
    )
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do as asked."""
    if arguments.action == "list":
        return _list(arguments)
    body = {
        "reason": arguments.reason,
        "sequence": arguments.sequence,
        "partial": arguments.partial,
        "timeout": arguments.wait,
    }
    arguments.timeout += arguments.wait + _SETTLES
    with open_admin_client("policies", arguments) as client:
        done = client.ask("POST", f"/v1/policies/{arguments.action}", {}, body, AdminPolicyAct)
    if arguments.json:
        print_json(done)
    else:
        print(plain(_said(done)))
        for name, reason in done["waits"].items():
            print(plain(f"  {name}: {reason or 'does not answer'}"))
    return DONE if done["in_force"] >= done["sidecars"] else NEGATIVE


def _said(done: Mapping[str, Any]) -> str:
    fleet = counted(done["sidecars"], "sidecar")
    if done["in_force"] >= done["sidecars"]:
        return f"bundle {done['sequence']} is in force on {fleet}"
    return f"bundle {done['sequence']} is in force; {done['in_force']} of {fleet} say so yet"


def _list(arguments: argparse.Namespace) -> int:
    with open_admin_client("policies", arguments) as client:
        page = client.get("/v1/policies/bundles", {}, AdminBundles)
    if arguments.json:
        print_json(page)
        return DONE
    from sidecar.cli import tables  # noqa: PLC0415 - rich is slow to load

    names = ("sequence", "act", "time", "by", "reason", "digest")
    columns = [tables.TableColumn(name, 0, 0, True) for name in names[:3]]
    columns += [tables.TableColumn(name, 12) for name in names[3:]]
    rows = [
        {**{name: one.get(name) for name in names}, "time": one["at"] / 1e6}
        for one in page["activations"]
    ]
    tables.print_rows(rows, columns, "no bundle was ever in force")
    if page["in_force"] != page["here"]:
        print(plain(f"this sidecar judges by bundle {page['here']} still"))
    if page["proposed"]:
        print(plain(f"bundle {page['proposed']} is under way"))
    return DONE
