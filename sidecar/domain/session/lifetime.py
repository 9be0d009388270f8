"""Lifetime of a session on one sign-in, however often it is proven meanwhile.

A life begins with the first sign-in that is known of the session (where there is none, when the
session was first seen; where the time of none is known, neither is the beginning) and lasts for
`max_lifetime`. A sign-in within it, a step-up, does not lengthen it; the first one after its end
that suffices for the policy begins the next life. So the cap is absolute, where a
`sign_in_frequency` starts anew with every sign-in.
"""

import msgspec

from sidecar.domain.policy.conditional_access import PolicyState
from sidecar.domain.session.prompts import ProofCheck, proof_after
from sidecar.domain.session.standing import AskedRequirement, Compiled, Demand, Evidence
from sidecar.domain.session.state import Activation, Cause, State
from sidecar.domain.values.stamp import MICROSECONDS

LIFETIME = "session_lifetime"
"""The kind of the cause that a life's end is."""


def live_on(before: Activation, after: Activation, cap: int, proving: ProofCheck) -> Activation:
    """Return the activation `after`, with the second in which the session's present life began."""
    life = _life(before.life, cap, proving)
    return after if after.life == life else msgspec.structs.replace(after, life=life)


def _life(before: int | None, cap: int, proving: ProofCheck) -> int:
    began = _first_sign_in(proving.scene.state) if before is None else before
    proof = proof_after((began + cap) * MICROSECONDS, proving)
    return began if proof < 0 else proof


def _first_sign_in(state: State) -> int:
    """Return the second of the first sign-in; of the first sighting, where there was none.

    0 where sign-ins were shown and the time of none is known: the life may be over.
    """
    times = [auth.auth_time for auth in state.sign_ins if auth.auth_time]
    unknown = 0 if state.sign_ins else state.established // MICROSECONDS
    return min(times, default=unknown)


def begin_lives(state: State, second: int) -> None:
    """Have lives begin no later than in that second (0: not known); `state` changes."""
    if second:
        state.activations = {
            name: held
            if held.life is None or held.life <= second
            else msgspec.structs.replace(held, life=second)
            for name, held in state.activations.items()
        }


def lifetime_of(compiled: Compiled, activation: Activation, evidence: Evidence) -> Demand | None:
    """Return what a policy that holds asks for at the end of a life; None where it sets no end."""
    policy = compiled.policy
    cap = policy.session.max_lifetime
    if cap is None or not activation.holds or activation.life is None:
        return None
    ways = compiled.needs_when_compliant if evidence.compliant else compiled.needs_otherwise
    if not ways:
        return None
    end = activation.life + cap
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is PolicyState.REPORT_ONLY,
        (Cause(LIFETIME, f"{cap} s", end * MICROSECONDS, "policy"),),
        since=end * MICROSECONDS,
        asks=tuple(AskedRequirement(requirement, end) for requirement in ways[0]),
        max_age=cap,
        valid_until=end,
    )
