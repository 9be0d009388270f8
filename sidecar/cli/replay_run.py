"""Puts a replay together from the command's arguments, and runs it with a progress bar."""

import argparse
import heapq
import itertools
import sys
import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sidecar.adapters.geography.geography import Geography
from sidecar.cli.exit_status import Stop
from sidecar.cli.replay_files import Opened, Wanted, open_recording
from sidecar.cli.replay_sets import policy_sets
from sidecar.cli.socket_options import plain
from sidecar.daemon.configuration.loading import Configuration, read_configuration
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.tuning.formats.format_names import AUTO
from sidecar.tuning.recording.csv_columns import CsvColumn, read_columns
from sidecar.tuning.recording.files import RecordingFile, Unreadable
from sidecar.tuning.recording.occurrence_order import OccurrenceOrder
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.tuning.recording.reader import BadLine, RecordingReader, Strangers
from sidecar.tuning.replay import figures as replay_figures
from sidecar.tuning.replay.passage import PassageModel
from sidecar.tuning.replay.replay import CountOptions, Replay
from sidecar.tuning.report import report as replay_report
from sidecar.tuning.report.report import Report
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.jwks import InvalidKeySet, KeySet, key_set_of
from sidecar.wire.yaml.tree import ConfigError

PEEKED = 10_000
"""Occurrences that are looked at to find whether calls are recorded."""

_STEP = 1000


def replay(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Report:
    """Return the report that the arguments ask for. Raises `Stop`."""
    try:
        return _replay(arguments, environ)
    except ConfigError as error:
        raise Stop(*(plain(str(problem)) for problem in error.problems)) from error
    except (BadLine, Unreadable) as error:
        raise Stop(plain(str(error))) from error


def _replay(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Report:
    if arguments.timezone not in zoneinfo.available_timezones():
        raise Stop(f"sidecar replay: --timezone: {plain(arguments.timezone)!r} is not known")
    found = _configurations(arguments, environ)
    sets = policy_sets(found, arguments.threshold)
    columns = _columns(arguments.map)
    settings = found[0][1].settings
    geography = Geography(settings.geography)
    broken = [outcome for outcome in geography.reload() if outcome.error]
    if broken:
        raise Stop(*(f"{o.file}:0: {o.field}: {plain(o.error)}" for o in broken))
    if columns is not None and arguments.format != AUTO:
        raise Stop("sidecar replay: --map is for CSV of one's own; leave out --format")
    reading = RecordingReader(
        strict=arguments.strict, strangers=_strangers(settings), keys=_keys(arguments.keys)
    )
    with ExitStack() as stack:
        files = [stack.enter_context(RecordingFile(name)) for name in arguments.recordings]
        opened = [open_recording(file, reading, _wanted(arguments, columns)) for file in files]
        occurrences = _merged([one.occurrences for one in opened])
        peeked = list(itertools.islice(occurrences, PEEKED))
        at_mark = _at_mark(arguments.prompt_at, peeked)
        model = PassageModel(
            at_mark,
            not arguments.no_answers,
            arguments.answer_after * MICROSECONDS,
            arguments.flap_within * MICROSECONDS,
        )
        counting = CountOptions(
            arguments.timezone, arguments.repeat_within, arguments.budget, arguments.top
        )
        ordering = OccurrenceOrder(arguments.window)
        running = Replay(
            sets,
            geography.place,
            model=model,
            counting=counting,
            min_ttl=settings.sessions.min_ttl,
            namespaces=settings.tokens.namespaces,
        )
        _run(running, ordering, itertools.chain(peeked, occurrences), files, arguments)
    outcomes = running.finish()
    return replay_figures.report(
        _recording(opened, reading, ordering, running),
        replay_report.UserModel(
            prompt_at="mark" if at_mark else "check",
            answers=model.answers,
            answer_after=arguments.answer_after,
            flap_within=arguments.flap_within,
            repeat_within=counting.repeat_within,
            budget=counting.budget,
            timezone=counting.timezone,
            window=float(arguments.window),
        ),
        outcomes,
        running.activity,
        counting,
    )


def _configurations(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> list[tuple[str, Configuration]]:
    file = Path(arguments.config)
    if not arguments.policies:
        configuration = read_configuration(file, environ)
        return [(configuration.settings.policies.path, configuration)]
    return [
        (
            directory,
            read_configuration(
                file, {**environ, "SIDECAR_POLICIES__PATH": str(Path(directory).absolute())}
            ),
        )
        for directory in arguments.policies
    ]


def _columns(file: str | None) -> tuple[CsvColumn, ...] | None:
    if not file:
        return None
    try:
        return read_columns(Path(file).read_text(encoding="utf-8"), file)
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{file}:0: (file): is not UTF-8 text") from error


def _keys(file: str | None) -> KeySet | None:
    if not file:
        return None
    try:
        return key_set_of(Path(file).read_bytes())
    except OSError as error:
        raise Stop(f"{file}: {words_of(error)}") from error
    except InvalidKeySet as error:
        raise Stop(f"{file}: {error}") from error


def _wanted(arguments: argparse.Namespace, columns: tuple[CsvColumn, ...] | None) -> Wanted:
    return Wanted(arguments.format, columns, arguments.map or "")


def _strangers(settings: Settings) -> Strangers:
    """Return which contexts are not configured, by their names or other names."""

    def strange(contexts: Collection[str]) -> Collection[str]:
        aliases = settings.aliases
        return settings.strangers([name for name in contexts if name not in aliases])

    return strange


def _merged(streams: list[Iterator[Occurrence]]) -> Iterator[Occurrence]:
    """Return the occurrences of all files, side by side in time.

    Each is in order but for the window.
    """
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_stamp)


def _stamp(occurrence: Occurrence) -> Stamp:
    return occurrence.stamp


def _at_mark(prompt_at: str, peeked: list[Occurrence]) -> bool:
    if prompt_at == "auto":
        return all(occurrence.call is None for occurrence in peeked)
    return prompt_at == "mark"


def _run(
    running: Replay,
    ordering: OccurrenceOrder,
    occurrences: Iterator[Occurrence],
    files: list[RecordingFile],
    arguments: argparse.Namespace,
) -> None:
    total = sum(file.size for file in files)
    console = Console(stderr=True)
    shown = console.is_terminal and not arguments.quiet
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]:,} lines"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
        transient=True,
    ) as progress:
        task = progress.add_task("replay", total=total or None, done=0)
        for occurrence in ordering.sorted(occurrences):
            running.take(occurrence)
            if shown and not running.occurrences % _STEP:
                position = sum(file.position for file in files)
                progress.update(task, completed=position, done=running.occurrences)
    sys.stderr.flush()


def _recording(
    opened: list[Opened], reading: RecordingReader, ordering: OccurrenceOrder, running: Replay
) -> replay_report.Recording:
    account = reading.account
    seen = running.occurrences > 0
    return replay_report.Recording(
        files=tuple(one.file for one in opened),
        formats=tuple(
            " and ".join(reading.formats.get(one.file) or (one.format,)) for one in opened
        ),
        tokens=account.tokens,
        verified=reading.verifies,
        records=account.records,
        beside=account.beside,
        skipped=account.skipped,
        marked_lines=account.marked_lines,
        left_out=account.left_out(),
        occurrences=running.occurrences,
        calls=running.calls,
        sessions=running.timeline.sessions,
        users=len(running.timeline.users),
        begins=running.begins / MICROSECONDS if seen else None,
        ends=running.ends / MICROSECONDS if seen else None,
        bad=account.bad,
        examples=tuple(account.examples),
        late=ordering.late,
        repeated=ordering.repeated,
        passed_over=account.passed_over,
        ownerless_sessions=running.timeline.ownerless,
        labelled=running.labelled,
        logged_marks=dict(sorted(account.logged_marks.items())),
    )
