"""Stamps of observations: a total order of them.

Every fact carries a stamp: the event's time and, for ties, its id (contract, "Meaning" 5).
Two sidecars that hold the same facts therefore put them in the same order.
"""

from typing import NamedTuple

MICROSECONDS = 1_000_000
_WIDTH = 16


class Stamp(NamedTuple):
    """A point in the order of observations: `time` in microseconds since the epoch, then `id`."""

    time: int
    id: str

    @property
    def second(self) -> int:
        """The whole second this stamp lies in (as `auth_time` counts them)."""
        return self.time // MICROSECONDS

    @property
    def seconds(self) -> float:
        """Seconds since the epoch."""
        return self.time / MICROSECONDS

    def encode(self) -> str:
        """Sixteen digits and the id: as strings, and as UTF-8 bytes, these sort as stamps do."""
        return f"{self.time:0{_WIDTH}d}{self.id}"


def decode(text: str) -> Stamp:
    """Undo `Stamp.encode`. Raises ValueError for anything else."""
    digits = text[:_WIDTH]
    if len(digits) != _WIDTH or not (digits.isascii() and digits.isdigit()):
        raise ValueError("a stamp begins with sixteen digits")
    return Stamp(int(digits), text[_WIDTH:])


def at(seconds: float, id: str = "") -> Stamp:  # noqa: A002 - the field's name
    """Return the stamp of a time in seconds since the epoch."""
    return Stamp(round(seconds * MICROSECONDS), id)
