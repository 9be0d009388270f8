"""`sidecar revoke`: end sessions until a later sign-in."""

import argparse

from sidecar.cli import operator_acts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "End one session, or all of a user or on a device, through the daemon's admin listener: "
        "also those that are begun already and shown later. A later sign-in passes again. Needs "
        "the admin credential, from a file or the environment."
    )
    parser.epilog = f"""\
examples:
  sidecar revoke --user ada --wait
  sidecar revoke --session 4f1c2a --reason "ticket 4711: laptop stolen"
  sidecar revoke --device mac-17 --issuer https://login.example.com --json
{operator_acts.EPILOG}"""
    operator_acts.configure(parser, reason_required=False)


def run(arguments: argparse.Namespace) -> int:
    """Revoke."""
    return operator_acts.do(arguments, "revoke", "revoked", {})
