"""Each long round of the event loop is recorded, with the time that it took."""

import trio
import trio.lowlevel

from sidecar.adapters.process.loop_stalls import LEAST, LoopStalls
from sidecar.service.observations.observations import LoopStalled


class Timer:
    """A timer that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_what_holds_the_loop_is_recorded_where_it_is_long() -> None:
    timer, seen = Timer(), list[LoopStalled]()
    stalls = LoopStalls(seen.append, timer)
    trio.lowlevel.add_instrument(stalls)
    await trio.lowlevel.checkpoint()
    timer.now += LEAST / 2
    await trio.lowlevel.checkpoint()
    timer.now += 2.0
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(stalls)
    assert [one.seconds for one in seen] == [2.0]
