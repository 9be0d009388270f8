"""Puts a replay together from the command's arguments, and runs it with a progress bar."""

import argparse
import heapq
import itertools
import os
import sys
import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sidecar.adapters.geography.geography import Geography
from sidecar.cli.exit_status import Stop
from sidecar.cli.replay_files import Opened, Wanted, open_recording
from sidecar.cli.replay_jobs import ReplayJobs
from sidecar.cli.replay_sets import policy_sets
from sidecar.cli.socket_options import plain
from sidecar.daemon.configuration.files import Configuration, read_configuration
from sidecar.domain.values.causes import words_of
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.tuning.formats.format_names import AUTO
from sidecar.tuning.recording.csv_columns import CsvColumn, read_columns
from sidecar.tuning.recording.files import STANDARD_INPUT, RecordingFile, Unreadable
from sidecar.tuning.recording.occurrence_order import OccurrenceOrder
from sidecar.tuning.recording.reader import BadLine, RecordingReader, Strangers
from sidecar.tuning.recording.repeated_lines import Recounted
from sidecar.tuning.replay.figures import report_of
from sidecar.tuning.replay.passage import PassageModel
from sidecar.tuning.replay.replay import CountOptions, Replay, ReplayCounts
from sidecar.tuning.replay.run import PolicySet
from sidecar.tuning.replay.shards import SubjectShards
from sidecar.tuning.report.report import Recording, Report, UserModel
from sidecar.wire.settings.settings import Settings
from sidecar.wire.tokens.jwks import InvalidKeySet, KeySet, key_set_of
from sidecar.wire.yaml.tree import ConfigError

PEEKED = 10_000
"""Occurrences that are looked at to find whether calls are recorded."""

WORTH_PROCESSES = 8 * 1024 * 1024
"""Bytes of recordings from which on several processes are worth their start."""

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
    ground = _ground(arguments, environ)
    columns = _columns(arguments.map)
    if columns is not None and arguments.format != AUTO:
        raise Stop("sidecar replay: --map is for CSV of one's own; leave out --format")
    jobs = _jobs(arguments)
    shards = _shards(arguments, columns) if jobs > 1 else None
    reading = RecordingReader(
        strict=arguments.strict, strangers=_strangers(ground.settings), keys=_keys(arguments.keys)
    )
    with ExitStack() as stack:
        files = [stack.enter_context(RecordingFile(name)) for name in arguments.recordings]
        opened = [open_recording(file, reading, _wanted(arguments, columns)) for file in files]
        occurrences = _merged([one.occurrences for one in opened])
        peeked = list(itertools.islice(occurrences, PEEKED))
        at_mark = _at_mark(arguments.prompt_at, peeked)
        ordering = OccurrenceOrder(arguments.window)
        ordered = ordering.sorted(itertools.chain(peeked, occurrences))
        if shards is None:
            running = _begun(ground, arguments, at_mark=at_mark)
            for occurrence in _shown(ordered, files, arguments):
                running.take(occurrence)
            counts = running.finish()
        else:
            counts = ReplayCounts(ground.sets, _counting(arguments))
            prepare = replay_at_marks if at_mark else replay_at_calls
            processes = ReplayJobs(jobs, prepare, arguments, dict(environ))
            with processes:
                for occurrence in _shown(ordered, files, arguments):
                    part = shards.part_of(occurrence.subject)
                    if part is None:
                        raise Stop("sidecar replay: a recording has changed while it was read")
                    processes.put(part, occurrence)
                for part_counts in processes.finish():
                    counts.add(part_counts)
    model, counting = _model(arguments, at_mark=at_mark), _counting(arguments)
    return report_of(
        _recording(opened, reading, ordering, counts),
        UserModel(
            prompt_at="mark" if at_mark else "check",
            answers=model.answers,
            answer_after=arguments.answer_after,
            flap_within=arguments.flap_within,
            repeat_within=counting.repeat_within,
            budget=counting.budget,
            timezone=counting.timezone,
            window=float(arguments.window),
        ),
        counts.outcomes(ground.sets),
        counts.activity,
        counting,
    )


class _Ground(NamedTuple):
    """Policy sets, settings and location data that a replay stands on."""

    sets: tuple[PolicySet, ...]
    settings: Settings
    geography: Geography


def replay_at_marks(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Replay:
    """Return the replay of one of several processes, which reads itself what that stands on."""
    return _begun(_ground(arguments, environ), arguments, at_mark=True)


def replay_at_calls(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Replay:
    """Return the same where prompts are counted at calls."""
    return _begun(_ground(arguments, environ), arguments, at_mark=False)


def _ground(arguments: argparse.Namespace, environ: Mapping[str, str]) -> _Ground:
    found = _configurations(arguments, environ)
    sets = policy_sets(found, arguments.threshold)
    settings = found[0][1].settings
    geography = Geography(settings.geography)
    broken = [outcome for outcome in geography.reload() if outcome.error]
    if broken:
        raise Stop(*(f"{o.file}:0: {o.field}: {plain(o.error)}" for o in broken))
    return _Ground(sets, settings, geography)


def _begun(ground: _Ground, arguments: argparse.Namespace, *, at_mark: bool) -> Replay:
    settings = ground.settings
    return Replay(
        ground.sets,
        ground.geography.place,
        model=_model(arguments, at_mark=at_mark),
        counting=_counting(arguments),
        min_ttl=settings.sessions.min_ttl,
        namespaces=settings.tokens.namespaces,
    )


def _model(arguments: argparse.Namespace, *, at_mark: bool) -> PassageModel:
    return PassageModel(
        at_mark,
        not arguments.no_answers,
        arguments.answer_after * MICROSECONDS,
        arguments.flap_within * MICROSECONDS,
    )


def _counting(arguments: argparse.Namespace) -> CountOptions:
    return CountOptions(
        arguments.timezone, arguments.repeat_within, arguments.budget, arguments.top
    )


def _jobs(arguments: argparse.Namespace) -> int:
    """Return how many processes replay. What comes by standard input can be read only once."""
    if STANDARD_INPUT in arguments.recordings:
        return 1
    if arguments.jobs:
        return int(arguments.jobs)
    paths = [Path(name) for name in arguments.recordings]
    if not all(path.is_file() for path in paths):
        return 1
    small = sum(path.stat().st_size for path in paths) < WORTH_PROCESSES
    return 1 if small else len(os.sched_getaffinity(0))


def _shards(arguments: argparse.Namespace, columns: tuple[CsvColumn, ...] | None) -> SubjectShards:
    """Read the recordings once to see whom they name together."""
    shards = SubjectShards()
    reading = RecordingReader(strict=arguments.strict, keys=_keys(arguments.keys), name=shards.add)
    for name in arguments.recordings:
        with RecordingFile(name) as file:
            opened = open_recording(file, reading, _wanted(arguments, columns))
            for occurrence in opened.occurrences:
                shards.add(occurrence.subject)
    shards.divide(_jobs(arguments))
    return shards


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


def _merged(streams: list[Iterator[Recounted]]) -> Iterator[Recounted]:
    """Return the occurrences of all files, side by side in time.

    Each is in order but for the window.
    """
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_stamp)


def _stamp(occurrence: Recounted) -> Stamp:
    return occurrence.stamp


def _at_mark(prompt_at: str, peeked: list[Recounted]) -> bool:
    if prompt_at == "auto":
        return all(occurrence.call is None for occurrence in peeked)
    return prompt_at == "mark"


def _shown(
    occurrences: Iterator[Recounted], files: list[RecordingFile], arguments: argparse.Namespace
) -> Iterator[Recounted]:
    """Yield all, and show how far that is."""
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
        for done, occurrence in enumerate(occurrences, 1):
            yield occurrence
            if shown and not done % _STEP:
                position = sum(file.position for file in files)
                progress.update(task, completed=position, done=done)
    sys.stderr.flush()


def _recording(
    opened: list[Opened], reading: RecordingReader, ordering: OccurrenceOrder, counts: ReplayCounts
) -> Recording:
    account = reading.account
    seen = counts.occurrences > 0
    return Recording(
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
        occurrences=counts.occurrences,
        calls=counts.calls,
        sessions=counts.sessions,
        users=counts.users,
        begins=counts.begins / MICROSECONDS if seen else None,
        ends=counts.ends / MICROSECONDS if seen else None,
        bad=account.bad,
        examples=tuple(account.examples),
        late=ordering.late,
        repeated=ordering.repeated,
        passed_over=account.passed_over,
        ownerless_sessions=counts.ownerless,
        labelled=counts.labelled,
        logged_marks=dict(sorted(account.logged_marks.items())),
    )
