"""Prompts that a policy remembers, so that people are asked seldom.

Two things hold a prompt back. A *grace period* lets a mark wait before it binds; it is counted from
the first cause that nobody has proven, so that moving on from cause to cause wins no time. A
*least interval* spares who has just proven a cause from being asked for the very same one again:
another cause, and a proof that no longer suffices, ask as ever.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sidecar.domain.session.scene import Needs, Scene
from sidecar.domain.session.state import Activation, Cause, Moment, State
from sidecar.domain.values.assurance import CountedSignIn, Requirement, is_later
from sidecar.domain.values.stamp import MICROSECONDS

PROMPTED_BOUND = 16
"""Causes whose last prompt a policy remembers, for a session."""


class ProofCheck(NamedTuple):
    """Input of the test for a proven cause: a scene, what suffices, the skew of clocks."""

    scene: Scene
    needs: Needs
    skew: int


def was_just_proven(cause: Cause, before: Activation, interval: int, check: ProofCheck) -> bool:
    """Return whether the last prompt for this cause was met less than `interval` seconds ago."""
    for key, prompted in before.prompted:
        if key == cause.key:
            now = check.scene.now // MICROSECONDS
            proof = proof_after(prompted, check)
            return proof >= 0 and now - proof < interval
    return False


def proof_after(moment: Moment, check: ProofCheck) -> int:
    """Return the second by which all that suffices was shown after `moment`; -1: it was not."""
    scene, needs, skew = check
    second = None if moment is None else moment // MICROSECONDS
    shown = [
        scene.world.ladder.shown(auth)
        for auth in scene.state.sign_ins
        if is_later(auth.auth_time, second, skew)
    ]
    return max((min(_latest(each, shown) for each in way) for way in needs), default=-1)


def _latest(requirement: Requirement, sign_ins: Sequence[CountedSignIn]) -> int:
    return max(
        (one.authentication.auth_time for one in sign_ins if one.meets(requirement)), default=-1
    )


def prompted_after(
    before: Activation, fresh: Sequence[Cause], interval: int, now: int
) -> tuple[tuple[str, int], ...]:
    """Return the causes asked for and when, latest last, with the `fresh` ones at `now`."""
    if not interval:
        return ()
    if not fresh:
        return before.prompted
    prompted = dict(before.prompted)
    for cause in fresh:
        prompted.pop(cause.key, None)
        prompted[cause.key] = now
    return tuple(prompted.items())[-PROMPTED_BOUND:]


def begun_after(
    begun: Moment,
    before: Activation,
    mark: Sequence[Cause],
    fresh: Sequence[Cause],
    check: ProofCheck,
) -> Moment:
    """Return when the first cause came up that nobody has proven since: grace begins there.

    None where nothing is marked. `begun` is what it was before.
    """
    if not mark:
        return None
    if not fresh or (before.mark and proof_after(before.since, check) < 0):
        return begun
    return min(_began(cause, check.scene.state) for cause in fresh)


def _began(cause: Cause, state: State) -> int:
    """Return when a cause came up; one from the start came with the session."""
    return state.established if cause.since is None else cause.since
