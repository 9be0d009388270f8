"""Log lines of what libraries and the interpreter would write to standard error themselves.

Their texts (records of `logging`, warnings, exceptions that nobody caught) span lines, and one that
reads the log as JSON would stumble. Each becomes one line here, with its last frames.
"""

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from sidecar.adapters.telemetry.logs import Logger

_FRAMES = 12


class _Handler(logging.Handler):
    """Hands records of `logging` on."""

    def __init__(self, log: Callable[[], Logger]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never raises."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its text
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        log = self._log()
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("library-said", library=record.name, message=message, **_described(error))


@contextmanager
def foreign_lines(log: Callable[[], Logger]) -> Iterator[None]:
    """Have all of it written by this logger within the block."""
    root, handler = logging.getLogger(), _Handler(log)
    handlers, level = root.handlers[:], root.level
    hooks = sys.unraisablehook, threading.excepthook, warnings.showwarning

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        log().error("error-ignored", where=args.err_msg or "", **_described(args.exc_value))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else ""
        log().error("thread-failed", thread=name, **_described(args.exc_value))

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        *_: object,
        **__: object,
    ) -> None:
        where = f"{filename}:{lineno}"
        log().warning("library-warned", message=str(message), kind=category.__name__, where=where)

    root.handlers[:] = [handler]
    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    warnings.showwarning = warned
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks


def _described(error: BaseException | None) -> dict[str, object]:
    """Return what an exception is and where it was raised; its text may quote what it choked on."""
    if error is None:
        return {}
    return {"error": type(error).__name__, "trace": _frames(error.__traceback__)}


def _frames(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
