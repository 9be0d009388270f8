"""`sidecar mark`: ask sessions for a step-up, whatever policies say."""

import argparse
from typing import Any

from sidecar.cli import operator_acts
from sidecar.wire.yaml.scalars import Misspelt, duration


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Mark one session, or all of a user or on a device, through the daemon's admin listener: "
        "the next call in a context asks for a sign-in that is later than the mark, which clears "
        "it. Needs the admin credential, from a file or the environment."
    )
    parser.epilog = f"""\
examples:
  sidecar mark --user ada --reason "odd downloads, ticket 4711" --wait
  sidecar mark --session 4f1c2a --context c1 --acr phishing-resistant --reason "ticket 4711"
{operator_acts.EPILOG}"""
    operator_acts.configure(parser, reason_required=True)
    what = parser.add_argument_group("what is asked for")
    what.add_argument(
        "--context",
        action="append",
        metavar="CONTEXT",
        help="only in this context; may be given again (default: in all)",
    )
    what.add_argument("--acr", help="a level, a strength or an acr value (default: mfa)")
    what.add_argument(
        "--max-age",
        metavar="DURATION",
        type=_duration,
        help="how old the sign-in may be when it is first shown: 300, 5m (default: any age)",
    )

    what.add_argument(
        "--confirm-risk",
        action="store_true",
        help="say besides that the risk is HIGH, over the words of all sources until now: what was "
        "detected is so",
    )


def _duration(text: str) -> int:
    try:
        return int(duration(int(text) if text.isdecimal() else text))
    except Misspelt as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Mark."""
    asked = {"contexts": arguments.context, "acr": arguments.acr, "max_age": arguments.max_age}
    more: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if arguments.confirm_risk:
        more["confirm_risk"] = True
    return operator_acts.do(arguments, "mark", "marked", more)
