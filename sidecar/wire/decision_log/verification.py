"""Verification of a chain of records: what of it is missing, changed, moved, or cut off.

Records are read once, in the order of the files. What was seen of the last `WINDOW` of them is
remembered: a record that comes later than it should is then found to be one that was missing.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from sidecar.wire.decision_log.chain import (
    GENESIS,
    ChainedRecord,
    ChainEnd,
    Digest,
    read_record,
)

WINDOW = 65536
END = 1 << 62
"""The line of a finding at the end of a file."""


class Fault(StrEnum):
    """The faults of a chain."""

    GAP = "gap"
    EDITED = "edited"
    REORDERED = "reordered"
    REPEATED = "repeated"
    FOREIGN = "foreign"
    TRUNCATED = "truncated"


class LogLineRead(NamedTuple):
    """A line of a file, without its end; `whole`: it had one."""

    file: str
    number: int
    text: bytes
    whole: bool = True


class ChainFinding(NamedTuple):
    """A fault, where it was found, and in words."""

    fault: Fault
    file: str
    line: int
    words: str


class Verified(NamedTuple):
    """The outcome: how many records were read, the first and the last of the chain, the faults."""

    records: int
    first: int
    last: int
    findings: tuple[ChainFinding, ...]
    begun: int = 0


class _Missing(NamedTuple):
    first: int
    last: int
    at: LogLineRead
    after: str  # the file whose last record is the one before; empty: it is the same file


class ChainVerifier:
    """Verifies records as they come; `digests` are those under each key that is tried."""

    def __init__(self, digests: Iterable[Digest]) -> None:
        self._digests = tuple(digests)
        self._records = self._first = self._last = self._begun = 0
        self._file = ""
        self._files: dict[str, None] = {}
        self._digest_of: dict[int, str] = {}
        self._seen: deque[int] = deque()
        self._unchecked: dict[int, tuple[str, LogLineRead]] = {}
        self._missing: list[_Missing] = []
        self._findings: list[ChainFinding] = []

    def read(self, line: LogLineRead) -> None:
        """Take the next line."""
        self._files.setdefault(line.file)
        record = read_record(line.text)
        if not line.whole:
            self._find(Fault.TRUNCATED, line, "the last line of the file has no end")
            if record is None:
                return
        if record is None:
            self._find(Fault.FOREIGN, line, "this is no record of a chain")
            return
        self._records += 1
        if not any(digest(record.signed) == record.digest for digest in self._digests):
            self._find(Fault.EDITED, line, f"record {record.seq} is not as it was written")
        if record.seq == 1 and record.prev == GENESIS and self._records > 1:
            self._begin_another()
        self._place(record, line)
        self._file = line.file

    def finish(self, end: ChainEnd | None = None, file: str = "") -> Verified:
        """Return the outcome; `end` is where the mark says that the chain of `file` ends."""
        if end is not None and (end.seq, end.digest) != (self._last, self._latest):
            self._end(end, file)
        self._report_missing()
        order = {name: place for place, name in enumerate(self._files)}
        found = sorted(self._findings, key=lambda one: (order.get(one.file, len(order)), one.line))
        return Verified(self._records, self._first, self._last, tuple(found), self._begun)

    @property
    def _latest(self) -> str:
        return self._digest_of.get(self._last, GENESIS)

    def _end(self, end: ChainEnd, file: str) -> None:
        at = LogLineRead(file, END, b"")
        if end.seq > self._last:
            lost = _span(self._last + 1, end.seq)
            self._find(Fault.TRUNCATED, at, f"the tail is cut off: {lost} at the end")
        elif end.digest != self._digest_of.get(end.seq, end.digest):
            self._find(Fault.EDITED, at, f"record {end.seq} is not the one that was marked")

    def _begin_another(self) -> None:
        """Begin anew: a chain of which nothing is known before says so itself."""
        self._report_missing()
        self._begun += 1
        self._last = 0
        self._digest_of.clear()
        self._seen.clear()
        self._unchecked.clear()

    def _place(self, record: ChainedRecord, line: LogLineRead) -> None:
        seq = record.seq
        if not self._first:
            self._first = seq
            self._last = seq - 1
            if seq > 1:
                self._digest_of[seq - 1] = record.prev  # the first that is there vouches for it
        if seq > self._last:
            if seq > self._last + 1:
                after = "" if line.file == self._file else self._file
                self._missing.append(_Missing(self._last + 1, seq - 1, line, after))
            self._last = seq
        elif seq in self._digest_of:
            self._find(Fault.REPEATED, line, f"record {seq} is there already")
            return
        elif self._fill(seq):
            self._find(Fault.REORDERED, line, f"record {seq} stands behind later ones")
        else:
            self._find(Fault.REORDERED, line, f"record {seq} stands where it does not belong")
        self._follow(record, line)

    def _follow(self, record: ChainedRecord, line: LogLineRead) -> None:
        """Compare a record with the one before, and the one after with it."""
        before = GENESIS if record.seq == 1 else self._digest_of.get(record.seq - 1)
        if before is None:
            self._unchecked[record.seq] = (record.prev, line)
        elif before != record.prev:
            words = f"record {record.seq} does not follow the record {record.seq - 1} that is there"
            self._find(Fault.EDITED, line, words)
        self._digest_of[record.seq] = record.digest
        self._seen.append(record.seq)
        if len(self._seen) > WINDOW:
            self._digest_of.pop(self._seen.popleft(), None)
        waiting = self._unchecked.pop(record.seq + 1, None)
        if waiting is not None and waiting[0] != record.digest:
            words = f"record {record.seq + 1} does not follow the record {record.seq} that is there"
            self._find(Fault.EDITED, waiting[1], words)

    def _fill(self, seq: int) -> bool:
        """Take a record out of those that are missing; return whether it was."""
        # They stand in order: a file that is made to have very many is read as quickly as others.
        index = bisect_right(self._missing, seq, key=attrgetter("first")) - 1
        if index < 0 or self._missing[index].last < seq:
            return False
        one = self._missing[index]
        parts = (one._replace(last=seq - 1), one._replace(first=seq + 1))
        self._missing[index : index + 1] = [part for part in parts if part.first <= part.last]
        return True

    def _report_missing(self) -> None:
        for one in self._missing:
            lost = _span(one.first, one.last)
            if one.after:
                words = f"{lost} before this file: the tail of {one.after} is cut off, or a file"
                self._find(Fault.TRUNCATED, one.at, f"{words} between is missing")
            else:
                self._find(Fault.GAP, one.at, f"{lost} before this one")
        self._missing.clear()

    def _find(self, fault: Fault, line: LogLineRead, words: str) -> None:
        self._findings.append(ChainFinding(fault, line.file, line.number, words))


def _span(first: int, last: int) -> str:
    return (
        f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
    )


def lines_of(file: str, chunks: Iterable[bytes]) -> Iterator[LogLineRead]:
    """Yield the lines of a file, read as lines with their ends."""
    for number, text in enumerate(chunks, 1):
        whole = text.endswith(b"\n")
        yield LogLineRead(file, number, text[:-1] if whole else text, whole)
