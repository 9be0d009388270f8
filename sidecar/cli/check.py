"""`sidecar check`: asks whether a call may pass."""

import argparse
import os
import sys
from pathlib import Path

from stepup_client.local import Decision, Refused

from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.socket_options import add_socket, open_socket_client, plain, print_json

TOKEN_VARIABLE = "SIDECAR_TOKEN"  # noqa: S105 - the name of a variable


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Ask the running daemon whether a call with this token may pass. Ends with status 0 if "
        "it may, 1 if not. The token comes from a file, standard input or the environment: "
        "arguments can be read by every user of the machine."
    )
    parser.epilog = """\
examples:
  SIDECAR_TOKEN=$(cat token) sidecar check --context c1 --ip 203.0.113.9
  sidecar check --token-file - --method POST --path /payments < token

exit status: 0 it may pass, 1 it may not, or nobody can say, 2 bad usage, or no daemon
"""
    parser.add_argument(
        "--token-file", metavar="FILE", help=f"- for standard input (default: ${TOKEN_VARIABLE})"
    )
    parser.add_argument("--context", default="", help="the authentication context, such as c1")
    parser.add_argument("--ip", default="", help="the client's address")
    parser.add_argument("--method", default="", help="instead of a context: the call's method,")
    parser.add_argument("--host", default="", help="host,")
    parser.add_argument("--path", default="", help="and path, to be mapped by the routes")
    parser.add_argument("--user-agent", default="", help="the client's User-Agent")
    add_socket(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the verdict with its reasons."""
    token = _token(arguments.token_file)
    with open_socket_client(arguments) as client:
        try:
            decision = client.check(
                token,
                context=arguments.context,
                method=arguments.method,
                host=arguments.host,
                path=arguments.path,
                ip=arguments.ip,
                user_agent=arguments.user_agent,
            )
        except Refused as refused:
            return _refused(refused, as_json=arguments.json)
    if arguments.json:
        print_json(decision.reply)
    else:
        _print(decision)
    return DONE if decision.allowed else NEGATIVE


def _token(file: str | None) -> str:
    if file:
        try:
            return (sys.stdin.read() if file == "-" else Path(file).read_text()).strip()
        except (OSError, UnicodeDecodeError) as error:
            name = "<stdin>" if file == "-" else file
            raise Stop(f"{name}: {getattr(error, 'strerror', None) or 'not text'}") from error
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise Stop(
            f"sidecar check: no token: set {TOKEN_VARIABLE}, or name a file with --token-file"
        )
    return token


def _refused(refused: Refused, *, as_json: bool) -> int:
    """Print why there is no decision, and return the status.

    The token is bad, or the daemon cannot decide. Bad input ends with status 2.
    """
    if as_json:
        print_json(refused.reply)
    elif refused.error in ("invalid_token", "unavailable", "overloaded"):
        print(f"{refused.error}: {plain(refused.message)}")
        if refused.www_authenticate:
            print(f"  WWW-Authenticate: {plain(refused.www_authenticate)}")
    else:
        raise Stop(f"sidecar check: {plain(str(refused))}")
    return NEGATIVE


def _print(decision: Decision) -> None:
    pending = " (a step-up is pending elsewhere)" if decision.step_up_pending else ""
    print(f"{decision.decision}{pending if decision.allowed else ''}")
    members = {
        "session": decision.session,
        "subject": decision.subject,
        "acr_values": decision.acr_values,
        "max_age": "" if decision.max_age is None else f"{decision.max_age} s",
        "WWW-Authenticate": decision.www_authenticate,
    }
    for name, value in members.items():
        if value:
            print(f"  {name}: {plain(value)}")
    for reason in decision.reasons:
        print(f"  because {plain(reason.text)} (policy {plain(reason.policy)})")
