"""The evaluator, with steps that leave out what they do not concern.

Two things make it fast: a policy that reads nothing of what a step changed is left as it stands
(`dependencies`), also within a fold; and who owns a state alone, as replay does, may have it
changed in place instead of copied.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.compiled import applies
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.facts.facts import Fact
from sidecar.domain.policy.policy import Policy
from sidecar.domain.session.fold import Surroundings, apply
from sidecar.domain.session.risk import terms_of
from sidecar.domain.session.scene import World
from sidecar.domain.session.standing import Compiled
from sidecar.domain.session.state import State, unproven

Restless: TypeAlias = tuple[Compiled, ...]


class IncrementalEvaluator(Evaluator):
    """An evaluator whose folds are made of such steps, and that also takes them one by one."""

    __slots__ = ("_clocked", "_concerned", "_reads")

    def __init__(self, policies: Iterable[Policy], world: World, around: Surroundings) -> None:
        super().__init__(policies, world, around)
        whose = dependencies.CLAIMS if world.break_glass else 0
        self._reads = tuple(
            dependencies.EVERYTHING
            if compiled.timed
            else dependencies.reads(compiled.policy) | whose
            for compiled in self._compiled
        )
        self._clocked = tuple(
            compiled for compiled in self._timed if not dependencies.only_fades(compiled.policy)
        )
        self._concerned: dict[dependencies.Parts, tuple[Compiled, ...]] = {}

    @classmethod
    def over(
        cls, evaluator: Evaluator, policies: Iterable[Policy], world: World
    ) -> "IncrementalEvaluator":
        """Return one in the surroundings of `evaluator`, with these policies and this world."""
        return cls(policies, world, evaluator._around)  # noqa: SLF001 - of its own kind

    def surroundings(self, session: str) -> Surroundings:
        """Return what `step` must know of a session: computed once for each."""
        return msgspec.structs.replace(self._around, session=session)

    def step(
        self,
        state: State,
        facts: Sequence[Fact],
        around: Surroundings,
        restless: Restless | None = None,
    ) -> Restless:
        """Advance in place: fold facts of one stamp, later than `state.last`, into `state`.

        `restless` is what the step before returned: the policies that time alone may change.
        """
        moment = facts[0].stamp.time
        self.begin(state, moment, restless)
        was = dependencies.before(state)
        apply(state, facts, around)
        changed = dependencies.changes(was, state, facts)
        return self.conclude(state, moment, changed, restless, facts)

    def _advance(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        self.step(state, facts, around)

    def at(self, state: State, now: int) -> State:
        """Return what the evaluator does, without a copy of a state at its last step."""
        return state if now == state.last.time else super().at(state, now)

    def begin(self, state: State, moment: int, restless: Restless | None = None) -> None:
        """Begin a step: evaluate what time has changed until `moment`."""
        policies = self._timed if restless is None else restless
        if policies and state.established:
            self._evaluate(state, moment, policies)

    def conclude(
        self,
        state: State,
        moment: int,
        changed: dependencies.Parts,
        restless: Restless | None = None,
        brought: Sequence[Fact] = (),
    ) -> Restless:
        """End a step, once `changed` parts of the state are new.

        `brought` are its facts, where anybody wants to know which events a mark is of.
        """
        if not state.established:
            return self._timed
        if self._compiled and self._compiled[0].policy.id not in state.activations:
            changed = dependencies.EVERYTHING
        concerned = self._concerned.get(changed)
        if concerned is None:
            concerned = self._concerned[changed] = tuple(
                compiled
                for compiled, parts in zip(self._compiled, self._reads, strict=True)
                if parts & changed
            )
        if concerned:
            self._evaluate(state, moment, concerned, brought)
        elif restless is not None:
            return restless
        return self._restless(state, moment)

    def _restless(self, state: State, moment: int) -> Restless:
        """Return the policies that time may change before another fact does.

        Where nothing adds to the score, or would had it not been proven, and no signal is live,
        nothing is left that could fade; else all that time can change are looked at, since the
        score's level must not be missed.
        """
        if not self._timed or state.signals or self._adds(state, moment):
            return self._timed
        return tuple(c for c in self._clocked if applies(c, state))

    def _adds(self, state: State, moment: int) -> bool:
        """Return whether anything adds to the score, or would had it not been proven."""
        world = self.world
        return bool(terms_of(unproven(state), moment, world.rating, world.sources))
