"""Replays a recording in several processes, each of which has some of the users.

    reading, order --> whose is it --> a pipe to each process: replay --> counts --> added up

One process reads and orders all, as the window and repeated lines take; what it hands over waits in
a pipe, which has a bound. Counts are sums over users, so how many processes there are shows
nowhere in the report. A process that ends early ends the command.
"""

import fcntl
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from sidecar.cli.exit_status import Stop
from sidecar.tuning.recording.occurrences import Occurrence
from sidecar.tuning.replay.replay import Replay, ReplayCounts

BATCH = 256
"""Occurrences that are handed over at once."""

ROOM = 1024 * 1024
"""Bytes that wait for a process: some thousand occurrences."""

Prepare = Callable[..., Replay]
"""Makes the replay in its own process, where all that takes is read: compiled policies cannot be
handed over."""


class _Outcome(NamedTuple):
    """Counts of a process, or what went wrong in it."""

    counts: ReplayCounts | None
    trouble: str = ""


class ReplayJobs:
    """Processes that replay; `prepare` and its arguments must be such that can be pickled."""

    def __init__(self, count: int, prepare: Prepare, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs = [_Job(context, prepare, arguments) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for job in self._jobs:
            job.end()

    def put(self, part: int, occurrence: Occurrence) -> None:
        """Hand an occurrence over; waits where too many wait. Raises `Stop`."""
        self._jobs[part].put(occurrence)

    def finish(self) -> Sequence[ReplayCounts]:
        """Return what each has counted. Raises `Stop`."""
        for job in self._jobs:
            job.close()
        return [job.counts() for job in self._jobs]


class _Job:
    def __init__(self, context: Any, prepare: Prepare, arguments: tuple[Any, ...]) -> None:
        taken, self._given = context.Pipe(duplex=False)
        self._answers, answer = context.Pipe(duplex=False)
        fcntl.fcntl(self._given.fileno(), fcntl.F_SETPIPE_SZ, ROOM)
        self._process = context.Process(
            target=_work, args=(taken, answer, prepare, arguments), name="replay", daemon=True
        )
        self._process.start()
        # Its ends are its own: so each side sees when the other is gone.
        taken.close()
        answer.close()
        self._batch: list[Occurrence] = []

    def put(self, occurrence: Occurrence) -> None:
        self._batch.append(occurrence)
        if len(self._batch) >= BATCH:
            self._send()

    def close(self) -> None:
        """Send what is left; no more comes."""
        if self._batch:
            self._send()
        self._given.close()

    def counts(self) -> ReplayCounts:
        try:
            outcome: _Outcome = self._answers.recv()
        except (EOFError, OSError):
            outcome = _Outcome(None)
        if outcome.counts is None:
            raise self._stop(outcome.trouble)
        return outcome.counts

    def end(self) -> None:
        self._given.close()
        self._answers.close()
        if self._process.is_alive():
            self._process.terminate()
        self._process.join()

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        try:
            self._given.send(batch)
        except OSError:
            self.counts()  # what went wrong, it may have said before it ended
            raise

    def _stop(self, trouble: str) -> Stop:
        self._process.join()
        status = self._process.exitcode
        ended = f"was killed by signal {-status}" if status and status < 0 else "ended early"
        words = "sidecar replay: a process that replayed some of the users "
        return Stop(f"{words}{ended}; --jobs 1 replays in one", *trouble.splitlines())


def _work(
    taken: Connection, answer: Connection, prepare: Prepare, arguments: tuple[Any, ...]
) -> None:
    """Replay what is handed over, until no more comes, and answer what was counted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process ends it
    try:
        running = prepare(*arguments)
        while True:
            try:
                batch: list[Occurrence] = taken.recv()
            except EOFError:
                break
            for occurrence in batch:
                running.take(occurrence)
        outcome = _Outcome(running.finish())
    except Exception:  # noqa: BLE001 - what it is, whoever waits for it says
        outcome = _Outcome(None, traceback.format_exc())
    answer.send(outcome)
    answer.close()
