"""Keeps spans until they are sent, where nobody waits for it.

What does not fit the queue, and what the collector does not take, is dropped: counted and logged.
Sending goes on beside everything else, for `SHARE` of the time at most.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import trio

from sidecar.service.audit.turns import Turns
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.observations.traces import (
    CollectorState,
    SpanDropCause,
    SpansDropped,
    SpansExported,
)
from sidecar.service.outputs.output_queue import OutputQueue, OutputState
from sidecar.wire.traces.spans import Span

GATHER = 0.2
"""Seconds for which the first span waits, so that those that follow are sent with it."""

TOGETHER = 512
"""Spans of one request at most."""

SLICE = 4
"""Spans that are put down before every other task may have its turn."""

SHARE = 0.25
"""Part of the time that putting spans down takes at most, while checks are waiting."""

TakenSpan: TypeAlias = Callable[[], Span]
"""Makes the span of what was taken: checks leave no more than that."""


class SendingFailed(Exception):  # noqa: N818 - named by who must act: the operator
    """The collector did not take `lost` spans; the text says why."""

    def __init__(self, words: str, lost: int, cause: SpanDropCause = SpanDropCause.OUTPUT) -> None:
        super().__init__(words)
        self.lost = lost
        self.cause = cause


class SpanOutput(Protocol):
    """The place where spans go. Only one call of `send` is under way at a time."""

    def encode(self, spans: Sequence[Span]) -> bytes:
        """Return some spans as bytes, which may stand one after the other."""

    async def send(self, encoded: bytes, spans: int) -> None:
        """Send so many spans. Raises `SendingFailed`."""


class SpanQueue:
    """The spans of one sidecar that wait."""

    def __init__(self, output: SpanOutput, bound: int, telemetry: Telemetry) -> None:
        self._output = output
        self._telemetry = telemetry
        self._state = OutputState(self._judged)
        self._queue: OutputQueue[TakenSpan] = OutputQueue(
            self, bound=bound, gather=GATHER, worker="traces", telemetry=telemetry
        )
        self.put: Callable[[TakenSpan], None] = self._queue.put
        """Takes a span. Neither waits nor raises."""

    @property
    def waiting(self) -> int:
        """Return how many spans wait."""
        return len(self._queue)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what was taken, for ever."""
        self._state.judge("")  # until something is wrong
        await self._queue.run(task_status=task_status)

    async def flush(self) -> None:
        """Send all that waits now."""
        await self._queue.flush()

    def overflowed(self, count: int) -> None:
        """Drop so many that did not fit."""
        self._drop(SpanDropCause.QUEUE, count, "more spans than can be sent")

    async def write(self, waiting: deque[TakenSpan]) -> None:
        """Send some of what waits."""
        parts: list[bytes] = []
        count, turns = 0, Turns(SHARE)
        while waiting and count < TOGETHER:
            spans: list[Span] = []
            while waiting and len(spans) < SLICE:
                taken = waiting.popleft()
                try:
                    spans.append(taken())
                except Exception as error:  # noqa: BLE001 - one that fails costs no other
                    self._failed(error, 1)
            count += self._encode(spans, parts)
            await turns.give_way()
        if not count:
            return
        lost = 0
        try:
            await self._output.send(b"".join(parts), count)
        except SendingFailed as error:
            lost = error.lost
            self._state.judge(str(error))
            self._drop(error.cause, lost, str(error))
        else:
            self._state.judge("")
        if count > lost:
            self._telemetry.record(SpansExported(spans=count - lost))

    def _encode(self, spans: Sequence[Span], parts: list[bytes]) -> int:
        """Add spans as bytes to the parts of a request; return how many of them could be."""
        try:
            parts.append(self._output.encode(spans))
        except Exception as error:  # noqa: BLE001 - one that fails costs no other
            if len(spans) > 1:
                return sum(self._encode((span,), parts) for span in spans)
            self._failed(error, len(spans))
            return 0
        return len(spans)

    def _failed(self, error: Exception, spans: int) -> None:
        self._telemetry.record(WorkerFailed(where="traces", error=error))
        self._drop(SpanDropCause.SPAN, spans, "it cannot be put down")

    def _drop(self, cause: SpanDropCause, spans: int, detail: str) -> None:
        if spans:
            self._telemetry.record(SpansDropped(cause=cause, spans=spans, detail=detail))

    def _judged(self, is_up: bool, trouble: str) -> None:  # noqa: FBT001 - a hook's argument
        self._telemetry.record(CollectorState(up=is_up, detail=trouble))
