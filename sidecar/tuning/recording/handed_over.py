"""Hands occurrences over from one process to another, a batch at a time.

Nearly all say again what another said, of a subject that is known. So subjects, and what is said of
them, are handed over once and have numbers from then on: a line that says something again is its
time, its id and two of these. Both sides forget them all when there are many.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from sidecar.domain.facts.signal import Subject
from sidecar.domain.values.stamp import Stamp
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.tuning.recording.repeated_lines import Recounted, SaidAgain

MOST = 65536
"""Subjects, and what is said, that have a number at once."""

_Numbered: TypeAlias = tuple[int, str, int, int]
"""The time and the id of a line, and the numbers of its subject and of what it says."""


class OccurrenceBatch(NamedTuple):
    """Occurrences in order, with what is new of what they name by numbers.

    `anew`: the numbers before are forgotten.
    """

    anew: bool
    subjects: list[Subject]
    said: list[Occurrence]
    rows: list[Occurrence | _Numbered]


class OccurrencePacker:
    """Puts occurrences into batches; `most` are known by their numbers."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._numbers: dict[int, int] = {}
        self._known: list[Subject | Occurrence] = []  # while one is, nothing else has its `id`
        self._subjects = 0
        self._said = 0
        self._batch = _empty(anew=False)

    def put(self, occurrence: Recounted) -> int:
        """Take an occurrence into the batch; return how many are in it."""
        rows = self._batch.rows
        if isinstance(occurrence, Occurrence):
            rows.append(occurrence)
            return len(rows)
        stamp, subject, said = occurrence
        numbers = self._numbers
        of_subject, of_said = numbers.get(id(subject)), numbers.get(id(said))
        if of_subject is None:
            of_subject = self._subjects
            self._subjects += 1
            self._number(subject, of_subject)
            self._batch.subjects.append(subject)
        if of_said is None:
            of_said = self._said
            self._said += 1
            self._number(said, of_said)
            self._batch.said.append(said)
        rows.append((stamp.time, stamp.id, of_subject, of_said))
        return len(rows)

    def _number(self, known: Subject | Occurrence, number: int) -> None:
        self._numbers[id(known)] = number
        self._known.append(known)

    def take(self) -> OccurrenceBatch:
        """Return the batch, and begin another."""
        batch, anew = self._batch, len(self._known) >= self._most
        if anew:
            self._numbers.clear()
            self._known.clear()
            self._subjects = self._said = 0
        self._batch = _empty(anew=anew)
        return batch


class OccurrenceUnpacker:
    """Reads batches in the order in which they were made."""

    def __init__(self) -> None:
        self._subjects: list[Subject] = []
        self._said: list[Occurrence] = []

    def occurrences(self, batch: OccurrenceBatch) -> Iterator[Recounted]:
        """Yield what was put into a batch."""
        if batch.anew:
            self._subjects.clear()
            self._said.clear()
        subjects, said = self._subjects, self._said
        subjects += batch.subjects
        said += batch.said
        for row in batch.rows:
            if isinstance(row, Occurrence):
                yield row
            else:
                time, name, of_subject, of_said = row
                yield SaidAgain(Stamp(time, name), subjects[of_subject], said[of_said])


def _empty(*, anew: bool) -> OccurrenceBatch:
    return OccurrenceBatch(anew, [], [], [])
