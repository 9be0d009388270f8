"""Transitions of activations, where there is nothing to them but causes and their marks.

That is so of most policies, most of the time: they have no grace, no least interval, no lifetime
and are not sticky, and no operator has cleared anything. Whatever else there is, is left to
`activation`, which is the truth: tests/domain/evaluation/test_compiled_against_plain.py compares
all of this with it.
"""

from collections.abc import Iterable, Sequence

from sidecar.domain.evaluation.activation import (
    NOTHING,
    STICKY_BOUND,
    activation_where,
    is_unmet,
)
from sidecar.domain.evaluation.compiled import applies
from sidecar.domain.evaluation.rules.rule_index import EvaluationRule
from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.session.prompts import ProofCheck
from sidecar.domain.session.scene import ALWAYS, Needs, Scene
from sidecar.domain.session.state import Activation, Cause
from sidecar.domain.sources.origin import Origins, origins_of


class Transition:
    """The activations of rules after facts have come to a scene.

    `brought` are the facts, none where time alone has passed; `skew` that of clocks. `by` are the
    events that the facts are of, and `moments` theirs: several where they came late.
    """

    __slots__ = ("brought", "by", "moments", "scene", "skew")

    def __init__(self, scene: Scene, brought: Sequence[Fact], skew: int) -> None:
        self.scene = scene
        self.brought = brought
        self.skew = skew
        self.by: Origins
        if len(brought) == 1:  # which is most often so: as `origins_of` says
            fact = brought[0]
            stamp = fact.stamp
            self.moments = {stamp.time}
            self.by = ((fact.source, stamp.id),)
        else:
            self.moments = {fact.stamp.time for fact in brought}
            self.by = origins_of(brought)

    def after(self, rule: EvaluationRule, before: Activation, needs: Needs) -> Activation:
        """Return what a rule makes of the scene, given what it made of the one before."""
        scene = self.scene
        holds, marked = before.holds, before.mark
        new = not holds and not marked
        if not rule.plain or before.excused or before.prompted or before.life is not None:
            # Of a life something is left where a policy of this name capped it before.
            asked = before.life is not None or rule.capped
            if new and not asked and not rule.holds(scene, needs):
                return before
            return self._otherwise(rule, before, needs)
        if new and not rule.quick and not rule.holds(scene, needs):
            return before
        if marked and not holds:
            return self._otherwise(rule, before, needs)
        if rule.is_alone:
            causes = rule.found(scene, needs)
        else:
            known, key = scene.found, (rule.number, id(needs))
            if key in known:
                causes = known[key]
            else:
                causes = known[key] = rule.found(scene, needs)
        if causes is None:
            return before if new else self._ended(rule, before, needs)
        causes = causes or _ALWAYS
        if not holds:
            return self._begun(rule, before, needs, causes)
        if len(causes) == 1 == len(before.causes):
            return self._alone(rule, before, needs, causes)
        return self._held(rule, before, needs, causes)

    def _otherwise(self, rule: EvaluationRule, before: Activation, needs: Needs) -> Activation:
        scene, compiled = self.scene, rule.compiled
        applied = not rule.capped or applies(compiled, scene.state)
        check = ProofCheck(scene, needs, self.skew)
        return activation_where(compiled, check, before, self.brought, applied=applied)

    def _is_unmet(self, before: Activation, needs: Needs) -> bool:
        """Return whether a mark may wait though its causes are gone."""
        return bool(self.scene.state.proven) and is_unmet(
            before, ProofCheck(self.scene, needs, self.skew)
        )

    def _ended(self, rule: EvaluationRule, before: Activation, needs: Needs) -> Activation:
        if not before.mark:
            ended, since = before.ended, before.ended_since
        elif self._is_unmet(before, needs):
            return self._otherwise(rule, before, needs)
        else:
            ended, since = self.by or before.by, before.since
        if not ended and since is None:
            return NOTHING
        return Activation(False, ended=ended, ended_since=since)

    def _begun(
        self, rule: EvaluationRule, before: Activation, needs: Needs, causes: tuple[Cause, ...]
    ) -> Activation:
        if len(causes) > 1 and len({cause.key for cause in causes}) < len(causes):
            return self._otherwise(rule, before, needs)
        mark = self._fresh(causes, needs)
        if not mark:
            return Activation(
                True, causes, (), None, (), None, None, (), before.ended, before.ended_since
            )
        return Activation(True, causes, tuple(mark[-STICKY_BOUND:]))

    def _fresh(self, causes: Iterable[Cause], needs: Needs) -> list[Cause]:
        """Return those of new causes that nothing has proven, with the events that brought them.

        If these did: where time did, or other facts, they have no events.
        """
        proven, moments = self.scene.proven, self.moments
        fresh = []
        for cause in causes:
            circumstance = cause.circumstance
            if circumstance and proven(circumstance, needs):
                continue
            since = cause.since
            if moments and (cause != ALWAYS if since is None else since in moments):
                kind, value, signal = cause.kind, cause.value, cause.signal
                cause = Cause(kind, value, since, signal, circumstance, cause.source, self.by)  # noqa: PLW2901
            fresh.append(cause)
        return fresh

    def _alone(
        self, rule: EvaluationRule, before: Activation, needs: Needs, causes: tuple[Cause, ...]
    ) -> Activation:
        """Return what `_held` does where there is one cause, as there was before."""
        if not _is_one(causes[0], before.causes[0]):
            if causes[0].key == before.causes[0].key:
                return self._held(rule, before, needs, causes)
            return self._replaced(rule, before, needs, causes)
        marked = before.mark
        same = causes == before.causes
        if not marked:
            if same:
                return before
            return Activation(True, causes, ended=before.ended, ended_since=before.ended_since)
        if len(marked) > 1 or not _is_one(causes[0], marked[0]):
            return self._held(rule, before, needs, causes)
        return before if same else Activation(True, causes, marked)

    def _replaced(
        self, rule: EvaluationRule, before: Activation, needs: Needs, causes: tuple[Cause, ...]
    ) -> Activation:
        """Return the same where that takes the place of the one before."""
        marked = before.mark
        if marked and (len(marked) > 1 or marked[0].key != before.causes[0].key):
            return self._held(rule, before, needs, causes)
        if marked and self._is_unmet(before, needs):
            return self._otherwise(rule, before, needs)
        fresh = self._fresh(causes, needs)
        if fresh:
            return Activation(True, causes, tuple(fresh))
        ended, since = before.ended, before.ended_since
        if marked:
            ended, since = self.by or before.by, before.since
        return Activation(True, causes, ended=ended, ended_since=since)

    def _held(  # noqa: C901 - one pass over the causes
        self, rule: EvaluationRule, before: Activation, needs: Needs, causes: tuple[Cause, ...]
    ) -> Activation:
        held, marked = before.causes, before.mark
        same = held is causes or held == causes
        if same and (not marked or _is_marked_whole(held, marked)):
            return before
        known = [cause.key for cause in held]
        waiting = {cause.key: cause for cause in marked}
        mark: dict[str, Cause] = {}
        left = len(waiting)
        for cause in causes:
            key = cause.key
            if key in mark:
                return self._otherwise(rule, before, needs)
            if key in waiting:
                if key not in known:
                    return self._otherwise(rule, before, needs)
                mark[key] = waiting[key]
                left -= 1
            elif key not in known:
                for fresh in self._fresh((cause,), needs):
                    mark[key] = fresh
        if left and self._is_unmet(before, needs):
            return self._otherwise(rule, before, needs)
        kept = tuple(mark.values())[-STICKY_BOUND:]
        if same and marked == kept:
            return before
        if kept:
            return Activation(True, causes, kept)
        ended, since = before.ended, before.ended_since
        if marked:
            ended, since = self.by or before.by, before.since
        return Activation(True, causes, ended=ended, ended_since=since)


def _is_one(one: Cause, other: Cause) -> bool:
    """Return whether two causes are the same one for sure: by what their keys are made of."""
    return one.value == other.value and one.kind == other.kind and one.source == other.source


def _is_marked_whole(held: tuple[Cause, ...], marked: tuple[Cause, ...]) -> bool:
    """Return whether each cause is marked, and no other, in the same order."""
    keys = [cause.key for cause in held]
    return keys == [cause.key for cause in marked] and (
        len(keys) == 1 or len(set(keys)) == len(keys)
    )


_ALWAYS = (ALWAYS,)
