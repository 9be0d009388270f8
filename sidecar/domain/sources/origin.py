"""Origins: the events that brought something about.

A moment is no event: any source may give its own events the moment of another's, and their id as
well. So what was brought about is known by the events, each with the source that sent it.

A cause that was there before the session's first call is not known by its event, as nobody was
marked by it then: its source and its moment stand for that, which only this source can share.
"""

from collections.abc import Iterable
from typing import TypeAlias

from sidecar.domain.facts.fact_kinds import Fact

Origins: TypeAlias = tuple[tuple[str, str], ...]
"""Sources, sorted, and of each the id of its event; of several of one source the greatest."""


def origins_of(facts: Iterable[Fact]) -> Origins:
    """Return the events that facts are of."""
    return together(((fact.source, fact.stamp.id),) for fact in facts)


def together(several: Iterable[Origins]) -> Origins:
    """Join origins: in whatever order, and however often each, the result is the same."""
    latest: dict[str, str] = {}
    for origins in several:
        for source, event in origins:
            latest[source] = max(event, latest.get(source, ""))
    return tuple(sorted(latest.items()))
