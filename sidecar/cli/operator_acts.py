"""The common part of `sidecar revoke`, `mark` and `clear`: whom, why, and how long to wait."""

import argparse
import getpass
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.cli.admin_answers import AdminAct, AdminDetail, AdminPage
from sidecar.cli.admin_client import AdminClient, add_admin, in_path, open_admin_client
from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.socket_options import plain, print_json, seconds
from sidecar.domain.values.plural import counted

WAIT = 5.0
"""Seconds that `--wait` waits where it does not say how many."""

LONGEST = 60.0
_SHOWN = 20
"""Sessions of which the rest of their marks is printed."""

EPILOG = """
exit status: 0 done, 1 not done or not known to be everywhere, 2 bad usage or configuration
"""


def configure(parser: argparse.ArgumentParser, *, reason_required: bool) -> None:
    """Add the arguments that all acts have."""
    whom = parser.add_argument_group("whom it concerns (one of these)")
    whom.add_argument("--user", help="all sessions of this user; of a --session: whose it is")
    whom.add_argument("--device", help="all sessions on this device")
    whom.add_argument("--session", help="this session")
    parser.add_argument("--issuer", help="whose names these are, where there are several issuers")
    parser.add_argument(
        "--unseen", action="store_true", help="also where no sidecar has heard of the name"
    )
    parser.add_argument(
        "--reason",
        required=reason_required,
        help="why, for whoever looks at the log and the session later (500 characters at most)",
    )
    parser.add_argument(
        "--id", help="the act's id: given again, it does nothing again (default: a fresh one)"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        nargs="?",
        type=seconds,
        const=WAIT,
        help=f"until every live sidecar has it (default: for {WAIT:g} seconds at most)",
    )
    add_admin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def do(arguments: argparse.Namespace, act: str, done: str, more: Mapping[str, Any]) -> int:
    """Have the daemon do it, and print what it says; `done` is the act's participle."""
    path, narrowed = _whom(arguments, act)
    body: dict[str, Any] = {"reason": arguments.reason or _unsaid(), **narrowed, **more}
    optional = {"issuer": arguments.issuer, "id": arguments.id, "unseen": arguments.unseen}
    body |= {name: value for name, value in optional.items() if value}
    if arguments.wait is not None:
        if arguments.wait > LONGEST:
            raise Stop(f"sidecar {act}: --wait: at most {LONGEST:g} seconds")
        body |= {"wait": "everywhere", "timeout": arguments.wait}
        arguments.timeout += arguments.wait
    with open_admin_client(act, arguments) as client:
        answer = client.ask("POST", f"{path}/{act}", {}, body, AdminAct)
        if arguments.json:
            print_json(answer)
        else:
            print(plain(_outcome(answer, done)))
            if act == "clear" and not answer.get("spooled"):
                for line in _left(client, answer, path):
                    print(plain(line))
    return NEGATIVE if answer.get("settled") is False else DONE


def _whom(arguments: argparse.Namespace, act: str) -> tuple[str, dict[str, str]]:
    """Return the path of what is named, and what narrows it down."""
    named = {
        name: value for name in ("session", "device", "user") if (value := getattr(arguments, name))
    }
    if set(named) == {"session", "user"}:
        return f"/v1/sessions/{in_path(named['session'])}", {"user": named["user"]}
    if len(named) != 1:
        raise Stop(f"sidecar {act}: name one of --user, --device and --session")
    ((kind, name),) = named.items()
    return f"/v1/{kind}s/{in_path(name)}", {}


def _unsaid() -> str:
    """Return what stands for a reason that was not given: who ran the command, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"no reason given, by {user} on {socket.gethostname()}"


def _outcome(answer: Mapping[str, Any], done: str) -> str:
    """Say in a line what was done, and how far it has got."""
    known = " before: this id has counted already" if answer.get("duplicate") else ""
    everywhere, have, live = (answer.get(name) for name in ("settled", "have", "live"))
    took = f" in {float(answer.get('seconds') or 0) * 1000:.0f} ms"
    if everywhere and live == 1:
        return f"{done} on the only sidecar{took}{known}"
    if everywhere:
        return f"{done} on all {live} sidecars{took}{known}"
    if answer.get("spooled"):
        return (
            f"{done} on this sidecar{known}; the store is away: it is kept on disk, and the others"
            " have it once the store is back"
        )
    if everywhere is None:
        return f"{done}{_sessions(answer)}{known}"
    few = f"{have} of {live} sidecars are" if live else "one sidecar is"
    return f"{done}{known}, and durable; but only {few} known to have it yet"


def _left(client: AdminClient, answer: Mapping[str, Any], path: str) -> Iterator[str]:
    """Say of each session what is excused, and what still asks for something."""
    try:
        if answer["on"] == "session":
            found = client.get(path, {}, AdminDetail)
            summaries = [found.get("summary") or {}, *(found.get("others") or ())]
        else:
            query = {answer["on"]: answer["name"], "issuer": answer["issuer"], "limit": _SHOWN}
            summaries = client.get("/v1/sessions", query, AdminPage)["sessions"]
    except Stop:
        return  # it is done; what is left cannot be looked at now
    for summary in summaries:
        if summary.get("issuer") != answer["issuer"]:
            continue
        for text in summary.get("cleared") or ():
            yield f"  {summary.get('session')}: excused until it is said anew: {text}"
        if summary["standing"] == "revoked":
            yield f"  {summary.get('session')}: is revoked, until a later sign-in"
        if summary["standing"] != "step_up":
            continue
        for mark in summary.get("marks") or ():
            if not mark.get("report_only"):
                yield f"  {summary.get('session')}: still asks: {mark['policy']}: {mark['text']}"


def _sessions(answer: Mapping[str, Any]) -> str:
    count = answer.get("sessions")
    if count is None:
        return ""
    return f": {counted(count, 'live session')}"
