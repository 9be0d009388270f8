"""Policies, compiled, and what they make of a session: the fold's second half.

`Evaluator.fold` turns facts into a state, `Evaluator.standing` a state into demands. Both are
pure; the evaluator is immutable and may be shared by any number of sessions.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from sidecar.domain.evaluation.activation import (
    NOTHING,
    STICKY_BOUND,
    activation_of,
    without_causes_of,
)
from sidecar.domain.evaluation.compiled import applies, compile_policy, is_spared, presumed
from sidecar.domain.evaluation.decision import Outcomes
from sidecar.domain.facts import precedence
from sidecar.domain.facts.fact_kinds import (
    ContextsShown,
    Fact,
    MarksCleared,
    PlaceProven,
    Revoked,
    Sighted,
    SignedIn,
    Spent,
    StepUpAsked,
)
from sidecar.domain.facts.first_shown import counted
from sidecar.domain.facts.late_facts import interrupt, still_latest
from sidecar.domain.facts.steps import digest, steps_of
from sidecar.domain.policy.conditional_access import Policy, PolicyState
from sidecar.domain.session import operator_acts
from sidecar.domain.session.context_proofs import credited, keep_shown
from sidecar.domain.session.fold import Surroundings, apply, proven_by, sign_in_late
from sidecar.domain.session.lifetime import begin_lives, lifetime_of
from sidecar.domain.session.presented import Presented
from sidecar.domain.session.revocation import revoke
from sidecar.domain.session.scene import CalledFrom, Scene, World
from sidecar.domain.session.single_use import keep_spent
from sidecar.domain.session.standing import (
    HISTORY_EXPIRED,
    STORE_LOST,
    Compiled,
    Demand,
    Evidence,
    Look,
    Standing,
    demand_of,
    lost,
    refused_unknown,
    refused_without_address,
    uncertain,
)
from sidecar.domain.session.state import (
    EARLIER_BOUND,
    Activation,
    Checkpoint,
    Earlier,
    SpentHeld,
    State,
)
from sidecar.domain.values.assurance import Authentication, CountedSignIn
from sidecar.domain.values.loss import NOTHING_LOST, Floors
from sidecar.domain.values.stamp import MICROSECONDS, Stamp


class Evaluator:
    """All policies over one configuration. `session` arguments are records' names."""

    __slots__ = (
        "_alike",
        "_around",
        "_compiled",
        "_outcomes",
        "_strict",
        "_timed",
        "each_call",
        "floors",
        "resting",
        "timed",
        "world",
    )

    def __init__(self, policies: Iterable[Policy], world: World, around: Surroundings) -> None:
        self.world = world
        self.floors = NOTHING_LOST
        self._around = replace(around, sources=world.sources)
        everything = tuple(policies)
        self.resting = tuple(p for p in everything if p.state is PolicyState.DISABLED)
        self._compiled = tuple(
            compile_policy(policy, world)
            for policy in everything
            if policy.state is not PolicyState.DISABLED
        )
        numbers: dict[Policy, int] = {}
        unnamed = (replace(c.policy, id="", description="") for c in self._compiled)
        # Policies of one number differ in what they are called, and in nothing else.
        self._alike = tuple(numbers.setdefault(one, len(numbers)) for one in unnamed)
        self._timed = tuple(c for c in self._compiled if c.timed)
        self.timed = bool(self._timed)
        self._strict = tuple(c for c in self._compiled if c.strict)
        self._outcomes: Outcomes | None = None  # here each standing is decided by itself
        # Whether any policy asks each call for a sign-in of its own.
        self.each_call = any(c.policy.session.every_time for c in self._compiled)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies that are evaluated, in order."""
        return tuple(compiled.policy for compiled in self._compiled)

    @property
    def skew(self) -> int:
        """By how many seconds clocks may disagree about a proof."""
        return self._around.skew

    def network_of(self, ip: str) -> str:
        """Return the named network segment of an address; empty for none."""
        return self._around.network_of(ip)

    def above(self, floors: Floors) -> "Evaluator":
        """Return the same policies where this is what the store has lost."""
        if floors == self.floors:
            return self
        twin = copy.copy(self)
        twin.floors = floors
        return twin

    def without_policies(self) -> "Evaluator":
        """Return one that folds facts as this one does, and evaluates no policy: for scores."""
        return Evaluator((), self.world, self._around)

    def fold(
        self,
        session: str,
        facts: Iterable[Fact],
        checkpoint: Checkpoint | None = None,
        until: int | None = None,
        *,
        issuer: str = "",
    ) -> State:
        """Return the state of a session of `issuer`'s from all that is known of it, in any order.

        `until`: as of the sign-ins until that second, as if nobody had signed in later. By such a
        state a call is judged whose own token shows no later one: so nobody else's proof, and none
        of what it proved, can have it answered better. None: as of all.
        """
        around = replace(self._around, session=session, until=until)
        facts = tuple(facts)
        steps = steps_of(facts)
        if checkpoint is None:
            state = State(issuer=issuer)
        else:
            state = checkpoint.as_of(until)
            state.issuer = issuer
            before = checkpoint.state.last
            late = steps_of(
                fact
                for fact in facts
                if fact.stamp <= before and digest(fact) not in checkpoint.folded
            )
            for step in late:
                self._late(state, step, around)
            known = dict(state.activations)
            for step in still_latest(late, [step for step in steps if step[0].stamp <= before]):
                apply(state, step, around)
            if state.established:
                # Also without late facts: other policies may have made the checkpoint, of the same
                # names as these, or in another configuration. Where none has, this changes nothing.
                brought = [fact for step in late for fact in step]
                self._evaluate(state, before.time, self._compiled, brought)
                operator_acts.overlook(state, known)
            steps = [step for step in steps if step[0].stamp > before]
        for step in steps:
            self._advance(state, step, around)
        return state

    def checkpoint(
        self,
        session: str,
        facts: Sequence[Fact],
        before: Checkpoint | None,
        keep: int,
        *,
        issuer: str = "",
    ) -> Checkpoint | None:
        """Fold all but the latest `keep` steps for good; None where there are no more than that."""
        stamps = sorted({fact.stamp for fact in facts})
        if len(stamps) <= keep:
            return None
        horizon = stamps[-keep - 1]
        if before is not None and horizon <= before.state.last:
            return None
        older = [fact for fact in facts if fact.stamp <= horizon]
        state = self.fold(session, older, before, issuer=issuer)
        folded = frozenset(digest(fact) for fact in older)
        # Each of these is what some token may show, though a later one of its kind is kept instead.
        shown = (f.authentication for f in older if isinstance(f, SignedIn))
        seconds = {counted(state, one).auth_time for one in shown}
        seconds.update(before.seconds if before is not None else ())
        seconds.discard(0)
        earlier = [
            Earlier.of(until, self.fold(session, older, before, until, issuer=issuer))
            for until in sorted(seconds, reverse=True)[1 : EARLIER_BOUND + 1]
        ]
        nobody = self.fold(session, older, before, 0, issuer=issuer)
        begin_lives(nobody, min(seconds, default=0))
        state.steady = msgspec.UNSET  # only this evaluator could use it
        return Checkpoint(state, folded, (*earlier, Earlier.of(0, nobody)))

    def advance(
        self, session: str, state: State, facts: Sequence[Fact], until: int | None = None
    ) -> State | None:
        """Return the state after more facts of one stamp; None where they are not the latest.

        `until` is as for `fold`, the one by which the state was made.
        """
        if not facts or facts[0].stamp <= state.last:
            return None
        after = state.copy()
        around = replace(self._around, session=session, until=until)
        self._advance(after, facts, around)
        return after

    def at(self, state: State, now: int) -> State:
        """Return the state at `now` (microseconds), where time alone may have changed something."""
        if not self.timed or not state.established:
            return state
        after = state.copy()
        self._evaluate(after, now, self._timed)
        return after

    def scene(self, state: State, now: int, call: CalledFrom | None = None) -> Scene:
        """Return the scene of a state for conditions.

        Strict ones see the address of the `call`, if given.
        """
        if call is None or call.ip == state.ip != "":
            return Scene(state, now, self.world)
        if not call.ip:
            return Scene(state, now, self.world, addressless=True)
        moment = max(now, state.last.time)
        there = state.copy()
        apply(there, [Sighted(stamp=Stamp(moment, ""), ip=call.ip, place=call.place)], self._around)
        return Scene(there, moment, self.world)

    def _strictly(
        self, state: State, now: int, call: CalledFrom | None
    ) -> Mapping[str, Activation]:
        """Return the activations of strict policies if the call's address is not the session's."""
        if call is None or not self._strict or call.ip == state.ip != "":
            return {}
        scene = self.scene(state, now, call)
        found = {}
        for compiled in self._strict:
            before = state.activations.get(compiled.policy.id, NOTHING)
            found[compiled.policy.id] = activation_of(compiled, scene, before, self._around.skew)
        return found

    def proven_by(self, state: State, fact: SignedIn) -> tuple[PlaceProven, ...]:
        """Return the places that a sign-in proves for later sessions on its device."""
        return proven_by(state, fact, self._around) if self._around.remember else ()

    def is_break_glass(self, state: State) -> bool:
        """Return whether the session is of an account that no policy is for."""
        accounts = self.world.break_glass
        return bool(accounts) and is_spared(accounts, state, self.world.sources)

    def is_strict(self, state: State, ip: str) -> bool:
        """Return whether a call from `ip` is judged otherwise than where the session is.

        Empty: the call has no address.
        """
        return bool(self._strict) and (not ip or ip != state.ip)

    def _advance(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        moment = facts[0].stamp.time
        if self.timed and state.established:
            self._evaluate(state, moment, self._timed)
        apply(state, facts, around)
        if state.established:
            self._evaluate(state, moment, self._compiled, facts)

    def _late(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        """Fold facts older than the checkpoint.

        Sign-ins and revocations count, and a sticky policy judges them as of their own time. What
        is still the latest of its kind moves its register, too (`late_facts`).
        """
        moment = facts[0].stamp.time
        for fact in facts:
            self._take_late(state, fact, moment, around)
            interrupted = interrupt(state, fact, moment)
            if interrupted:
                known = state.activations.items()
                state.activations = {
                    n: without_causes_of(a, interrupted, fact.source) for n, a in known
                }
        sticky = [c for c in self._compiled if c.policy.sticky]
        if not sticky or not state.established or moment < state.cleared:
            return
        then = state.copy()
        apply(then, facts, around)
        scene = Scene(then, moment, self.world)
        for compiled in sticky:
            before = state.activations.get(compiled.policy.id, NOTHING)
            after = activation_of(compiled, scene, before, around.skew, facts)
            fresh = tuple(c for c in after.mark if c.since == moment and c not in before.mark)
            if fresh:
                mark = (*before.mark, *fresh)[-STICKY_BOUND:]
                waits = after if before.begun is None else before
                state.activations[compiled.policy.id] = replace(
                    before, mark=mark, begun=waits.begun, begun_otherwise=waits.begun_otherwise
                )

    @staticmethod
    def _take_late(state: State, fact: Fact, moment: int, around: Surroundings) -> None:
        """Take up what counts however late it comes."""
        if isinstance(fact, SignedIn):
            sign_in_late(state, fact, around)
        elif isinstance(fact, ContextsShown):
            keep_shown(state, fact.contexts, fact.second, fact.stamp.second)
        elif isinstance(fact, Spent):
            keep_spent(state, fact.auth_time, SpentHeld(fact.token, moment))
        elif isinstance(fact, Revoked):
            revoke(state, fact, f"{fact.scope}|{fact.device}", fact.reason)
        elif isinstance(fact, StepUpAsked):
            operator_acts.ask(state, fact, moment)
        elif isinstance(fact, MarksCleared):
            operator_acts.clear(state, fact, moment)

    def _evaluate(
        self,
        state: State,
        now: int,
        policies: Sequence[Compiled],
        brought: Sequence[Fact] = (),
    ) -> None:
        """Judge a state that `brought` has just changed; none: time alone, or other policies."""
        scene = Scene(state, now, self.world)
        for compiled in policies:
            name = compiled.policy.id
            before = state.activations.get(name, NOTHING)
            state.activations[name] = activation_of(
                compiled, scene, before, self._around.skew, brought
            )
        if self.timed:
            state.score_level = scene.level
            state.loosening_level = scene.loosening.level

    def standing(
        self,
        state: State,
        now: int,
        call: CalledFrom | None = None,
        presented: Presented | None = None,
    ) -> Standing:
        """Return what must be shown at `now` (microseconds), for a `call` from where it comes.

        `presented` is what the call's own token shows, by which it is judged; the state is then
        one `as_of` its sign-in. None: the session's standing, which all of its sign-ins bear.
        """
        state = self.at(state, now)
        until = self._steady_until(state, now)
        strictly = self._strictly(state, now, call)
        skew = self._around.skew
        evidence = self.evidence(state, presented)
        sign_ins = evidence.sign_ins
        own = evidence.own
        enforced: list[Demand] = []
        tried: list[Demand] = []
        for demand in (
            self._demands_at(call, state, evidence, strictly)
            if strictly
            else self._demands(state, evidence)
        ):
            (tried if demand.report_only else enforced).append(demand)
        kept_from = self._kept_from(state)
        before = max(state.lost, kept_from)
        why = STORE_LOST if state.lost >= kept_from else HISTORY_EXPIRED
        own_demands = [*lost(before, evidence, why)] if before else []
        if state.aside:
            own_demands.extend(uncertain(state, evidence))
        if state.asked:
            own_demands.extend(operator_acts.asked_for(state, evidence, self.world.ladder, now))
        enforced.extend(credited(one, state, evidence) or one for one in own_demands)
        counting = sign_ins if own is None else (own,)
        if state.asked and any(held.max_age >= 0 for held in state.asked.values()):
            until = now
        return Standing(
            state.revoked(skew, presented and counted(state, presented.authentication)),
            tuple(enforced),
            tuple(tried),
            max([shown.rank for shown in counting], default=0),
            max([shown.authentication.auth_time for shown in counting], default=0),
            until,
            state.spent,
            tuple(d for d in (*enforced, *tried) if d.each_call) if self.each_call else (),
            None,
            self._outcomes,
        )

    def _steady_until(self, state: State, now: int) -> int | None:
        """Return until when time changes nothing of a state as of `now`; None: it never does.

        Here nothing is known of it.
        """
        return now if self.timed and state.established else None

    def _demands(self, state: State, evidence: Evidence) -> Iterable[Demand]:
        """Yield what the policies ask for, in their order."""
        return self._demands_at(None, state, evidence, {})

    def _demands_at(
        self,
        call: CalledFrom | None,
        state: State,
        evidence: Evidence,
        strictly: Mapping[str, Activation],
    ) -> Iterator[Demand]:
        """Yield what the policies ask for, where strict ones see where a call comes from."""
        for compiled in self._compiled:
            name = compiled.policy.id
            activation = strictly.get(name) or state.activations.get(name, NOTHING)
            if not activation.holds and not activation.mark:
                continue
            unknown = name in strictly and not (call and call.ip)
            asked = self._asked(compiled, activation, state, evidence, addressless=unknown)
            yield from (each for each in asked if each is not None)

    def _asked(
        self,
        compiled: Compiled,
        activation: Activation,
        state: State,
        evidence: Evidence,
        *,
        addressless: bool,
    ) -> tuple[Demand | None, Demand | None]:
        """Return what a policy asks for, and what it asks for at the end of the session's life."""
        if not activation.holds and not activation.mark:
            return None, None
        if addressless and activation.holds:
            return refused_without_address(compiled, activation), None
        unknown: tuple[str, ...] = ()
        if compiled.policy.users.include is not None:
            unknown, refuses = presumed(compiled, state)
            if refuses:
                return refused_unknown(compiled, activation, unknown), None
        demand = demand_of(compiled, activation, evidence)
        capped = compiled.policy.session.max_lifetime is not None
        lifetime = lifetime_of(compiled, activation, evidence) if capped else None
        if demand is None and lifetime is None:
            return None, None
        if unknown or evidence.is_untimed:
            demand = demand and _explained(demand, unknown, evidence)
            lifetime = lifetime and _explained(lifetime, unknown, evidence)
        return (
            demand and credited(demand, state, evidence),
            lifetime and credited(lifetime, state, evidence),
        )

    def _kept_from(self, state: State) -> int:
        """Return the moment before which facts of this session are kept no longer; 0: all are kept.

        Where no sign-in has a time, none could ever be later than what is forgotten in the
        course of time: that is no reason to refuse the session (see `TOKEN_WITHOUT_AUTH_TIME`).
        """
        around = self._around
        if not around.memory or not any(auth.auth_time for auth in state.sign_ins):
            return 0
        return max(0, state.established - around.memory)

    def looks(
        self,
        state: State,
        now: int,
        call: CalledFrom | None = None,
        presented: Presented | None = None,
        standing: Standing | None = None,
    ) -> tuple[Look, ...]:
        """Return each policy as `standing` sees it at `now` (microseconds): for explanations.

        Policies that are alike but for what they are called, and stand alike, have one look. The
        `standing` of the same session and call, where it is known, says what most of them ask for.
        """
        after = self.at(state, now)
        strictly = self._strictly(after, now, call)
        evidence = self.evidence(state, presented)
        looks: list[Look] = []
        known: dict[tuple[int, int, int], Look] = {}
        asked = None if standing is None else _by_policy(standing)
        for compiled, alike in zip(self._compiled, self._alike, strict=True):
            name = compiled.policy.id
            before = state.activations.get(name, NOTHING)
            activation = strictly.get(name) or after.activations.get(name, NOTHING)
            key = (alike, id(before), id(activation))
            look = known.get(key)
            if look is None:
                unknown = name in strictly and not (call and call.ip)
                look = known[key] = Look(
                    compiled,
                    before,
                    activation,
                    evidence,
                    applies=applies(compiled, after),
                    ask=partial(
                        self._asked, compiled, activation, after, evidence, addressless=unknown
                    ),
                )
                if asked is not None and compiled.policy.session.max_lifetime is None:
                    look.asked = (asked.get(name), None)
            looks.append(look)
        return tuple(looks)

    def until(self, state: State, presented: Presented) -> int | None:
        """Return the second of the latest sign-ins that count for a call; None: all of them count.

        `presented` is what the call's token shows; `state` is as of all sign-ins.
        """
        latest = next(iter(state.sign_ins), None)
        own = counted(state, presented.authentication).auth_time
        if not presented.alone or latest is None or latest.auth_time <= own:
            return None
        return own

    def evidence(self, state: State, presented: Presented | None = None) -> Evidence:
        """Return what may meet the demands on a call, or on a session.

        Of a call no sign-in counts that is later than its own.
        """
        sign_ins = self.sign_ins(state)
        compliant = precedence.compliance(state, self.world.sources) == precedence.COMPLIANT
        skew = self._around.skew
        if presented is None or not presented.alone:
            return Evidence(sign_ins, skew, None, presented, compliant)
        own = self.shown(state, counted(state, presented.authentication))
        until = own.authentication.auth_time
        known = [shown for shown in sign_ins if shown.authentication.auth_time <= until]
        return Evidence((own, *known), skew, own, presented, compliant)

    def sign_ins(self, state: State) -> list[CountedSignIn]:
        """Return the session's sign-ins, each with what it counts for."""
        return [self.shown(state, auth) for auth in state.sign_ins]

    def shown(self, state: State, auth: Authentication) -> CountedSignIn:
        """Return what a sign-in of this session counts for.

        It counts for no more than was left of it when the assurance was lowered.
        """
        shown = self.world.ladder.shown(auth)
        if not state.lowered:
            return shown
        for _, said in precedence.words_that_count(
            state.lowered, precedence.ASSURANCE_CHANGE, self.world.sources
        ):
            if auth.auth_time * MICROSECONDS <= said.at:
                left = self.world.ladder.shown(Authentication(auth.auth_time, said.value))
                ceiling = self.world.ladder.rank_of_level(said.value)
                rank = min(shown.rank, left.rank if ceiling is None else ceiling)
                shown = CountedSignIn(rank, shown.strengths & left.strengths, auth)
        return shown


def _by_policy(standing: Standing) -> dict[str, Demand]:
    """Return what each policy asks for by a standing, if it asks for one thing."""
    return {
        name: demand
        for demand in (*standing.enforced, *standing.on_trial)
        for _, name in demand.alike or ((0, demand.policy),)
    }


def _explained(demand: Demand, unknown: tuple[str, ...], evidence: Evidence) -> Demand:
    """Return the demand with what of the user is unknown, and whether no sign-in could meet it."""
    untimed = evidence.is_untimed and not (demand.block or demand.unsatisfiable)
    return replace(demand, unknown=unknown, untimed=untimed)
