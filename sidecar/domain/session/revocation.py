"""The latest revocation of each kind, and which events of its moment said so."""

from sidecar.domain.facts.fact_kinds import Fact
from sidecar.domain.session.state import Revocation, State
from sidecar.domain.sources.origin import origins_of, together


def revoke(state: State, fact: Fact, kind: str, reason: str) -> None:
    """Take up a revocation, unless a later one of its kind is known; `state` changes.

    Of two of one moment the one of the greater id gives the reason, in whatever order they come.
    """
    known = state.revocations.get(kind)
    moment, by = fact.stamp.time, origins_of([fact])
    if known is not None and (known.since or 0) > moment:
        return
    if known is not None and known.since == moment:
        greatest = max((event for _, event in known.by), default="")
        reason = known.value if fact.stamp.id < greatest else reason
        by = together((known.by, by))
    state.revocations[kind] = Revocation(reason, moment, by)
