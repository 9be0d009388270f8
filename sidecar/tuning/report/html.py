"""Renders a replay's report as one HTML page: no script, nothing from elsewhere, light and dark."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from sidecar.domain.values.plural import counted, plural
from sidecar.tuning.report import figures, plots
from sidecar.tuning.report.figures import Figure
from sidecar.tuning.report.report import SIGNATURES_UNKNOWN, Report

_MATRIX = 24
"""Policies that a matrix has at most: a wider one cannot be read."""


def render(report: Report) -> str:
    """Return the page. Its figures are those of the report's JSON, and each has its path there."""
    return _environment().get_template("page.html").render(report=figures.figures_of(report))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sidecar.tuning.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "json": figures.json,
        "matrix": _matrix,
        "moment": figures.moment,
        "path": figures.path,
        "plural": plural,
        "together": _together,
        "value": figures.value,
    }
    environment.tests["text"] = figures.is_text
    environment.globals |= {
        "bars": plots.bars,
        "counted": counted,
        "curves": plots.curves,
        "heat": plots.heat,
        "series": plots.Series,
        "SIGNATURES_UNKNOWN": SIGNATURES_UNKNOWN,
        "WIDTH": plots.WIDTH,
    }
    return environment


def _printable(shown: object) -> object:
    """Return what is written into the page, without characters that turn the text around them."""
    if hasattr(shown, "__html__"):
        return shown  # made by a macro, of what went through here
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(shown))


def _matrix(pairs: Figure) -> list[tuple[Figure, list[Figure]]]:
    """Return each of the first policies with its pairs, itself among them."""
    by_names = {(pair["a"].value_, pair["b"].value_): pair for pair in pairs}
    names = list(dict.fromkeys(a for a, _ in by_names))[:_MATRIX]
    return [
        (by_names[a, a]["a"], [by_names[(a, b) if (a, b) in by_names else (b, a)] for b in names])
        for a in names
    ]


def _together(pairs: Figure) -> list[Figure]:
    """Return the pairs of two policies that both asked of a decision."""
    return [pair for pair in pairs if pair["both"] and pair["a"].value_ != pair["b"].value_]
