"""Plots of a report as inline SVG: bars, a heat map, and curves. Each mark tells its figure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sidecar.tuning.report.elements import Figures, escape, spelled

WIDTH = 720
HEIGHT = 220
LEFT, RIGHT, TOP, BOTTOM = 56, 56, 14, 36
_INNER = WIDTH - LEFT - RIGHT
_UP = HEIGHT - TOP - BOTTOM
_LETTER = 7
"""Units that a letter of a label takes, about."""
_NAME = 36
"""Letters of a row's name that fit beside a heat map."""


class Plot(NamedTuple):
    """What a plot is called and says in a sentence; `ident` is unique in the page."""

    ident: str
    title: str
    description: str


def bars(figures: Figures, plot: Plot, paths: Sequence[str], labels: Sequence[str]) -> str:
    """A bar for each figure."""
    values = [float(figures.at(path)) for path in paths]
    top = nice(max(values, default=0))
    width = _INNER / max(1, len(paths))
    parts = [_grid(top)]
    for at, (path, label, value) in enumerate(zip(paths, labels, values, strict=True)):
        high = _UP * value / top
        parts.append(
            f'<rect class="bar" {figures.attributes(path)} x="{LEFT + at * width + 1:.2f}" '
            f'y="{TOP + _UP - high:.3f}" width="{max(1.0, width - 2):.2f}" height="{high:.3f}">'
            f"<title>{escape(label)}: {escape(figures.text(path))}</title></rect>"
        )
    parts.append(_labels(labels, [LEFT + (at + 0.5) * width for at in range(len(labels))]))
    return _svg(plot, HEIGHT, parts)


def heat(
    figures: Figures,
    plot: Plot,
    rows: Sequence[tuple[str, Sequence[str]]],
    labels: Sequence[str],
) -> str:
    """A row for each name, a field for each figure: the stronger its colour, the more."""
    left, line = 240, 20
    width = (WIDTH - left - 8) / max(1, len(labels))
    most = max((figures.at(path) for _, paths in rows for path in paths), default=0) or 1
    parts = []
    for at, (row, paths) in enumerate(rows):
        y = TOP + at * line
        parts.append(
            f'<text class="label" x="{left - 8}" y="{y + 14}" text-anchor="end">'
            f"{escape(_short(row))}</text>"
        )
        for column, path in enumerate(paths):
            value = figures.at(path)
            strength = 0.0 if not value else 0.12 + 0.88 * value / most
            parts.append(
                f'<rect class="heat" {figures.attributes(path)} x="{left + column * width:.2f}" '
                f'y="{y}" width="{width - 1:.2f}" height="{line - 2}" '
                f'fill-opacity="{strength:.3f}"><title>{escape(row)}, {escape(labels[column])}: '
                f"{escape(figures.text(path))}</title></rect>"
            )
    bottom = TOP + len(rows) * line
    places = [left + (at + 0.5) * width for at in range(len(labels))]
    parts.append(_labels(labels, places, bottom + 14))
    return _svg(plot, bottom + 24, parts)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\u2026"


class Series(NamedTuple):
    """A line: its name, its figures, and whether they are rates, on the right-hand scale."""

    name: str
    paths: Sequence[str]
    is_rate: bool


def curves(
    figures: Figures, plot: Plot, along: Sequence[float | str], series: Sequence[Series], now: int
) -> str:
    """Lines over a threshold; `now` is the place of the present value, -1 for none."""
    places = _places(along)
    counts = [figures.at(path) for one in series if not one.is_rate for path in one.paths]
    top = nice(max((float(count) for count in counts), default=0))
    parts = [_grid(top)]
    if any(one.is_rate for one in series):
        parts.append(_rates())
    if now >= 0:
        x = places[now]
        parts.append(f'<line class="now" x1="{x:.2f}" x2="{x:.2f}" y1="{TOP}" y2="{TOP + _UP}"/>')
    for at, one in enumerate(series):
        points = []
        for x, path in zip(places, one.paths, strict=True):
            value = figures.at(path)
            if value is not None:
                whole = 1.0 if one.is_rate else top
                points.append((x, TOP + _UP - _UP * float(value) / whole, path))
        for (x1, y1, _), (x2, y2, _) in pairwise(points):
            parts.append(
                f'<line class="line s{at}" x1="{x1:.2f}" y1="{y1:.3f}" x2="{x2:.2f}" '
                f'y2="{y2:.3f}"/>'
            )
        for (x, y, path), value in zip(points, along, strict=False):
            parts.append(
                f'<circle class="point s{at}" {figures.attributes(path)} cx="{x:.2f}" '
                f'cy="{y:.3f}" r="3.5"><title>{escape(one.name)} at {escape(spelled(value))}: '
                f"{escape(figures.text(path))}</title></circle>"
            )
    parts.append(_labels([spelled(value) for value in along], places))
    keys = "".join(
        f'<li class="s{at}">{escape(one.name)}{" (right)" if one.is_rate else ""}</li>'
        for at, one in enumerate(series)
    )
    return f'{_svg(plot, HEIGHT, parts)}<ul class="keys">{keys}</ul>'


def _places(along: Sequence[float | str]) -> list[float]:
    """Where values lie: numbers by their size, levels evenly."""
    numbers = [float(value) for value in along if not isinstance(value, str)]
    if len(numbers) == len(along) and len(numbers) > 1 and numbers[0] < numbers[-1]:
        reach = numbers[-1] - numbers[0]
        return [LEFT + _INNER * (value - numbers[0]) / reach for value in numbers]
    step = _INNER / max(1, len(along) - 1)
    return [LEFT + at * step for at in range(len(along))]


def nice(most: float) -> float:
    """A round number that is no less than `most`, for the end of a scale."""
    power = 1.0
    while power * 10 < most:
        power *= 10
    for step in (1, 2, 2.5, 5, 10):
        if most <= step * power:
            return float(step * power)
    return 10 * power


def _grid(top: float) -> str:
    parts = []
    for quarter in range(5):
        y = TOP + _UP - _UP * quarter / 4
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.2f}" y2="{y:.2f}"/>'
            f'<text class="label" x="{LEFT - 6}" y="{y + 4:.2f}" text-anchor="end">'
            f"{spelled(top * quarter / 4)}</text>"
        )
    return "".join(parts)


def _rates() -> str:
    return "".join(
        f'<text class="label" x="{WIDTH - RIGHT + 6}" y="{TOP + _UP - _UP * quarter / 4 + 4:.2f}">'
        f"{quarter * 25} %</text>"
        for quarter in range(5)
    )


def _labels(labels: Sequence[str], places: Sequence[float], y: float = HEIGHT - 18) -> str:
    """Labels below; of those that would run into each other, some."""
    wide = _LETTER * max(map(len, labels), default=0) + 2 * _LETTER
    every = max(1, -(-wide * len(labels) // _INNER))
    return "".join(
        f'<text class="label" x="{x:.2f}" y="{y:.0f}" text-anchor="middle">{escape(label)}</text>'
        for at, (label, x) in enumerate(zip(labels, places, strict=True))
        if at % every == 0
    )


def _svg(plot: Plot, height: float, parts: Sequence[str]) -> str:
    return (
        f"<figure><figcaption>{escape(plot.title)}</figcaption>"
        f'<svg role="img" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'aria-labelledby="{plot.ident}-title {plot.ident}-desc">'
        f'<title id="{plot.ident}-title">{escape(plot.title)}</title>'
        f'<desc id="{plot.ident}-desc">{escape(plot.description)}</desc>{"".join(parts)}</svg>'
        "</figure>"
    )
