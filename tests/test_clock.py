import trio
import trio.testing

from sidecar.adapters import clock
from tests.clock import EPOCH, FollowingClock


async def test_the_following_clock_goes_with_trios(autojump_clock: trio.testing.MockClock) -> None:
    now = FollowingClock()
    assert now() == EPOCH
    await trio.sleep(3600)
    assert now() == EPOCH + 3600


def test_the_wall_clock_is_in_seconds_since_the_epoch() -> None:
    assert 1_700_000_000 < clock.now() < 10_000_000_000
