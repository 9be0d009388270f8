"""Reads recordings record by record, and keeps account of what could not be read or used."""

import codecs
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from sidecar.domain.facts.signal import Subject
from sidecar.domain.values.plural import counted
from sidecar.tuning.formats import caep, sshd
from sidecar.tuning.formats.foreign_records import Foreign, LeftOut, Ours
from sidecar.tuning.formats.format_names import Format
from sidecar.tuning.formats.formats import reader_of, unwrapped
from sidecar.tuning.recording.account import Account
from sidecar.tuning.recording.csv_columns import Row, UnreadableRow
from sidecar.tuning.recording.json_documents import UnreadableDocument
from sidecar.tuning.recording.occurrences import (
    LoggedMark,
    Occurrence,
    PassedOver,
    decode,
    is_own,
    read,
)
from sidecar.tuning.recording.repeated_lines import Recounted, RepeatedLines, SaidAgain, subject_in
from sidecar.wire.events.members import InvalidSignal
from sidecar.wire.tokens.jwks import KeySet

LONGEST_RECORD = 1024 * 1024
"""In bytes: of our own form, in which nothing is that long."""

Strangers = Callable[[Collection[str]], Collection[str]]
"""Which contexts of a call are not configured."""


class RecordingSource(NamedTuple):
    """A file, and what its records are thought to be; `asked`: and by whoever named it."""

    file: str
    format: Format
    asked: bool = False
    longest: int = LONGEST_RECORD


class BadLine(Exception):  # noqa: N818 - named by who must act: whoever made the recording
    """A line cannot be understood: `FILE:LINE: field: what is wrong`."""


def none_is_strange(_contexts: Collection[str]) -> Collection[str]:
    """Take every context for a configured one."""
    return ()


class RecordingReader:
    """Reads recordings. `strict`: the first bad line ends it with `BadLine`.

    `keys` are what security event tokens must be signed by; None: nobody looks. `formats` has for
    each file what its records were. Who only wants to know whom recordings name gives `name`: it is
    called with the subjects of lines, also of some that cannot be read, which yield no occurrence.
    """

    def __init__(
        self,
        *,
        strict: bool,
        strangers: Strangers = none_is_strange,
        keys: KeySet | None = None,
        name: Callable[[Subject], None] | None = None,
    ) -> None:
        self.account = Account()
        self.formats: dict[str, dict[Format, None]] = {}
        self._strict = strict
        self._strangers = strangers
        self._keys = keys
        self._again = RepeatedLines()
        self._name = name

    @property
    def verifies(self) -> bool:
        """Return whether the signatures of tokens are looked at."""
        return self._keys is not None

    def lines(self, source: RecordingSource, lines: Iterable[bytes]) -> Iterator[Recounted]:
        """Yield the occurrences in lines of JSON, or of whole tokens. Blank lines are nothing."""
        is_own_form, name = source.format is Format.NDJSON, self._name
        for number, line in enumerate(lines, 1):
            if not line or line.isspace():
                continue
            if is_own_form and len(line) <= LONGEST_RECORD:
                if name is not None and (subject := subject_in(line)) is not None:
                    name(subject)
                    continue
                again = self._again.read(line)
                if again is not None:
                    self.account.records += 1
                    self._note(source.file, Format.NDJSON)
                    if again.said.call is None or self._is_configured(source, number, again):
                        yield again
                    continue
            where = f"{source.file}:{number}"
            try:
                record = _record_in(line, source.longest)
            except InvalidSignal as error:
                self.account.records += 1
                self._refuse(where, error)
                continue
            yield from self._records(source, where, record, line)

    def rows(
        self, file: str, rows: Iterable[tuple[int, Row | UnreadableRow]]
    ) -> Iterator[Occurrence]:
        """Yield the occurrences in rows of a CSV file."""
        self._note(file, Format.CSV)
        for number, row in rows:
            self.account.records += 1
            try:
                if isinstance(row, UnreadableRow):
                    raise InvalidSignal("", str(row))  # noqa: TRY301 - reported as every other line is
                yield from self._known(read(row, repr(sorted(row.items())).encode()))
            except InvalidSignal as error:
                self._refuse(f"{file}:{number}", error)

    def foreign_rows(
        self, source: RecordingSource, rows: Iterable[tuple[int, Row | UnreadableRow]]
    ) -> Iterator[Occurrence]:
        """Yield the occurrences in rows of another format's table."""
        for number, row in rows:
            where = f"{source.file}:{number}"
            if isinstance(row, UnreadableRow):
                self.account.records += 1
                self._refuse(where, InvalidSignal("", str(row)))
            else:
                yield from self._records(source, where, row, b"")

    def documents(
        self, source: RecordingSource, records: Iterator[tuple[int, object]]
    ) -> Iterator[Occurrence]:
        """Yield the occurrences in the records of a JSON document."""
        before, of_line = 0, 1
        while True:
            try:
                number, record = next(records)
            except StopIteration:
                return
            except UnreadableDocument as error:
                self.account.records += 1
                self._refuse(f"{source.file}:{error.line}", InvalidSignal("", str(error)))
                return
            before, of_line = number, of_line + 1 if number == before else 1
            also = f", record {of_line}" if of_line > 1 else ""
            yield from self._records(source, f"{source.file}:{number}{also}", record, b"")

    def cut_off(self, where: str, words: str) -> None:
        """Note what kept the rest of a file from being read; `where` is FILE:LINE."""
        self.account.records += 1
        self._refuse(where, InvalidSignal("", words))

    def logs(self, file: str, lines: Iterable[str], latest: float) -> Iterator[Occurrence]:
        """Yield the occurrences in lines of sshd's log; none lies after `latest` (seconds)."""
        self._note(file, Format.SSHD)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            self.account.records += 1
            try:
                found = sshd.read(line, latest)
            except ValueError as error:
                self._refuse(f"{file}:{number}", InvalidSignal("", str(error)))
                continue
            try:
                yield from self._of(f"{file}:{number}", found, line.encode())
            except InvalidSignal as error:
                self._refuse(f"{file}:{number}", error)

    def _records(
        self, source: RecordingSource, where: str, record: object, line: bytes
    ) -> Iterator[Occurrence]:
        """Yield the occurrences in one record, or in those that it wraps."""
        if source.format is Format.NDJSON and isinstance(record, dict) and is_own(record):
            found: list[object] = [record]
        else:
            found = [*unwrapped(record)] or [record]
        for at, one in enumerate(found, 1):
            here = where + (f", record {at}" if len(found) > 1 else "")
            self.account.records += 1
            try:
                yield from self._one(source, here, one, line if len(found) == 1 else b"")
            except InvalidSignal as error:
                self._refuse(here, error)

    def _one(
        self, source: RecordingSource, where: str, one: object, line: bytes
    ) -> Iterator[Occurrence]:
        """Return the occurrences in one record, by what it is; raises `InvalidSignal`."""
        if isinstance(one, str) and caep.is_compact(one):
            one = Foreign(caep.claims_of(one, self._keys))
            self.account.tokens += 1
            if not caep.is_one(one):
                raise InvalidSignal("(token)", "is no security event token")
        if isinstance(one, Foreign):
            found, reader = reader_of(one, source.format)
            if source.asked and found is not source.format:
                raise InvalidSignal("", f"is no record of {source.format.value}")
            if reader is not None:
                self._note(source.file, found)
                return self._of(where, reader(one), b"")
            if not {"type", "op", "level"} & one.record.keys():
                raise InvalidSignal("", "is a record of no format that is known here")
            one = one.record
        if not isinstance(one, dict) or (source.asked and source.format is not Format.NDJSON):
            raise InvalidSignal("", "must be one JSON object")
        self._note(source.file, Format.NDJSON)
        text = line or _text_of(one)
        if len(text) > LONGEST_RECORD:
            raise InvalidSignal("", f"is longer than {counted(LONGEST_RECORD, 'byte')}")
        recorded = read(dict(one), text)
        if line and isinstance(recorded, Occurrence):
            self._again.keep(line, recorded)
        return self._known(recorded)

    def _is_configured(self, source: RecordingSource, number: int, again: SaidAgain) -> bool:
        """Return whether the contexts of a call are; it is refused if not. Raises `BadLine`."""
        try:
            self._refuse_strangers(again.said)
        except InvalidSignal as error:
            self._refuse(f"{source.file}:{number}", error)
            return False
        return True

    def _refuse_strangers(self, occurrence: Occurrence) -> None:
        names = () if occurrence.call is None else occurrence.call.contexts
        strange = sorted(self._strangers(names)) if names else ()
        if strange:
            raise InvalidSignal("context", f"{strange[0][:64]!r} is not configured")

    def _note(self, file: str, found: Format) -> None:
        self.formats.setdefault(file, {})[found] = None

    def _known(self, recorded: Occurrence | LoggedMark | PassedOver) -> Iterator[Occurrence]:
        """Return what is an occurrence, in contexts that are configured; others are counted."""
        match recorded:
            case Occurrence():
                self._refuse_strangers(recorded)
                return iter((recorded,))
            case LoggedMark():
                self.account.marked_lines += 1
                self.account.logged_marks[recorded.policy] += recorded.count
            case PassedOver():
                self.account.passed_over += 1
        return iter(())

    def _of(
        self,
        where: str,
        found: Iterable[Ours] | Iterable[Occurrence] | LeftOut,
        line: bytes,
    ) -> Iterator[Occurrence]:
        if isinstance(found, LeftOut):
            self.account.skip(where, found.reason)
            return iter(())
        occurrences: list[Occurrence] = []
        for one in found:
            if isinstance(one, Occurrence):
                occurrences.append(one)
                continue
            text = line or repr(sorted(one.record.items(), key=str)).encode()
            recorded = read(dict(one.record), text)
            if isinstance(recorded, Occurrence):
                called = recorded if one.called else msgspec.structs.replace(recorded, call=None)
                occurrences.append(called)
        self.account.beside += max(0, len(occurrences) - 1)
        return iter(occurrences)

    def _refuse(self, where: str, error: InvalidSignal) -> None:
        reason = f"{error.field or '(line)'}: {error.message}"
        if self._strict:
            raise BadLine(f"{where}: {reason}")
        self.account.refuse(where, reason)


def _record_in(line: bytes, longest: int) -> object:
    """Return what a line says: JSON, or a whole token; raises `InvalidSignal`."""
    if len(line) > longest:
        raise InvalidSignal("", f"is longer than {counted(longest, 'byte')}")
    line = line.removeprefix(codecs.BOM_UTF8)  # of a file that was put behind another one
    if line[:1] == b"e":  # as every compact JWS begins
        text = line.decode("utf-8", "replace").strip()
        if caep.is_compact(text):
            return text
    return decode(line)


def _text_of(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
