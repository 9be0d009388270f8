"""Policies, compiled: the condition as a test, the grant as ranks."""

from sidecar.domain.conditions import compile_condition, is_timed
from sidecar.domain.policy import COMPLIANT_DEVICE, Assignment, Policy, Principals
from sidecar.domain.scene import ALWAYS, NEVER_PROVEN, Finding, Scene, World
from sidecar.domain.standing import Alternative, Compiled
from sidecar.domain.state import State


def compile_policy(policy: Policy, world: World) -> Compiled:
    """Compile one policy. Its controls must be known (`wire.policyfile` sees to it)."""
    alternatives = []
    for controls in policy.grant.alternatives:
        ranks = [world.ladder.rank_of_level(c) or 0 for c in controls if c != COMPLIANT_DEVICE]
        rank = max(ranks, default=0)
        alternatives.append(
            Alternative(rank, COMPLIANT_DEVICE in controls, tuple(sorted(controls)))
        )
    if not alternatives and not policy.grant.block:
        alternatives = [Alternative(0, compliant_device=False)]
    check = None if policy.conditions is None else compile_condition(policy.conditions)
    return Compiled(
        policy,
        _always if check is None else check.test,
        tuple(sorted(alternatives)),
        min((a.rank for a in alternatives), default=NEVER_PROVEN),
        min((a.rank for a in alternatives if not a.compliant_device), default=NEVER_PROVEN),
        is_timed(policy.conditions),
        policy.users == Assignment(),
        check,
    )


def _always(_scene: Scene, _needs: int) -> Finding:
    return Finding(True, (ALWAYS,))


def applies(compiled: Compiled, state: State) -> bool:
    """Whether the policy is for this session's user."""
    if compiled.everybody:
        return True
    users = compiled.policy.users
    included = users.include is None or matches(users.include, state)
    return included and not matches(users.exclude, state)


def matches(principals: Principals, state: State) -> bool:
    """Whether the session's user is one of these, by id, group or role."""
    for claim, wanted in (
        ("user", principals.users),
        ("groups", principals.groups),
        ("roles", principals.roles),
    ):
        if wanted and not wanted.isdisjoint(state.claims.get(claim, ((), None))[0]):
            return True
    return False
