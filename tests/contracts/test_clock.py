"""The clock: the one that follows trio's is held to the machine's."""

from collections.abc import Callable

import pytest
import trio
import trio.testing

from sidecar.adapters import clock
from tests.clock import EPOCH, FollowingClock

FORMS: dict[str, Callable[[], clock.Clock]] = {
    "following": FollowingClock,
    "real": lambda: clock.now,
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_clock_reports_seconds_since_the_epoch(form: str) -> None:
    now = FORMS[form]()()
    assert isinstance(now, float)
    assert 1_700_000_000 <= now < 10_000_000_000


@pytest.mark.parametrize("form", FORMS)
async def test_a_clock_moves_as_trios_does_and_never_back(form: str) -> None:
    now = FORMS[form]()
    for seconds in (0.0, 0.005, 0.02):
        before, begun = now(), trio.current_time()
        await trio.sleep(seconds)  # what the clock is held to
        moved, slept = now() - before, trio.current_time() - begun
        # What the task was kept waiting between two readings counts for the one or the other.
        assert moved >= 0
        assert moved == pytest.approx(slept, abs=1.0)


async def test_with_an_autojump_clock_the_following_one_jumps_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    now = FollowingClock()
    assert now() == EPOCH
    await trio.sleep(3600)
    assert now() == EPOCH + 3600
