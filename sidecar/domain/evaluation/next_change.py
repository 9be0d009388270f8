"""The next moment at which time alone may change how a session stands.

Time changes a standing in few ways: scores and signals fade, the hours of a day pass, what a
sign-in has shown grows too old, a session's life ends, and a grace period ends. All of them can be
foreseen from the state, so that nobody need look at a session before: nothing changes until the
moment that is given here. It may be given too early, and then there is another one.

How a score fades is not solved for its thresholds but tried: everything that depends on it changes
once for each threshold and each pair of terms, and never back. So where all of it is at some
moment as it is now, it was so all the time between.

`steadiness` answers for conditions alone, and at each step: it solves, and knows no moment where
several sources speak of one thing. This is asked once for each change of a session; such a session
would be looked at every second, and what is announced goes by terms of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sidecar.domain.evaluation.announcement import REPORTED
from sidecar.domain.evaluation.evaluator import Evaluator
from sidecar.domain.evaluation.rules.steadiness import fading_of, window_ends
from sidecar.domain.facts.precedence import by_loosening_words, raised_signals
from sidecar.domain.session.risk import Term, decayed, terms_of, total
from sidecar.domain.session.standing import FOR_GOOD, Demand, Standing
from sidecar.domain.session.state import State, unproven
from sidecar.domain.values.stamp import MICROSECONDS

STEPS = tuple(seconds * MICROSECONDS for seconds in (2_592_000, 604_800, 86_400, 14_400, 3_600))
"""How far ahead it is tried whether all is as it is now, the longest first."""

SHORT_STEPS = tuple(seconds * MICROSECONDS for seconds in (900, 240, 60, 15, 4, 1))
LEAST_STEP = SHORT_STEPS[-1]


class NextChange:
    """Foresees what time changes under the policies of one evaluator.

    `announces`: others are sent what becomes of sessions, of which their risk fades whatever
    policies there are.
    """

    def __init__(self, evaluator: Evaluator, *, announces: bool = False) -> None:
        self.evaluator = evaluator
        self._timed = fading_of(policy.conditions for policy in evaluator.policies)
        thresholds = evaluator.world.rating.thresholds
        levels = (thresholds.medium, thresholds.high)
        self._levels = (*levels, *(level - thresholds.hysteresis for level in levels))
        self._fades = evaluator.timed or announces

    def of(self, state: State, standing: Standing, now: int) -> int | None:
        """Return a moment (microseconds) before which nothing changes; None: nothing ever does.

        `standing` is that of the state at `now`, or at a later moment before which nothing changed.
        """
        moments = [*_of_demands((*standing.enforced, *standing.on_trial), now)]
        moments += _of_asked(state, now)
        moments += (window_ends(window, now) for window in self._timed.windows)
        if self._fades and (fading := self._fading(state, now)) is not None:
            moments.append(fading)
        return min(moments, default=None)

    def _fading(self, state: State, now: int) -> int | None:
        states = _as_conditions_see(state, self.evaluator)
        known = self._seen(states, now)
        if known == self._nothing(len(states)):
            return None
        # What counts from a moment that is yet to come may rise before it fades.
        if state.last.time > now:
            return min(state.last.time, now + LEAST_STEP)
        for step in (*STEPS, *SHORT_STEPS):
            if self._seen(states, now + step) == known:
                return now + step
        return self._first_change(states, known, now)

    def _first_change(self, states: Sequence[State], known: tuple["_Faded", ...], same: int) -> int:
        """Return the first moment at which it is not as `known`, which is within `LEAST_STEP`."""
        other = same + LEAST_STEP
        while other - same > 1:
            between = (same + other) // 2
            if self._seen(states, between) == known:
                same = between
            else:
                other = between
        return other

    def _nothing(self, states: int) -> tuple["_Faded", ...]:
        return (self._faded((), ()),) * states

    def _seen(self, states: Sequence[State], now: int) -> tuple["_Faded", ...]:
        rating, sources = self.evaluator.world.rating, self.evaluator.world.sources
        return tuple(
            self._faded(terms_of(state, now, rating, sources), tuple(self._live(state, now)))
            for state in states
        )

    def _faded(self, terms: tuple[Term, ...], live: tuple[tuple[object, ...], ...]) -> "_Faded":
        score = total(terms)
        own = total(tuple(term for term in terms if not term.name.startswith(REPORTED)))
        return _Faded(
            tuple((term.name, term.source, term.since) for term in terms),
            tuple(score >= each for each in (*self._levels, *self._timed.scores)),
            tuple(own >= each for each in self._levels),
            live,
        )

    def _live(self, state: State, now: int) -> Iterator[tuple[object, ...]]:
        """Yield the signals that conditions see."""
        if not self._timed.signals or not state.signals:
            return
        rating = self.evaluator.world.rating
        for raised in raised_signals(state, self.evaluator.world.sources):
            for held in raised:
                weight, half_life = rating.of_signal(held.name, held.weight, held.half_life)
                left = decayed(weight, half_life, (now - held.since) / MICROSECONDS)
                for condition in self._timed.signals:
                    if held.name in condition.include and left >= condition.at_least:
                        yield held.name, held.source, held.since, condition.at_least


class _Faded(NamedTuple):
    """The part of scores and signals by which conditions and announcements go."""

    terms: tuple[tuple[str, str, float], ...]
    reached: tuple[bool, ...]
    reached_by_own: tuple[bool, ...]
    live: tuple[tuple[object, ...], ...]


def _as_conditions_see(state: State, evaluator: Evaluator) -> list[State]:
    """Return the state as each kind of scene has it (`Scene.bare`, `Scene.loosening`)."""
    sources = evaluator.world.sources
    seen = [state]
    for one in (by_loosening_words(state, sources), bare := unproven(state)):
        if one is not state:
            seen.append(one)
    if bare is not state and (sure := by_loosening_words(bare, sources)) is not bare:
        seen.append(sure)
    return seen


def _of_demands(demands: Iterable[Demand], now: int) -> Iterator[int]:
    """Yield when a demand is met no longer, or begins to bind."""
    for demand in demands:
        ends = (demand.valid_until, *(until for _, until in demand.met_in))
        for until in ends:
            end = until * MICROSECONDS
            if now <= end and until < FOR_GOOD:
                yield end + 1
        binds = demand.binds_from * MICROSECONDS
        if now < binds:
            yield binds


def _of_asked(state: State, now: int) -> Iterator[int]:
    """Yield when a sign-in becomes too old for what an operator asks for."""
    for held in state.asked.values():
        if held.max_age >= 0:
            for sign_in in state.sign_ins:
                end = (sign_in.auth_time + held.max_age + 1) * MICROSECONDS
                if now < end:
                    yield end
