"""Log lines of one cause: the first ones in full, of the others how many there were.

One event may mark thousands of sessions, and each mark is worth a line. After `IN_FULL` lines of
one cause the others are counted; each `EVERY` seconds the last of them is written, and its `and`
says how many more there were like it.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import trio

Log = Callable[..., Any]

IN_FULL = 50
"""Lines of one cause that are written as they are."""
EVERY = 5.0
QUIET = 12
"""A cause of which nothing came up so often is forgotten."""
CAUSES = 1024
"""Causes that are remembered; the one that came up longest ago is forgotten first."""


class _Cause:
    __slots__ = ("event", "last", "left_out", "quiet", "written")

    def __init__(self, event: str) -> None:
        self.event = event
        self.written = 0
        self.left_out = 0
        self.last: Mapping[str, Any] = {}
        self.quiet = 0


class SampledLines:
    """Writes with `log`; not safe from several threads."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._causes: OrderedDict[tuple[object, ...], _Cause] = OrderedDict()

    def write(self, event: str, cause: tuple[object, ...], **fields: Any) -> None:
        """Write a line, or count it where the cause has had its lines. No cause: always write."""
        if not cause:
            self._log(event, **fields)
            return
        key = (event, *cause)
        known = self._causes.get(key)
        if known is None:
            known = self._causes[key] = _Cause(event)
            while len(self._causes) > CAUSES:
                self._log_left_out(self._causes.popitem(last=False)[1])
        else:
            self._causes.move_to_end(key)
        known.quiet = 0
        if known.written < IN_FULL:
            known.written += 1
            self._log(event, **fields)
        else:
            known.left_out += 1
            known.last = fields

    def flush(self) -> None:
        """Log how much was left out, and forget causes that came up no more."""
        for key, cause in tuple(self._causes.items()):
            self._log_left_out(cause)
            cause.quiet += 1
            if cause.quiet > QUIET:
                del self._causes[key]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Log how much was left out, again and again, and at the end."""
        task_status.started()
        try:
            while True:
                await trio.sleep(EVERY)
                self.flush()
        finally:
            self.flush()

    def _log_left_out(self, cause: _Cause) -> None:
        if not cause.left_out:
            return
        more = {"and": cause.left_out - 1} if cause.left_out > 1 else {}
        self._log(cause.event, **cause.last, **more)
        cause.left_out, cause.last = 0, {}
