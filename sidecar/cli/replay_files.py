"""Opens recordings: each in the format that was asked for, or that its beginning shows."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.cli.exit_status import Stop
from sidecar.cli.socket_options import plain
from sidecar.domain.values.stamp import Stamp
from sidecar.tuning.formats.format_names import AUTO, Format
from sidecar.tuning.formats.formats import recognise, recognise_text
from sidecar.tuning.recording.csv_columns import CsvColumn, head_of, named_rows, rows
from sidecar.tuning.recording.files import LONGEST_PAGE, RecordingFile
from sidecar.tuning.recording.json_documents import UnreadableDocument, records
from sidecar.tuning.recording.occurrences import decode
from sidecar.tuning.recording.reader import RecordingReader, RecordingSource
from sidecar.tuning.recording.repeated_lines import Recounted
from sidecar.wire.events.members import InvalidSignal

SORTED = 1_000_000
"""Occurrences of a file that are put into order, however it is written: logs are exported with
the newest first. The records of a longer file must be in order but for the window."""


class Wanted(NamedTuple):
    """The format that is asked for, or `auto`; and the columns of a CSV file, with their map."""

    format: str
    columns: tuple[CsvColumn, ...] | None
    map_file: str


class Opened(NamedTuple):
    """A recording that is about to be read: what it is, and what it holds."""

    file: str
    format: Format
    occurrences: Iterator[Recounted]


class _Looks(NamedTuple):
    """The beginning of a file. `whole`: one JSON document, not a record a line. `head`: columns."""

    whole: bool
    values: list[object]
    head: list[str]


def open_recording(file: RecordingFile, reading: RecordingReader, wanted: Wanted) -> Opened:
    """Find a recording's format, and open it. Raises `Stop`, `ConfigError` and `Unreadable`."""
    if wanted.columns is not None:
        found = rows(file.text(), wanted.columns, file.name, wanted.map_file)
        return _opened(file, reading, Format.CSV, reading.rows(file.name, found))
    lines = [line.decode("utf-8", "replace") for line in file.head()]
    looks = _looks(lines)
    asked = wanted.format != AUTO
    chosen = Format(wanted.format) if asked else _recognised(lines, looks)
    source = RecordingSource(file.name, chosen, asked)
    occurrences: Iterator[Recounted]
    if chosen is Format.SSHD:
        occurrences = reading.logs(file.name, file.text(), file.written)
    elif looks.whole:
        occurrences = reading.documents(source, records(file.document()))
    elif looks.head and chosen is not Format.NDJSON:
        occurrences = reading.foreign_rows(source, named_rows(file.text()))
    elif looks.head and not asked:
        message = "is a table whose columns are not known: name them with --map"
        raise Stop(f"{plain(file.name)}:1: (head): {message} (docs/replay.md, CSV)")
    elif chosen is Format.NDJSON:
        occurrences = reading.lines(source, file.lines())
        return Opened(file.name, chosen, _to_the_end(file, reading, occurrences))
    else:
        source = source._replace(longest=LONGEST_PAGE)
        occurrences = reading.lines(source, file.lines(LONGEST_PAGE))
    return _opened(file, reading, chosen, occurrences)


def _opened(
    file: RecordingFile,
    reading: RecordingReader,
    chosen: Format,
    occurrences: Iterator[Recounted],
) -> Opened:
    return Opened(file.name, chosen, _in_order(_to_the_end(file, reading, occurrences)))


def _to_the_end(
    file: RecordingFile, reading: RecordingReader, occurrences: Iterator[Recounted]
) -> Iterator[Recounted]:
    """Yield a file's occurrences; count it as cut off where the rest of it could not be read."""
    yield from occurrences
    if file.flaw is not None:
        reading.cut_off(f"{file.name}:{file.flaw.line}", file.flaw.words)


def _looks(lines: list[str]) -> _Looks:
    written = [line.strip() for line in lines if line.strip()]
    first = written[0] if written else ""
    if not first.startswith(("{", "[")):
        head = head_of(lines)
        is_table = len(head) > 1 and all(head) and not recognise_text(written)
        return _Looks(False, [], head if is_table else [])
    values: list[object] = [one for one in map(_decoded, written) if isinstance(one, dict)]
    if first.startswith("[") or first == "{" or not values:
        return _Looks(True, _begun("".join(lines)), [])
    return _Looks(False, values, [])


def _begun(text: str) -> list[object]:
    """Return a document's first records; it may be longer than what was read of it."""
    found: list[object] = []
    with contextlib.suppress(UnreadableDocument):
        found.extend(value for _, value in records(text))
    return found


def _decoded(line: str) -> object:
    try:
        return decode(line.encode())
    except InvalidSignal:
        return None


def _recognised(lines: list[str], looks: _Looks) -> Format:
    if looks.values:
        return recognise(looks.values)
    if looks.head:
        return recognise([dict.fromkeys(looks.head, "")])
    return recognise_text([line for line in lines if line.strip()]) or Format.NDJSON


def _in_order(occurrences: Iterator[Recounted]) -> Iterator[Recounted]:
    """Put a file's occurrences into the order of time, as far as they can be held."""
    held = list(itertools.islice(occurrences, SORTED))
    following = next(occurrences, None)
    if following is not None:
        yield from held
        yield following
        yield from occurrences
        return
    yield from sorted(held, key=_stamp)


def _stamp(occurrence: Recounted) -> Stamp:
    return occurrence.stamp
