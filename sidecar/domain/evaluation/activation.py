"""Activation: is a policy's condition true for a session, by which causes, and with which mark."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from sidecar.domain.evaluation.compiled import applies
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.session.lifetime import live_on
from sidecar.domain.session.operator_acts import still_excused
from sidecar.domain.session.prompts import (
    ProofCheck,
    begun_after,
    prompted_after,
    proof_after,
    was_just_proven,
)
from sidecar.domain.session.scene import ALWAYS, ANY_SIGN_IN, NEVER_PROVEN, Scene
from sidecar.domain.session.standing import Compiled
from sidecar.domain.session.state import Activation, Cause, Moment
from sidecar.domain.sources.origin import origins_of
from sidecar.domain.sources.source import ITSELF

NOTHING = Activation()
STICKY_BOUND = 16
"""Causes that a sticky mark keeps."""


def activation_of(
    compiled: Compiled, scene: Scene, before: Activation, skew: int, brought: Sequence[Fact] = ()
) -> Activation:
    """Return what a policy makes of a scene, given what it made of the one before.

    `brought` are the facts that made this scene of that one.
    """
    proving = ProofCheck(scene, compiled.needs(scene.state), skew)
    applied = applies(compiled, scene.state)
    return activation_where(compiled, proving, before, brought, applied=applied)


def activation_where(
    compiled: Compiled,
    proving: ProofCheck,
    before: Activation,
    brought: Sequence[Fact] = (),
    *,
    applied: bool,
) -> Activation:
    """Return the same where it is known what could satisfy the policy, and that it is `applied`."""
    after = _held(compiled, before, proving) if applied else NOTHING
    cap = compiled.policy.session.max_lifetime
    if cap is not None:
        after = live_on(before, after, cap, proving)
    return after if after is before else _attributed(before, after, brought)


def without_causes_of(activation: Activation, signal: str, source: str) -> Activation:
    """Return the activation without the causes that come of what this source says in such events.

    Where one holds again, it has come up anew. Scores count to it, which name no source.
    """
    kept = tuple(
        cause
        for cause in activation.causes
        if cause.signal != signal or cause.source not in (source, ITSELF)
    )
    return activation if len(kept) == len(activation.causes) else replace(activation, causes=kept)


def _attributed(before: Activation, after: Activation, brought: Sequence[Fact]) -> Activation:
    """Record in an activation which events brought its marked causes, or ended its mark.

    A cause that is older than these facts was brought by none of them: they made it count here, as
    the first call does of a session whose user was at risk before.
    """
    if after.mark:
        moments = {None, *(fact.stamp.time for fact in brought)}
        known = (ALWAYS, *before.mark)  # what is always required, no event brings
        fresh = [one for one in after.mark if one.since in moments and one not in known]
        if not fresh or not brought:
            return after
        by = origins_of(brought)
        mark = (replace(one, by=by) if one in fresh else one for one in after.mark)
        return replace(after, mark=tuple(mark))
    ended, since = before.ended, before.ended_since
    if before.mark:
        ended, since = origins_of(brought) or before.by, before.since
    if ended == after.ended and since == after.ended_since:
        return after
    after = replace(after, ended=ended, ended_since=since)
    return before if after == before else after


def _held(compiled: Compiled, before: Activation, proving: ProofCheck) -> Activation:
    scene = proving.scene
    finding = compiled.test(scene, proving.needs)
    sticky = compiled.policy.sticky
    # A sign-in that takes the condition away, and does not meet the mark, must not take the mark.
    if not finding.holds and _waits(compiled, before, proving):
        return before
    if not finding.holds:
        if sticky and before.mark:
            return replace(before, holds=False, causes=(), excused=(), life=None)
        # The prompts outlive the condition, so that the least interval counts when it holds again.
        return Activation(False, prompted=before.prompted) if before.prompted else NOTHING
    causes = finding.causes or (ALWAYS,)
    excused = still_excused(before, causes)
    # A cause that began anew after a clear is a new one, though its key was known before.
    over = {key for key, _ in before.excused} - excused.keys()
    known = {cause.key for cause in before.causes} - over
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
    if len(mark) < len(marked) + len(fresh):  # else none is gone
        mark.update(_causes_that_wait(compiled, before, mark, proving))
    kept = tuple(mark.values())[-STICKY_BOUND:]
    # Grace and prompts stay as they are where no cause is new: so a policy whose reads are
    # untouched can be left out of the evaluation (`dependencies`).
    if before.holds and before.causes == causes and before.mark == kept:
        return before
    begun, otherwise = _begun(compiled, before, kept, fresh, proving)
    prompted = prompted_after(before, fresh, compiled.min_interval, scene.now)
    return Activation(
        True,
        causes,
        kept,
        begun,
        prompted,
        begun_otherwise=otherwise,
        excused=tuple(excused.items()),
    )


def _waits(compiled: Compiled, before: Activation, proving: ProofCheck) -> bool:
    """Return whether a mark waits while only sign-ins that do not meet it ended its condition.

    Somebody signed in at the new place, and *then* the mark came up: that sign-in proves the place,
    not the mark. An older or weaker one never clears it, and not by this detour either. Where none
    could meet it (a block), any that is later may take its condition away.
    """
    if not is_unmet(before, proving):
        return False
    return compiled.test(proving.scene.bare, NEVER_PROVEN).holds


def _causes_that_wait(
    compiled: Compiled, before: Activation, mark: Mapping[str, Cause], proving: ProofCheck
) -> dict[str, Cause]:
    """Return the marked causes that wait (`_waits`) while something else makes the condition hold.

    Else whoever makes it hold, at whatever time, would have taken a mark away from the session.
    """
    gone = {cause.key: cause for cause in before.mark if cause.key not in mark}
    if not gone or not is_unmet(before, proving):
        return {}
    bare = compiled.test(proving.scene.bare, NEVER_PROVEN)
    present = {cause.key for cause in bare.causes} if bare.holds else set()
    return {key: cause for key, cause in gone.items() if key in present}


def is_unmet(before: Activation, proving: ProofCheck) -> bool:
    """Return whether a mark is not met by the sign-ins that may have ended its causes."""
    if not before.mark or not proving.scene.state.proven:
        return False
    proving = proving._replace(needs=proving.needs or ANY_SIGN_IN)
    return proof_after(before.since, proving) < 0


def _begun(
    compiled: Compiled,
    before: Activation,
    mark: Sequence[Cause],
    fresh: Sequence[Cause],
    proving: ProofCheck,
) -> tuple[Moment, Moment]:
    """Return when the grace of a mark began: on a compliant device, and on another one.

    A device may become compliant or cease to be while a mark waits, and what suffices with it: a
    cause that is proven on such a device alone has not been proven without it.

    A policy that also asks how old a sign-in is, or each call for one, has one grace only, from
    when it began to hold: else another cause, whoever brings it, would put off all that it asks.
    """
    if not compiled.policy.grace:
        return None, None
    session = compiled.policy.session
    lasts = session.sign_in_frequency is not None or session.every_time is not None
    if lasts and (before.holds or before.mark):
        return (before.begun, before.begun_otherwise) if mark else (None, None)
    compliant = proving._replace(needs=compiled.needs_when_compliant)
    begun = begun_after(before.begun, before, mark, fresh, compliant)
    if compiled.needs_otherwise == compiled.needs_when_compliant:
        return begun, begun
    other = proving._replace(needs=compiled.needs_otherwise)
    return begun, begun_after(before.begun_otherwise, before, mark, fresh, other)


def _is_excused(cause: Cause, compiled: Compiled, before: Activation, proving: ProofCheck) -> bool:
    """Return whether nobody need be asked for a new cause: it is proven, there or just before."""
    if cause.circumstance and proving.scene.proven(cause.circumstance, proving.needs):
        return True
    interval = compiled.min_interval
    return bool(interval) and was_just_proven(cause, before, interval, proving)
