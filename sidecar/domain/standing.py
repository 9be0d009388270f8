"""What a session must show: the demands of the policies that hold or whose marks wait."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from sidecar.domain.assurance import Authentication, is_later
from sidecar.domain.policy import Policy, Selection
from sidecar.domain.policy import State as PolicyState
from sidecar.domain.scene import ALWAYS, Check, Test
from sidecar.domain.stamp import MICROSECONDS
from sidecar.domain.state import Cause, Held, Holding, Moment, State


class Alternative(NamedTuple):
    """One way to satisfy a grant: a rank of assurance (0: none asked) and fact controls."""

    rank: int
    compliant_device: bool
    controls: tuple[str, ...] = ()


class Compiled(NamedTuple):
    """A policy with its condition as a function and its grant in ranks.

    `check` tells of the condition; None where there is none.
    """

    policy: Policy
    test: Test
    alternatives: tuple[Alternative, ...]
    needs_when_compliant: int
    needs_otherwise: int
    timed: bool
    everybody: bool
    check: Check | None = None

    def needs(self, state: State) -> int:
        """The weakest rank of assurance that could satisfy this policy as things are."""
        return self.needs_when_compliant if is_compliant(state) else self.needs_otherwise


def is_compliant(state: State) -> bool:
    """Whether the session is on a device that is known to be compliant."""
    held = state.compliance.get(state.device)
    return held is not None and held.value == "compliant"


class Demand(msgspec.Struct, frozen=True):
    """What one policy asks of a session now.

    `block`: nothing helps; `unsatisfiable`: no sign-in helps until a fact changes; else a sign-in
    of at least `rank`, later than `since`, and where `max_age` is set no older than that.
    `valid_until` (seconds): the demand is met until then; 0: it is not met.
    """

    policy: str
    contexts: Selection
    apps: Selection
    report_only: bool
    causes: tuple[Cause, ...]
    since: Moment = None
    rank: int = 0
    max_age: int | None = None
    block: bool = False
    unsatisfiable: bool = False
    valid_until: int = 0

    def is_met(self, now: float) -> bool:
        """Whether the demand is met at `now` (seconds)."""
        return now <= self.valid_until

    @property
    def signal(self) -> str:
        """The type of the signal that caused it last."""
        return max(self.causes, key=_latest).signal if self.causes else ALWAYS.signal


def _latest(cause: Cause) -> tuple[int, str]:
    return (cause.since or 0, cause.key)


class Standing(msgspec.Struct, frozen=True):
    """What a session's facts amount to: a revocation, and demands by enforced and tried policies.

    `rank` is the best assurance that counts. `timed` tells that the standing may change without
    new facts.
    """

    revoked: Held | None
    demands: tuple[Demand, ...]
    tried: tuple[Demand, ...]
    rank: int
    auth_time: int
    timed: bool


STORE_LOST = "store-lost"
"""The policy that is named where a session's history is lost."""


def lost(state: State, floor: int, skew: int) -> Iterator[Demand]:
    """Have sessions sign in anew whose history nobody remembers.

    Those signed in before the floor and were first seen after it: they may have had marks. The
    floor is where the store was emptied, or as far back as facts are kept from the moment that the
    session was first seen.
    """
    second = floor // MICROSECONDS
    if state.established >= floor and not any(
        is_later(auth.auth_time, second, skew) for auth in state.sign_ins
    ):
        cause = Cause("store", "what was known is lost", floor, "policy")
        everything = Selection()
        yield Demand(STORE_LOST, everything, everything, False, (cause,), since=floor)


def shown_for(
    alternative: Alternative,
    second: int | None,
    ranks: Sequence[tuple[int, Authentication]],
    skew: int,
) -> int:
    """When the latest sign-in was that satisfies this since that second; -1: there was none."""
    moment = second if alternative.rank else None
    best = -1
    for rank, auth in ranks:
        if rank >= alternative.rank and is_later(auth.auth_time, moment, skew):
            best = max(best, auth.auth_time)
    return best


class Look(NamedTuple):
    """One policy as it stands for a session at a moment: what explanations are made of.

    `before` is its holding after the latest fact, `after` the one at the moment; `shown` tells
    for each alternative of its grant when the latest sign-in was that satisfies it (-1: none).
    """

    compiled: Compiled
    applies: bool
    before: Holding
    after: Holding
    demand: Demand | None
    shown: tuple[int, ...]


def demand_of(
    compiled: Compiled,
    holding: Holding,
    state: State,
    ranks: Sequence[tuple[int, Authentication]],
    skew: int,
) -> Demand | None:
    """What a policy that holds, or whose mark waits, asks for; None where all is well for good."""
    policy = compiled.policy
    base = Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is PolicyState.REPORT_ONLY,
        holding.mark or holding.causes,
        since=holding.since,
        block=policy.grant.block,
    )
    if policy.grant.block:
        return base
    frequency = policy.session.sign_in_frequency if holding.holds else None
    compliant = is_compliant(state)
    possible = [a for a in compiled.alternatives if compliant or not a.compliant_device]
    if not possible:
        return msgspec.structs.replace(base, unsatisfiable=True) if holding.holds else None
    second = None if holding.since is None else holding.since // MICROSECONDS
    best = -1
    for alternative in possible:
        if not alternative.rank and frequency is None:
            return None
        best = max(best, shown_for(alternative, second, ranks, skew))
    if best >= 0 and frequency is None:
        return None
    return msgspec.structs.replace(
        base,
        since=holding.since if possible[0].rank else None,
        rank=possible[0].rank,
        max_age=frequency,
        valid_until=best + frequency if frequency is not None and best >= 0 else 0,
    )
