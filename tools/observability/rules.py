"""Renders the groups of rules, and the tests of promtool that plant each cause."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tools.observability import availability, traffic
from tools.observability.alert import LABELS, Age, Alert, Count, Group, Level
from tools.observability.objectives import OBJECTIVES

GROUPS: tuple[Group, ...] = (*availability.GROUPS, *traffic.GROUPS, OBJECTIVES)
ALERTS: tuple[Alert, ...] = tuple(alert for group in GROUPS for alert in group.alerts)
HEAD = "# Written by `python -m tools.observability`: change tools/observability.\n"
TEST_HEAD = HEAD + "# Run by `promtool test rules rules_test.yaml`.\n"
CALM = 65
"""Minutes of a test before the cause is planted: more than the windows of most rules."""


def rules() -> dict[str, Any]:
    """Return the file of rules."""
    return {"groups": [_group(group) for group in GROUPS]}


def _group(group: Group) -> dict[str, Any]:
    recordings = [{"record": one.name, "expr": one.expr} for one in group.recordings]
    return {"name": group.name, "rules": [*recordings, *map(_alert, group.alerts)]}


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": alert.runbook,
        },
    }


def rule_tests() -> dict[str, Any]:
    """Return the file of tests: each alert is silent, fires with its cause, and is over."""
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "2m",
        "tests": [*map(_case, _together()), _all_calm()],
    }


def _together() -> list[list[Alert]]:
    """Return the alerts in cases: those of one have the same times, and no metric in common."""
    cases: list[list[Alert]] = []
    for alert in ALERTS:
        times = (alert.minutes, alert.after)
        for case in cases:
            others = {metric for one in case for metric in _metrics(one)}
            if times == (case[0].minutes, case[0].after) and others.isdisjoint(_metrics(alert)):
                case.append(alert)
                break
        else:
            cases.append([alert])
    return cases


def _metrics(alert: Alert) -> set[str]:
    return {name.partition("{")[0] for name in alert.planted}


def _case(alerts: list[Alert]) -> dict[str, Any]:
    first = alerts[0]
    last = CALM + first.minutes - 1
    moments = ((CALM - 1, False), (last, True), (last + first.after, False))
    return {
        "name": ", ".join(f"{alert.name} ({alert.severity})" for alert in alerts),
        "interval": "1m",
        "input_series": [
            {"series": _named(name), "values": _values(what, alert)}
            for alert in alerts
            for name, what in alert.planted.items()
        ],
        "promql_expr_test": [
            {
                "expr": _fires(alert),
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
            for alert in alerts
            for minute, fires in moments
        ],
    }


def _fires(alert: Alert) -> str:
    labels = f'alertname="{alert.name}",severity="{alert.severity}"'
    return f'count(ALERTS{{{labels},alertstate="firing"}} == 1)'


def _all_calm() -> dict[str, Any]:
    """Return the case in which all series are there and no cause is."""
    calm: dict[str, Level | Count | Age] = {}
    for alert in ALERTS:
        for name, what in alert.planted.items():
            calm.setdefault(name, what)
    return {
        "name": "nothing fires while all is well",
        "interval": "1m",
        "input_series": [
            {"series": _named(name), "values": _segment(what, 121, is_planted=False)}
            for name, what in calm.items()
        ],
        "promql_expr_test": [
            {"expr": "count(ALERTS)", "eval_time": f"{minute}m", "exp_samples": []}
            for minute in (5, 60, 120)
        ],
    }


def _named(name: str) -> str:
    metric, _, labels = name.partition("{")
    own = labels.removesuffix("}")
    instance = "" if "instance=" in own else ',instance="a"'
    return f"{metric}{{{LABELS}{instance}{',' if own else ''}{own}}}"


def _values(what: Level | Count | Age, alert: Alert) -> str:
    """Return the series of a case: calm, with the cause, calm again."""
    if isinstance(what, Count):
        return " ".join(_counted(what, alert))
    if isinstance(what, Age):
        return " ".join(_aged(what, alert))
    return " ".join(
        (
            _segment(what, CALM, is_planted=False),
            _segment(what, alert.minutes, is_planted=True),
            _segment(what, alert.after + 1, is_planted=False),
        )
    )


def _segment(what: Level | Count | Age, minutes: int, *, is_planted: bool) -> str:
    match what:
        case Level(calm, planted):
            value = planted if is_planted else calm
            return f"_x{minutes}" if value < 0 else f"{value:g}+0x{minutes - 1}"
        case Count(calm, _):
            return f"0+{calm:g}x{minutes - 1}"
        case Age(calm):
            return _moment(0, calm, minutes)


def _counted(what: Count, alert: Alert) -> Iterator[str]:
    value = 0.0
    for pace, minutes in (
        (what.calm, CALM),
        (what.planted, alert.minutes),
        (what.calm, alert.after + 1),
    ):
        yield f"{value:g}+{pace:g}x{minutes - 1}"
        value += pace * minutes


def _aged(what: Age, alert: Alert) -> Iterator[str]:
    """Yield a moment that moves with the clock, stands still, and moves again."""
    yield _moment(0, what.calm, CALM)
    yield f"{_number((CALM - 1) * 60 - what.calm)}+0x{alert.minutes - 1}"
    yield _moment(CALM + alert.minutes, what.calm, alert.after + 1)


def _moment(begin: int, ago: float, minutes: int) -> str:
    return f"{_number(begin * 60 - ago)}+60x{minutes - 1}"


def _number(value: float) -> str:
    return f"{value:.0f}"


def rendered(head: str, content: Mapping[str, Any]) -> str:
    """Return a file of YAML."""
    return head + yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)
