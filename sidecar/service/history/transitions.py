"""The entries that the state of a session gives: sign-ins, marks, their ends, its revocation.

All of them follow from the state and the standing, with their moments; so whichever sidecar looks
at it, and however often, finds the same under the same names. A mark is known by its policy and
the moment of its latest cause, its end by a proof likewise, an end by other means by the events
that brought it.

A state keeps of each policy its last mark alone. So that none is missed a session is looked at
after each event: as the view has it then, or folded up to the event's moment.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sidecar.domain.evaluation.decision import explain
from sidecar.domain.session.standing import Demand, Standing
from sidecar.domain.session.state import State
from sidecar.domain.sources.origin import Origins, together
from sidecar.domain.sources.source import OPERATOR_PREFIX
from sidecar.domain.values.assurance import Authentication, is_later
from sidecar.domain.values.stamp import MICROSECONDS
from sidecar.service.observations.observations import ClearReason
from sidecar.wire.history.entries import Entry, EntryKind


class LookedAt(NamedTuple):
    """A session as it is looked at, at `now` (microseconds).

    `session` is its identifier.
    """

    session: str
    state: State
    standing: Standing
    now: int


class Transition(NamedTuple):
    """One thing that became of a session: what it is known by, its moment, and how to say it."""

    key: tuple[object, ...]
    moment: int
    entry: Callable[[], Entry]


def transitions_of(looked: LookedAt, tried: frozenset[str]) -> Iterator[Transition]:
    """Yield all that the present state of a session still shows of what became of it.

    `tried` are the policies that are report-only.
    """
    if not looked.state.established:
        return
    for auth in looked.state.sign_ins:
        if auth.auth_time or auth.acr or auth.amr:  # else who said so may prove nothing
            yield _proof(looked, auth)
    for demand in (*looked.standing.demands, *looked.standing.tried):
        yield from _of_mark(looked, demand)
    yield from _ends(looked, tried)
    revoked = looked.standing.revoked
    if revoked is not None:
        since = revoked.since or looked.state.established
        yield Transition(
            (EntryKind.REVOKED, since),
            since,
            lambda: Entry(
                kind=EntryKind.REVOKED, session=looked.session, text=revoked.value, by=revoked.by
            ),
        )


def _proof(looked: LookedAt, auth: Authentication) -> Transition:
    moment = auth.auth_time * MICROSECONDS if auth.auth_time else looked.state.established
    return Transition(
        (EntryKind.PROOF, auth.auth_time, auth.acr, auth.amr),
        moment,
        lambda: Entry(
            kind=EntryKind.PROOF,
            session=looked.session,
            text=f"signed in with {_means(auth) or 'a method that is not known'}",
            device=looked.state.device,
        ),
    )


def _means(auth: Authentication) -> str:
    methods = " and ".join(auth.amr)
    return f"{auth.acr} ({methods})" if auth.acr and methods else auth.acr or methods


def _of_mark(looked: LookedAt, demand: Demand) -> Iterator[Transition]:
    """Yield a mark that a sign-in is yet to meet."""
    if not demand.is_mark or demand.is_met(looked.now / MICROSECONDS):
        return
    since = looked.state.established if demand.since is None else demand.since
    by = together(cause.by for cause in demand.causes if cause.since == demand.since)
    yield Transition(
        (EntryKind.MARKED, demand.policy, since),
        since,
        lambda: Entry(
            kind=EntryKind.MARKED,
            session=looked.session,
            policy=demand.policy,
            signal=demand.signal,
            text=explain(demand),
            contexts=tuple(sorted(demand.contexts.include or ())),
            by=by,
            report_only=demand.report_only,
        ),
    )


def _ends(looked: LookedAt, tried: frozenset[str]) -> Iterator[Transition]:
    """Yield the ends of marks: by a sign-in, by an operator, or as their condition went away."""
    state, standing = looked.state, looked.standing
    now = looked.now / MICROSECONDS
    demands = (*standing.demands, *standing.tried)
    unmet = {demand.policy for demand in demands if not demand.is_met(now)}
    for policy, activation in state.activations.items():
        if activation.mark:
            since = activation.since
            # What was there when the session began was met by the sign-in that began it.
            if policy in unmet or standing.revoked is not None or since is None:
                continue
            if since > state.established and _is_proven(state, since):
                yield _end(looked, policy, since, (), tried)
        elif activation.ended:
            since = activation.ended_since
            since = state.established if since is None else since
            yield _end(looked, policy, since, activation.ended, tried)


def _is_proven(state: State, since: int) -> bool:
    second = since // MICROSECONDS
    seconds = (*(one.auth_time for one in state.sign_ins), *state.shown_contexts.values())
    return any(is_later(one, second) for one in seconds)


def _proven_at(state: State, since: int) -> int:
    """Return when a mark was proven: at the end of the second of the first later sign-in.

    Sign-ins are known by their second; so what else happened in it, and the event that brought the
    proof, comes before.
    """
    seconds = (*(one.auth_time for one in state.sign_ins), *state.shown_contexts.values())
    later = [one for one in seconds if is_later(one, since // MICROSECONDS)]
    return (min(later, default=since // MICROSECONDS) + 1) * MICROSECONDS - 1


def _end(
    looked: LookedAt, policy: str, since: int, ended: Origins, tried: frozenset[str]
) -> Transition:
    state = looked.state
    if any(source.startswith(OPERATOR_PREFIX) for source, _ in ended):
        reason = ClearReason.OPERATOR
    elif _is_proven(state, since):
        reason = ClearReason.PROOF
    elif since < state.cleared:
        reason = ClearReason.OPERATOR
    else:
        reason = ClearReason.WITHDRAWN
    # Of the event that is the state's last its moment is known; else it was found just now.
    moment = state.last.time if _is_of(ended, state.last.id) else looked.now
    if reason is ClearReason.PROOF:
        moment = _proven_at(state, since)
    return Transition(
        (EntryKind.CLEARED, policy, since),
        moment,
        lambda: Entry(
            kind=EntryKind.CLEARED,
            session=looked.session,
            policy=policy,
            what=reason.value,
            by=ended,
            report_only=policy in tried,
        ),
    )


def _is_of(origins: Origins, event: str) -> bool:
    return any(one == event for _, one in origins)
