"""Policies, compiled: the condition as a test, the grant as what sign-ins must show."""

from collections.abc import Collection, Mapping

from sidecar.domain.evaluation.conditions import compile_condition, is_strict, is_timed
from sidecar.domain.facts.memberships import DENY, GROUPS, INCLUDED, ROLES
from sidecar.domain.facts.precedence import claim_words
from sidecar.domain.policy.conditional_access import (
    COMPLIANT_DEVICE,
    NOBODY,
    Assignment,
    Policy,
    Principals,
    Selection,
)
from sidecar.domain.session.scene import ALWAYS, Finding, Needs, Scene, World
from sidecar.domain.session.standing import Alternative, AskedRequirement, Compiled
from sidecar.domain.session.state import State
from sidecar.domain.sources.source import ITSELF, Sources


def compile_policy(policy: Policy, world: World) -> Compiled:
    """Compile one policy. Its controls must be known (`wire.policies.policy_files` sees to it)."""
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
        policy.users == Assignment() and policy.issuers == Selection() and not world.break_glass,
        check,
        world.min_interval if policy.min_interval is None else policy.min_interval,
        is_strict(policy.conditions),
        world.break_glass,
        world.sources,
        _alone(policy, alternatives),
    )


def _alone(policy: Policy, alternatives: list[Alternative]) -> tuple[AskedRequirement, ...]:
    """Return the one requirement that a policy asks for; none where it may ask for more."""
    session = policy.session
    if session.sign_in_frequency is not None or session.every_time is not None:
        return ()
    if policy.grant.block or len(alternatives) != 1 or not alternatives[0].asks:
        return ()
    requirements, compliant_device, _ = alternatives[0]
    if compliant_device or len(requirements) != 1:
        return ()
    return (AskedRequirement(requirements[0], -1),)


def _easiest(alternative: Alternative) -> tuple[object, ...]:
    """Return the order of asking for an alternative: levels before strengths, weakest first."""
    strengths = sum(bool(each.strength) for each in alternative.requirements)
    rank = max(each.rank for each in alternative.requirements)
    return strengths, rank, alternative.compliant_device, alternative.controls


def _always(_scene: Scene, _needs: Needs) -> Finding:
    return Finding(True, (ALWAYS,))


def applies(compiled: Compiled, state: State) -> bool:
    """Return whether the policy is for this session's user: never for a break-glass account.

    A user whose groups are unknown is taken for a member of those that a policy includes, as its
    issuer is configured, and never of those that it excludes.
    """
    if compiled.everybody:
        return True
    if state.issuer not in compiled.policy.issuers:
        return False
    users, sources = compiled.policy.users, compiled.sources
    if users.include is not None and not (
        matches(users.include, state, sources) or assumed(users.include, state, sources)
    ):
        return False
    return not is_exempt(users.exclude, state, sources) and not is_spared(
        compiled.break_glass, state, sources
    )


def is_spared(break_glass: Mapping[str, Principals], state: State, sources: Sources) -> bool:
    """Return whether the session's user is a break-glass account of its issuer."""
    return is_exempt(break_glass.get(state.issuer, NOBODY), state, sources)


def matches(principals: Principals, state: State, sources: Sources) -> bool:
    """Return whether the session's user is one of these, by id, group or role, by any word."""
    return any(
        wanted and not wanted.isdisjoint(names_said(state, claim, sources))
        for claim, wanted in _by_claim(principals)
    )


def is_exempt(principals: Principals, state: State, sources: Sources) -> bool:
    """Return whether all who may say so say last that the session's user is one of these."""
    return any(
        wanted and not wanted.isdisjoint(names_agreed(state, claim, sources))
        for claim, wanted in _by_claim(principals)
    )


def _shown(state: State, claim: str) -> tuple[str, ...]:
    """Return the values of a claim that the session's tokens showed last."""
    return state.claims.get(claim, ((), None))[0]


def names_said(state: State, claim: str, sources: Sources) -> Collection[str]:
    """Return all values of a claim that anybody says a user has.

    What any token of the latest sign-in has shown is among them.
    """
    held = state.memberships.get(claim)
    if claim not in state.claims_said:
        shown = _shown(state, claim)
        return shown if held is None or held.names == shown else {*shown, *held.names}
    words = claim_words(state, claim, sources)
    names = {name for _, said in words for name in said.values}
    if held is not None and any(source == ITSELF for source, _ in words):
        names.update(held.names)
    return names


def names_agreed(state: State, claim: str, sources: Sources) -> Collection[str]:
    """Return the values on which all agree who may say who users are."""
    if claim not in state.claims_said:
        return _shown(state, claim)
    words = [
        frozenset(said.values)
        for source, said in claim_words(state, claim, sources)
        if sources.identifies(source)
    ]
    return frozenset.intersection(*words) if words else ()


def assumed(principals: Principals, state: State, sources: Sources) -> tuple[str, ...]:
    """Return the unknown kinds (groups, roles) by which the user is taken for one of these."""
    return tuple(
        kind
        for kind, wanted in ((GROUPS, principals.groups), (ROLES, principals.roles))
        if wanted and unknown_of(state, kind, sources) in {INCLUDED, DENY}
    )


def unknown_of(state: State, kind: str, sources: Sources) -> str:
    """Return what is configured for a user whose groups or roles are unknown.

    It is empty where they are known.
    """
    held = state.memberships.get(kind)
    if kind in state.claims or (held is not None and held.known):
        return ""
    if any(sources.identifies(source) for source in state.claims_said.get(kind, ())):
        return ""
    return INCLUDED if held is None else held.unknown


def presumed(compiled: Compiled, state: State) -> tuple[tuple[str, ...], bool]:
    """Return the unknown kinds by which alone a policy is for this user, and whether it refuses."""
    include, sources = compiled.policy.users.include, compiled.sources
    if include is None or matches(include, state, sources):
        return (), False
    kinds = assumed(include, state, sources)
    return kinds, any(unknown_of(state, kind, sources) == DENY for kind in kinds)


def _by_claim(principals: Principals) -> tuple[tuple[str, frozenset[str]], ...]:
    return (
        ("user", principals.users),
        (GROUPS, principals.groups),
        (ROLES, principals.roles),
    )
