"""`sidecar validate`: configuration and policies, all errors at once."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from sidecar.cli.asking import plain
from sidecar.cli.run import add_config
from sidecar.cli.stopping import DONE, MISTAKE


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Read the configuration, the policies and the files that they name as the daemon would, "
        "with the same environment, and tell everything that is wrong: FILE:LINE: field: message."
    )
    parser.epilog = """\
examples:
  sidecar validate
  sidecar validate --config /etc/sidecar/sidecar.yaml
"""
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tell what is wrong, or what is there."""
    from sidecar.adapters.geography import Geography  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.configuration import read_configuration  # noqa: PLC0415 - likewise
    from sidecar.wire.positions import ConfigError  # noqa: PLC0415 - likewise

    try:
        found = read_configuration(Path(arguments.config), os.environ)
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    broken = [outcome for outcome in Geography(found.settings.geography).reload() if outcome.error]
    for outcome in broken:
        print(f"{outcome.file}:0: {outcome.field}: {plain(outcome.error)}", file=sys.stderr)
    if broken:
        return MISTAKE
    states = Counter(policy.state for policy in found.policies)
    policies = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    settings = found.settings
    print(
        f"ok: {_count(len(found.policies), 'policy', 'policies')}"
        f"{f' ({policies})' if policies else ''}, "
        f"{_count(len(settings.contexts), 'context', 'contexts')}, "
        f"{_count(len(settings.routes), 'route', 'routes')}, "
        f"{_count(len(settings.tokens.issuers), 'issuer', 'issuers')}"
    )
    return DONE


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
