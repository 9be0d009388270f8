"""Workers run while they are kept, and no longer."""

import trio

from sidecar.adapters.process.workers import Workers


class Working:
    def __init__(self) -> None:
        self.runs = trio.Event()
        self.ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            self.runs.set()
            task_status.started()
            await trio.sleep_forever()
        finally:
            self.ended.set()


async def test_those_that_are_kept_run_and_those_that_are_left_out_end(
    nursery: trio.Nursery,
) -> None:
    first, second, third = Working(), Working(), Working()
    workers = Workers()
    workers.keep((first, second))
    for tried in workers.begin(nursery):
        await tried.wait()
    assert first.runs.is_set()
    assert second.runs.is_set()
    workers.keep((second, third))
    await third.runs.wait()
    await first.ended.wait()
    assert not second.ended.is_set()


async def test_one_that_is_left_out_before_it_began_never_runs(nursery: trio.Nursery) -> None:
    first, second = Working(), Working()
    workers = Workers()
    workers.keep((first,))
    workers.keep((second,))
    (tried,) = workers.begin(nursery)
    await tried.wait()
    assert not first.runs.is_set()
