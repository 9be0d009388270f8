"""Curves as SVG: points to coordinates, with a scale of 0 to 100 and moments below."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

WIDTH, HEIGHT = 720.0, 180.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 8.0, 10.0, 24.0
TICKS = 4
"""Moments that are named below a curve."""

_MINUTE, _DAY = 60.0, 86400.0
NAMED = 24
"""Characters of a curve's name that are drawn."""


class DrawnLine(NamedTuple):
    """A straight line, and what is written at it."""

    x1: float
    y1: float
    x2: float
    y2: float
    text: str = ""


class DrawnCurve(NamedTuple):
    """A curve: its name, the path that draws it, and the area under it; `number` from 1 on."""

    name: str
    number: int
    path: str
    area: str


class Happening(NamedTuple):
    """A place at which something happened: of which kind, and what, in words."""

    x: float
    kind: str
    text: str


class Drawing(NamedTuple):
    """All that is drawn: curves, levels, moments below, what happened, where the slider stands."""

    width: float
    height: float
    curves: tuple[DrawnCurve, ...]
    levels: tuple[DrawnLine, ...]
    moments: tuple[DrawnLine, ...]
    happened: tuple[Happening, ...]
    at: DrawnLine


def draw(
    curves: Iterable[tuple[str, Sequence[tuple[float, float]]]],
    span: tuple[float, float],
    at: float,
    levels: Sequence[tuple[str, float]] = (),
    happened: Iterable[tuple[float, str, str]] = (),
) -> Drawing:
    """Draw named curves of (seconds, score) within a span of time; `at`: the moment shown."""
    begins, ends = span
    over = max(1e-6, ends - begins)

    def across(moment: float) -> float:
        part = min(1.0, max(0.0, (moment - begins) / over))
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def up(score: float) -> float:
        part = min(100.0, max(0.0, score)) / 100
        return round(HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP), 1)

    return Drawing(
        WIDTH,
        HEIGHT,
        tuple(
            _curve(name, number, [(across(x), up(y)) for x, y in points], up(0))
            for number, (name, points) in enumerate(curves, 1)
        ),
        tuple(DrawnLine(LEFT, up(y), WIDTH - RIGHT, up(y), text) for text, y in levels),
        tuple(
            DrawnLine(across(moment), HEIGHT - BOTTOM, across(moment), HEIGHT - BOTTOM + 4, text)
            for moment, text in _moments(begins, over)
        ),
        tuple(
            Happening(across(moment), kind, text)
            for moment, kind, text in happened
            if begins <= moment <= ends
        ),
        DrawnLine(across(at), TOP, across(at), HEIGHT - BOTTOM),
    )


def _curve(
    name: str, number: int, points: Sequence[tuple[float, float]], floor: float
) -> DrawnCurve:
    if not points:
        return DrawnCurve(name, number, "", "")
    path = "M" + "L".join(f"{x:g},{y:g}" for x, y in points)
    (first, _), (last, _) = points[0], points[-1]
    return DrawnCurve(name[:NAMED], number, path, f"{path}L{last:g},{floor:g}L{first:g},{floor:g}Z")


def _moments(begins: float, over: float) -> Iterable[tuple[float, str]]:
    """Yield moments at even distances, each as text that says no more than is needed."""
    form = "%H:%M:%S" if over < 10 * _MINUTE else "%H:%M" if over < 2 * _DAY else "%d %b"
    for each in range(TICKS + 1):
        moment = begins + over * each / TICKS
        yield moment, datetime.fromtimestamp(moment, UTC).strftime(form)
