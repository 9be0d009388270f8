"""Moments (seconds since the epoch) as people read them, in UTC."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """Return a moment as RFC 3339 has it: `2026-11-30T08:15:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def to_second(seconds: float) -> str:
    """Return a moment with a blank between day and hour: `2026-11-30 08:15:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"


def to_minute(seconds: float) -> str:
    """Return a moment without its second: `2026-11-30 08:15Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%MZ}"
