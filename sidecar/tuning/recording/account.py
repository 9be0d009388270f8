"""The account of a reading: how many records there were, and why some of them were left out."""

from collections import Counter

from sidecar.tuning.report.report import LeftOutRecords

FIRST = 3
"""So many places are listed of each reason."""

REASONS = 100
"""So many reasons are distinguished; more are one."""

_OTHERS = "other reasons"
EXAMPLES = 10
"""So many bad lines are described in words; the others are counted."""


class Account:
    """Counts what became of records. `bad` could not be understood, `skipped` say nothing.

    `beside` are occurrences that a record gave beside its first one.
    """

    def __init__(self) -> None:
        self.records = 0
        self.beside = 0
        self.bad = 0
        self.skipped = 0
        self.marked_lines = 0
        self.tokens = 0
        self.passed_over = 0
        self.logged_marks: Counter[str] = Counter()
        self.examples: list[str] = []
        self._reasons: dict[tuple[bool, str], int] = {}
        self._first: dict[tuple[bool, str], list[str]] = {}

    def refuse(self, where: str, reason: str) -> None:
        """Count a record that could not be understood; `where` is FILE:LINE."""
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{where}: {reason}")
        self._count(where, reason, bad=True)

    def skip(self, where: str, reason: str) -> None:
        """Count a record that was understood, and says nothing that is replayed."""
        self.skipped += 1
        self._count(where, reason, bad=False)

    def left_out(self) -> tuple[LeftOutRecords, ...]:
        """Return why records were left out: what could not be understood first, then by number."""
        ordered = sorted(self._reasons.items(), key=lambda one: (not one[0][0], -one[1], one[0]))
        return tuple(
            LeftOutRecords(reason=key[1], bad=key[0], records=count, first=tuple(self._first[key]))
            for key, count in ordered
        )

    def _count(self, where: str, reason: str, *, bad: bool) -> None:
        key = (bad, reason)
        if key not in self._reasons and len(self._reasons) >= REASONS:
            key = (bad, _OTHERS)
        self._reasons[key] = self._reasons.get(key, 0) + 1
        first = self._first.setdefault(key, [])
        if len(first) < FIRST:
            first.append(where)
