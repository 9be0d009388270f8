"""`sidecar promote`: a report-only policy becomes enabled, and what to expect of it."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.exit_status import DONE, MISTAKE, NEGATIVE, Stop
from sidecar.cli.run import add_config
from sidecar.cli.socket_options import address, plain, seconds
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.moments import to_minute
from sidecar.domain.values.plural import counted

if TYPE_CHECKING:  # loaded when they are needed
    from sidecar.tuning.trial.forecast import Expectation
    from sidecar.tuning.trial.policy_file import PromotionPlan


_WEEK = 7.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Change a policy's state from report-only to enabled in its file - comments and layout "
        "stay as they are - and say what to expect, from what running daemons have counted of "
        "it or from their logs. Where nothing is known of the policy, nothing is changed, and the "
        "status is 1."
    )
    parser.epilog = """\
examples:
  sidecar promote watch-the-score --metrics http://10.0.0.7:9090/metrics --dry-run
  sidecar promote watch-the-score --log sidecar.log --log sidecar.log.1.gz
  sidecar promote watch-the-score --force

exit status: 0 done, 1 nothing is known of the policy, 2 bad usage, configuration or input
"""
    parser.add_argument("policy", metavar="POLICY", help="its id")
    add_config(parser)
    parser.add_argument(
        "--policies", metavar="PATH", default="", help="its file or directory (default: configured)"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--log",
        metavar="FILE",
        action="append",
        default=[],
        help="a daemon's log in JSON, also .gz, - for standard input; may be repeated",
    )
    source.add_argument(
        "--metrics",
        metavar="URL",
        type=address,
        action="append",
        default=[],
        help="a daemon's metrics; repeat it for each pod. They count from the daemon's start",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=5.0)
    parser.add_argument("--dry-run", action="store_true", help="say all, change nothing")
    parser.add_argument("--force", action="store_true", help="even where nothing is known of it")
    parser.add_argument("--json", action="store_true", help="print the expectation as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Say what to expect, and promote."""
    from sidecar.adapters.files.atomic_write import replace_text  # noqa: PLC0415 - a command starts quickly
    from sidecar.tuning.trial.policy_file import plan  # noqa: PLC0415 - likewise
    from sidecar.tuning.trial.promotion import NotPromoted  # noqa: PLC0415 - likewise
    from sidecar.wire.yaml.tree import ConfigError  # noqa: PLC0415 - likewise

    policy = plain(arguments.policy)
    try:
        planned = plan(Path(arguments.config), os.environ, arguments.policies, arguments.policy)
    except ConfigError as error:
        for problem in error.problems:
            print(plain(str(problem)), file=sys.stderr)
        return MISTAKE
    except NotPromoted as error:
        raise Stop(f"sidecar promote: {policy}: {error}") from error
    expectation = _expectation(arguments)
    _print(planned, expectation, arguments)
    if not expectation.known and not arguments.force:
        print(
            f"sidecar promote: nothing is known of {policy}, so nothing is changed: name a log "
            "(--log) or metrics (--metrics) of daemons that tried it, or use --force",
            file=sys.stderr,
        )
        return NEGATIVE
    if arguments.dry_run:
        return DONE
    try:
        replace_text(planned.file, planned.after.text)
    except OSError as error:
        raise Stop(f"{planned.file}: cannot be replaced: {words_of(error)}") from error
    return DONE


def _expectation(arguments: argparse.Namespace) -> "Expectation":
    from sidecar.adapters import clock  # noqa: PLC0415 - a command starts quickly
    from sidecar.service.ports.calls import Unavailable  # noqa: PLC0415 - likewise
    from sidecar.tuning.recording.files import RecordingFile, Unreadable  # noqa: PLC0415
    from sidecar.tuning.trial.forecast import ForecastCounts  # noqa: PLC0415 - likewise
    from sidecar.tuning.trial.prometheus_scrape import scrape  # noqa: PLC0415 - likewise
    from sidecar.tuning.trial.trial_log import read_logged  # noqa: PLC0415 - likewise

    expecting = ForecastCounts(arguments.policy)
    for url in arguments.metrics:
        try:
            expecting.scraped(scrape(url, arguments.timeout), clock.now())
        except Unavailable as error:
            raise Stop(f"sidecar promote: {plain(url)}: {error}") from error
    try:
        for name in arguments.log:
            with RecordingFile(name) as file:
                for line in file.lines():
                    logged = read_logged(line)
                    if logged is not None:
                        expecting.logged(logged)
                if file.flaw is not None:
                    raise Stop(plain(f"{name}:{file.flaw.line}: {file.flaw.words}"))
    except Unreadable as error:
        raise Stop(plain(str(error))) from error
    return expecting.finish()


def _print(
    planned: "PromotionPlan", expectation: "Expectation", arguments: argparse.Namespace
) -> None:
    from sidecar.tuning.trial.promotion import difference  # noqa: PLC0415 - a command starts quickly

    if arguments.json:
        import msgspec  # noqa: PLC0415 - likewise

        print(msgspec.json.encode(expectation).decode())
        return
    if expectation.known:
        print("\n".join(plain(line) for line in _lines(expectation)))
    diff = difference(planned.before, planned.after.text, str(planned.file))
    print("\n".join(plain(line) for line in diff.splitlines()))


def _lines(expected: "Expectation") -> Iterator[str]:
    yield (
        f"{expected.policy}, report-only from {to_minute(expected.begins)} "
        f"to {to_minute(expected.ends)} ({expected.days:.1f} days)"
    )
    whom = (
        ""
        if expected.sessions is None or expected.users is None
        else f"; {counted(expected.sessions, 'session')} of {counted(expected.users, 'user')}"
    )
    whom += "" if expected.all_named else " at least"
    signals = ", ".join(f"{signal} {count:,}" for signal, count in expected.signals.items())
    by = f" ({signals})" if signals else ""
    yield f"  would have set {counted(expected.marks, 'mark')}{by}{whom}"
    for change in expected.changes:
        kept = change.answered == change.decision
        outcome = "by others, too" if kept else f"-> {change.decision}"
        yield f"  calls: {change.calls:,} {change.answered} {outcome}"
    if not expected.changes:
        yield "  calls: none is recorded (a log has them with log.checks)"
    yield (
        f"enabled, expect {expected.marks_a_day:.1f} marks a day, and at most "
        f"{expected.calls_a_day('step_up'):.1f} step-ups "
        f"and {expected.calls_a_day('deny'):.1f} refusals"
    )
    yield from _grounds(expected)


def _grounds(expected: "Expectation") -> Iterator[str]:
    """Say on how much the expectation rests, and what may be missing in it."""
    least, most = expected.marks_a_day_between
    marks = counted(expected.marks, "mark")
    days = f"{expected.days:.1f} days"
    yield f"  that rests on {marks} in {days}: from {least:.1f} to {most:.1f} a day"
    if expected.days < _WEEK:
        yield "  it is less than a week: what comes on other days of the week is not in it"
    if not expected.all_named:
        yield "  the log names the first sessions of an event alone: there may be more"
