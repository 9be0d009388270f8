"""Prepares what the page of a replay shows: its sets with their drawings, within bounds."""

from typing import NamedTuple

from sidecar.wire.console.replay_reports import (
    MOST_SETS,
    ReplayedPolicy,
    ReplayedSet,
    ReplayedThreshold,
    ReplayPlot,
    ReplayReport,
    over_days,
    over_threshold,
)

MOST_POLICIES = 60
MOST_THRESHOLDS = 12
FEW_STEPS = 60
"""Steps of the small drawing that each policy has."""


class ShownSet(NamedTuple):
    """A policy set and its drawings; `left` policies are not shown."""

    of: ReplayedSet
    over_days: ReplayPlot | None
    policies: tuple[tuple[ReplayedPolicy, ReplayPlot | None], ...]
    thresholds: tuple[tuple[ReplayedThreshold, ReplayPlot], ...]
    left: int


def values_of(report: ReplayReport | None) -> dict[str, object]:
    """Return what the template shows of a report; None: there is none."""
    sets = report.sets if report is not None else ()
    return {
        "report": report,
        "sets": [_shown(one) for one in sets[:MOST_SETS]],
        "left_sets": max(0, len(sets) - MOST_SETS),
    }


def _shown(found: ReplayedSet) -> ShownSet:
    days = found.days or ()
    drawn = ((one, over_threshold(one)) for one in found.curves[:MOST_THRESHOLDS])
    by_policy: dict[str, list[int]] = {}
    for at, one in enumerate(days):
        by_policy.setdefault(one.policy, []).append(at)
    return ShownSet(
        found,
        over_days(days),
        tuple(
            (one, over_days((days[at] for at in by_policy.get(one.id, ())), FEW_STEPS, days))
            for one in found.fired[:MOST_POLICIES]
        ),
        tuple((one, plot) for one, plot in drawn if plot is not None),
        max(0, len(found.policies) - MOST_POLICIES),
    )
