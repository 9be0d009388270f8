"""One policy set under way through a recording, and the same under other thresholds.

A threshold's curve asks what would be if it were elsewhere. Each of its values is a policy set of
its own; but sessions are the same under both until the varied policy holds otherwise, and most
never part. So the varied policy is evaluated beside the present one on one state (a *shadow*),
and a session is forked where the two first differ. tests/service/test_replay_curves.py holds this
to a replay of its own for each value.
"""

import heapq
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sidecar.domain.evaluation import dependencies
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.facts.fact_kinds import (
    AgentSeen,
    AssuranceLowered,
    ComplianceReported,
    Fact,
    PlaceProven,
    Revoked,
    Seen,
    Sighted,
    SignedIn,
)
from sidecar.domain.policy.conditional_access import Policy
from sidecar.domain.session.fold import apply
from sidecar.domain.session.presented import Alone, always_alone
from sidecar.domain.session.state import PLACES_BOUND, State
from sidecar.domain.values.places import proof_key
from sidecar.domain.values.stamp import Stamp
from sidecar.tuning.recording.occurrences import RecordedCall
from sidecar.tuning.replay.passage import Moment, Observer, Passage, PassageModel, Walker
from sidecar.tuning.replay.thresholds import Value
from sidecar.tuning.replay.timeline import Life, SessionDelivery
from sidecar.wire.routes.routes import Routes

RISK = "risk"
"""Stands for the risk levels' own thresholds among those of policies."""

BASE = -1
"""Stands for the policy set as it is, among its variants."""

_SEEN_IN_STANDING: frozenset[type[Fact]] = frozenset(
    {AssuranceLowered, ComplianceReported, Revoked}
)

QUIET: frozenset[type[Fact]] = frozenset({AgentSeen, Seen, Sighted})
"""Facts that a standing depends on through activations alone."""

_CALLS_BOUND = 65536


class Variant(NamedTuple):
    """The policy set with a threshold at another value; `curve` is the place of its curve.

    `shadow` names the varied policy in `shadows`, `policy` the present one; empty where sessions
    differ from their start, as they may where a risk level begins elsewhere.
    """

    curve: int
    value: Value
    evaluator: IncrementalEvaluator
    policy: str = ""
    shadow: str = ""


class CurveOf(NamedTuple):
    """The threshold that a curve varies: a policy's or `RISK`'s; its kind and present value."""

    policy: str
    kind: str
    current: Value
    report_only: bool = False

    @property
    def counted(self) -> str:
        """The policy whose triggers and detections count; empty: all policies'."""
        return "" if self.policy == RISK else self.policy


class PolicySet(NamedTuple):
    """Policies to replay under, compiled; `policies` with those that are disabled.

    `alone`: whether calls are judged by their own token alone. `aliases`: contexts by other names.
    """

    name: str
    evaluator: IncrementalEvaluator
    policies: tuple[Policy, ...]
    routes: Routes
    app: str = ""
    curves: tuple[CurveOf, ...] = ()
    variants: tuple[Variant, ...] = ()
    shadows: IncrementalEvaluator | None = None
    alone: Alone = always_alone
    aliases: Mapping[str, str] = MappingProxyType({})


class Run:
    """One policy set under way. `index` is its place in each session's `passages`."""

    def __init__(
        self,
        policies: PolicySet,
        index: int,
        model: PassageModel,
        observer: Observer,
        silent: Observer,
    ) -> None:
        self.policies = policies
        self._index = index
        alone = policies.alone
        self._walkers = [Walker(v.evaluator, model, silent, alone) for v in policies.variants]
        self._walkers.append(Walker(policies.evaluator, model, observer, alone))  # at BASE
        self._due: list[tuple[int, int, Life, int]] = []
        self._proven: dict[tuple[int, str], dict[str, PlaceProven]] = {}
        self._count = 0
        self._contexts: dict[RecordedCall, frozenset[str]] = {}

    def deliver(self, delivery: SessionDelivery, moment: Moment) -> None:
        """Fold facts into a session, and see what has become of it."""
        life, facts, history = delivery
        if not facts and not history:
            return
        passage = life.passages[self._index]
        if passage is None:
            passage = self._begin(life, [*history, *facts])
            for at, twin in passage.twins(BASE):
                self._look(life, twin, moment, at)
            return
        if facts and facts[0].stamp <= passage.state.last:
            return  # a sign-in answered in the very microsecond; the next fact says as much
        changed = [
            (at, twin)
            for at, twin in passage.twins(BASE)
            if self._step(life, twin, facts, history, at) or moment.attack
        ]
        for at in self._part(life, passage):
            self._look(life, passage.forks[at], moment, at)
        for at, twin in changed:
            self._look(life, twin, moment, at)

    def call(self, life: Life, call: RecordedCall, moment: Moment) -> None:
        """Judge a call of a session."""
        passage = life.passages[self._index]
        if passage is None:
            return
        contexts = self.contexts_of(call)
        for at, twin in passage.twins(BASE):
            due = twin.answer_at
            self._walkers[at].call(life, twin, contexts, moment)
            self._expect(life, twin, due, at)

    def contexts_of(self, call: RecordedCall) -> frozenset[str]:
        """Return the authentication contexts of a call: those it names, and those of the routes."""
        contexts = self._contexts.get(call)
        if contexts is None:
            if len(self._contexts) >= _CALLS_BOUND:
                self._contexts.clear()
            aliases = self.policies.aliases
            contexts = frozenset(aliases.get(name, name) for name in call.contexts)
            if call.path:
                found = self.policies.routes.match(call.method, call.host, call.path)
                contexts |= frozenset(found)
            self._contexts[call] = contexts
        return contexts

    def answers(self, until: int) -> None:
        """Let the sign-ins come that are due by `until` (microseconds)."""
        while self._due and self._due[0][0] <= until:
            now, _, life, at = heapq.heappop(self._due)
            passage = life.passages[self._index]
            if passage is not None:
                self._answer(life, passage, now, at)

    def _answer(self, life: Life, passage: Passage, now: int, at: int) -> None:
        twin = passage if at == BASE else passage.forks[at]
        if twin.answer_at != now:
            return  # a recorded sign-in came first
        facts = self._walkers[at].answer(twin)
        if facts[0].stamp <= twin.state.last:
            return
        moment = Moment(now, self.policies.app or life.app, attack=False)
        self._step(life, twin, facts, (), at)
        if at == BASE:
            for parted in self._part(life, passage):
                self._look(life, passage.forks[parted], moment, parted)
        self._look(life, twin, moment, at)

    def _begin(self, life: Life, facts: Sequence[Fact]) -> Passage:
        evaluator, base = self.policies.evaluator, self._proven.get((BASE, life.user), {})
        known = [*base.values(), *facts]
        passage = _folded(evaluator, life, known)
        life.passages[self._index] = passage
        if self.policies.shadows is not None:
            passage.state.activations |= self.policies.shadows.fold(
                life.session, known, issuer=life.issuer
            ).activations
        for at, variant in enumerate(self.policies.variants):
            proven = self._proven.get((at, life.user), base)
            if not variant.shadow or proven != base:
                passage.forks[at] = _folded(variant.evaluator, life, [*proven.values(), *facts])
        for at, _ in passage.twins(BASE):
            self._remember(life, passage, State(), facts, at)
        self._part(life, passage)
        return passage

    def _remember(
        self, life: Life, passage: Passage, state: State, facts: Sequence[Fact], at: int
    ) -> None:
        """Keep what sign-ins prove for the user's later sessions.

        Under another threshold it is the same, until a session that has parted proves otherwise.
        """
        if not life.user:
            return
        signed_in = [fact for fact in facts if isinstance(fact, SignedIn)]
        evaluator = self._walkers[at].evaluator
        found = [place for one in signed_in for place in evaluator.proven_by(state, one)]
        if not found:
            return
        base = self._proven.setdefault((BASE, life.user), {})
        concerned = [at]
        if at == BASE:
            for other in range(len(self.policies.variants)):
                if other in passage.forks:
                    self._proven.setdefault((other, life.user), dict(base))
                elif (other, life.user) in self._proven:
                    concerned.append(other)
        for one in concerned:
            _keep(self._proven.setdefault((one, life.user), dict(base)), found)

    def _step(
        self, life: Life, passage: Passage, facts: Sequence[Fact], history: Sequence[Fact], at: int
    ) -> bool:
        """Fold facts into a passage; return whether there may be something to report."""
        walker = self._walkers[at]
        state = passage.state
        held = dict(state.activations)
        device = state.device
        shadows = self.policies.shadows if at == BASE else None
        kinds = set(map(type, facts))
        if SignedIn in kinds:
            self._remember(life, passage, state, facts, at)
        if history:
            _recall(passage, history)
        if facts:
            _fold(walker.evaluator, shadows, passage, facts)
        if history:
            _conclude(walker.evaluator, shadows, passage, dependencies.EVERYTHING)
        if SignedIn in kinds:
            passage.signed_in()
        changed = state.activations != held or state.device != device
        if changed or history or not kinds <= QUIET:
            passage.standing = None
        return changed or not kinds.isdisjoint(_SEEN_IN_STANDING)

    def _part(self, life: Life, passage: Passage) -> list[int]:
        """Part from the thresholds under which their policy now holds otherwise."""
        parted: list[int] = []
        if not self.policies.variants:
            return parted
        activations = passage.state.activations
        for at, variant in enumerate(self.policies.variants):
            if not variant.shadow or at in passage.forks:
                continue
            shadow = activations[variant.shadow]
            if shadow == activations[variant.policy]:
                continue
            twin = passage.forks[at] = passage.fork()
            for other in self.policies.variants:
                twin.state.activations.pop(other.shadow, None)
            twin.state.activations[variant.policy] = shadow
            twin.standing = None
            self._expect(life, twin, 0, at)
            parted.append(at)
        return parted

    def _look(self, life: Life, passage: Passage, moment: Moment, at: int) -> None:
        due = passage.answer_at
        self._walkers[at].look(life, passage, moment)
        self._expect(life, passage, due, at)

    def _expect(self, life: Life, passage: Passage, due: int, at: int) -> None:
        """Have the answer come when it is due, if there was none before (`due`)."""
        if passage.answer_at not in {0, due}:
            self._count += 1
            heapq.heappush(self._due, (passage.answer_at, self._count, life, at))


def _keep(kept: dict[str, PlaceProven], found: Sequence[PlaceProven]) -> None:
    for place in found:
        key = proof_key(place)
        kept.pop(key, None)
        kept[key] = place
    while len(kept) > PLACES_BOUND:
        kept.pop(next(iter(kept)))


def _folded(evaluator: IncrementalEvaluator, life: Life, facts: Sequence[Fact]) -> Passage:
    state = evaluator.fold(life.session, facts, issuer=life.issuer)
    return Passage(state, evaluator.surroundings(life.session))


def _stamp(fact: Fact) -> Stamp:
    return fact.stamp


def _recall(passage: Passage, history: Sequence[Fact]) -> None:
    """Take up what is older than the state: facts of a device or user new to the session."""
    latest = passage.state.last
    for fact in sorted(history, key=_stamp):
        apply(passage.state, [fact], passage.around)
    passage.state.last = latest


def _fold(
    evaluator: IncrementalEvaluator,
    shadows: IncrementalEvaluator | None,
    passage: Passage,
    facts: Sequence[Fact],
) -> None:
    """Fold facts into a passage, and evaluate the policies and beside them their shadows."""
    state, moment = passage.state, facts[0].stamp.time
    evaluator.begin(state, moment)
    if shadows is not None:
        shadows.begin(state, moment)
    was = dependencies.before(state)
    apply(state, facts, passage.around)
    _conclude(evaluator, shadows, passage, dependencies.changes(was, state, facts))


def _conclude(
    evaluator: IncrementalEvaluator,
    shadows: IncrementalEvaluator | None,
    passage: Passage,
    changed: dependencies.Parts,
) -> None:
    state = passage.state
    moment = state.last.time
    evaluator.conclude(state, moment, changed)
    if shadows is not None:
        shadows.conclude(state, moment, changed)
