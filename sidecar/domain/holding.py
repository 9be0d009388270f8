"""A policy's holding: whether it holds for a session, its causes, and what becomes of its mark."""

from sidecar.domain.compiling import applies
from sidecar.domain.friction import (
    Proving,
    begun_after,
    prompted_after,
    proof_after,
    was_just_proven,
)
from sidecar.domain.lifetime import live_on
from sidecar.domain.scene import ALWAYS, ANY_SIGN_IN, NEVER_PROVEN, Scene
from sidecar.domain.standing import Compiled
from sidecar.domain.state import Cause, Holding

NOTHING = Holding()
STICKY_BOUND = 16
"""Causes that a sticky mark keeps."""


def holding_of(compiled: Compiled, scene: Scene, before: Holding, skew: int) -> Holding:
    """What a policy makes of a scene, given what it made of the one before."""
    proving = Proving(scene, compiled.needs(scene.state), skew)
    after = _held(compiled, scene, before, proving)
    cap = compiled.policy.session.max_lifetime
    return after if cap is None else live_on(before, after, cap, proving)


def _held(compiled: Compiled, scene: Scene, before: Holding, proving: Proving) -> Holding:
    if not applies(compiled, scene.state):
        return NOTHING
    finding = compiled.test(scene, proving.needs)
    sticky = compiled.policy.sticky
    if not finding.holds and _waits(compiled, before, proving):
        return before
    if not finding.holds:
        if sticky and before.mark:
            return Holding(False, (), before.mark, before.begun, before.prompted)
        return Holding(False, prompted=before.prompted) if before.prompted else NOTHING
    causes = finding.causes or (ALWAYS,)
    known = {cause.key for cause in before.causes}
    marked = {cause.key: cause for cause in before.mark}
    mark: dict[str, Cause] = dict(marked) if sticky else {}
    fresh: list[Cause] = []
    for cause in causes:
        key = cause.key
        if key in known:
            if key in marked:
                mark[key] = marked[key]
        elif not _is_excused(cause, compiled, before, proving):
            mark[key] = cause
            fresh.append(cause)
    kept = tuple(mark.values())[-STICKY_BOUND:]
    if before.holds and before.causes == causes and before.mark == kept:
        return before
    begun = begun_after(before, kept, fresh, proving) if compiled.policy.grace else None
    prompted = prompted_after(before, fresh, compiled.min_interval, scene.now)
    return Holding(True, causes, kept, begun, prompted)


def _waits(compiled: Compiled, before: Holding, proving: Proving) -> bool:
    """Whether a mark waits, and only sign-ins that do not meet it made its condition go away.

    Somebody signed in at the new place, and *then* the mark came up: that sign-in proves the place,
    not the mark. An older or weaker one never clears it, and not by this detour either. Where none
    could meet it (a block), any that is later may take its condition away.
    """
    scene = proving.scene
    if not before.mark or not scene.state.proven:
        return False
    if proof_after(before.since, proving._replace(needs=proving.needs or ANY_SIGN_IN)) >= 0:
        return False
    return compiled.test(scene.bare, NEVER_PROVEN).holds


def _is_excused(cause: Cause, compiled: Compiled, before: Holding, proving: Proving) -> bool:
    """Whether nobody need be asked for a cause that came up: it is proven, there or just before."""
    if cause.circumstance and proving.scene.proven(cause.circumstance, proving.needs):
        return True
    interval = compiled.min_interval
    return bool(interval) and was_just_proven(cause, before, interval, proving)
