"""Decides about a call by the standing of its session: contract, "Meaning" 3 and 6."""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from sidecar.domain.policy.conditional_access import ROUTINE, Selection
from sidecar.domain.session.lifetime import LIFETIME
from sidecar.domain.session.scene import ALWAYS
from sidecar.domain.session.single_use import EMPTY, Due, SingleUseProofs, due
from sidecar.domain.session.standing import AskedRequirement, Demand, Standing, each_of
from sidecar.domain.session.state import Cause, said_by
from sidecar.domain.values import moments
from sidecar.domain.values.assurance import Ladder
from sidecar.domain.values.stamp import MICROSECONDS


class Verdict(StrEnum):
    """The three verdicts of a check."""

    ALLOW = "allow"
    STEP_UP = "step_up"
    DENY = "deny"


class Decision(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A verdict about a call, and the demands that decided it.

    `acr_values` and `max_age` (seconds) are what the identity provider must be asked for;
    `pending`: there are marks in other contexts than the call's, or some that do not bind yet;
    `contexts` are those of the call that ask. `uses_proof`: it passes if it is the one to spend its
    proof, see `single_use`. In `asking`, policies that make the same demand make one.
    """

    verdict: Verdict
    revoked: bool = False
    pending: bool = False
    asking: tuple[Demand, ...] = ()
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    contexts: frozenset[str] = frozenset()
    uses_proof: bool = False

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The demands that decided it, each by itself."""
        return each_of(self.asking)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return self is other or (
            all(getattr(self, name) == getattr(other, name) for name in _COMPARED)
            and self.demands == other.demands
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # else msgspec would compare by identity

    def __hash__(self) -> int:
        return hash((self.verdict, self.acr_values, self.max_age, self.contexts))


_COMPARED = tuple(name for name in Decision.__struct_fields__ if name != "asking")


class Prepared(NamedTuple):
    """A decision by a standing and a ladder, with the moments (seconds) from and to which it holds.

    Both are moments at which it still holds.
    """

    decision: Decision
    ladder: Ladder
    since: float
    until: float

    def holds(self, now: float) -> bool:
        """Return whether it is what would be decided at `now`."""
        return self.since <= now <= self.until


ALLOW = Decision(Verdict.ALLOW)
ALLOW_PENDING = Decision(Verdict.ALLOW, pending=True)
REVOKED = Decision(Verdict.DENY, revoked=True)


class AccessRequest(NamedTuple):
    """The access that policies decide about: of an app, in contexts, at a moment.

    `contexts` empty: a routine call. `now` is in seconds. `proofs` are the single-use ones of the
    call.
    """

    app: str
    contexts: frozenset[str]
    now: float
    proofs: SingleUseProofs = EMPTY


def decide(standing: Standing, access: AccessRequest, ladder: Ladder) -> Decision:
    """Judge an access by the standing of its session."""
    if standing.revoked is not None:
        return REVOKED
    if not standing.enforced:
        return ALLOW
    app, contexts, now, proofs = access
    if proofs is not EMPTY:  # the proof of a call is its own: what it decides is asked once
        return judge(standing.enforced, access, ladder)
    kept = standing.prepared
    known = kept.get((app, contexts)) if kept is not None else None
    if isinstance(known, Prepared) and known.since <= now <= known.until and known.ladder is ladder:
        return known.decision
    return _prepare(standing, access, ladder).decision


def prepare(standing: Standing, access: AccessRequest, ladder: Ladder) -> Prepared:
    """Return what `decide` does of an access without a proof, and for how long it holds."""
    if standing.revoked is not None or not standing.enforced:
        return Prepared(decide(standing, access, ladder), ladder, -math.inf, math.inf)
    kept = standing.prepared
    known = kept.get((access.app, access.contexts)) if kept is not None else None
    if isinstance(known, Prepared) and known.holds(access.now) and known.ladder is ladder:
        return known
    return _prepare(standing, access, ladder)


def _prepare(standing: Standing, access: AccessRequest, ladder: Ladder) -> Prepared:
    outcomes = standing.outcomes
    if isinstance(outcomes, Outcomes) and outcomes.ladder is ladder:
        known = outcomes.of(standing.enforced, access)
    else:
        known = None
    if known is None:
        decision = judge(standing.enforced, access, ladder)
        until = min(last_moments(standing.enforced, decision, access), default=math.inf)
    else:
        decision, until = known
    made = Prepared(decision, ladder, access.now, until)
    standing.keep(access.app, access.contexts, made)
    return made


OUTCOMES_BOUND = 1024
"""Outcomes that an evaluator keeps; beyond that, all are found anew."""


class Outcome(NamedTuple):
    """Outcome of demands, whosever they are: a decision, but for the moments of their marks.

    `asking` are the places of those that decided it.
    """

    verdict: Verdict
    pending: bool
    asking: tuple[int, ...]
    acr_values: tuple[str, ...]
    contexts: frozenset[str]


class Outcomes:
    """Outcomes of demands, by the policies that make them, an app and contexts.

    Most demands are of one requirement, and no moment bears on whether they are met: which
    policies make them then says all, and `judge` is asked once for all sessions. `alone` is that
    requirement of each policy that may make such a demand.
    """

    __slots__ = ("_known", "alone", "ladder")

    def __init__(self, alone: Mapping[str, tuple[AskedRequirement, ...]], ladder: Ladder) -> None:
        self.alone = alone
        self.ladder = ladder
        self._known: dict[tuple[object, ...], Outcome] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(
        self, demands: tuple[Demand, ...], access: AccessRequest
    ) -> tuple[Decision, float] | None:
        """Return the decision, and until when (seconds) it holds; None: it is not so simple."""
        app, contexts, now, _ = access
        key: list[object] = [app, contexts]
        alone = self.alone
        for demand in demands:
            name = demand.policy
            if (
                demand.asks is not alone.get(name)
                or demand.valid_until
                or demand.met_in
                or demand.binds_from
            ):
                return None
            # What is always required is no mark, which matters where it waits.
            key.append(name if demand.causes != _ALWAYS else (name,))
        if now <= 0:
            return None
        asked = tuple(key)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= OUTCOMES_BOUND:
                self._known.clear()
            decision = judge(demands, access, self.ladder)
            self._known[asked] = _outcome(demands, decision)
            return decision, _until(decision, now)
        if known.verdict is _ALLOW:
            return (ALLOW_PENDING if known.pending else ALLOW), math.inf
        asking = tuple([demands[at] for at in known.asking])
        age = _max_age(asking, now)
        decision = Decision(
            known.verdict, False, known.pending, asking, known.acr_values, age, known.contexts
        )
        return decision, _until(decision, now)


def _until(decision: Decision, now: float) -> float:
    """Return until when a decision holds of which the age of a mark alone is what time changes."""
    return math.inf if decision.max_age is None else _just_before(math.floor(now) + 1)


_ALLOW = Verdict.ALLOW
_ALWAYS = (ALWAYS,)


def _outcome(demands: tuple[Demand, ...], decision: Decision) -> Outcome:
    asking = {id(demand) for demand in decision.asking}
    return Outcome(
        decision.verdict,
        decision.pending,
        tuple(at for at, demand in enumerate(demands) if id(demand) in asking),
        decision.acr_values,
        decision.contexts,
    )


def last_moments(
    demands: Iterable[Demand], decision: Decision, access: AccessRequest
) -> Iterable[float]:
    """Yield the last moments of what time will change of a decision: each thing that it reads."""
    app, now = access.app, access.now
    for demand in demands:
        if app not in demand.apps:
            continue
        if demand.valid_until >= now:
            yield demand.valid_until
        for _, until in demand.asks:
            if until >= now:
                yield until
        for _, until in demand.met_in:
            if until >= now:
                yield until
        if demand.binds_from > now:
            yield _just_before(demand.binds_from)
    # How old a sign-in may be that is later than a mark, grows by the second (`_max_age`).
    if any(demand.since is not None for demand in decision.asking):
        yield _just_before(math.floor(now) + 1)


def _just_before(moment: float) -> float:
    return math.nextafter(moment, -math.inf)


def needs_own_proof(standing: Standing, app: str, contexts: frozenset[str]) -> bool:
    """Return whether policies may ask a call of the app in these contexts for its own sign-in."""
    return any(
        app in demand.apps and covers(demand.contexts, contexts, block=demand.block)
        for demand in standing.of_each_call
    )


def judge(demands: tuple[Demand, ...], access: AccessRequest, ladder: Ladder) -> Decision:
    """Join the demands: block beats step-up beats allow, the strongest and shortest win."""
    app, contexts, now, proofs = access
    asked: list[Demand] = []
    pending = uses_proof = False
    for demand in demands:
        each_call, met = demand.each_call, now <= demand.valid_until
        if (met and each_call is None) or app not in demand.apps:
            continue
        concerns = now >= demand.binds_from and covers(
            demand.contexts, contexts, block=demand.block
        )
        if concerns and each_call is not None:
            outcome = due(each_call, proofs, now)
            uses_proof = uses_proof or outcome is Due.SPENDABLE
            if outcome is Due.ASKED:
                asked.append(demand)
        elif concerns and not (demand.met_in and demand.is_met_in(contexts, now)):
            asked.append(demand)
        elif not met:
            pending = pending or demand.is_mark
    if not asked:
        if uses_proof:
            return Decision(Verdict.ALLOW, pending=pending, uses_proof=True)
        return ALLOW_PENDING if pending else ALLOW
    # A sign-in cannot lift a refusal, so nobody is asked for one where any demand refuses.
    refusing = tuple([d for d in asked if d.block or d.unsatisfiable])
    if refusing:
        return Decision(Verdict.DENY, pending=pending, asking=refusing)
    return Decision(
        Verdict.STEP_UP,
        pending=pending,
        asking=tuple(asked),
        acr_values=ladder.acr_values([each for demand in asked for each in demand.missing(now)]),
        max_age=_max_age(asked, now),
        contexts=frozenset([one for one in contexts if _is_asked_in(one, asked, now)]),
    )


def _is_asked_in(context: str, asked: Iterable[Demand], now: float) -> bool:
    for demand in asked:
        if context in demand.contexts and not (
            demand.met_in and demand.is_met_in(frozenset((context,)), now)
        ):
            return True
    return False


def covers(selection: Selection, contexts: frozenset[str], *, block: bool) -> bool:
    """Return whether a policy for `selection` concerns a call in `contexts` (empty: routine)."""
    if contexts:
        return not selection.is_disjoint(contexts)
    return _covers_routine(selection, block=block)


def _covers_routine(selection: Selection, *, block: bool) -> bool:
    """Return whether a policy names `routine`, or blocks without naming any context."""
    if selection.include is None:
        return block and ROUTINE not in selection.exclude
    return ROUTINE in selection


def _max_age(demands: Sequence[Demand], now: float) -> int | None:
    """Return the age in seconds that a sign-in may have at most to meet all (RFC 9470, 3).

    A mark set in second m asks for a sign-in in second m + 1 or later: as of now, one that is
    no older than now - (m + 1).
    """
    ages = [demand.max_age for demand in demands if demand.max_age is not None]
    since = [demand.since for demand in demands if demand.since is not None]
    if since:
        ages.append(max(0, int(now) - max(since) // MICROSECONDS - 1))
    return min(ages, default=None)


STANDINGS = ("clear", "step_up", "revoked")
"""The coarse standings by how strict they are."""


def coarse(standing: Standing, now: float) -> str:
    """Return a standing as `revoked`, `step_up` (a mark that binds is not met) or `clear`."""
    if standing.revoked is not None:
        return "revoked"
    return "step_up" if open_marks(standing, now) else "clear"


def open_marks(standing: Standing, now: float) -> list[Demand]:
    """Return the marks that bind a session and are not met at `now` (seconds).

    What a context requires at all times takes nothing from a session that never had it.
    """
    return [
        demand
        for demand in standing.demands
        if demand.is_mark and demand.binds(now) and not demand.is_met(now)
    ]


def describe(cause: Cause) -> str:
    """Describe a cause: `country is PT since 2026-11-24T10:00:00Z`."""
    if cause.kind == "always":
        return "required in this context"
    if cause.kind == LIFETIME and cause.since is not None:
        end = moments.iso(cause.since // MICROSECONDS)
        return f"the session ends {cause.value} after its sign-in: {end}"
    subject = cause.kind.replace("_", " ")
    text = (
        f"{subject} {cause.value}" if cause.kind == "time_of_day" else f"{subject}: {cause.value}"
    )
    text += said_by(cause.source)
    if cause.since is None:
        return f"{text}, since the sign-in"
    return f"{text}, since {moments.iso(cause.since // MICROSECONDS)}"


def explain(demand: Demand) -> str:
    """Describe a demand, for a challenge's reasons and the log."""
    text = _asked(demand)
    if demand.unknown:
        text += f"; the user's {' and '.join(demand.unknown)} are unknown"
    if demand.untimed:
        text += "; the token has no auth_time, and so proves nothing"
    return f"{text}; binding from {moments.iso(demand.binds_from)}" if demand.binds_from else text


def _asked(demand: Demand) -> str:
    causes = "; ".join(describe(cause) for cause in demand.causes)
    if demand.block:
        return f"blocked ({causes})"
    if demand.addressless:
        return f"the app must give the call's own address ({causes})"
    if demand.refuses_unknown:
        return f"it must be known whether the policy is for the user ({causes})"
    if demand.unsatisfiable:
        return f"a compliant device is required ({causes})"
    if demand.each_call is not None:
        return f"{causes}; every call needs a sign-in of its own"
    return causes
