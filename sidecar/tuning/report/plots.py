"""Computes where the marks of a plot lie: bars, a heat map, and curves over a threshold."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from sidecar.tuning.report.figures import Figure, spelled

WIDTH = 720
HEIGHT = 220
LEFT, RIGHT, TOP, BOTTOM = 56, 56, 14, 36
_ACROSS = WIDTH - LEFT - RIGHT
_UP = HEIGHT - TOP - BOTTOM
_FLOOR = TOP + _UP
_LETTER = 7
"""Units that a letter of a label takes, about."""
_ROWS_LEFT, _ROW = 240, 20
"""Where the fields of a heat map begin, and how far its rows are apart."""
_NAME = 36
"""Letters of a row's name that fit beside a heat map."""


class Rect(NamedTuple):
    """A bar of a plot or a field of a heat map; `title` says what its figure is of."""

    kind: str
    figure: Figure
    title: str
    x: float
    y: float
    width: float
    height: float
    opacity: float = 1.0


class PlotLine(NamedTuple):
    """A line of a plot."""

    kind: str
    x1: float
    y1: float
    x2: float
    y2: float


class Dot(NamedTuple):
    """A point of a curve; `title` says what its figure is of."""

    kind: str
    figure: Figure
    title: str
    x: float
    y: float


class PlotText(NamedTuple):
    """A text of a plot; `anchor` is the end of it that is at `x`."""

    text: str
    x: float
    y: float
    anchor: str = "middle"


class Chart(NamedTuple):
    """The marks of a plot, and how high it is; `keys` are the names of its curves."""

    height: float
    lines: Sequence[PlotLine] = ()
    rects: Sequence[Rect] = ()
    dots: Sequence[Dot] = ()
    labels: Sequence[PlotText] = ()
    keys: Sequence[str] = ()


def bars(figures: Sequence[Figure], names: Sequence[object]) -> Chart:
    """Draw a bar for each figure, with its name below."""
    top = _top(figures)
    width = _ACROSS / max(1, len(figures))
    rects = []
    for at, (figure, name) in enumerate(zip(figures, names, strict=True)):
        high = _UP * figure.value_ / top
        x = LEFT + at * width + 1
        bar = Rect("bar", figure, str(name), x, _FLOOR - high, max(1.0, width - 2), high)
        rects.append(bar)
    middles = [LEFT + (at + 0.5) * width for at in range(len(names))]
    labels = [*_scale(top), *_below(names, middles)]
    return Chart(HEIGHT, _grid(), rects, labels=labels)


def heat(rows: Figure, names: Sequence[str]) -> Chart:
    """Draw a row for each policy with its triggers: the stronger a field's colour, the more."""
    width = (WIDTH - _ROWS_LEFT - 8) / len(names)
    greatest = max((figure.value_ for row in rows for figure in row["triggers"]), default=0) or 1
    rects, labels = [], []
    for at, row in enumerate(rows):
        y, policy = TOP + at * _ROW, str(row["policy"])
        labels.append(PlotText(_short(policy), _ROWS_LEFT - 8, y + 14, "end"))
        for column, (figure, name) in enumerate(zip(row["triggers"], names, strict=True)):
            strength = 0.12 + 0.88 * figure.value_ / greatest if figure else 0.0
            x = _ROWS_LEFT + column * width
            field = (x, y, width - 1, _ROW - 2, strength)
            rects.append(Rect("heat", figure, f"{policy}, {name}", *field))
    bottom = TOP + len(rows) * _ROW
    middles = [_ROWS_LEFT + (at + 0.5) * width for at in range(len(names))]
    return Chart(bottom + 24, rects=rects, labels=[*labels, *_below(names, middles, bottom + 14)])


class Series(NamedTuple):
    """A curve: its name, the key of its figures, and whether they are rates, on the right scale."""

    name: str
    key: str
    is_rate: bool = False


def curves(points: Sequence[Figure], series: Sequence[Series]) -> Chart:
    """Draw curves over a threshold, with a dashed line at the value that is in force."""
    places = _places([point["value"].value_ for point in points])
    top = _top([point[one.key] for one in series if not one.is_rate for point in points])
    lines, dots, labels = [*_grid()], [], [*_scale(top)]
    if any(one.is_rate for one in series):
        labels += [
            PlotText(f"{q * 25} %", WIDTH - RIGHT + 6, _height(q) + 4, "start") for q in range(5)
        ]
    for x, point in zip(places, points, strict=True):
        if point["is_current"]:
            lines.append(PlotLine("now", x, TOP, x, _FLOOR))
    for at, one in enumerate(series):
        line = []
        for x, point in zip(places, points, strict=True):
            figure = point[one.key]
            if figure.value_ is not None:
                y = _FLOOR - _UP * figure.value_ / (1.0 if one.is_rate else top)
                line.append(Dot(f"point s{at}", figure, f"{one.name} at {point['value']}", x, y))
        lines += [PlotLine(f"line s{at}", a.x, a.y, b.x, b.y) for a, b in pairwise(line)]
        dots += line
    labels += _below([point["value"] for point in points], places)
    keys = [f"{one.name} (right)" if one.is_rate else one.name for one in series]
    return Chart(HEIGHT, lines, dots=dots, labels=labels, keys=keys)


def nice(most: float) -> float:
    """Return a round number that is no less than `most`, for the end of a scale."""
    power = 1.0
    while power * 10 < most:
        power *= 10
    for step in (1, 2, 2.5, 5, 10):
        if most <= step * power:
            return float(step * power)
    return 10 * power


def _top(figures: Iterable[Figure]) -> float:
    return nice(max((float(figure.value_) for figure in figures), default=0))


def _places(values: Sequence[float | str]) -> list[float]:
    """Return where values lie: numbers by their size, levels evenly."""
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) == len(values) and len(numbers) > 1 and numbers[0] < numbers[-1]:
        reach = numbers[-1] - numbers[0]
        return [LEFT + _ACROSS * (number - numbers[0]) / reach for number in numbers]
    step = _ACROSS / max(1, len(values) - 1)
    return [LEFT + at * step for at in range(len(values))]


def _height(quarter: int) -> float:
    return _FLOOR - _UP * quarter / 4


def _grid() -> list[PlotLine]:
    return [PlotLine("grid", LEFT, _height(q), WIDTH - RIGHT, _height(q)) for q in range(5)]


def _scale(top: float) -> list[PlotText]:
    return [PlotText(spelled(top * q / 4), LEFT - 6, _height(q) + 4, "end") for q in range(5)]


def _below(
    names: Sequence[object], places: Sequence[float], y: float = HEIGHT - 18
) -> Iterator[PlotText]:
    """Yield labels below a plot; of those that would run into each other, only some."""
    texts = [str(name) for name in names]
    wide = _LETTER * max(map(len, texts), default=0) + 2 * _LETTER
    every = max(1, -(-wide * len(texts) // _ACROSS))
    for text, x in list(zip(texts, places, strict=True))[::every]:
        yield PlotText(text, x, y)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\u2026"
