"""The evaluator that evaluates what a step concerns, once.

It comes to the same as `Evaluator`, which evaluates every policy at every step, and which tests
hold it to. What makes it fast:

- A policy that reads nothing of what a step changed is left as it stands (`dependencies`), and one
  that is for other users is not looked at (`rule_index`).
- Policies that come to the same activation are evaluated once (`rule_index`), and first it is asked
  whether their condition holds, by generated functions (`condition_code`). Causes, proofs and marks
  are found out only where it does, or did.
- What time alone changes is evaluated when it can have changed (`steadiness`): until when it cannot
  is noted on the state.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.activation import NOTHING, activation_of
from sidecar.domain.evaluation.decision import Outcomes
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.rules.rule_index import (
    Asking,
    EvaluationRule,
    Roster,
    RuleIndex,
    shared_by,
)
from sidecar.domain.evaluation.rules.steadiness import steady_until
from sidecar.domain.evaluation.rules.transitions import Transition
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.facts.precedence import COMPLIANT
from sidecar.domain.policy.conditional_access import Policy, PolicyState
from sidecar.domain.session.fold import Surroundings, apply
from sidecar.domain.session.scene import Scene, World
from sidecar.domain.session.standing import Compiled, Demand, Evidence, shows
from sidecar.domain.session.state import Activation, State, Steady
from sidecar.domain.values.stamp import MICROSECONDS

_NUMBERS = itertools.count()
_REPORT_ONLY = PolicyState.REPORT_ONLY


class IncrementalEvaluator(Evaluator):
    """An evaluator whose folds are made of such steps, and that also takes them one by one."""

    __slots__ = ("_index", "_number")

    def __init__(self, policies: Iterable[Policy], world: World, around: Surroundings) -> None:
        super().__init__(policies, world, around)
        self._index = RuleIndex(self._compiled, world)
        self._number = next(_NUMBERS)
        alone = {one.policy.id: one.alone for one in self._compiled if one.alone}
        self._outcomes = Outcomes(alone, world.ladder)

    @classmethod
    def over(
        cls, evaluator: Evaluator, policies: Iterable[Policy], world: World
    ) -> "IncrementalEvaluator":
        """Return one in the surroundings of `evaluator`, with these policies and this world."""
        return cls(policies, world, evaluator._around)  # noqa: SLF001 - of its own kind

    def surroundings(self, session: str) -> Surroundings:
        """Return what `step` must know of a session: computed once for each."""
        return msgspec.structs.replace(self._around, session=session)

    def step(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        """Advance in place: fold facts of one stamp, later than `state.last`, into `state`."""
        moment = facts[0].stamp.time
        self.begin(state, moment)
        was = dependencies.before(state)
        apply(state, facts, around)
        self.conclude(state, moment, dependencies.changes(was, state, facts), facts)

    def _advance(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        self.step(state, facts, around)

    def holds_until(self, state: State) -> int:
        """Return the moment (microseconds) until which time changes nothing of a state.

        That of its last step: it may have, since; `steadiness.FOR_EVER`: it never does.
        """
        roster = self._index.roster(state)
        return self._steady(Scene(state, state.last.time, self.world), roster).until

    def _is_steady(self, state: State, now: int) -> bool:
        """Return whether what time changes is known to be at `now` as it was evaluated."""
        noted = state.steady
        return (
            not isinstance(noted, msgspec.UnsetType)
            and noted.by == self._number
            and noted.since <= now < noted.until
        )

    def at(self, state: State, now: int) -> State:
        """Return what the evaluator does, without a copy where time has changed nothing."""
        if now == state.last.time or self._is_steady(state, now):
            return state
        return super().at(state, now)

    def _steady_until(self, state: State, now: int) -> int | None:
        noted = state.steady
        if isinstance(noted, msgspec.UnsetType) or not self._is_steady(state, now):
            return super()._steady_until(state, now)
        return noted.until

    def begin(self, state: State, moment: int) -> None:
        """Begin a step: evaluate what time has changed until `moment`."""
        if not self.timed or not state.established or self._is_steady(state, moment):
            return
        roster = self._index.roster(state)
        scene = Scene(state, moment, self.world)
        self._evaluate_rules(scene, roster.timed, ())
        self._end(state, scene, roster)

    def conclude(
        self,
        state: State,
        moment: int,
        changed: dependencies.Parts,
        brought: Sequence[Fact] = (),
    ) -> None:
        """End a step, once `changed` parts of the state are new.

        `brought` are its facts, where anybody wants to know which events a mark is of.
        """
        if not state.established or not self._compiled:
            return
        activations = state.activations
        roster = self._index.roster(state)
        scene = Scene(state, moment, self.world)
        if self._index.names[0] not in activations or changed & dependencies.ASSIGNED:
            changed = dependencies.EVERYTHING
            state.activations = dict.fromkeys(self._index.names, NOTHING) | activations
            self._leave(scene, roster.others, brought)
        rules = roster.concerned(changed)
        self._evaluate_rules(scene, rules, brought)
        if self.timed and (
            changed & dependencies.SCORE or any(rule.compiled.timed for rule in rules)
        ):
            self._end(state, scene, roster)

    def _evaluate(
        self,
        state: State,
        now: int,
        policies: Sequence[Compiled],
        brought: Sequence[Fact] = (),
    ) -> None:
        if policies is self._timed:
            state.steady = msgspec.UNSET
            self.begin(state, now)
        else:
            self.conclude(state, now, dependencies.EVERYTHING, brought)

    def _leave(self, scene: Scene, others: Sequence[Compiled], brought: Sequence[Fact]) -> None:
        """Evaluate the policies that are not for the user, or no longer: nothing is left of them.

        Nothing but the events that ended their marks.
        """
        activations = scene.state.activations
        for compiled in others:
            before = activations.get(compiled.policy.id, NOTHING)
            if before is not NOTHING:
                after = activation_of(compiled, scene, before, self._around.skew, brought)
                activations[compiled.policy.id] = after

    def _evaluate_rules(
        self, scene: Scene, rules: Sequence[EvaluationRule], brought: Sequence[Fact]
    ) -> None:
        if not rules:
            return
        activations = scene.state.activations
        compliant = scene.compliance == COMPLIANT
        after_of = Transition(scene, brought, self._around.skew).after
        for rule in rules:
            names = rule.names
            needs = rule.needs_when_compliant if compliant else rule.needs_otherwise
            shared = shared_by(rule.kept, activations)
            if shared is not None:
                after = after_of(rule, shared, needs)
                if after is not shared:
                    for name in names:
                        activations[name] = after
                continue
            for name in names:
                before = activations.get(name, NOTHING)
                after = after_of(rule, before, needs)
                if after is not before:
                    activations[name] = after

    def _end(self, state: State, scene: Scene, roster: Roster) -> None:
        """Keep the level of the score, as it is now, and until when the state is steady."""
        state.score_level = scene.level
        state.loosening_level = scene.loosening.level
        state.steady = self._steady(scene, roster)

    def _steady(self, scene: Scene, roster: Roster) -> Steady:
        marked = _may_wait(scene.state, roster)
        until = steady_until(scene, roster.fading, marked=marked)
        return Steady(self._number, scene.now, until)

    def _demands(self, state: State, evidence: Evidence) -> Iterable[Demand]:
        if state.shown_contexts or (evidence.presented and evidence.presented.contexts):
            return super()._demands(state, evidence)  # each has contexts of its own
        return self._demands_of_rules(state, evidence)

    def _demands_of_rules(self, state: State, evidence: Evidence) -> Sequence[Demand]:
        """Return what the policies ask for; those that ask alike are asked once."""
        activations = state.activations
        known: _Asked = {}
        found: list[Demand] = []
        untimed = evidence.is_untimed
        for asking in self._index.roster(state).asking:
            shared = shared_by(asking.kept, activations)
            if shared is not None:
                if not (shared.holds or shared.mark):
                    continue
                if untimed or shared.excused or not asking.alone:
                    found += self._demanded(asking, shared, state, evidence, known)
                elif (demand := _demand_alone(asking, shared, evidence)) is not None:
                    found.append(demand)
                continue
            for at, compiled in enumerate(asking.policies):
                activation = activations.get(compiled.policy.id, NOTHING)
                one = msgspec.structs.replace(
                    asking, compiled=compiled, places=asking.places[at : at + 1]
                )
                found += self._demanded(one, activation, state, evidence, known)
        return found

    def _demanded(
        self,
        asking: Asking,
        activation: Activation,
        state: State,
        evidence: Evidence,
        known: "_Asked",
    ) -> Iterable[Demand]:
        """Return what some policies ask for that have one activation; `known` is for others."""
        compiled = asking.compiled
        key = (asking.alike, id(activation))
        asked = known.get(key)
        if asked is None:
            demands = self._asked(compiled, activation, state, evidence, addressless=False)
            asked = known[key] = [each for each in demands if each is not None]
            if not asking.places:
                return asked
        return [_as_of(compiled.policy, each, asking.places) for each in asked]


_Asked: TypeAlias = dict[tuple[int, int], Sequence[Demand]]
"""What policies ask for, by their number and the activation that they have."""


def _demand_alone(asking: Asking, activation: Activation, evidence: Evidence) -> Demand | None:
    """Return what policies ask for that ask for one requirement (`Asking.alone`): `demand_of`."""
    since = activation.since
    second = None if since is None else since // MICROSECONDS
    if shows(asking.alone[0].requirement, second, evidence):
        return None
    policy = asking.compiled.policy
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is _REPORT_ONLY,
        activation.mark or activation.causes,
        since,
        asking.alone,
        alike=asking.places,
    )


def _as_of(policy: Policy, demand: Demand, places: tuple[tuple[int, str], ...]) -> Demand:
    """Return the demand of another policy that asks alike, as that of these."""
    return Demand(
        policy.id,
        policy.contexts,
        policy.apps,
        policy.state is _REPORT_ONLY,
        demand.causes,
        demand.since,
        demand.asks,
        demand.max_age,
        demand.block,
        demand.unsatisfiable,
        demand.valid_until,
        demand.met_in,
        demand.binds_from,
        demand.addressless,
        demand.each_call,
        demand.unknown,
        demand.refuses_unknown,
        demand.untimed,
        places,
    )


def _may_wait(state: State, roster: Roster) -> bool:
    """Return whether marks may wait whose causes hold no more, where anything is proven.

    An activation does not show it: one that waits is kept as it was while its condition held.
    """
    if not (state.proven or state.proven_places or state.remembered):
        return False
    activations = state.activations
    return any(activations.get(name, NOTHING).mark for rule in roster.timed for name in rule.names)
