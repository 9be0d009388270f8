"""Steadiness: until when time alone changes nothing of what policies make of a session.

What time changes is little: contributions to the risk score fade, and signals with them, and a time
of day comes. So a moment is known until which no finding can be another one: no contribution falls
below what is forgotten, no threshold of the score is crossed, no window begins or ends. Until then
nobody need look again, neither a call nor whoever looks for what time has changed.

The moment may be too early, never too late: several contributions fade at different rates, and are
all taken to fade as the fastest does. Where several sources speak of one thing, and which of them
counts may change with time, no moment is known.
tests/domain/evaluation/test_compiled_against_plain.py holds it to the evaluation at moments before.
"""

import datetime as dt
import math
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from sidecar.domain.evaluation.conditions import is_timed
from sidecar.domain.policy.conditional_access import (
    All,
    AnyOf,
    Condition,
    Not,
    Score,
    SessionRisk,
    Signals,
    TimeOfDay,
)
from sidecar.domain.session.risk import FOR_EVER, MARGIN, Thresholds, decayed, fades
from sidecar.domain.session.scene import Scene
from sidecar.domain.values.stamp import MICROSECONDS


class Fading(NamedTuple):
    """All that time changes in conditions: scores, signals, and windows of the day.

    `scores` are those at which anything changes. `unknown`: and something of which nothing is known
    here.
    """

    scores: tuple[float, ...]
    signals: tuple[Signals, ...]
    windows: tuple[TimeOfDay, ...]
    unknown: bool


_KNOWN = (Score, SessionRisk, Signals, TimeOfDay)


def fading_of(conditions: Iterable[Condition | None], levels: Thresholds | None = None) -> Fading:
    """Return all that time changes in these conditions, and in the level of the score if given."""
    found = [leaf for one in conditions if one is not None for leaf in _leaves(one)]
    return Fading(
        (
            *{leaf.at_least for leaf in found if isinstance(leaf, Score)},
            *(() if levels is None else _levels(levels)),
        ),
        tuple({leaf for leaf in found if isinstance(leaf, Signals) and leaf.at_least > 0}),
        tuple({leaf for leaf in found if isinstance(leaf, TimeOfDay)}),
        any(is_timed(leaf) and not isinstance(leaf, _KNOWN) for leaf in found),
    )


def _leaves(condition: Condition) -> Iterator[Condition]:
    match condition:
        case All() | AnyOf():
            for one in condition.conditions:
                yield from _leaves(one)
        case Not():
            yield from _leaves(condition.condition)
        case _:
            yield condition


def steady_until(scene: Scene, fading: Fading, *, marked: bool) -> int:
    """Return the moment until which time changes nothing; that of the scene: it may at once.

    `marked`: marks wait whose causes hold no more, and it is asked what holds had nobody proven
    anything.
    """
    if fading.unknown:
        return scene.now
    until = FOR_EVER
    for window in fading.windows:
        until = min(until, window_ends(window, scene.now))
    if not marked and scene.loosening is scene:
        known = [scene]
    else:
        known = []
        for one in (scene, scene.bare) if marked else (scene,):
            for each in (one, one.loosening):
                if not any(each.state is other.state for other in known):
                    known.append(each)
    for each in known:
        until = min(until, _score_changes(each, fading.scores), _signals_fade(each, fading.signals))
    return max(scene.now, until)


def _levels(thresholds: Thresholds) -> Iterator[float]:
    for begins in (thresholds.medium, thresholds.high):
        yield begins
        yield begins - thresholds.hysteresis


def _score_changes(scene: Scene, thresholds: Sequence[float]) -> int:
    """Return the moment before which the score crosses no threshold and its terms stay.

    They stay in their order, too, where they are causes each.
    """
    now, found = scene.now, scene.sum
    if found.wavers:
        return now
    until: float = found.forgotten
    if found.fading:
        # The highest of those that it has reached is the first one that it falls below.
        score, lasting = found.score, found.lasting
        left = max([one - lasting for one in thresholds if one <= score], default=0.0)
        if left > 0:
            until = min(until, _falls(now, found.fading, found.fastest, left))
    if scene.loosening.state is not scene.state:  # the terms are causes, greatest first
        rates = [
            (-negative, 1 / weight.half_life if fades((word, weight)) else 0.0)
            for negative, _, _, word, weight in scene.points
        ]
        until = min(until, _order_changes(now, rates))
    return int(until)


def _order_changes(now: int, terms: list[tuple[float, float]]) -> float:
    """Return the moment before which the order of terms stays, given points and rates of fading."""
    until: float = FOR_EVER
    for (points, rate), (fewer, slower) in pairwise(sorted(terms, key=_greatest)):
        if rate > slower and fewer > 0:
            ahead = math.log2(points / fewer) / (rate - slower)
            until = min(until, now + ahead * MICROSECONDS - MARGIN)
    return until


def _greatest(term: tuple[float, float]) -> tuple[float, float]:
    return -term[0], -term[1]  # of equal ones that which falls behind the other


def _falls(since: int, weight: float, half_life: float, to: float) -> float:
    """Return the moment just before a weight of that moment has faded `to` so much."""
    return since + half_life * math.log2(weight / to) * MICROSECONDS - MARGIN


def _signals_fade(scene: Scene, conditions: Sequence[Signals]) -> int:
    """Return the moment before which each live signal stays above what conditions ask for."""
    until: float = FOR_EVER
    if not (conditions and scene.state.signals):
        return FOR_EVER
    for raised in scene.raised:
        for held in raised:
            weight, half_life = scene.world.rating.of_signal(held.name, held.weight, held.half_life)
            left = decayed(weight, half_life, (scene.now - held.since) / MICROSECONDS)
            for one in conditions:
                if held.name in one.include and one.at_least <= left and half_life > 0:
                    until = min(until, _falls(held.since, weight, half_life, one.at_least))
    return int(until)


_MINUTE = 60 * MICROSECONDS
_QUARTER = 15 * _MINUTE
_DAY = 24 * 60


def window_ends(window: TimeOfDay, now: int) -> int:
    """Return when the local time next comes to the window's start or end, or perhaps before.

    Where clocks are changed meanwhile, which they are at a quarter of an hour, it is the next one.
    """
    zone = zoneinfo.ZoneInfo(window.timezone)
    local = dt.datetime.fromtimestamp(now // MICROSECONDS, zone)
    minute = local.hour * 60 + local.minute
    wait = min((edge - minute - 1) % _DAY + 1 for edge in (window.start, window.end))
    begun = now - (local.second * MICROSECONDS + now % MICROSECONDS)
    end = begun + wait * _MINUTE
    then = dt.datetime.fromtimestamp(end // MICROSECONDS, zone)
    if then.utcoffset() == local.utcoffset():
        return end
    return min(end, (now // _QUARTER + 1) * _QUARTER)
