"""Ends a body on asyncio at a moment: `asyncio.timeout`, and the same for Pythons before 3.11."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import Timeout, timeout  # noqa: TID251 - apps run on it
else:
    import asyncio  # noqa: TID251 - apps run on it
    from typing import TYPE_CHECKING

    if TYPE_CHECKING:
        from types import TracebackType

        from typing_extensions import Self

    class Timeout:
        """As `asyncio.Timeout`: cancel the body at a moment of the loop, and raise TimeoutError.

        These Pythons do not count how often a task was cancelled: where somebody else cancels it
        in the same step of the loop, TimeoutError is raised all the same.
        """

        def __init__(self, when: float | None) -> None:
            self._when = when
            self._timer: asyncio.TimerHandle | None = None
            self._expired = False
            self._ended = False

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
            self._ended = True
            self._stop()
            if self._expired and kind is asyncio.CancelledError:
                raise TimeoutError from error

        def reschedule(self, when: float | None) -> None:
            """Set another moment, None for none. Raises RuntimeError where the body has ended."""
            if self._ended or self._expired:
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
                self._expired = True
                self._task.cancel()

    def timeout(delay: float | None) -> Timeout:
        """Raise TimeoutError where the body takes longer than `delay` seconds (None: never)."""
        now = asyncio.get_running_loop().time()
        return Timeout(None if delay is None else now + delay)


__all__ = ("Timeout", "timeout")
