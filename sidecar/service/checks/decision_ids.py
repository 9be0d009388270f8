"""Ids of decisions, by which an answer, the log and the history speak of the same check.

Each answer of a check has one of its own, also those that are prepared and repeated: so an id must
cost next to nothing. It is a word that this process has drawn at its start, and a count.
"""

import itertools

WORD = 12
"""Characters of the word: 48 bits, so that processes do not draw the same one."""


class DecisionIds:
    """The ids of one process; `drawn` is a random text of at least `WORD` characters."""

    __slots__ = ("_count", "_word")

    def __init__(self, drawn: str) -> None:
        self._word = f"{drawn[:WORD]}-"
        self._count = itertools.count(1)

    def next(self) -> str:
        """Return an id that no other decision has."""
        return f"{self._word}{next(self._count):x}"
