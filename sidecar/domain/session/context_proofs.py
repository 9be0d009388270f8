"""Proof by authentication context: an identity provider says itself that a context is satisfied.

Entra lists in a token's `acrs` the authentication contexts whose policies it has just enforced.
Where an issuer is trusted with that (docs/decisions/0020), such a token meets what is asked of a
session *in those contexts*, and there only: it is no sign-in, so it shows no assurance, proves no
circumstance and makes no revocation good.
"""

from collections.abc import Iterator, Mapping

import msgspec

from sidecar.domain.facts.first_shown import context_counted, show_context
from sidecar.domain.session.standing import FOR_GOOD, Demand, Evidence
from sidecar.domain.session.state import State
from sidecar.domain.values.assurance import is_later
from sidecar.domain.values.stamp import MICROSECONDS


def keep_shown(state: State, contexts: tuple[str, ...], second: int, shown: int) -> None:
    """Keep as of when each context was shown last, here in second `shown`; `state` changes."""
    for context in contexts:
        before = context_counted(state, context, second)
        counts = show_context(state, context, second, shown)
        known = state.shown_contexts.get(context, 0)
        if counts < before == known:  # it was shown before already: that showing came late
            known = 0
        state.shown_contexts[context] = max(counts, known)


def credited(demand: Demand, state: State, evidence: Evidence) -> Demand | None:
    """Return the demand with the contexts that meet it; None where all of them do, for good.

    They are those that the token of a call shows itself, if it is judged by that alone.
    """
    shown: Mapping[str, int] = state.shown_contexts
    presented = evidence.presented
    if presented is not None and presented.alone:
        if not presented.contexts:
            return demand
        second = presented.contexts_at
        shown = {one: context_counted(state, one, second) for one in presented.contexts}
    if not shown or demand.block or demand.unsatisfiable or demand.each_call:
        return demand
    met = dict(_met(demand, _counting(state, shown), evidence.skew))
    if not met:
        return demand
    include = demand.contexts.include
    if demand.max_age is None and include is not None:
        concerned = include - demand.contexts.exclude
        if concerned and concerned <= met.keys():
            return None
    return msgspec.structs.replace(demand, met_in=tuple(sorted(met.items())))


def _counting(state: State, shown: Mapping[str, int]) -> Mapping[str, int]:
    """Return the contexts that were shown since the session's assurance was last lowered."""
    if not state.lowered:
        return shown
    # Whatever has been replaced is older than what has replaced it.
    since = max(said.at for said in state.lowered.values())
    return {c: at for c, at in shown.items() if at * MICROSECONDS > since}


def _met(demand: Demand, known: Mapping[str, int], skew: int) -> Iterator[tuple[str, int]]:
    second = None if demand.since is None else demand.since // MICROSECONDS
    for context, at in known.items():
        if context in demand.contexts and is_later(at, second, skew):
            yield context, FOR_GOOD if demand.max_age is None else at + demand.max_age
