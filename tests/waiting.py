"""Waits until something is so, where nothing announces that it has come to be.

It happens in another process, thread or task, and is looked at again and again. That it never
happens is found by patience, not by a time in which it should have happened.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from sidecar.adapters import clock

GIVE_UP = 30.0
PACE = 0.005

T = TypeVar("T")


async def until(
    ask: Callable[[], T],
    wanted: Callable[[T], object] = bool,
    within: float = GIVE_UP,
    every: float = PACE,
) -> T:
    """Ask until the answer is as wanted, and return it; in virtual time, too."""
    with trio.fail_after(within):
        while not wanted(answer := ask()):  # noqa: ASYNC110 - this is the one place
            await trio.sleep(every)
    return answer


async def ask_until(
    ask: Callable[[], Awaitable[T]], wanted: Callable[[T], object], within: float = GIVE_UP
) -> T:
    """Ask what has to be waited for itself, until the answer is as wanted, and return it."""
    with trio.fail_after(within):
        while not wanted(answer := await ask()):  # noqa: ASYNC110 - likewise
            await trio.sleep(PACE)
    return answer


def eventually(ask: Any, until: Any, within: float = GIVE_UP, every: float = PACE) -> Any:
    """Ask until the answer is as wanted, and return it; from a thread."""
    end = time.monotonic() + within
    while not until(answer := ask()):
        assert time.monotonic() < end, f"still {answer}"
        time.sleep(every)
    return answer


def into_next_second() -> None:
    """Wait until a later second has begun: a proof counts only if it is of one.

    `auth_time` has whole seconds, so a sign-in in the second of its mark may have been before it.
    """
    now = clock.now()
    later = math.floor(now) + 1
    while now < later:
        time.sleep(later - now)
        now = clock.now()
