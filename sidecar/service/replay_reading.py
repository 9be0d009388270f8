"""Reads recordings record by record, and keeps account of what could not be read or used."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from sidecar.service.replay_account import Account
from sidecar.wire import recorded_sshd
from sidecar.wire.events import InvalidSignal
from sidecar.wire.foreign_records import Foreign, LeftOut, Ours
from sidecar.wire.json_documents import UnreadableDocument
from sidecar.wire.recording_columns import Row, UnreadableRow
from sidecar.wire.recording_formats import Reader, unwrapped
from sidecar.wire.recordings import LoggedMark, Occurrence, PassedOver, decode, read, read_line

LONGEST_LINE = 1024 * 1024

Strangers = Callable[[Collection[str]], Collection[str]]
"""Which contexts of a call are not configured."""


class BadLine(Exception):  # noqa: N818 - named by who must act: whoever made the recording
    """A line cannot be understood: `FILE:LINE: field: what is wrong`."""


def none_is_strange(_contexts: Collection[str]) -> Collection[str]:
    """Take every context for a configured one."""
    return ()


class Reading:
    """Reads recordings. `strict`: the first bad line ends it with `BadLine`."""

    def __init__(self, *, strict: bool, strangers: Strangers = none_is_strange) -> None:
        self.account = Account()
        self._strict = strict
        self._strangers = strangers

    def lines(self, file: str, lines: Iterable[bytes]) -> Iterator[Occurrence]:
        """The occurrences in lines of NDJSON. Blank lines are nothing."""
        for number, line in enumerate(lines, 1):
            if line and not line.isspace():
                yield from self._line(file, number, line)

    def rows(
        self, file: str, rows: Iterable[tuple[int, Row | UnreadableRow]]
    ) -> Iterator[Occurrence]:
        """The occurrences in rows of a CSV file."""
        for number, row in rows:
            self.account.records += 1
            try:
                if isinstance(row, UnreadableRow):
                    raise InvalidSignal("", str(row))  # noqa: TRY301 - told as every other line is
                yield from self._known(read(row, repr(sorted(row.items())).encode()))
            except InvalidSignal as error:
                self._refuse(f"{file}:{number}", error)

    def foreign(
        self, file: str, records: Iterable[tuple[int, object]], reader: Reader
    ) -> Iterator[Occurrence]:
        """The occurrences in another format's records, each with its line."""
        for number, record in records:
            found = [record] if isinstance(record, UnreadableRow) else [*unwrapped(record)]
            for at, one in enumerate(found or [record], 1):
                where = f"{file}:{number}" + (f", record {at}" if len(found) > 1 else "")
                self.account.records += 1
                try:
                    yield from self._translated(where, one, reader)
                except InvalidSignal as error:
                    self._refuse(where, error)

    def documents(
        self, file: str, records: Iterator[tuple[int, object]], reader: Reader | None
    ) -> Iterator[Occurrence]:
        """The occurrences in the records of a JSON document; in our own form without a reader."""
        while True:
            try:
                number, record = next(records)
            except StopIteration:
                return
            except UnreadableDocument as error:
                self.account.records += 1
                self._refuse(f"{file}:{error.line}", InvalidSignal("", str(error)))
                return
            if reader is not None:
                yield from self.foreign(file, [(number, record)], reader)
            else:
                yield from self._line(file, number, msgspec.json.encode(record))

    def json_lines(self, file: str, lines: Iterable[bytes], reader: Reader) -> Iterator[Occurrence]:
        """The occurrences in lines of another format's JSON."""
        for number, line in enumerate(lines, 1):
            if line.isspace() or not line:
                continue
            try:
                record = decode(line)
            except InvalidSignal as error:
                self.account.records += 1
                self._refuse(f"{file}:{number}", error)
                continue
            yield from self.foreign(file, [(number, record)], reader)

    def logs(self, file: str, lines: Iterable[str], latest: float) -> Iterator[Occurrence]:
        """The occurrences in lines of sshd's log, of which none lies after `latest` (seconds)."""
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            self.account.records += 1
            try:
                found = recorded_sshd.read(line, latest)
            except ValueError as error:
                self._refuse(f"{file}:{number}", InvalidSignal("", str(error)))
                continue
            try:
                yield from self._of(f"{file}:{number}", found, line.encode())
            except InvalidSignal as error:
                self._refuse(f"{file}:{number}", error)

    def _line(self, file: str, number: int, line: bytes) -> Iterator[Occurrence]:
        self.account.records += 1
        try:
            return self._own(line)
        except InvalidSignal as error:
            self._refuse(f"{file}:{number}", error)
        return iter(())

    def _own(self, line: bytes) -> Iterator[Occurrence]:
        if len(line) > LONGEST_LINE:
            raise InvalidSignal("", f"is longer than {LONGEST_LINE} bytes")
        return self._known(read_line(line))

    def _known(self, recorded: Occurrence | LoggedMark | PassedOver) -> Iterator[Occurrence]:
        """What is an occurrence, in contexts that are configured; others are counted."""
        match recorded:
            case Occurrence():
                names = () if recorded.call is None else recorded.call.contexts
                strange = sorted(self._strangers(names)) if names else ()
                if strange:
                    raise InvalidSignal("context", f"{strange[0][:64]!r} is not configured")
                return iter((recorded,))
            case LoggedMark():
                self.account.marked_lines += 1
                self.account.logged_marks[recorded.policy] += recorded.count
            case PassedOver():
                self.account.passed_over += 1
        return iter(())

    def _translated(self, where: str, record: object, reader: Reader) -> Iterator[Occurrence]:
        if isinstance(record, UnreadableRow):
            raise InvalidSignal("", str(record))
        if not isinstance(record, Foreign):
            raise InvalidSignal("", "must be one JSON object")
        return self._of(where, reader(record), b"")

    def _of(self, where: str, found: Sequence[Ours] | LeftOut, line: bytes) -> Iterator[Occurrence]:
        if isinstance(found, LeftOut):
            self.account.skip(where, found.reason)
            return iter(())
        occurrences: list[Occurrence] = []
        for one in found:
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
