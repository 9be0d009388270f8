"""The wall clock. Everything else takes the time as an argument."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Gives the time in seconds since the epoch."""


def now() -> float:
    """Return seconds since the epoch by the machine's clock, which may step when it is set."""
    return time.time()  # noqa: TID251 - the one place that reads it
