"""Subsumption: is policy A redundant given B? See `lint`."""

from sidecar.domain.policy.conditional_access import (
    ROUTINE,
    Assignment,
    Policy,
    PolicyState,
    Principals,
    Selection,
    SessionControls,
)
from sidecar.domain.policy.control_order import includes
from sidecar.domain.policy.satisfiability import implies
from sidecar.domain.values.assurance import Ladder


def covers(other: Policy, policy: Policy, ladder: Ladder) -> bool:
    """Return whether `other` asks for at least as much, of at least those, at least then."""
    return (
        (other.state is PolicyState.ENABLED or other.state is policy.state)
        and (other.sticky or not policy.sticky)
        and other.grace <= policy.grace
        and _asks_as_soon(other, policy)
        and _stronger(other, policy, ladder)
        and _selects(other.apps, policy.apps)
        and _selects(other.contexts, policy.contexts)
        and _assigns(other.users, policy.users)
        and _selects(other.issuers, policy.issuers)
        and implies(policy.conditions, other.conditions)
    )


def _asks_as_soon(other: Policy, policy: Policy) -> bool:
    """Return whether `other` spares nobody a prompt that `policy` asks for."""
    if other.min_interval is None:
        return policy.min_interval is None
    return not other.min_interval or other.min_interval <= (policy.min_interval or 0)


def _stronger(other: Policy, policy: Policy, ladder: Ladder) -> bool:
    if other.grant.block or policy.grant.block:
        return other.grant.block
    if not _as_often(other.session, policy.session):
        return False
    cap, others = policy.session.max_lifetime, other.session.max_lifetime
    if cap is not None and (others is None or others > cap):
        return False
    nothing = (frozenset[str](),)
    mine = policy.grant.alternatives or nothing
    theirs = other.grant.alternatives or nothing
    return all(any(includes(way, mine_too, ladder) for mine_too in mine) for way in theirs)


def _as_often(other: SessionControls, session: SessionControls) -> bool:
    """Return whether `other` asks for a sign-in wherever `session` does by age or for each call."""
    every, others = session.every_time, other.every_time
    if every is not None:
        return others is not None and others.grace <= every.grace and others.within <= every.within
    frequency = session.sign_in_frequency
    if frequency is None:
        return True
    oldest = others.within + others.grace if others is not None else other.sign_in_frequency
    return oldest is not None and oldest <= frequency


def _selects(wide: Selection, narrow: Selection) -> bool:
    """Return whether `wide` takes in all that `narrow` does.

    A selection of all contexts does not take in the routine calls.
    """
    if wide.include is None:
        taken = narrow.include
        if taken is None:
            return wide.exclude <= narrow.exclude
        return ROUTINE not in taken and wide.exclude.isdisjoint(taken - narrow.exclude)
    if narrow.include is None:
        return False
    return (narrow.include - narrow.exclude) <= (wide.include - wide.exclude)


def _assigns(wide: Assignment, narrow: Assignment) -> bool:
    if not within(wide.exclude, narrow.exclude):
        return False
    if wide.include is None:
        return True
    return narrow.include is not None and within(narrow.include, wide.include)


def within(one: Principals, other: Principals) -> bool:
    """Return whether whoever is named by `one` is, by the same name, in `other`."""
    return one.users <= other.users and one.groups <= other.groups and one.roles <= other.roles
