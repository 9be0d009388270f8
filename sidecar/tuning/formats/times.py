"""Moments as recordings spell them, to seconds since the epoch.

A number is seconds; one so large that it would lie thousands of years ahead is milliseconds,
microseconds or nanoseconds, as JavaScript, Python's tables and Go write them. A text is such a
number, or ISO 8601; without an offset it is UTC.
"""

import math
import re
from datetime import UTC, datetime

LATEST = 253_370_764_800.0
"""The year 9999, in seconds."""

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""From which number on it is in how many parts of a second: the year 1973 of each."""

_SHORT_OFFSET = re.compile(r"([+-]\d{2})(\d{2})$")
_SPACED_OFFSET = re.compile(r" (?=[+-]\d{2}:?\d{2}$)")
_EITHER_ORDER = re.compile(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|nan|[+-]?inf(?:inity)?", re.IGNORECASE)
_FORMS = "seconds or milliseconds since the epoch, or ISO 8601 such as 2026-01-05T09:00:00Z"


def moment(value: object) -> float:
    """Return the seconds since the epoch; raises ValueError for what is none."""
    if type(value) is float and 0.0 <= value < _UNITS[-1][0]:  # as nearly all are
        return value
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return _within(_iso(text))
        value = float(text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _seconds(value)
    raise ValueError(f"is required: {_FORMS}")


def _seconds(value: float) -> float:
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    for least, parts in _UNITS:
        if found >= least:
            return _within(found / parts)
    return _within(found)


def _within(seconds: float) -> float:
    if not 0 <= seconds < LATEST:  # NaN, too
        raise ValueError(f"is no moment between 1970 and 9999: must be {_FORMS}")
    return seconds


def zoned(text: str) -> float:
    """Return the seconds of a time that has its offset from UTC; raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return _within(found.timestamp())
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time such as 2026-01-05T09:00:00Z, with its offset from UTC")


def _iso(text: str) -> float:
    spelled = _SHORT_OFFSET.sub(r"\1:\2", _SPACED_OFFSET.sub("", text))
    spelled = spelled.removesuffix(" UTC")
    try:
        found = datetime.fromisoformat(spelled)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    if _EITHER_ORDER.match(text):
        raise ValueError(f"does not show which is the day and which the month: must be {_FORMS}")
    raise ValueError(f"must be {_FORMS}")
