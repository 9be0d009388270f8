from typing import Any

import trio
from trio.testing import MockClock

from sidecar.adapters.telemetry.sampled_lines import CAUSES, EVERY, IN_FULL, QUIET, SampledLines


class Log:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __call__(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})

    @property
    def counted(self) -> int:
        return sum(1 + line.get("and", 0) for line in self.lines)


async def test_what_is_left_out_is_reported_with_its_number_and_at_the_end(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    lines = SampledLines(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        for number in range(5000):
            lines.write("session-marked", ("p1", 5.0), session=number)
        assert len(log.lines) == IN_FULL
        await trio.sleep(1.5 * EVERY)
        assert log.lines[-1] == {
            "event": "session-marked",
            "session": 4999,
            "and": 5000 - IN_FULL - 1,
        }
        await trio.sleep(3 * EVERY)
        assert len(log.lines) == IN_FULL + 1
        lines.write("session-marked", ("p1", 5.0), session=5000)
        lines.write("session-marked", ("p1", 6.0), session=5001)  # another cause
        nursery.cancel_scope.cancel()
    assert [line["session"] for line in log.lines[-2:]] == [5001, 5000]
    assert log.counted == 5002


async def test_a_cause_that_comes_up_no_more_is_forgotten(autojump_clock: MockClock) -> None:
    log = Log()
    lines = SampledLines(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(lines.run)
        for turn in (1, 2):
            for _ in range(IN_FULL):
                lines.write("mark-cleared", ("p1", 5.0))
            assert len(log.lines) == turn * IN_FULL
            await trio.sleep((QUIET + 2) * EVERY)
        nursery.cancel_scope.cancel()


def test_many_causes_are_bounded_and_lose_no_count() -> None:
    log = Log()
    lines = SampledLines(log)
    for cause in range(CAUSES + 5):
        for _ in range(IN_FULL + 3):
            lines.write("session-marked", (cause,))
    assert log.counted == (CAUSES + 5) * IN_FULL + 5 * 3
    lines.flush()
    assert log.counted == (CAUSES + 5) * (IN_FULL + 3)
