"""The wall clock. Everything else takes the time as an argument."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Gives the time in seconds since the epoch."""


def now() -> float:
    """Seconds since the epoch, as the machine believes; it may step when the clock is set."""
    return time.time()  # noqa: TID251 - the one place that reads it
