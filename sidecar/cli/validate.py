"""`sidecar validate`: configuration and policies, all errors at once."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, MISTAKE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import plain
from sidecar.domain.values.plural import counted

if TYPE_CHECKING:  # loaded when it is needed
    from sidecar.daemon.configuration.files import Configuration
    from sidecar.wire.settings.settings import BreakGlass, Settings
    from sidecar.wire.yaml.tree import ConfigProblem, Table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Read the configuration, the policies and the files that they name as the daemon would, "
        "with the same environment, and say everything that is wrong: FILE:LINE: field: message. "
        "What is allowed but probably not meant is given as a warning, with its code."
    )
    parser.epilog = """\
examples:
  sidecar validate
  sidecar validate --config /etc/sidecar/sidecar.yaml
  sidecar validate --strict --allow needs-geography

exit status: 0 done, 2 a mistake, or a warning with --strict
"""
    add_config(parser)
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument(
        "--allow", metavar="CODE", action="append", default=[], help="no warnings of this code"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is wrong, or what is there."""
    from sidecar.adapters.geography.geography import Geography  # noqa: PLC0415 - a command starts quickly
    from sidecar.daemon.configuration.files import read_configuration  # noqa: PLC0415 - likewise
    from sidecar.daemon.configuration.host_checks import host_problems  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    file, looked = Path(arguments.config), list[Geography]()

    def also(settings: "Settings", root: "Table") -> Iterable["ConfigProblem"]:
        looked.append(Geography(settings.geography))
        return host_problems(settings, root, looked[-1])

    try:
        found = read_configuration(file, os.environ, also)
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    warnings = _warnings(found, looked[-1].held, arguments.allow)
    for warning in warnings:
        print(plain(warning), file=sys.stderr)
    if warnings and arguments.strict:
        return MISTAKE
    states = Counter(policy.state for policy in found.policies)
    policies = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    settings = found.settings
    print(
        f"ok: {counted(len(found.policies), 'policy')}"
        f"{f' ({policies})' if policies else ''}, "
        f"{counted(len(settings.contexts), 'context')}, "
        f"{counted(len(settings.routes), 'route')}, "
        f"{counted(len(settings.tokens.issuers), 'issuer')}"
    )
    accounts = _accounts(settings.break_glass)
    if accounts:
        print(plain(f"break-glass, which no policy touches: {accounts}"))
    return DONE


def _accounts(named: "BreakGlass") -> str:
    of = [("", named.users, named.groups)]
    of += [(f" of {one.issuer}", one.users, one.groups) for one in named.accounts]
    return "; ".join(
        f"{kind} {', '.join(names)}{whose}"
        for whose, users, groups in of
        for kind, names in (("users", users), ("groups", groups))
        if names
    )


def _warnings(found: "Configuration", located: frozenset[str], allowed: Sequence[str]) -> list[str]:
    """Return what is probably not meant, a line for each; raises Stop for a code that is none."""
    from sidecar.daemon.configuration.lint import lint_configuration  # noqa: PLC0415 - a command starts quickly
    from sidecar.wire.checks.weaknesses import ALL_CODES  # noqa: PLC0415 - likewise

    for code in allowed:
        if code not in ALL_CODES:
            known = ", ".join(sorted(ALL_CODES))
            raise Stop(f"sidecar validate: --allow: no code {code!r}; known are {known}")
    return [
        f"{problem.file}:{problem.line}: {problem.field}: warning: {problem.message} ({code})"
        for code, problem in lint_configuration(found, located)
        if code not in allowed
    ]
