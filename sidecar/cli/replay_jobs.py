"""Replays a recording in several processes, each of which has some of the users.

    reading, order --> whose is it --> a pipe to each process: replay --> counts --> added up

One process reads and orders all, as the window and repeated lines take; what it hands over waits in
a pipe, which has a bound. Counts are sums over users, so how many processes there are shows
nowhere in the report. A process that ends early ends the command.
"""

import fcntl
import gc
import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from sidecar.cli.exit_status import Stop
from sidecar.tuning.recording.handed_over import (
    OccurrenceBatch,
    OccurrencePacker,
    OccurrenceUnpacker,
)
from sidecar.tuning.recording.repeated_lines import Recounted
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


class _Ends(NamedTuple):
    """The ends of pipes of a process that replays, and those that it has, but are not its own."""

    taken: Connection
    answer: Connection
    not_its: list[Connection]


class ReplayJobs:
    """Processes that replay; `prepare` and its arguments must be such that can be pickled."""

    def __init__(self, count: int, prepare: Prepare, *arguments: Any) -> None:
        # A copy of this process has all modules imported, and no thread of it holds a lock.
        forked = sys.platform == "linux" and threading.active_count() == 1
        context = multiprocessing.get_context("fork" if forked else "spawn")
        self._jobs: list[_Job] = []
        gc.freeze()  # what is there stays, and its pages are those of all processes
        try:
            for _ in range(count):
                ours = [end for job in self._jobs for end in job.ends] if forked else []
                self._jobs.append(_Job(context, ours, prepare, arguments))
        finally:
            gc.unfreeze()

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

    def put(self, part: int, occurrence: Recounted) -> None:
        """Hand an occurrence over; waits where too many wait. Raises `Stop`."""
        self._jobs[part].put(occurrence)

    def finish(self) -> Sequence[ReplayCounts]:
        """Return what each has counted. Raises `Stop`."""
        for job in self._jobs:
            job.close()
        return [job.counts() for job in self._jobs]


class _Job:
    """One process, and this side's ends of its pipes.

    `ours` are those of the others: a copy of this process has them, too.
    """

    def __init__(
        self, context: Any, ours: list[Connection], prepare: Prepare, arguments: tuple[Any, ...]
    ) -> None:
        taken, self._given = context.Pipe(duplex=False)
        self._answers, answer = context.Pipe(duplex=False)
        fcntl.fcntl(self._given.fileno(), fcntl.F_SETPIPE_SZ, ROOM)
        self.ends = (self._given, self._answers)
        not_its = [*ours, *self.ends] if context.get_start_method() == "fork" else []
        self._process = context.Process(
            target=_work,
            args=(_Ends(taken, answer, not_its), prepare, arguments),
            name="replay",
            daemon=True,
        )
        self._process.start()
        # Its ends are its own: so each side sees when the other is gone.
        taken.close()
        answer.close()
        self._packer = OccurrencePacker()
        self._waiting = 0

    def put(self, occurrence: Recounted) -> None:
        self._waiting = self._packer.put(occurrence)
        if self._waiting >= BATCH:
            self._send()

    def close(self) -> None:
        """Send what is left; no more comes."""
        if self._waiting:
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
        batch, self._waiting = self._packer.take(), 0
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


def _work(ends: _Ends, prepare: Prepare, arguments: tuple[Any, ...]) -> None:
    """Replay what is handed over, until no more comes, and answer what was counted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process ends it
    for one in ends.not_its:
        one.close()
    try:
        running, unpacker = prepare(*arguments), OccurrenceUnpacker()
        while True:
            try:
                batch: OccurrenceBatch = ends.taken.recv()
            except EOFError:
                break
            for occurrence in unpacker.occurrences(batch):
                running.take(occurrence)
        outcome = _Outcome(running.finish())
    except Exception:  # noqa: BLE001 - what it is, whoever waits for it says
        outcome = _Outcome(None, traceback.format_exc())
    ends.answer.send(outcome)
    ends.answer.close()
