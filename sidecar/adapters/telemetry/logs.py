"""Log lines: one JSON object each on standard error, or coloured text for people.

The cost is bounded: a line and its values have a greatest length. Once `LogLines.run` has started,
a stalled reader of standard error stalls a thread, not the event loop; what does not fit the queue
is dropped and counted. Nothing in a value can begin a new line or steer a terminal.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, Protocol, cast

import structlog
import trio

from sidecar.adapters import clock
from sidecar.adapters.telemetry.private_lines import Hide
from sidecar.domain.values import moments
from sidecar.wire.settings.settings import Log

LONGEST_VALUE = 1024
QUEUE = 10_000
_LAST_CHANCE = 2.0
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Logger(Protocol):
    """The part of structlog that the adapters use: an event's kebab-case name, and its fields."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log what helps to find a fault."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log the ordinary course of things."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what somebody should look at soon."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what is broken."""


class LogLines:
    """The writer of log lines, safe from any thread; before `run` and after it unbuffered.

    `on_drop` is called with the number of lines that were dropped: because `bound` of them wait
    already, or since the stream is closed. It may be called from any thread.
    """

    def __init__(
        self,
        stream: BinaryIO | None = None,
        bound: int = QUEUE,
        on_drop: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._bound = bound
        self.on_drop = on_drop
        self._waiting: deque[bytes | Callable[[], None]] = deque()
        self._putting = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def write(self, line: str) -> None:
        """Take one line; never raises and, while `run` runs, never blocks."""
        encoded = line.encode(errors="backslashreplace") + b"\n"
        wake = self._wake
        if wake is not None and len(self._waiting) >= self._bound:
            self.on_drop(1)
            return
        self._waiting.append(encoded)
        try:
            if wake is not None:
                wake()
                return
        except trio.RunFinishedError:
            pass  # `run` ended since `wake` was looked at
        self._put_waiting()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write lines in a thread until cancelled, then what is left, for two seconds at most."""
        token = trio.lowlevel.current_trio_token()
        self._more = trio.Event()
        self._wake = lambda: token.run_sync_soon(self._set, idempotent=True)
        task_status.started()
        try:
            while True:
                await self._more.wait()
                self._more = trio.Event()
                await trio.to_thread.run_sync(self._put_waiting, abandon_on_cancel=True)
        finally:
            self._wake = None
            with trio.move_on_after(_LAST_CHANCE, shield=True):
                await trio.to_thread.run_sync(self._put_waiting, abandon_on_cancel=True)

    async def written(self) -> None:
        """Return once the lines that were taken until now are written, or cannot be."""
        wake, done = self._wake, trio.Event()
        if wake is None:
            await trio.lowlevel.checkpoint()  # they are written through
            return
        token = trio.lowlevel.current_trio_token()

        def finish() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(done.set)

        self._waiting.append(finish)
        wake()
        try:
            await done.wait()
        finally:
            # Who waits no longer for a reader that has stalled must take no place of a line.
            with suppress(ValueError, IndexError):
                self._waiting.remove(finish)

    def _set(self) -> None:
        self._more.set()

    def _put_waiting(self) -> None:
        with self._putting:
            taken: list[bytes] = []
            asked: list[Callable[[], None]] = []
            while self._waiting:
                one = self._waiting.popleft()
                if isinstance(one, bytes):
                    taken.append(one)
                else:
                    asked.append(one)
            stream = self._stream or sys.stderr.buffer
            try:
                stream.write(b"".join(taken))
                stream.flush()
            except (OSError, ValueError):  # the reader is gone, or the stream closed
                self.on_drop(len(taken))
            for done in asked:
                done()


def logger(
    settings: Log,
    lines: LogLines,
    now: Callable[[], float] = clock.now,
    hide: Hide | None = None,
) -> Logger:
    """Return a logger of its own, sharing nothing with structlog's global configuration.

    `hide` takes out of a line's fields what must not stand there.
    """

    def stamp(_: Any, level: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
        if hide is not None:
            hide(fields)
        moment = datetime.fromtimestamp(now(), UTC).isoformat(timespec="milliseconds")
        event = fields.pop("event")
        head = {"time": moment.replace("+00:00", "Z"), "level": level, "event": event}
        return {**head, **{name: _bounded(value) for name, value in fields.items()}}

    # Not by `wrap_logger`, which brings what renders lines for consoles.
    bound: Any = structlog.make_filtering_bound_logger(_LEVELS[settings.level])
    processors = [stamp, _console if settings.format == "console" else _json]
    return cast("Logger", bound(_Sink(lines.write), processors, {}))


class _Sink:
    """The logger that structlog calls when a line is ready, by the name of its level."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = write


def _bounded(value: object) -> object:
    match value:
        case bool() | int() | float() | None:
            return value
        case str():
            return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "..."
        case list() | tuple():
            return [_bounded(item) for item in value[:LONGEST_VALUE]]
        case Mapping():
            return {str(name): _bounded(item) for name, item in value.items()}
        case _:
            return _bounded(str(value))


def _json(_: Any, __: str, fields: Mapping[str, Any]) -> str:
    # Escapes all but ASCII: control characters of every kind, and what turns text around.
    return json.dumps(fields, separators=(",", ":"))


_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN = "\x1b[0m"


def _console(_: Any, level: str, fields: Mapping[str, Any]) -> str:
    colour = _COLOURS.get(level, "")
    shown = dict(fields)
    head = f"{shown.pop('time')} {colour}{shown.pop('level'):7}{_PLAIN} {shown.pop('event'):20}"
    return " ".join((head, *(f"{name}={_plain(value, name)}" for name, value in shown.items())))


def _plain(value: object, name: str) -> str:
    if name == "since" and isinstance(value, float):
        return moments.iso(value)
    if isinstance(value, str) and value.isprintable() and value and not set(value) & {" ", "="}:
        return value
    return json.dumps(value)
