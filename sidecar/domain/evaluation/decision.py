"""Decides about a call by the standing of its session: contract, "Meaning" 3 and 6."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from sidecar.domain.policy.policy import ROUTINE, Selection
from sidecar.domain.session.lifetime import LIFETIME
from sidecar.domain.session.single_use import EMPTY, Due, SingleUseProofs, due
from sidecar.domain.session.standing import Demand, Standing
from sidecar.domain.session.state import Cause, said_by
from sidecar.domain.values import moments
from sidecar.domain.values.assurance import Ladder
from sidecar.domain.values.stamp import MICROSECONDS


class Verdict(StrEnum):
    """The three verdicts of a check."""

    ALLOW = "allow"
    STEP_UP = "step_up"
    DENY = "deny"


class Decision(msgspec.Struct, frozen=True):
    """A verdict about a call, and the demands that decided it.

    `acr_values` and `max_age` (seconds) are what the identity provider must be asked for;
    `pending`: there are marks in other contexts than the call's, or some that do not bind yet;
    `contexts` are those of the call that ask. `uses_proof`: it passes if it is the one to spend its
    proof, see `single_use`.
    """

    verdict: Verdict
    revoked: bool = False
    pending: bool = False
    demands: tuple[Demand, ...] = ()
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    contexts: frozenset[str] = frozenset()
    uses_proof: bool = False


ALLOW = Decision(Verdict.ALLOW)
ALLOW_PENDING = Decision(Verdict.ALLOW, pending=True)


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
        return Decision(Verdict.DENY, revoked=True)
    if not standing.demands:
        return ALLOW
    return judge(standing.demands, access, ladder)


def judge(demands: tuple[Demand, ...], access: AccessRequest, ladder: Ladder) -> Decision:
    """Join the demands: block beats step-up beats allow, the strongest and shortest win."""
    app, contexts, now, proofs = access
    asked: list[Demand] = []
    pending = uses_proof = False
    for demand in demands:
        if app not in demand.apps or (demand.each_call is None and demand.is_met(now)):
            continue
        concerns = demand.binds(now) and covers(demand.contexts, contexts, block=demand.block)
        if concerns and demand.each_call is not None:
            outcome = due(demand.each_call, proofs, now)
            uses_proof = uses_proof or outcome is Due.SPENDABLE
            if outcome is Due.ASKED:
                asked.append(demand)
        elif concerns and not (demand.met_in and demand.is_met_in(contexts, now)):
            asked.append(demand)
        elif not demand.is_met(now):
            pending = pending or demand.is_mark
    if not asked:
        if uses_proof:
            return Decision(Verdict.ALLOW, pending=pending, uses_proof=True)
        return ALLOW_PENDING if pending else ALLOW
    # A sign-in cannot lift a refusal, so nobody is asked for one where any demand refuses.
    if any(demand.block or demand.unsatisfiable for demand in asked):
        refusing = tuple(d for d in asked if d.block or d.unsatisfiable)
        return Decision(Verdict.DENY, pending=pending, demands=refusing)
    return Decision(
        Verdict.STEP_UP,
        pending=pending,
        demands=tuple(asked),
        acr_values=ladder.acr_values([each for demand in asked for each in demand.missing(now)]),
        max_age=_max_age(asked, now),
        contexts=frozenset(
            context
            for context in contexts
            for demand in asked
            if context in demand.contexts
            and not (demand.met_in and demand.is_met_in(frozenset((context,)), now))
        ),
    )


def covers(selection: Selection, contexts: frozenset[str], *, block: bool) -> bool:
    """Return whether a policy for `selection` concerns a call in `contexts` (empty: routine)."""
    if contexts:
        return any(context in selection for context in contexts)
    return _covers_routine(selection, block=block)


def _covers_routine(selection: Selection, *, block: bool) -> bool:
    """Return whether a policy names `routine`, or blocks without naming any context."""
    if selection.include is None:
        return block and ROUTINE not in selection.exclude
    return ROUTINE in selection


def _max_age(demands: list[Demand], now: float) -> int | None:
    """Return the age in seconds that a sign-in may have at most to meet all (RFC 9470, 3).

    A mark set in second m asks for a sign-in in second m + 1 or later: as of now, one that is
    no older than now - (m + 1).
    """
    ages = [demand.max_age for demand in demands if demand.max_age is not None]
    ages.extend(
        max(0, int(now) - demand.since // MICROSECONDS - 1)
        for demand in demands
        if demand.since is not None
    )
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
