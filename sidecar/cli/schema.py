"""`sidecar schema`: the JSON Schema of a kind of file or message."""

import argparse
import json
import sys

from sidecar.cli.exit_status import DONE

KINDS = ("config", "policy", "event", "scenario")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Print the JSON Schema (2020-12) of the configuration, of a policy file, an event or a "
        "scenario file: for an editor's completion, or a check before a commit."
    )
    parser.epilog = """\
examples:
  sidecar schema policy > policy.schema.json
  # yaml-language-server: $schema=policy.schema.json

exit status: 0 done, 2 bad usage
"""
    parser.add_argument("kind", choices=KINDS)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from sidecar.cli.schemas import schema  # noqa: PLC0415 - a command starts quickly

    json.dump(schema(arguments.kind), sys.stdout, indent=2)
    print()
    return DONE
