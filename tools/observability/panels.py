"""Builds Grafana's dashboards: panels on a grid of 24 columns, in rows, with units and words.

Expressions are written without the dashboard's variables; `scoped` adds them to each series.
"""

import json
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

COLUMNS = 24
TAG = "stepup-sidecar"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
FLEET = 'namespace=~"$namespace",job=~"$job"'
_SERIES = re.compile(r"\b((?:sidecar|process)_\w+|sidecar:[\w:]+|up\b)(?:\{([^}]*)\})?")
GREEN, YELLOW, RED = "green", "orange", "red"


class Unit(StrEnum):
    """Units, as Grafana calls them."""

    NUMBER = "short"
    SECONDS = "s"
    SHARE = "percentunit"
    PER_SECOND = "ops"
    BYTES = "bytes"
    YES = "bool_yes_no"
    ON = "bool_on_off"


class Kind(StrEnum):
    """Kinds of panels."""

    LINES = "timeseries"
    STAT = "stat"
    TABLE = "table"


class Query(NamedTuple):
    """An expression, and how its series are called."""

    expr: str
    legend: str = ""
    must_have_data: bool = True


class Limits(NamedTuple):
    """The values from which a panel is orange and red; `falling`: below which."""

    warning: float
    critical: float
    falling: bool = False


class Panel(NamedTuple):
    """A panel. `width` is of 24 columns, `height` in Grafana's steps of 30 pixels."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: Unit = Unit.NUMBER
    kind: Kind = Kind.LINES
    limits: Limits | None = None
    width: int = 8
    height: int = 8
    stacked: bool = False


class Row(NamedTuple):
    """Panels under a title."""

    title: str
    panels: Sequence[Panel]


class Dashboard(NamedTuple):
    """A dashboard."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]

    @property
    def queries(self) -> Iterator[Query]:
        """Yield all queries, as they are written."""
        for row in self.rows:
            for panel in row.panels:
                yield from panel.queries


def scoped(expr: str) -> str:
    """Return an expression of which each series is one of the variables' choice."""

    def with_variables(found: re.Match[str]) -> str:
        name, own = found[1], found[2]
        scope = FLEET if ":" in name else ONE
        return f"{name}{{{scope}{',' if own else ''}{own or ''}}}"

    return _SERIES.sub(with_variables, expr)


def rendered(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard, as Grafana provisions it."""
    content = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "tags": [TAG],
                "title": "stepup-sidecar",
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": [_reloads()]},
        "templating": {"list": _variables()},
        "panels": [*_placed(dashboard)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _reloads() -> dict[str, Any]:
    """Return marks at the moments at which a configuration was taken up."""
    return {
        "name": "Configuration taken up",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": scoped("changes(sidecar_config_last_reload_success_timestamp_seconds[1m]) > 0"),
        "titleFormat": "Configuration taken up",
        "textFormat": "{{instance}}",
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        },
        _variable("namespace", "Namespace", "label_values(sidecar_build_info, namespace)"),
        _variable("job", "App", 'label_values(sidecar_build_info{namespace=~"$namespace"}, job)'),
        _variable("instance", "Instance", f"label_values(sidecar_build_info{{{FLEET}}}, instance)"),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Yield panels, each beside or below the one before."""
    number = y = 0
    for row in dashboard.rows:
        number += 1
        yield _row(number, row.title, y)
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield _panel(number, panel, x, y)
            x += panel.width
            tallest = max(tallest, panel.height)
        y += tallest


def _row(number: int, title: str, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
    }


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": [
            _target(chr(ord("A") + place), query, panel.kind)
            for place, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        **({"transformations": _AS_TABLE} if panel.kind is Kind.TABLE else {}),
    }


def _target(letter: str, query: Query, kind: Kind) -> dict[str, Any]:
    is_now = kind in (Kind.TABLE, Kind.STAT)
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": scoped(query.expr),
        "legendFormat": query.legend or "__auto",
        "instant": is_now,
        "range": not is_now,
        **({"format": "table"} if kind is Kind.TABLE else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    limits = panel.limits
    steps: list[dict[str, Any]] = [{"color": GREEN, "value": None}]
    if limits is not None and limits.falling:
        steps = [
            {"color": RED, "value": None},
            {"color": YELLOW, "value": limits.critical},
            {"color": GREEN, "value": limits.warning},
        ]
    elif limits is not None:
        steps += [
            {"color": YELLOW, "value": limits.warning},
            {"color": RED, "value": limits.critical},
        ]
    defaults: dict[str, Any] = {
        "unit": panel.unit.value,
        "thresholds": {"mode": "absolute", "steps": steps},
        "noValue": "none",
        "min": 0,
    }
    if panel.kind is Kind.LINES:
        custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        if panel.stacked:
            custom |= {"stacking": {"mode": "normal"}, "fillOpacity": 40}
        if limits is not None:
            custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults["custom"] = custom
    else:
        defaults["color"] = {"mode": "thresholds"}
    return defaults


_AS_TABLE = [
    {
        "id": "organize",
        "options": {"excludeByName": {"Time": True, "__name__": True}, "indexByName": {}},
    }
]
_OPTIONS: dict[Kind, dict[str, Any]] = {
    Kind.LINES: {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.STAT: {
        "colorMode": "background",
        "graphMode": "none",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    Kind.TABLE: {"showHeader": True, "footer": {"show": False}},
}
