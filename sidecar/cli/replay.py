"""`sidecar replay`: recorded sign-ins and signals through policies, in virtual time."""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import plain
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.plural import counted
from sidecar.tuning.formats.format_names import AUTO, CHOICES

if TYPE_CHECKING:
    from sidecar.tuning.report.report import Report

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Run recorded sign-ins, signals and calls through one or more policy sets in virtual time, "
        "with the daemon's own evaluator: what would be marked, who would be asked how often, and "
        "what a change of policy or threshold does. The recording's format is described in "
        "docs/replay.md."
    )
    parser.epilog = """\
examples:
  sidecar replay recording.ndjson --html report.html
  sidecar replay recording.ndjson --policies config/policies --policies proposed/
  sidecar replay InteractiveSignIns.json --format entra-signins
  sidecar replay signins.csv --map columns.yaml --threshold watch-the-score=20..80

exit status: 0 done, also where some lines were left out, 2 bad usage or configuration, nothing that
can be read, or (--strict) a line that cannot
"""
    parser.add_argument("recordings", metavar="RECORDING", nargs="+", help="- for standard input")
    add_config(parser)
    parser.add_argument(
        "--policies",
        metavar="DIR",
        action="append",
        default=[],
        help="a policy set, instead of the configuration's; the first is held against the others",
    )
    parser.add_argument("--map", metavar="FILE", help="the recordings are CSV; their columns")
    parser.add_argument(
        "--format",
        choices=CHOICES,
        default=AUTO,
        help="whose log the recordings are; auto: each is recognised by what stands in it, "
        "and the report says as what (default: auto)",
    )
    parser.add_argument(
        "--keys",
        metavar="FILE",
        help="a JWK Set: whole security event tokens must be signed by one of its keys; without "
        "it no signature is looked at, and the report says so",
    )
    _add_output(parser.add_argument_group("output"))
    _add_model(parser.add_argument_group("the user, and what is counted"))


def _add_output(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--json", metavar="FILE", help="write the report as JSON; - for output")
    group.add_argument("--html", metavar="FILE", help="write the report as one HTML page")
    group.add_argument("--strict", action="store_true", help="a line that cannot be read is fatal")
    group.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        default=0,
        help="processes that replay, each some of the users; the report is the same (default: as "
        "many as there are processors, 1 for a small recording; standard input takes 1)",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar, no tables")
    group.add_argument(
        "--top", metavar="N", type=int, default=20, help="how many users and sessions (default: 20)"
    )


def _add_model(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--prompt-at",
        choices=("auto", "check", "mark"),
        default="auto",
        help="count prompts at calls that meet a mark, or at marks; auto: at calls, if any are "
        "among the first 10,000 lines",
    )
    group.add_argument(
        "--answer-after",
        metavar="TIME",
        type=_seconds,
        default=20,
        help="a prompt is answered after so long (default: 20s)",
    )
    group.add_argument("--no-answers", action="store_true", help="prompts are not answered")
    group.add_argument(
        "--threshold",
        metavar="POLICY=FROM..TO",
        action="append",
        default=[],
        help="a curve of prompts over a policy's threshold; also risk.medium and risk.high. "
        "POLICY alone: its usual range; FROM..TO/STEPS: so many values; may be repeated",
    )
    group.add_argument(
        "--window",
        metavar="TIME",
        type=_seconds,
        default=600,
        help="how far lines may be out of order (default: 10m); what is later is left out",
    )
    group.add_argument(
        "--flap-within",
        metavar="TIME",
        type=_seconds,
        default=1800,
        help="a policy that marks a session again so soon flaps (default: 30m)",
    )
    group.add_argument(
        "--repeat-within",
        metavar="TIME",
        type=_seconds,
        default=1800,
        help="a user who is asked again so soon is asked twice for one thing (default: 30m)",
    )
    group.add_argument(
        "--budget",
        metavar="N",
        type=int,
        default=3,
        help="prompts a user and day that are bearable (default: 3)",
    )
    group.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="of days and hours (default: UTC)"
    )
    group.add_argument("--labels", action="store_true", help="fail if the recording has no attacks")


def run(arguments: argparse.Namespace) -> int:
    """Replay, and report."""
    from sidecar.cli.replay_run import replay  # noqa: PLC0415 - a command starts quickly

    report = replay(arguments, os.environ)
    for example in report.recording.examples:
        print(plain(example), file=sys.stderr)
    bad = report.recording.bad
    more = bad - len(report.recording.examples)
    if more > 0:
        print(f"... and {counted(more, 'more line')} that cannot be read", file=sys.stderr)
    if arguments.labels and not report.recording.labelled:
        raise Stop("sidecar replay: no line of the recording has a label")
    _write(arguments, report)
    if bad and bad == report.recording.records:
        raise Stop("sidecar replay: nothing of what was given could be read")
    return DONE


def _write(arguments: argparse.Namespace, report: "Report") -> None:
    from sidecar.cli.replay_tables import print_report  # noqa: PLC0415 - likewise
    from sidecar.tuning.report.html import render  # noqa: PLC0415 - likewise
    from sidecar.tuning.report.report import encode  # noqa: PLC0415 - likewise

    if arguments.json == "-":
        sys.stdout.write(encode(report).decode())
    elif not arguments.quiet:
        print_report(report)
    for name, content in ((arguments.json, encode(report)), (arguments.html, b"")):
        if not name or name == "-":
            continue
        try:
            Path(name).write_bytes(content or render(report).encode())
        except OSError as error:
            raise Stop(f"sidecar replay: {name}: {words_of(error)}") from error


def _count(text: str) -> int:
    """Read a number of processes; for argparse."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 to 999")
    return int(text)


def _seconds(text: str) -> int:
    """Read whole seconds, at least one: `20`, `20s`, `10m`, `1h`; for argparse."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if not found or int(found[1]) < 1:
        raise argparse.ArgumentTypeError("must be a time such as 20s, 10m or 1h")
    return int(found[1]) * _UNITS[found[2]]
