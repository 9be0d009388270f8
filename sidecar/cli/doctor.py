"""`sidecar doctor`: what is right, doubtful and wrong with a set-up, and what helps."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, NEGATIVE, Stop
from sidecar.cli.run import add_config, require_config
from sidecar.cli.socket_options import address, plain, seconds

if TYPE_CHECKING:  # loaded when it is needed
    from sidecar.domain.explanation.diagnosis import Diagnosis

_LONGEST_TOKEN = 1_048_576
_STYLES = {"right": "green", "doubtful": "yellow", "wrong": "bold red"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Examine the configuration, issuers and their keys, the store and its user's rights, "
        "sources, databases, policies, the console's provider; with --token-file a token, claim "
        "by claim, and with --gateway-url the gateway, by calls through it. Each line is "
        "right, doubtful or wrong, with what helps. Nothing is written anywhere, and "
        "the token is never printed."
    )
    parser.epilog = """\
examples:
  sidecar doctor --config /etc/sidecar/sidecar.yaml
  sidecar doctor --token-file token.txt
  pbpaste | sidecar doctor --token-file -
  sidecar doctor --gateway-url https://shop.example/account
  sidecar doctor --json | jq '.findings[] | select(.state == "wrong")'

exit status: 0 nothing is wrong, 1 something is, 2 bad usage
"""
    add_config(parser)
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default="",
        help="a file with an access token; - for standard input",
    )
    parser.add_argument(
        "--gateway-url",
        metavar="URL",
        type=address,
        default="",
        help="a page behind the gateway that takes a token: it is called with GET, several times",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="for each part; all are examined at once (default: 10)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Examine, and print what was found; the status says whether anything is wrong."""
    require_config(arguments.config)
    from sidecar.adapters.process.interrupts import run_until_interrupt  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.configuration.examination import Examination, examine  # noqa: PLC0415 - likewise

    if arguments.gateway_url and not arguments.gateway_url.startswith(("https://", "http://")):
        raise Stop("sidecar doctor: --gateway-url: is no address with https:// or http://")
    token = _token(arguments.token_file) if arguments.token_file else ""
    request = Examination(Path(arguments.config), token, arguments.gateway_url, arguments.timeout)
    found = run_until_interrupt(examine, request)
    if arguments.json:
        _print_document(found)
    else:
        _print_lines(found)
    return NEGATIVE if any(one.state == "wrong" for one in found) else DONE


def _token(file: str) -> str:
    """Return the token in a file: its last word, as `Bearer` may stand before. Raises `Stop`."""
    try:
        if file == "-":
            text = sys.stdin.read(_LONGEST_TOKEN)
        else:
            with Path(file).open(encoding="utf-8") as opened:
                text = opened.read(_LONGEST_TOKEN)
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise Stop(f"sidecar doctor: --token-file: {file} cannot be read: {reason}") from error
    words = text.split()
    if not words:
        raise Stop(f"sidecar doctor: --token-file: {file} is empty")
    return words[-1]


def _print_document(found: "Sequence[Diagnosis]") -> None:
    import msgspec  # noqa: PLC0415 - a command starts quickly

    from sidecar.domain.explanation.diagnosis import counts_of  # noqa: PLC0415 - likewise

    document = {"counts": counts_of(found), "findings": found}
    print(json.dumps(msgspec.to_builtins(document), indent=2))


def _print_lines(found: "Sequence[Diagnosis]") -> None:
    from rich.console import Console  # noqa: PLC0415 - a command starts quickly
    from rich.text import Text  # noqa: PLC0415 - likewise

    from sidecar.domain.explanation.diagnosis import counts_of  # noqa: PLC0415 - likewise

    console = Console(soft_wrap=True, highlight=False)
    parts = max((len(one.part) for one in found), default=0)
    for one in found:
        style = _STYLES[one.state]
        what = plain(f"{one.name}: {one.what}")
        console.print(Text(f"{one.part:<{parts}}  "), Text(f"{one.state:<8}", style), Text(what))
        if one.cure:
            console.print(Text(f"{'':<{parts}}           cure: {plain(one.cure)}"))
    counted = ", ".join(f"{count} {state}" for state, count in counts_of(found).items())
    console.print(Text(f"\n{counted}"))
