"""`sidecar clear`: withdraw marks, in the place of a step-up."""

import argparse

from sidecar.cli import operator_acts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Clear one session, or all of a user or on a device, through the daemon's admin listener, "
        "as a step-up would: marks of operators are withdrawn, and policies ask nothing for what "
        "makes them hold now. What begins or is reported later asks again. Blocks and revocations "
        "stay. Needs the admin credential, from a file or the environment."
    )
    parser.epilog = f"""\
examples:
  sidecar clear --session 4f1c2a --reason "called back, ticket 4711"
  sidecar clear --user ada --dismiss-risk --reason "false alarm, ticket 4711" --wait
{operator_acts.EPILOG}"""
    operator_acts.configure(parser, reason_required=True)
    parser.add_argument(
        "--dismiss-risk",
        action="store_true",
        help="say besides that the risk is LOW, over the words of all sources until now (without "
        "it the risk stays what it is, and a session that begins later is asked for it)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Clear."""
    more = {"dismiss_risk": True} if arguments.dismiss_risk else {}
    return operator_acts.do(arguments, "clear", "cleared", more)
