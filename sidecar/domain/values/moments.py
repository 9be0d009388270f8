"""Moments (seconds since the epoch) as people read them, in UTC."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(1024)
def iso(seconds: float) -> str:
    """Return a moment as RFC 3339 has it: `2026-11-30T08:15:00Z`.

    Explanations name the same few again and again.
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def to_second(seconds: float) -> str:
    """Return a moment with a blank between day and hour: `2026-11-30 08:15:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def to_minute(seconds: float) -> str:
    """Return a moment without its second: `2026-11-30 08:15Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%MZ}"


def micros(seconds: float) -> str:
    """Return a moment with its microseconds: `2026-11-30T08:15:00.250000Z`."""
    whole, rest = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{rest:06d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
