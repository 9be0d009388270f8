"""One session under one policy set, and the user in it: marks, challenges and responses.

The daemon's rules decide; what is added here is a model of the user. A challenge is answered
`answer_after` seconds later by a sign-in that suffices for what was asked; while it is on its way
there is no second prompt. A call that is labelled an attack is never answered.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sidecar.domain.evaluation.decision import AccessRequest, Decision, Verdict, decide, judge
from sidecar.domain.evaluation.incremental import IncrementalEvaluator
from sidecar.domain.explanation.explain import proofs_of
from sidecar.domain.facts.fact_kinds import Fact, SignedIn
from sidecar.domain.session.fold import Surroundings, came_from
from sidecar.domain.session.presented import Alone, Presented, always_alone
from sidecar.domain.session.single_use import EMPTY, keep_spent
from sidecar.domain.session.standing import Demand, Standing
from sidecar.domain.session.state import SpentHeld, State
from sidecar.domain.values.assurance import Authentication, Requirement
from sidecar.domain.values.stamp import MICROSECONDS, Stamp
from sidecar.tuning.replay.timeline import Life

Key = tuple[str, int | None]
"""A demand: its policy, and since when."""


class Passage:
    """A session under a policy set: its state, what was reported and asked of it, and counts.

    `answer_at` (microseconds) is when a sign-in is due, 0 for none, `answer_with` what it must
    show, and `answered` the last one that was made; `asked` are demands that
    nobody answers, `refused` and `tried` those that were counted already. `asked_by` are the
    policies that had a part in asking, `would` what report-only ones would have done. `forks` are
    its twins under other thresholds, from where they part. `standing` is the last one that was
    found, where nothing has come since that it depends on but the time.
    """

    __slots__ = (
        "answer_at",
        "answer_with",
        "answered",
        "around",
        "asked",
        "asked_by",
        "detected",
        "forks",
        "marked_at",
        "prompts",
        "refusals",
        "refused",
        "reported",
        "standing",
        "state",
        "tried",
        "triggers",
        "would",
    )

    def __init__(self, state: State, around: Surroundings) -> None:
        self.state = state
        self.around = around
        self.reported: dict[str, int] = {}
        self.marked_at: dict[str, int] = {}
        self.answer_at = 0
        self.answer_with: tuple[Requirement, ...] = ()
        self.answered: Authentication | None = None
        self.asked: set[Key] = set()
        self.refused: set[Key] = set()
        self.tried: set[Key] = set()
        self.asked_by: set[str] = set()
        self.detected: set[str] = set()
        self.prompts = 0
        self.refusals = 0
        self.triggers: Counter[str] = Counter()
        self.would: Counter[tuple[str, Verdict]] = Counter()
        self.forks: dict[int, Passage] = {}
        self.standing: Standing | None = None

    def fork(self) -> "Passage":
        """Return a twin that goes its own way from here on."""
        twin = Passage(self.state.copy(), self.around)
        twin.reported, twin.marked_at = dict(self.reported), dict(self.marked_at)
        twin.answer_at, twin.answer_with = self.answer_at, self.answer_with
        twin.answered = self.answered
        twin.asked, twin.refused, twin.tried = set(self.asked), set(self.refused), set(self.tried)
        twin.asked_by, twin.detected = set(self.asked_by), set(self.detected)
        twin.prompts, twin.refusals = self.prompts, self.refusals
        twin.triggers, twin.would = Counter(self.triggers), Counter(self.would)
        return twin

    def signed_in(self) -> None:
        """Take a recorded sign-in for the answer to a challenge."""
        self.asked.clear()
        self.answer_at = 0

    def twins(self, base: int) -> list[tuple[int, "Passage"]]:
        """Itself, as `base`, and its forks."""
        return [(base, self), *self.forks.items()] if self.forks else [(base, self)]


class Trigger(NamedTuple):
    """A policy marked a session, for the `first` time; or `soon` after it did so before."""

    life: Life
    demand: Demand
    now: int
    first: bool
    soon: bool


class Observer(Protocol):
    """Whatever counts what happens in a replay."""

    def triggered(self, trigger: Trigger) -> None:
        """Count that a policy marked a session, or would have."""

    def prompted(self, life: Life, demands: Sequence[Demand], now: int) -> None:
        """Count that the user was asked to sign in again."""

    def answered(self) -> None:
        """Count that the user signed in again."""

    def refused(self, demands: Sequence[Demand]) -> None:
        """Count that a session was refused, by demands that had not refused it before."""

    def judged(self, decision: Decision, asking: Sequence[Demand]) -> None:
        """Count a judged call; `asking` are all demands, report-only ones too, that applied."""

    def would(self, verdict: Verdict, demand: Demand) -> None:
        """Count that a report-only policy would have asked or refused, where it had not before."""


class PassageModel(NamedTuple):
    """The model of the user: see `tuning.report.report.UserModel`. Durations in microseconds."""

    at_mark: bool = False
    answers: bool = True
    answer_after: int = 20 * MICROSECONDS
    flap_within: int = 1800 * MICROSECONDS


class Moment(NamedTuple):
    """A time (microseconds), the app in use, and whether an attack is under way.

    `own` is the sign-in that a call's token showed, as recorded; None: that is not known.
    """

    now: int
    app: str
    attack: bool
    own: Authentication | None = None


class Walker:
    """Moves passages forward under one policy set."""

    def __init__(
        self,
        evaluator: IncrementalEvaluator,
        model: PassageModel,
        observer: Observer,
        alone: Alone = always_alone,
    ) -> None:
        self.evaluator = evaluator
        self.observer = observer
        self._model = model
        self._alone = alone
        self._ladder = evaluator.world.ladder

    def look(self, life: Life, passage: Passage, moment: Moment) -> Standing:
        """Return the session's standing now; report its new marks, and ask about them."""
        standing = self._standing(passage, moment.now)
        if not standing.enforced and not standing.on_trial and standing.revoked is None:
            return standing
        fresh = self._report(life, passage, standing, moment.now)
        if moment.attack:
            self._detect(passage, standing, fresh, moment.now)
        if fresh and self._model.at_mark:
            self._ask_at_mark(life, passage, standing, fresh, moment)
        return standing

    def _standing(self, passage: Passage, now: int) -> Standing:
        state, kept = passage.state, passage.standing
        is_steady = self.evaluator.at(state, now) is state
        if kept is not None and is_steady:
            return kept
        standing = self.evaluator.standing(state, now)
        # What an operator asks for may depend on the time by itself.
        passage.standing = standing if is_steady and not state.asked else None
        return standing

    def _report(self, life: Life, passage: Passage, standing: Standing, now: int) -> list[Demand]:
        """Report and return new marks, by the rule of `service.audit.entries`.

        Each policy's moment grows. What is always required is no mark: it is asked for where it is
        called for.
        """
        fresh = []
        seconds = now / MICROSECONDS
        for demand in (*standing.demands, *standing.tried):
            if demand.is_met(seconds) or not demand.is_mark:
                continue
            moment = passage.state.established if demand.since is None else demand.since
            if passage.reported.get(demand.policy, -1) >= moment:
                continue
            passage.reported[demand.policy] = moment
            last = passage.marked_at.get(demand.policy)
            soon = last is not None and now - last <= self._model.flap_within
            passage.marked_at[demand.policy] = now
            passage.triggers[demand.policy] += 1
            self.observer.triggered(Trigger(life, demand, now, last is None, soon))
            fresh.append(demand)
        return fresh

    def _detect(
        self, passage: Passage, standing: Standing, fresh: Sequence[Demand], now: int
    ) -> None:
        """Note that an attack is detected: by its new marks, or by all unmet ones at a mark.

        "" stands for the enforced policies together.
        """
        waiting = fresh
        if self._model.at_mark:
            seconds = now / MICROSECONDS
            demands = (*standing.demands, *standing.tried)
            waiting = [d for d in demands if d.is_mark and not d.is_met(seconds)]
            if standing.revoked is not None:
                passage.detected.add("")
        passage.detected.update(demand.policy for demand in waiting)
        if not all(demand.report_only for demand in waiting):
            passage.detected.add("")

    def _ask_at_mark(
        self,
        life: Life,
        passage: Passage,
        standing: Standing,
        fresh: Sequence[Demand],
        moment: Moment,
    ) -> None:
        seconds = moment.now / MICROSECONDS
        unmet = [
            demand
            for demand in (*standing.demands, *standing.tried)
            if demand.is_mark and moment.app in demand.apps and not demand.is_met(seconds)
        ]
        asking = [demand for demand in unmet if not demand.report_only]
        refusing = [demand for demand in asking if demand.block or demand.unsatisfiable]
        verdict = Verdict.ALLOW
        if asking:
            verdict = Verdict.DENY if refusing else Verdict.STEP_UP
        if unmet:
            self.observer.judged(Decision(verdict), unmet)
        if any(d.report_only for d in fresh):
            self._try(passage, [d for d in unmet if d.report_only])
        if any(not d.report_only for d in fresh):
            self._decide(life, passage, verdict, refusing or asking, moment)

    def call(self, life: Life, passage: Passage, contexts: frozenset[str], moment: Moment) -> None:
        """Judge a call as the daemon does, and have the user act on the answer."""
        standing = self.look(life, passage, moment)
        state = passage.state
        own = _own(passage, moment)
        if own is not None and (own,) != state.sign_ins:
            presented = Presented(own, alone=self._alone(moment.app))
            standing = self.evaluator.standing(state, moment.now, presented=presented)
        proofs = proofs_of(self.evaluator, state, own) if standing.asks_each_call else EMPTY
        access = AccessRequest(moment.app, contexts, moment.now / MICROSECONDS, proofs)
        decision = decide(standing, access, self._ladder)
        allowed = decision.verdict is Verdict.ALLOW  # then none of them asks
        asking = [] if allowed else [d for d in standing.demands if self._asks(d, access)]
        trying = [d for d in standing.tried if self._asks(d, access)]
        if decision.uses_proof and proofs.proof is not None:
            keep_spent(state, proofs.proof.known_by, SpentHeld("", moment.now))
            passage.standing = None
        self.observer.judged(decision, [*asking, *trying])
        if trying:
            self._try(passage, trying)
        if moment.attack and decision.verdict is not Verdict.ALLOW:
            passage.detected.add("")
        if moment.attack:
            passage.detected.update(demand.policy for demand in (*asking, *trying))
        self._decide(life, passage, decision.verdict, decision.demands, moment)

    def _asks(self, demand: Demand, access: AccessRequest) -> bool:
        return judge((demand,), access, self._ladder).verdict is not Verdict.ALLOW

    def _try(self, passage: Passage, trying: Sequence[Demand]) -> None:
        new = [d for d in trying if (d.policy, d.since) not in passage.tried]
        passage.tried.update((d.policy, d.since) for d in new)
        for demand in new:
            refuses = demand.block or demand.unsatisfiable
            verdict = Verdict.DENY if refuses else Verdict.STEP_UP
            passage.would[demand.policy, verdict] += 1
            passage.asked_by.add(demand.policy)
            self.observer.would(verdict, demand)

    def _decide(
        self,
        life: Life,
        passage: Passage,
        verdict: Verdict,
        demands: Sequence[Demand],
        moment: Moment,
    ) -> None:
        if not demands or verdict is Verdict.ALLOW:
            return
        keys = {(demand.policy, demand.since) for demand in demands}
        passage.asked_by.update(demand.policy for demand in demands)
        if verdict is Verdict.DENY:
            if not keys <= passage.refused:
                passage.refused |= keys
                passage.refusals += 1
                self.observer.refused(demands)
            return
        if passage.answer_at or keys <= passage.asked:
            return
        passage.prompts += 1
        self.observer.prompted(life, demands, moment.now)
        if self._model.answers and not moment.attack:
            passage.answer_at = moment.now + self._model.answer_after
            seconds = moment.now / MICROSECONDS
            passage.answer_with = tuple(r for d in demands for r in d.missing(seconds))
        else:
            passage.asked |= keys

    def answer(self, passage: Passage) -> list[Fact]:
        """Return the sign-in that is due, as a fact."""
        at, passage.answer_at = passage.answer_at, 0
        ranks = [self._ladder.rank(a.acr, a.amr) for a in passage.state.sign_ins[:1]]
        acr, amr = self._ladder.answer(passage.answer_with, max(ranks, default=0))
        passage.asked.clear()
        self.observer.answered()
        shown = passage.answered = Authentication(at // MICROSECONDS, acr, amr)
        came = came_from(passage.state)
        return [SignedIn(stamp=Stamp(at, ""), authentication=shown, shown_with=came)]


def _own(passage: Passage, moment: Moment) -> Authentication | None:
    """Return the sign-in by which a call is judged: that of its token.

    An attacker shows what was recorded. A user's client has the newest token: that of an answer
    which nobody recorded, if it is the later one; where no sign-in was recorded with the call, that
    of the session's latest one.
    """
    recorded, answered = moment.own, passage.answered
    if moment.attack:
        return recorded
    if recorded is None:
        return next(iter(passage.state.sign_ins), None)
    later = answered is not None and answered.auth_time > recorded.auth_time
    return answered if later else recorded
