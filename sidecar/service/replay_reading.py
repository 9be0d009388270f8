"""Reads recordings line by line, and keeps count of what could not be read."""

from collections import Counter
from collections.abc import Iterable, Iterator

from sidecar.wire.events import InvalidSignal
from sidecar.wire.recording_columns import Row, UnreadableRow
from sidecar.wire.recordings import LoggedMark, Occurrence, PassedOver, Recorded, read, read_line

EXAMPLES = 10
"""Bad lines that are told in words; the others are counted."""

LONGEST_LINE = 1024 * 1024


class BadLine(Exception):  # noqa: N818 - named by who must act: whoever made the recording
    """A line cannot be understood: `FILE:LINE: field: what is wrong`."""


class Reading:
    """Reads recordings. `strict`: the first bad line ends it with `BadLine`."""

    def __init__(self, *, strict: bool) -> None:
        self.bad = 0
        self.examples: list[str] = []
        self.passed_over = 0
        self.logged_marks: Counter[str] = Counter()
        self._strict = strict

    def lines(self, file: str, lines: Iterable[bytes]) -> Iterator[Occurrence]:
        """The occurrences in lines of NDJSON. Blank lines are nothing."""
        for number, line in enumerate(lines, 1):
            if line.isspace() or not line:
                continue
            try:
                if len(line) > LONGEST_LINE:
                    raise InvalidSignal("", f"is longer than {LONGEST_LINE} bytes")  # noqa: TRY301
                recorded = read_line(line)
            except InvalidSignal as error:
                self._refuse(file, number, error.field, error.message)
                continue
            if isinstance(recorded, Occurrence):
                yield recorded
            else:
                self._note(recorded)

    def rows(
        self, file: str, rows: Iterable[tuple[int, Row | UnreadableRow]]
    ) -> Iterator[Occurrence]:
        """The occurrences in rows of a CSV file."""
        for number, row in rows:
            if isinstance(row, UnreadableRow):
                self._refuse(file, number, "", str(row))
                continue
            try:
                recorded = read(row, repr(sorted(row.items())).encode())
            except InvalidSignal as error:
                self._refuse(file, number, error.field, error.message)
                continue
            if isinstance(recorded, Occurrence):
                yield recorded
            else:
                self._note(recorded)

    def _note(self, recorded: Recorded) -> None:
        match recorded:
            case LoggedMark():
                self.logged_marks[recorded.policy] += recorded.count
            case PassedOver() | Occurrence():
                self.passed_over += 1

    def _refuse(self, file: str, number: int, field: str, message: str) -> None:
        told = f"{file}:{number}: {field or '(line)'}: {message}"
        if self._strict:
            raise BadLine(told)
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(told)
