"""Change from one policy set to another: the sessions that it can concern.

A policy that both sets have alike comes to the same for everybody. One that only one of them has
concerns the sessions of which it can ask anything, and no others: those whose facts can make its
condition hold. The kinds of facts that are known of a session are enough to see that, so nothing
has to be folded, or even decoded. A session may be looked at in vain, and none is passed over that
would have changed: tests/domain/evaluation/rules/test_policy_change.py compares with the evaluation
of all.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from sidecar.domain.facts.fact_kinds import ComplianceReported, Fact, RiskReported, SignalRaised
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Condition,
    Device,
    Policy,
    PolicyState,
    SessionRisk,
    Signals,
    UserRisk,
)

Kinds: TypeAlias = frozenset[type[Fact]]

KNOWN = 4096
"""So many sets of kinds are remembered, with the answer; there are few."""


class KnownKinds(NamedTuple):
    """The kinds of facts in a session's records.

    `own`: in its own and its user's record. `others`: in those of its locator and its devices;
    None: these were not read.
    """

    own: Kinds
    others: Kinds | None = None


class PolicyChange:
    """The policies by which two sets differ."""

    def __init__(self, before: Iterable[Policy], after: Iterable[Policy]) -> None:
        was, now = _enabled(before), _enabled(after)
        self._alike = frozenset(name for name, one in was.items() if now.get(name) == one)
        self._changed = tuple(
            one for each in (was, now) for name, one in each.items() if name not in self._alike
        )
        self._known: dict[KnownKinds, bool] = {}

    def keeps(self, policy: str) -> bool:
        """Return whether the policy of that name is the same in both sets."""
        return policy in self._alike

    def can_concern(self, known: KnownKinds) -> bool:
        """Return whether a session of which these kinds of facts are known may be judged otherwise.

        Its facts must be all that count: a checkpoint stands for others.
        """
        found = self._known.get(known)
        if found is None:
            if len(self._known) >= KNOWN:
                self._known.clear()
            found = any(_can_ask(one, known) for one in self._changed)
            self._known[known] = found
        return found


def _enabled(policies: Iterable[Policy]) -> dict[str, Policy]:
    """Return the policies that are evaluated, but for what is only for readers."""
    return {
        one.id: msgspec.structs.replace(one, description="")
        for one in policies
        if one.state is not PolicyState.DISABLED
    }


def _can_ask(policy: Policy, known: KnownKinds) -> bool:
    # A cap on a session's life is followed even while the condition does not hold.
    if policy.conditions is None or policy.session.max_lifetime is not None:
        return True
    return _can_hold(policy.conditions, known)


def _can_hold(condition: Condition, known: KnownKinds) -> bool:
    """Return whether a condition may have held of a session at any time."""
    match condition:
        case All():
            return all(_can_hold(one, known) for one in condition.conditions)
        case AnyOf():
            return any(_can_hold(one, known) for one in condition.conditions)
        case UserRisk():
            # What is said of a user lies in the user's record.
            return RiskReported in known.own or (
                known.others is not None and RiskReported in known.others
            )
        case SessionRisk(reported=True):
            return _may_have(RiskReported, known)
        case Signals():
            return _may_have(SignalRaised, known)
        case Device(compliant=False):
            return _may_have(ComplianceReported, known)
        case _:
            return True


def _may_have(kind: type[Fact], known: KnownKinds) -> bool:
    return known.others is None or kind in known.own or kind in known.others
