"""Policies, compiled: the condition as a test, the grant as what sign-ins must show."""

from sidecar.domain.conditions import compile_condition, is_strict, is_timed
from sidecar.domain.policy import COMPLIANT_DEVICE, Assignment, Policy, Principals
from sidecar.domain.scene import ALWAYS, Finding, Needs, Scene, World
from sidecar.domain.standing import Alternative, Compiled
from sidecar.domain.state import State


def compile_policy(policy: Policy, world: World) -> Compiled:
    """Compile one policy. Its controls must be known (`wire.policyfile` sees to it)."""
    alternatives = [
        Alternative(
            world.ladder.requirements(controls - {COMPLIANT_DEVICE}),
            COMPLIANT_DEVICE in controls,
            tuple(sorted(controls)),
        )
        for controls in policy.grant.alternatives
    ]
    if not alternatives and not policy.grant.block:
        alternatives = [Alternative(world.ladder.requirements(()), compliant_device=False)]
    alternatives.sort(key=_easiest)
    check = None if policy.conditions is None else compile_condition(policy.conditions)
    return Compiled(
        policy,
        _always if check is None else check.test,
        tuple(alternatives),
        tuple(a.requirements for a in alternatives),
        tuple(a.requirements for a in alternatives if not a.compliant_device),
        is_timed(policy.conditions),
        policy.users == Assignment() and world.break_glass == Principals(),
        check,
        world.min_interval if policy.min_interval is None else policy.min_interval,
        is_strict(policy.conditions),
        world.break_glass,
        world.sources,
    )


def _easiest(alternative: Alternative) -> tuple[object, ...]:
    """The order in which alternatives are asked for: levels before strengths, weakest first."""
    strengths = sum(bool(each.strength) for each in alternative.requirements)
    rank = max(each.rank for each in alternative.requirements)
    return strengths, rank, alternative.compliant_device, alternative.controls


def _always(_scene: Scene, _needs: Needs) -> Finding:
    return Finding(True, (ALWAYS,))


def applies(compiled: Compiled, state: State) -> bool:
    """Whether the policy is for this session's user: never for a break-glass account."""
    if compiled.everybody:
        return True
    users = compiled.policy.users
    included = users.include is None or matches(users.include, state)
    excluded = matches(users.exclude, state) or matches(compiled.break_glass, state)
    return included and not excluded


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
