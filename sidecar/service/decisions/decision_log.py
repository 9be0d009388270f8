"""Takes decisions for the log, and writes them where nobody waits for it.

A check leaves references behind, in a bounded queue; all else happens in a task of its own, some
records at a time. What does not fit the queue, and what the output does not take, is dropped: that
is counted, logged, and written into the log itself as soon as it takes records again.

Decisions that did not allow their call are always taken, and so is the first that allows one since
a session stands otherwise than before. Of the others those are taken whose session is in the
sampled share: all decisions of a session or none, on every sidecar alike.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.decisions.record_builder import RecordBuilder, TakenDecision
from sidecar.service.observations.decision_log import (
    DecisionOutputState,
    DecisionsDropped,
    DecisionsLogged,
    DropCause,
)
from sidecar.service.observations.observations import Telemetry, WorkerFailed
from sidecar.service.outputs.output_queue import OutputQueue, OutputState
from sidecar.service.ports.calls import Answer, Call
from sidecar.wire.decision_log.records import DROPPED, encode_notice

GATHER = 0.05
"""Seconds for which the first record waits, so that those that follow are written with it."""

TOGETHER = 1024
"""Records that are handed to the output at once."""

SLICE = 32
"""Records that are built before every other task has its turn."""

_REMEMBERED = 8192
_CLEAR = "clear"
_REFUSED = "refused"


class OutputFailed(Exception):  # noqa: N818 - named by who must act: the operator
    """The output did not take `lost` of the records (the last of them); the text says why."""

    def __init__(self, words: str, lost: int, cause: DropCause = DropCause.OUTPUT) -> None:
        super().__init__(words)
        self.lost = lost
        self.cause = cause


class RecordOutput(Protocol):
    """The place where records go. Only one call is under way at a time."""

    async def write(self, records: Sequence[bytes]) -> None:
        """Write records, each a JSON object. Raises `OutputFailed`."""


class DecisionLog:
    """The log of decisions of one sidecar; `builder` builds its records, and says what of."""

    def __init__(  # noqa: PLR0913 - one place wires it
        self,
        *,
        output: RecordOutput,
        builder: RecordBuilder,
        share: float,
        bound: int,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._output = output
        self._telemetry = telemetry
        self._clock = clock
        self._state = OutputState(self._judged)
        self._queue: OutputQueue[TakenDecision] = OutputQueue(
            self, bound=bound, gather=GATHER, worker="decision-log", telemetry=telemetry
        )
        self._lost: Counter[DropCause] = Counter()
        self._stood: dict[tuple[str, str, str], str] = {}
        self.replace(builder, share)

    def replace(self, builder: RecordBuilder, share: float) -> None:
        """Build records by this one from now on, and take those of this share of the sessions."""
        self._builder = builder
        self._share = share
        self._chosen: dict[str, bool] = {}

    @property
    def waiting(self) -> int:
        """Return how many records wait."""
        return len(self._queue)

    def take(  # noqa: PLR0913 - all that a decision is
        self,
        call: Call,
        answer: Answer,
        id_: str,
        at: float,
        seconds: float,
        *,
        repeated: bool,
        trace: str = "",
    ) -> None:
        """Take a decision, if it is one of those that are logged. Never waits."""
        share: float | None = None
        if self._share < 1.0:
            if answer.verdict is not Verdict.ALLOW:
                self._stands(answer, _REFUSED)
            else:
                chosen = self._chosen.get(answer.session)
                if chosen is None:
                    chosen = self._choose(answer.session)
                if repeated or not self._is_first(answer):
                    if not chosen:
                        return
                    share = self._share
        self._queue.put(
            TakenDecision(self._builder, call, answer, id_, at, seconds, repeated, share, trace)
        )

    def _choose(self, session: str) -> bool:
        """Find whether the allowed calls of a session are taken; it is the same everywhere."""
        digest = hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        chosen = int.from_bytes(digest) < self._share * 2**64
        if len(self._chosen) >= _REMEMBERED:
            self._chosen.clear()
        self._chosen[session] = chosen
        return chosen

    def _is_first(self, answer: Answer) -> bool:
        """Return whether this is the first that is allowed since its session stands so."""
        basis = answer.basis
        if basis is None or basis.stale:
            return True  # it was given without knowing
        known = self._stood.get((answer.issuer, answer.subject, answer.session), _CLEAR)
        if known == basis.standing:
            return False
        self._stands(answer, basis.standing)
        return True

    def _stands(self, answer: Answer, word: str) -> None:
        if not answer.session:
            return
        name = (answer.issuer, answer.subject, answer.session)
        self._stood.pop(name, None)
        if word == _CLEAR:
            return
        if len(self._stood) >= _REMEMBERED:
            del self._stood[next(iter(self._stood))]
        self._stood[name] = word

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what was taken, for ever."""
        self._state.judge("")  # until something is wrong
        await self._queue.run(task_status=task_status)

    async def flush(self) -> None:
        """Write all that waits now."""
        await self._queue.flush()

    def overflowed(self, count: int) -> None:
        """Drop so many that did not fit."""
        self._drop(DropCause.QUEUE, count, "more decisions than can be written")

    async def write(self, waiting: deque[TakenDecision]) -> None:
        """Write some of what waits, and before it what is missing."""
        notice = self._notice()
        unwritten, self._lost = self._lost, Counter()
        records = [] if notice is None else [notice]
        while waiting and len(records) < TOGETHER:
            taken = waiting.popleft()
            try:
                records.append(taken.by.build(taken))
            except Exception as error:  # noqa: BLE001 - one that cannot be put down costs no other
                self._telemetry.record(WorkerFailed(where="decision-log", error=error))
                self._drop(DropCause.RECORD, 1, "it cannot be put down")
            if not len(records) % SLICE:
                await trio.lowlevel.checkpoint()
        lost = 0
        try:
            await self._output.write(records)
        except OutputFailed as error:
            lost = error.lost
            self._state.judge(str(error))
            if notice is not None and lost == len(records):
                self._lost += unwritten
                lost -= 1
            self._drop(error.cause, lost, str(error))
            written = len(records) - error.lost
        else:
            self._state.judge("")
            written = len(records)
        self._telemetry.record(DecisionsLogged(records=written))

    def _notice(self) -> bytes | None:
        """Return the record that says what is missing; None: nothing is."""
        if not self._lost:
            return None
        counts = {cause.value: count for cause, count in self._lost.items()}
        return encode_notice(self._clock(), DROPPED, {"dropped": counts})

    def _drop(self, cause: DropCause, count: int, detail: str) -> None:
        if count:
            self._lost[cause] += count
            self._telemetry.record(DecisionsDropped(cause=cause, records=count, detail=detail))

    def _judged(self, is_up: bool, trouble: str) -> None:  # noqa: FBT001 - a hook's argument
        self._telemetry.record(DecisionOutputState(up=is_up, detail=trouble))
