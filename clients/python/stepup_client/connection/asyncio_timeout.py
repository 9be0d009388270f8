"""Ends a body on asyncio at a moment: `asyncio.timeout`, and the same for Pythons before 3.11."""

from __future__ import annotations

import asyncio  # noqa: TID251 - apps run on it
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Limit:
    """As `asyncio.Timeout`: cancel the body at a moment of the loop, and raise TimeoutError.

    Pythons before 3.11 do not count how often a task was cancelled: where somebody else cancels it
    in the same step of the loop, TimeoutError is raised all the same.
    """

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._has_expired = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.reschedule(self._when)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._stop()
        if self._has_expired and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def reschedule(self, when: float | None) -> None:
        """Set another moment; None for none. Raises RuntimeError where the body has ended."""
        if self._is_over:
            raise RuntimeError("the body has ended")
        self._stop()
        if when is not None:
            self._timer = self._loop.call_at(when, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._task is not None:
            self._is_over = self._has_expired = True
            self._task.cancel()


if sys.version_info >= (3, 11):
    from asyncio import timeout  # noqa: TID251 - apps run on it
else:

    def timeout(delay: float | None) -> Limit:
        """Raise TimeoutError where the body takes longer than `delay` seconds; None: never."""
        now = asyncio.get_running_loop().time()
        return Limit(None if delay is None else now + delay)


__all__ = ("Limit", "timeout")
