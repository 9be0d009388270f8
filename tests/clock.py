"""A wall clock that goes with trio's: with an autojump clock, deadlines and dates move together."""

import trio

EPOCH = 1_700_000_000.0


class FollowingClock:
    """`base` at the moment it is made, and as much later as trio's clock has moved since.

    Callable wherever the daemon takes `sidecar.adapters.clock.now`; make it inside `trio.run`.
    """

    def __init__(self, base: float = EPOCH) -> None:
        self._base = base - trio.current_time()

    def __call__(self) -> float:
        return self._base + trio.current_time()
