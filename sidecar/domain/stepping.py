"""The evaluator step by step, in place: for whoever owns a state alone, as replay does.

The steps are the evaluator's own. Two things make it fast: the state is changed, not copied, and
a policy that reads nothing of what a step changed is left as it stands (`dependencies`).
"""

from collections.abc import Iterable, Sequence

import msgspec

from sidecar.domain import dependencies
from sidecar.domain.evaluator import Evaluator
from sidecar.domain.facts import Fact
from sidecar.domain.policy import Policy
from sidecar.domain.scene import World
from sidecar.domain.session import Surroundings, apply
from sidecar.domain.standing import Compiled
from sidecar.domain.state import State


class Stepper(Evaluator):
    """An evaluator that also moves states forward in place."""

    __slots__ = ("_concerned", "_reads")

    def __init__(self, policies: Iterable[Policy], world: World, around: Surroundings) -> None:
        super().__init__(policies, world, around)
        self._reads = tuple(
            dependencies.EVERYTHING if compiled.timed else dependencies.reads(compiled.policy)
            for compiled in self._compiled
        )
        self._concerned: dict[dependencies.Parts, tuple[Compiled, ...]] = {}

    @classmethod
    def over(cls, evaluator: Evaluator, policies: Iterable[Policy], world: World) -> "Stepper":
        """A stepper in the surroundings of `evaluator`, with these policies and this world."""
        return cls(policies, world, evaluator._around)  # noqa: SLF001 - of its own kind

    def surroundings(self, session: str) -> Surroundings:
        """What `step` must know of a session: computed once for each."""
        return msgspec.structs.replace(self._around, session=session)

    def step(self, state: State, facts: Sequence[Fact], around: Surroundings) -> None:
        """`advance` in place: fold facts of one stamp, later than `state.last`, into `state`."""
        moment = facts[0].stamp.time
        self.begin(state, moment)
        was = dependencies.before(state)
        apply(state, facts, around)
        self.conclude(state, moment, dependencies.changes(was, state, facts))

    def at(self, state: State, now: int) -> State:
        """As the evaluator's; a state is as of its last step already, and is not copied."""
        return state if now == state.last.time else super().at(state, now)

    def begin(self, state: State, moment: int) -> None:
        """The first half of a step: what time has done until `moment`."""
        if self.timed and state.established:
            self._evaluate(state, moment, self._timed)

    def conclude(self, state: State, moment: int, changed: dependencies.Parts) -> None:
        """The second half of a step, once `changed` parts of the state are new."""
        if not state.established:
            return
        if self._compiled and self._compiled[0].policy.id not in state.holdings:
            changed = dependencies.EVERYTHING
        concerned = self._concerned.get(changed)
        if concerned is None:
            concerned = self._concerned[changed] = tuple(
                compiled
                for compiled, parts in zip(self._compiled, self._reads, strict=True)
                if parts & changed
            )
        if concerned:
            self._evaluate(state, moment, concerned)
