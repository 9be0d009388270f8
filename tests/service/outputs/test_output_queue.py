"""What waits for an output: bounded, gathered, and written one batch after the other."""

from collections import deque

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sidecar.service.observations.observations import WorkerFailed
from sidecar.service.outputs.output_queue import OutputQueue, OutputState
from tests.service.memory import Records


class Writer:
    """Writes two at a time, once the gate is open, and fails at what is negative."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.log: list[str | list[int]] = []
        self.at_once = self.most = 0

    def overflowed(self, count: int) -> None:
        self.log.append(f"{count} too many")

    async def write(self, waiting: deque[int]) -> None:
        some = [waiting.popleft() for _ in range(min(2, len(waiting)))]
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
            if any(one < 0 for one in some):
                raise ValueError("a defect")
            self.log.append(some)
        finally:
            self.at_once -= 1


def queue_of(writer: Writer, bound: int = 3) -> tuple[OutputQueue[int], Records]:
    seen = Records()
    queue: OutputQueue[int] = OutputQueue(
        writer, bound=bound, gather=0.2, worker="tested", telemetry=seen
    )
    return queue, seen


async def test_what_does_not_fit_is_noted_before_the_next_of_what_does() -> None:
    writer = Writer()
    queue, _ = queue_of(writer)
    for one in range(5):
        queue.put(one)
    assert len(queue) == 3
    await queue.flush()
    assert writer.log == ["2 too many", [0, 1], [2]]
    await queue.flush()
    assert len(writer.log) == 3


async def test_what_comes_within_a_moment_is_written_together(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    writer = Writer()
    queue, _ = queue_of(writer)
    await nursery.start(queue.run)
    for one in (1, 2):
        queue.put(one)
        await trio.sleep(0.15)
    await trio.sleep(1)
    assert writer.log == [[1, 2]]
    queue.put(3)
    await trio.sleep(1)
    assert writer.log == [[1, 2], [3]]


async def test_a_writer_is_asked_once_at_a_time_and_nobody_who_puts_waits_for_it(
    nursery: trio.Nursery,
) -> None:
    writer = Writer()
    writer.gate = trio.Event()
    queue, _ = queue_of(writer)
    for one in (1, 2, 3):
        queue.put(one)
    for _ in range(2):
        nursery.start_soon(queue.flush)
    await wait_all_tasks_blocked()
    for one in range(4, 8):
        queue.put(one)  # the first two are with the writer, and two more find a place
    assert len(queue) == 3
    writer.gate.set()
    await wait_all_tasks_blocked()
    assert writer.log == [[1, 2], "2 too many", [3, 4], [5]]
    assert writer.most == 1


async def test_a_defect_of_a_writer_is_counted_and_the_next_are_written(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    writer = Writer()
    queue, seen = queue_of(writer)
    await nursery.start(queue.run)
    queue.put(-1)
    await trio.sleep(1)
    queue.put(1)
    await trio.sleep(1)
    assert writer.log == [[1]]
    found = [one.where for one in seen.seen if isinstance(one, WorkerFailed)]
    assert found == ["tested"]


def test_the_state_of_an_output_is_recorded_where_it_is_news() -> None:
    heard: list[tuple[bool, str]] = []
    state = OutputState(lambda is_up, trouble: heard.append((is_up, trouble)))
    for trouble in ("", "", "gone", "gone again", "", ""):
        state.judge(trouble)
    assert heard == [(True, ""), (False, "gone"), (True, "")]
