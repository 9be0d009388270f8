"""The `sidecar` command: finds the subcommand, and gives its answer an exit status.

Each subcommand is a module beside this one with `configure(parser)` and `run(arguments) -> int`.
Only the one that is asked for is imported, so that a command starts quickly.
"""

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol, cast

from sidecar import __version__
from sidecar.adapters.process.held_signals import hold_signals
from sidecar.cli.exit_status import MISTAKE, Stop
from sidecar.domain.values.causes import ungrouped
from sidecar.wire.checks.url_credentials import masked

INTERRUPTED = 130
_UNWRITTEN = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What ends a command that prints: nothing of it is a fault of the program's."""

_DAEMONS = (["run"], ["transmit"], ["inject"])
"""Commands that receive signals, once they are loaded."""
_EPILOG = """\
exit status: 0 done, 1 a negative answer, 2 bad usage, configuration or input
`sidecar COMMAND --help` says more, with examples.
"""


class Command(NamedTuple):
    """A subcommand: its name, its module in `sidecar.cli`, and what it does in a line."""

    name: str
    module: str
    does: str


COMMANDS = (
    Command("init", "init", "write a first configuration for your app, provider and gateway"),
    Command("run", "run", "the daemon"),
    Command("transmit", "transmit", "the transmitter of shared signals alone"),
    Command("inject", "inject", "the webhook that adds the sidecar to pods of Kubernetes"),
    Command("demo", "demo", "the daemon with sample policies, and a story acted out over it"),
    Command("validate", "validate", "check configuration and policies, all errors at once"),
    Command("doctor", "doctor", "examine a whole set-up, and say what is wrong and what helps"),
    Command("replay", "replay", "run recorded sign-ins and signals through policies"),
    Command("what-if", "what_if", "which policies would fire for a session, and why or why not"),
    Command("test", "test", "run policy scenarios: given, when, then"),
    Command("policies", "policies", "signed bundles of policies, and which of them is in force"),
    Command("promote", "promote", "enable a report-only policy, and say what to expect"),
    Command("emit", "emit", "push an event, or a file of them"),
    Command("check", "check", "ask whether a call may pass"),
    Command("sessions", "sessions", "list live sessions, or show one"),
    Command("top", "top", "a running daemon at a glance: rates, health, keys, latest marks"),
    Command("history", "history", "what happened to a user or session, and why"),
    Command("revoke", "revoke", "end sessions: of a user, on a device, or one"),
    Command("mark", "mark", "ask sessions for a step-up, whatever policies say"),
    Command("clear", "clear", "withdraw marks, in the place of a step-up"),
    Command("dead-letters", "dead_letters", "list events that were given up; put them back"),
    Command("verify-log", "verify_log", "whether files of decisions are as they were written"),
    Command("pseudonym", "pseudonym", "what the log calls somebody where identifiers are keyed"),
    Command("ssf", "ssf", "set up streams at transmitters of shared signals"),
    Command("import-entra", "import_entra", "policies of Microsoft Entra ID to our files"),
    Command("schema", "schema", "print a JSON Schema: config, policy, event or scenario"),
)


class Subcommand(Protocol):
    """The module of a subcommand: its arguments and its run."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add description, arguments and examples."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit status. Raises `Stop`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and words[:1] in _DAEMONS:
        hold_signals()
    try:
        return _main(words)
    except Stop as stop:
        from sidecar.cli.socket_options import plain  # noqa: PLC0415 - a command starts quickly

        for line in stop.lines:  # which name files, and quote arguments
            print(plain(masked(line)), file=sys.stderr)
        return stop.status
    except (OSError, UnicodeEncodeError) as error:
        return _unwritten(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:  # as a nursery has it, of a command that asks elsewhere
        if all(isinstance(one, KeyboardInterrupt) for one in ungrouped(group)):
            return INTERRUPTED
        raise


def _unwritten(error: OSError | UnicodeEncodeError) -> int:
    """Say why standard output takes no more; raises what is no error of that."""
    if isinstance(error, UnicodeEncodeError):
        print(
            f"sidecar: standard output is {error.encoding}, which lacks letters of what is to be "
            "written: set PYTHONIOENCODING=utf-8",
            file=sys.stderr,
        )
        return MISTAKE
    if error.errno not in _UNWRITTEN:
        raise error
    if error.errno != errno.EPIPE:  # `sidecar sessions | head`
        print(f"sidecar: standard output: {error.strerror}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return MISTAKE


def _main(words: Sequence[str]) -> int:
    if sys.stdout.isatty() and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what it cannot show stands escaped
    wanted = next((word for word in words if not word.startswith("-")), "")
    parser, chosen = _parser(wanted)
    if not words:
        parser.print_help(sys.stderr)
        return MISTAKE
    arguments = parser.parse_args(words)
    if chosen is None:  # only a broken table comes here: argparse refuses unknown commands
        parser.error("a command is missing")
    status = chosen.run(arguments)
    sys.stdout.flush()
    return status


def _parser(wanted: str) -> tuple[argparse.ArgumentParser, Subcommand | None]:
    parser = _Parser(
        prog="sidecar",
        description="Re-scores live sessions as signals arrive, and has the next sensitive call "
        "challenged for step-up.",
        epilog=_EPILOG,
        formatter_class=_Columns,
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = None
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.does,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name == wanted:
            module = importlib.import_module(f"sidecar.cli.{command.module}")
            chosen = cast("Subcommand", module)
            chosen.configure(subparser)
    return parser, chosen


class _Columns(argparse.RawDescriptionHelpFormatter):
    """Makes room for the longest command, whose indentation argparse forgets to count."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        longest = max(len(command.name) for command in COMMANDS)
        self._action_max_length = max(self._action_max_length, longest + 4)


class _Parser(argparse.ArgumentParser):
    """Asks "did you mean" where a command is misspelt."""

    def error(self, message: str) -> NoReturn:
        prefix, _, rest = message.partition("invalid choice: ")
        word = rest.partition("'")[2].partition("'")[0]
        names = [command.name for command in COMMANDS]
        if prefix.startswith("argument COMMAND") and word:
            import difflib  # noqa: PLC0415 - a command starts quickly

            close = difflib.get_close_matches(word, names, 1)
            hint = f"; did you mean '{close[0]}'?" if close else f" (one of: {', '.join(names)})"
            message = f"no command '{word}'{hint}"
        super().error(masked(message))
