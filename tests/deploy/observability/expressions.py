"""What expressions of PromQL ask for: their series and labels; and what the daemon exposes."""

import io
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from sidecar.adapters.telemetry.declarations import MetricDeclaration, MetricKind
from sidecar.adapters.telemetry.logs import LogLines
from sidecar.adapters.telemetry.metrics import ScrapedLevel
from sidecar.adapters.telemetry.table import TABLE
from sidecar.adapters.telemetry.telemetry import PrometheusTelemetry
from sidecar.service.admin.health import Health
from sidecar.wire.settings.settings import Context, Settings

OF_A_SCRAPE = {"namespace", "job", "instance"}
VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "6h",
    "$namespace": ".*",
    "$job": ".*",
    "$instance": ".*",
}
EXPOSED_BY_PROMETHEUS = {"up": OF_A_SCRAPE, "ALERTS": {"alertname", "alertstate", "severity"}}


class Asked(NamedTuple):
    """A series that an expression selects, with the labels that it matches."""

    name: str
    matched: frozenset[str]


def plain(expr: str) -> str:
    """An expression of a dashboard as Prometheus is asked it."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr


def asked(expr: str) -> set[Asked]:
    """The series that an expression selects. Raises `ValueError` where it cannot be parsed."""
    return {
        Asked(str(node.name), frozenset(one.name for one in node.matchers.matchers))
        for node in selectors(expr)
    }


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    """The selectors of series in an expression. Raises `ValueError` where it cannot be parsed."""
    found = _nodes(promql_parser.parse(expr))
    return [one for one in found if isinstance(one, promql_parser.VectorSelector)]


def grouped(expr: str) -> Iterator[tuple[set[str], set[str]]]:
    """The labels by which parts of an expression are grouped, each with the series below."""
    for node in _nodes(promql_parser.parse(expr)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            names = {
                str(one.name)
                for one in _nodes(node)
                if isinstance(one, promql_parser.VectorSelector)
            }
            yield set(node.modifier.labels), names


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        below = getattr(node, name, None)
        if below is not None:
            yield from _nodes(below)
    for below in getattr(node, "args", None) or ():
        yield from _nodes(below)


@cache
def exposed() -> dict[str, frozenset[str]]:
    """The series that a daemon can expose, each with its own labels."""
    names: dict[str, frozenset[str]] = {}
    for row in TABLE:
        for column in row.columns:
            if not isinstance(column, MetricDeclaration):
                continue
            labels = frozenset(label.name for label in column.labels)
            names[column.name] = labels
            if column.kind is MetricKind.HISTOGRAM:
                names |= _of_histogram(column.name, labels)
    telemetry = PrometheusTelemetry(
        Settings(contexts={"c1": Context(name="Payroll")}), LogLines(io.BytesIO())
    )
    for level in ScrapedLevel:
        telemetry.level(level, lambda: 0)
    telemetry.health(Health())
    telemetry.queue("events", lambda: 0)
    telemetry.stored("join", 0.1)
    telemetry.answered("/metrics", 200)
    for family in text_string_to_metric_families(telemetry.expose().body.decode()):
        for sample in family.samples:
            names.setdefault(sample.name, frozenset(sample.labels))
    return names


def _of_histogram(name: str, labels: frozenset[str]) -> dict[str, frozenset[str]]:
    return {
        f"{name}_bucket": labels | {"le"},
        f"{name}_count": labels,
        f"{name}_sum": labels,
    }


def unknown_in(expr: str, recorded: dict[str, frozenset[str]]) -> list[str]:
    """What an expression asks for that no daemon exposes, and no rule records."""
    known = {**exposed(), **EXPOSED_BY_PROMETHEUS, **recorded}
    wrong = []
    for series in asked(expr):
        if series.name not in known:
            wrong.append(series.name)
            continue
        more = series.matched - known[series.name] - OF_A_SCRAPE - {"__name__"}
        wrong += [f"{series.name}{{{label}}}" for label in sorted(more)]
    for labels, names in grouped(expr):
        below = set().union(*(known.get(name, frozenset()) for name in names))
        wrong += [f"by ({label})" for label in sorted(labels - below - OF_A_SCRAPE)]
    return wrong
