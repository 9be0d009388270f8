"""Policies, compiled, and what they make of a session: the fold's second half.

`Evaluator.fold` turns facts into a state, `Evaluator.standing` a state into demands. Both are
pure; the evaluator is immutable and may be shared by any number of sessions.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from sidecar.domain.assurance import Authentication, is_later
from sidecar.domain.conditions import compile_condition, is_timed
from sidecar.domain.facts import Fact, Revoked, SignedIn
from sidecar.domain.policy import COMPLIANT_DEVICE, Assignment, Policy, Principals, Selection
from sidecar.domain.policy import State as PolicyState
from sidecar.domain.scene import ALWAYS, NEVER_PROVEN, Finding, Scene, Test, World
from sidecar.domain.session import Surroundings, apply, best_sign_ins
from sidecar.domain.stamp import MICROSECONDS, Stamp
from sidecar.domain.state import (
    Cause,
    Checkpoint,
    Held,
    Holding,
    Moment,
    State,
)

_NOTHING = Holding()
_STICKY_BOUND = 16


class Alternative(NamedTuple):
    """One way to satisfy a grant: a rank of assurance (0: none asked) and fact controls."""

    rank: int
    compliant_device: bool


class Compiled(NamedTuple):
    """A policy with its condition as a function and its grant in ranks."""

    policy: Policy
    test: Test
    alternatives: tuple[Alternative, ...]
    needs_when_compliant: int
    needs_otherwise: int
    timed: bool
    everybody: bool

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


def compile_policy(policy: Policy, world: World) -> Compiled:
    """Compile one policy. Its controls must be known (`wire.policyfile` sees to it)."""
    alternatives = []
    for controls in policy.grant.alternatives:
        ranks = [world.ladder.rank_of_level(c) or 0 for c in controls if c != COMPLIANT_DEVICE]
        alternatives.append(Alternative(max(ranks, default=0), COMPLIANT_DEVICE in controls))
    if not alternatives and not policy.grant.block:
        alternatives = [Alternative(0, compliant_device=False)]
    test = _always if policy.conditions is None else compile_condition(policy.conditions)
    return Compiled(
        policy,
        test,
        tuple(sorted(alternatives)),
        min((a.rank for a in alternatives), default=NEVER_PROVEN),
        min((a.rank for a in alternatives if not a.compliant_device), default=NEVER_PROVEN),
        is_timed(policy.conditions),
        policy.users == Assignment(),
    )


def _always(_scene: Scene, _needs: int) -> Finding:
    return Finding(True, (ALWAYS,))


class Evaluator:
    """All policies over one configuration. `session` arguments are records' names."""

    __slots__ = ("_around", "_compiled", "_timed", "timed", "world")

    def __init__(self, policies: Iterable[Policy], world: World, around: Surroundings) -> None:
        self.world = world
        self._around = around
        self._compiled = tuple(
            compile_policy(policy, world)
            for policy in policies
            if policy.state is not PolicyState.DISABLED
        )
        self._timed = tuple(c for c in self._compiled if c.timed)
        self.timed = bool(self._timed)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that are evaluated, in order."""
        return tuple(compiled.policy for compiled in self._compiled)

    def fold(
        self, session: str, facts: Iterable[Fact], checkpoint: Checkpoint | None = None
    ) -> State:
        """The state of a session from all that is known of it, in any order."""
        around = msgspec.structs.replace(self._around, session=session)
        steps = _steps(facts)
        if checkpoint is None:
            state = State()
        else:
            state = checkpoint.state.copy()
            if set(state.holdings) != {c.policy.id for c in self._compiled}:
                self._evaluate(state, state.last.time, self._compiled)
            for step in steps:
                stamp = step[0].stamp
                if stamp <= checkpoint.state.last and digest(stamp) not in checkpoint.folded:
                    self._late(state, step, around)
            steps = [step for step in steps if step[0].stamp > checkpoint.state.last]
        for step in steps:
            self._advance(state, step, around)
        return state

    def checkpoint(
        self, session: str, facts: Sequence[Fact], before: Checkpoint | None, keep: int
    ) -> Checkpoint | None:
        """Fold all but the latest `keep` steps for good; None where there are no more than that."""
        stamps = sorted({fact.stamp for fact in facts})
        if len(stamps) <= keep:
            return None
        horizon = stamps[-keep - 1]
        if before is not None and horizon <= before.state.last:
            return None
        older = [fact for fact in facts if fact.stamp <= horizon]
        state = self.fold(session, older, before)
        return Checkpoint(state, frozenset(digest(fact.stamp) for fact in older))

    def advance(self, session: str, state: State, facts: Sequence[Fact]) -> State | None:
        """The state after more facts of one stamp; None where they are not the latest."""
        if not facts or facts[0].stamp <= state.last:
            return None
        after = state.copy()
        self._advance(after, facts, msgspec.structs.replace(self._around, session=session))
        return after

    def at(self, state: State, now: int) -> State:
        """The state at `now` (microseconds), where time alone may have changed something."""
        if not self.timed or not state.established:
            return state
        after = state.copy()
        self._evaluate(after, now, self._timed)
        return after

    def scene(self, state: State, now: int) -> Scene:
        """What conditions see of a state: for explanations."""
        return Scene(state, now, self.world)

    def _advance(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        moment = facts[0].stamp.time
        if self.timed and state.established:
            self._evaluate(state, moment, self._timed)
        apply(state, facts, around)
        if state.established:
            self._evaluate(state, moment, self._compiled)

    def _late(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        """Fold facts older than the checkpoint.

        They no longer move a register, but sign-ins and revocations count, and a sticky policy
        judges them as of their own time.
        """
        moment = facts[0].stamp.time
        for fact in facts:
            if isinstance(fact, SignedIn):
                state.sign_ins = best_sign_ins((*state.sign_ins, fact.authentication))
            elif isinstance(fact, Revoked):
                key = f"{fact.scope}|{fact.device}"
                known = state.revocations.get(key)
                if known is None or (known.since or 0) < moment:
                    state.revocations[key] = Held(fact.reason, moment)
        sticky = [c for c in self._compiled if c.policy.sticky]
        if not sticky:
            return
        then = state.copy()
        apply(then, facts, around)
        scene = Scene(then, moment, self.world)
        for compiled in sticky:
            before = state.holdings.get(compiled.policy.id, _NOTHING)
            after = _holding(compiled, scene, before)
            fresh = tuple(c for c in after.mark if c.since == moment and c not in before.mark)
            if fresh:
                mark = (*before.mark, *fresh)[-_STICKY_BOUND:]
                state.holdings[compiled.policy.id] = Holding(before.holds, before.causes, mark)

    def _evaluate(self, state: State, now: int, policies: Sequence[Compiled]) -> None:
        scene = Scene(state, now, self.world)
        for compiled in policies:
            name = compiled.policy.id
            before = state.holdings.get(name, _NOTHING)
            state.holdings[name] = _holding(compiled, scene, before)
        if self.timed:
            state.score_level = scene.level

    def standing(self, state: State, now: int) -> Standing:
        """What the session must show at `now` (microseconds)."""
        state = self.at(state, now)
        skew = self._around.skew
        ranks = [(self._rank(state, auth), auth) for auth in state.sign_ins]
        enforced: list[Demand] = []
        tried: list[Demand] = []
        for compiled in self._compiled:
            holding = state.holdings.get(compiled.policy.id, _NOTHING)
            if not holding.holds and not holding.mark:
                continue
            demand = _demand(compiled, holding, state, ranks, skew)
            if demand is not None:
                (tried if demand.report_only else enforced).append(demand)
        return Standing(
            state.revoked(skew),
            tuple(enforced),
            tuple(tried),
            max((rank for rank, _ in ranks), default=0),
            max((auth.auth_time for _, auth in ranks), default=0),
            self.timed or any(d.valid_until for d in enforced),
        )

    def _rank(self, state: State, auth: Authentication) -> int:
        ladder = self.world.ladder
        rank = ladder.rank(auth.acr, auth.amr)
        lowered = state.lowered
        if lowered is not None and auth.auth_time * MICROSECONDS <= (lowered.since or 0):
            ceiling = ladder.rank_of_level(lowered.value)
            return min(rank, ladder.rank(lowered.value, ()) if ceiling is None else ceiling)
        return rank


def digest(stamp: Stamp) -> int:
    """A short name for a stamp: the same in every process (CRC-32 of its encoding)."""
    return zlib.crc32(stamp.encode().encode())


def _steps(facts: Iterable[Fact]) -> list[list[Fact]]:
    steps: dict[Stamp, list[Fact]] = {}
    for fact in facts:
        steps.setdefault(fact.stamp, []).append(fact)
    return [steps[stamp] for stamp in sorted(steps)]


def _applies(compiled: Compiled, state: State) -> bool:
    if compiled.everybody:
        return True
    users = compiled.policy.users
    included = users.include is None or _matches(users.include, state)
    return included and not _matches(users.exclude, state)


def _matches(principals: Principals, state: State) -> bool:
    for claim, wanted in (
        ("user", principals.users),
        ("groups", principals.groups),
        ("roles", principals.roles),
    ):
        if wanted and not wanted.isdisjoint(state.claims.get(claim, ((), None))[0]):
            return True
    return False


def _holding(compiled: Compiled, scene: Scene, before: Holding) -> Holding:
    if not _applies(compiled, scene.state):
        return _NOTHING
    needs = compiled.needs(scene.state)
    finding = compiled.test(scene, needs)
    sticky = compiled.policy.sticky
    if not finding.holds:
        return Holding(False, (), before.mark if sticky else ())
    causes = finding.causes or (ALWAYS,)
    known = {cause.key for cause in before.causes}
    marked = {cause.key: cause for cause in before.mark}
    mark: dict[str, Cause] = dict(marked) if sticky else {}
    for cause in causes:
        key = cause.key
        if key in marked:
            mark[key] = marked[key]
        elif key not in known and not (
            cause.circumstance and scene.proven(cause.circumstance, needs)
        ):
            mark[key] = cause
    kept = tuple(mark.values())[-_STICKY_BOUND:]
    if before.holds and before.causes == causes and before.mark == kept:
        return before
    return Holding(True, causes, kept)


def _demand(
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
        moment = second if alternative.rank else None
        for rank, auth in ranks:
            if rank >= alternative.rank and is_later(auth.auth_time, moment, skew):
                best = max(best, auth.auth_time)
    if best >= 0 and frequency is None:
        return None
    return msgspec.structs.replace(
        base,
        since=holding.since if possible[0].rank else None,
        rank=possible[0].rank,
        max_age=frequency,
        valid_until=best + frequency if frequency is not None and best >= 0 else 0,
    )
