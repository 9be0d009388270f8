"""Reports of replays, as far as the console shows them: read from their JSON, and drawn.

`sidecar replay --json` writes them (docs/replay.md). What is shown names no user and no session,
and so nothing else of a report is read.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import msgspec

from sidecar.wire.console.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    DrawnCurve,
    DrawnLine,
)

SCHEMA = "sidecar-replay/1"

MOST_SETS = 4
"""Policy sets of a report that are shown."""

MOST_DAYS = 366
"""Steps of a drawing over time: where there are more days, each step has several."""

MOST_POINTS = 100
"""Points of a drawing over a threshold."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Text = Annotated[str, msgspec.Meta(max_length=512)]
_DAY = 86400.0
_NICE = (1, 2, 5)
_TICKS = 5


class InvalidReport(Exception):  # noqa: N818 - named by who must act: who put the file there
    """A file is no report of a replay; the message says why and quotes nothing of it."""


class ReplayedRecording(msgspec.Struct, frozen=True, kw_only=True):
    """The recording that was replayed; times in seconds since the epoch."""

    occurrences: _Count
    calls: _Count
    sessions: _Count
    users: _Count
    begins: float | None
    ends: float | None


class ReplayedUser(msgspec.Struct, frozen=True, kw_only=True):
    """The assumptions on users: whether they are asked at calls or at marks."""

    prompt_at: _Text
    timezone: _Text


class ReplayedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a policy; of one that is report-only, those that it would have had."""

    id: _Text
    state: _Text
    triggers: _Count
    sessions: _Count
    prompts: _Count
    refusals: _Count


class ReplayedDay(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of a policy on a day (ISO 8601)."""

    day: dt.date
    policy: _Text
    report_only: bool
    triggers: _Count


class ReplayedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts and triggers with a threshold at this value."""

    value: float | _Text
    is_current: bool
    prompts: _Count
    triggers: _Count


class ReplayedThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts over a threshold; `policy` empty: of the risk levels."""

    policy: _Text
    kind: _Text
    report_only: bool
    points: tuple[ReplayedPoint, ...]


class ReplayedPrompts(msgspec.Struct, frozen=True, kw_only=True):
    """The prompts of all users."""

    total: _Count
    refusals: _Count
    users: _Count


class ReplayedSet(msgspec.Struct, frozen=True, kw_only=True):
    """A policy set over the recording. `days` None: the report is of before they were written."""

    name: _Text
    policies: tuple[ReplayedPolicy, ...]
    prompts: ReplayedPrompts
    curves: tuple[ReplayedThreshold, ...]
    days: tuple[ReplayedDay, ...] | None = None

    @property
    def fired(self) -> tuple[ReplayedPolicy, ...]:
        """All policies, those that fired most first."""
        return tuple(sorted(self.policies, key=lambda one: (-one.triggers, one.id)))


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report."""

    recording: ReplayedRecording
    model: ReplayedUser
    sets: tuple[ReplayedSet, ...]


class _Headed(msgspec.Struct, frozen=True):
    schema: str = ""


class ReplayPlot(NamedTuple):
    """Curves over an axis: levels to read their height by, ticks below, and where we are now."""

    width: float
    height: float
    curves: tuple[DrawnCurve, ...]
    levels: tuple[DrawnLine, ...]
    ticks: tuple[DrawnLine, ...]
    at: DrawnLine | None


def read_report(raw: bytes) -> ReplayReport:
    """Read a report. Raises `InvalidReport`."""
    try:
        schema = msgspec.json.decode(raw, type=_Headed).schema
        if schema != SCHEMA:
            raise InvalidReport(f"its schema is not {SCHEMA}")
        return msgspec.json.decode(raw, type=ReplayReport)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidReport("it is not a report that `sidecar replay --json` wrote") from None


def over_days(
    days: Iterable[ReplayedDay],
    most: int = MOST_DAYS,
    beside: tuple[ReplayedDay, ...] = (),
) -> ReplayPlot | None:
    """Draw how often policies fired by day, enforced and report-only, in so many steps at most.

    None where none did. The drawing spans the days of `beside`, too.
    """
    counts: dict[bool, dict[int, int]] = {False: {}, True: {}}
    for one in days:
        of = counts[one.report_only]
        of[one.day.toordinal()] = of.get(one.day.toordinal(), 0) + one.triggers
    seen = {*counts[False], *counts[True]}
    if not seen:
        return None
    seen.update(one.day.toordinal() for one in beside)
    first, last = min(seen), max(seen) + 1
    width = -(-(last - first) // most)  # days of a step
    steps = {tried: [0] * -(-(last - first) // width) for tried in counts}
    for tried, of in counts.items():
        for day, count in of.items():
            steps[tried][(day - first) // width] += count
    top = _top(max(map(max, steps.values())))
    named = (("enforced", 1, steps[False]), ("report-only", 2, steps[True]))
    return ReplayPlot(
        WIDTH,
        HEIGHT,
        tuple(
            _curve(name, number, _stairs(first, last, width, of), (first, last), top)
            for name, number, of in named
            if any(of)
        ),
        _levels(top),
        tuple(
            _tick(day, (first, last), dt.date.fromordinal(day).isoformat())
            for day in _some(first, last)
        ),
        None,
    )


def over_threshold(curve: ReplayedThreshold) -> ReplayPlot | None:
    """Draw prompts, and marks, over the values of a threshold; None where there is but one."""
    points = curve.points[:MOST_POINTS]
    values = [one.value for one in points]
    numbers = [float(one) for one in values if not isinstance(one, str)]
    if len(numbers) != len(points) or len(set(numbers)) != len(points):
        numbers = [float(place) for place in range(len(points))]
    if len(points) < 2:
        return None
    order = sorted(range(len(points)), key=numbers.__getitem__)
    span = numbers[order[0]], numbers[order[-1]]
    top = _top(max(max(one.prompts, one.triggers) for one in points))
    prompts = [(numbers[at], points[at].prompts) for at in order]
    marks = [(numbers[at], points[at].triggers) for at in order]
    every = -(-len(order) // 8)
    now = next((numbers[at] for at in order if points[at].is_current), None)
    return ReplayPlot(
        WIDTH,
        HEIGHT,
        (_curve("prompts", 1, prompts, span, top), _curve("marks", 2, marks, span, top)),
        _levels(top),
        tuple(_tick(numbers[at], span, _spelled(values[at])) for at in order[::every]),
        None if now is None else _upright(now, span),
    )


def _spelled(value: float | str) -> str:
    return value[:24] if isinstance(value, str) else f"{value:g}"


def _some(first: int, last: int) -> list[int]:
    """Return some days of a span, its first and its last among them."""
    final = last - 1
    return sorted({first + (final - first) * each // (_TICKS - 1) for each in range(_TICKS)})


def _stairs(first: int, last: int, width: int, counts: Sequence[int]) -> list[tuple[float, float]]:
    """Return a step for each count: as high as the count, as wide as its days."""
    found: list[tuple[float, float]] = []
    for place, count in enumerate(counts):
        begin = first + place * width
        found += [(begin, count), (min(begin + width, last), count)]
    return found


def _top(most: int) -> int:
    """Return the least of 1, 2, 5, 10, 20 and so on that is no less."""
    scale = 1
    while True:
        for nice in _NICE:
            if nice * scale >= most:
                return nice * scale
        scale *= 10


def _across(value: float, span: tuple[float, float]) -> float:
    begin, end = span
    part = (value - begin) / (end - begin) if end > begin else 0.0
    return round(LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT), 1)


def _up(count: float, top: int) -> float:
    return round(HEIGHT - BOTTOM - count / top * (HEIGHT - BOTTOM - TOP), 1)


def _curve(
    name: str,
    number: int,
    points: Sequence[tuple[float, float]],
    span: tuple[float, float],
    top: int,
) -> DrawnCurve:
    placed = [(_across(x, span), _up(y, top)) for x, y in points]
    path = "M" + "L".join(f"{x:g},{y:g}" for x, y in placed)
    return DrawnCurve(name, number, path, "")


def _levels(top: int) -> tuple[DrawnLine, ...]:
    marks = (0.0, top / 2, float(top)) if top % 2 == 0 else (0.0, float(top))
    return tuple(
        DrawnLine(LEFT, _up(y, top), WIDTH - RIGHT, _up(y, top), f"{y:,.0f}") for y in marks
    )


def _tick(value: float, span: tuple[float, float], text: str) -> DrawnLine:
    x = _across(value, span)
    return DrawnLine(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4, text)


def _upright(value: float, span: tuple[float, float]) -> DrawnLine:
    x = _across(value, span)
    return DrawnLine(x, TOP, x, HEIGHT - BOTTOM)
