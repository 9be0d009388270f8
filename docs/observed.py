# ruff: noqa: INP001 - a script, no package
"""Writes the pages of metrics and of log events, from the table of observations.

`python -m docs.observed` writes them; a test sees to it that they are current.
"""

import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.adapters.telemetry import metrics
from sidecar.adapters.telemetry.declarations import By, LogLine, MetricDeclaration
from sidecar.adapters.telemetry.metrics import Metrics, ScrapedLevel
from sidecar.adapters.telemetry.table import TABLE

REFERENCE = Path(__file__).parent / "reference"
METRICS = REFERENCE / "metrics.md"
LOG_EVENTS = REFERENCE / "log-events.md"
CODE = Path(metrics.__file__).parents[2]
_EVENT = re.compile(r"[a-z]+(?:-[a-z]+)+|checked|started|ready|draining|logout")
_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error"}

METRICS_HEAD = """\
# Metrics

<!-- Written by docs/observed.py from sidecar/adapters/telemetry/table.py: change it there. -->

At `/metrics` of the admin listener, in Prometheus' text form or OpenMetrics, for whoever may reach
it: no label holds a user, a session or an address. A histogram `X` has the series `X_bucket`,
`X_sum` and `X_count`. Series that an alert waits for are there from the start, with 0; a metric of
a part that is not configured is not there at all. `process_*` and `python_info` are the Prometheus
client's own.

| metric | is | labels | means |
| --- | --- | --- | --- |
"""
LOG_HEAD = """\
# Log events

<!-- Written by docs/observed.py from sidecar/adapters/telemetry: change it there. -->

A line of the log is an event with a name that stays the same: member `event` with
`log.format: json`. Search and alert by this name, and not by words. Each line has `time` and
`level`, too. Of several levels the line has the one that suits its outcome; `log.level` says from
which on lines are written. Members that would be empty are left out. In what is said of a line,
names in quotes are of its members or of what was observed.

| event | level | members | is logged |
| --- | --- | --- | --- |
"""


class Line(NamedTuple):
    """A log line: its event, its levels, its members, and when it is logged."""

    event: str
    level: str
    fields: str
    means: str


def metrics_page() -> str:
    """Return the page of metrics."""
    found = Metrics(("c1",))
    for level in ScrapedLevel:
        found.level(level, float)
    rows: dict[str, str] = {}
    for collector in found.collectors.values():
        _add(rows, _described(collector), getattr(collector, "_labelnames", ()))
    for collector in vars(found).values():
        if hasattr(collector, "describe"):
            _add(rows, _described(collector), getattr(collector, "_labelnames", ()))
    for family in found.registry.collect():
        labels = {name for sample in family.samples for name in sample.labels} - {"le", "quantile"}
        _add(rows, [family], sorted(labels))
    return METRICS_HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows))


def _described(collector: Any) -> list[Any]:
    return list(collector.describe())


def _add(rows: dict[str, str], families: Iterable[Any], labels: Iterable[str]) -> None:
    for family in families:
        name = family.name + "_total" * (family.type == "counter")
        if name.startswith("sidecar_"):
            named = ", ".join(f"`{label}`" for label in labels)
            rows.setdefault(
                name, f"| `{name}` | {family.type} | {named} | {family.documentation} |"
            )


def log_events_page() -> str:
    """Return the page of log events."""
    lines = sorted({line.event: line for line in _lines()}.values())
    return LOG_HEAD + "".join(
        f"| `{one.event}` | {one.level} | {one.fields} | {one.means} |\n" for one in lines
    )


def _lines() -> Iterator[Line]:
    for row in TABLE:
        about = _first_line(row.of)
        for column in row.columns:
            if isinstance(column, LogLine):
                yield from _declared(column, about)
            elif not isinstance(column, MetricDeclaration):
                yield from _written(inspect.getsource(column), about)
    for path in sorted(CODE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "DaemonEvent(" in text or path.parent.name in {"telemetry", "daemon"}:
            yield from _recorded(text)


def _declared(line: LogLine, about: str) -> Iterator[Line]:
    fields = [part.partition("=")[0].removesuffix("?") for part in line.fields.split()]
    members = ", ".join(f"`{name}`" for name in fields)
    if isinstance(line.event, By):
        levels = line.level if isinstance(line.level, By) else None
        for value, event in line.event.values.items():
            yield Line(event, _level(line.level, value), members, about)
        if line.event.otherwise:
            level = levels.otherwise if levels else _level(line.level)
            yield Line(line.event.otherwise, level, members, about)
    elif found := re.search(r"\{0\.(\w+)\}", line.event):
        for event, value in _filled(line, found):
            yield Line(event, _level(line.level, value), members, about)
    else:
        yield Line(line.event, _level(line.level), members, about)


def _filled(line: LogLine, found: re.Match[str]) -> Iterator[tuple[str, Any]]:
    """Return an event for each value that the part of its name can have, where these are known."""
    if isinstance(line.level, By) and line.level.of == found[1]:
        kinds = {type(value) for value in line.level.values}
        for kind in kinds:
            if issubclass(kind, enum.Enum):
                yield from ((line.event.replace(found[0], one.value), one) for one in kind)
                return
    yield line.event.replace(found[0], f"<{found[1]}>"), None


def _level(level: Any, value: Any = None) -> str:
    if isinstance(level, str):
        return level
    if isinstance(level, By):
        if value is not None:
            return level.values.get(value, level.otherwise)
        return ", ".join(dict.fromkeys((*level.values.values(), level.otherwise)))
    return "by its outcome"


def _written(source: str, about: str) -> Iterator[Line]:
    """Return the lines that a function yields: a level, an event and members."""
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        match node:
            case ast.Tuple(elts=[level, ast.Constant(value=str(event)), fields]) if (
                _EVENT.fullmatch(event)
            ):
                levels = [n.id for n in ast.walk(level) if isinstance(n, ast.Name)]
                named = dict.fromkeys(_LEVELS[name] for name in levels if name in _LEVELS)
                yield Line(event, ", ".join(named), _members(fields), about)


def _recorded(text: str) -> Iterator[Line]:
    """Return the lines of the daemon's own life, and those that are logged outright."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name(id="DaemonEvent"), keywords=named):
                members = {one.arg: one.value for one in named}
                event = members.get("event")
                if isinstance(event, ast.Constant):
                    level = "warning" if "warning" in members else "info"
                    yield Line(str(event.value), level, "", "in the daemon's life")
            case ast.Call(
                func=ast.Attribute(attr="info" | "warning" | "error" as level),
                args=[ast.Constant(value=str(event))],
                keywords=named,
            ) if _EVENT.fullmatch(event):
                shown = ", ".join(f"`{one.arg}`" for one in named if one.arg)
                yield Line(event, level, shown, "where the program or a library fails")


def _members(fields: ast.expr) -> str:
    if not isinstance(fields, ast.Dict):
        return ""
    keys = (key.value for key in fields.keys if isinstance(key, ast.Constant))
    return ", ".join(f"`{key}`" for key in keys)


def _first_line(documented: Any) -> str:
    text = inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0]
    words = " ".join(text.split()).rstrip(".,").replace("|", "\\|")
    return f"{words[:1].lower()}{words[1:]}"


def main() -> int:
    """Write the pages."""
    METRICS.write_text(metrics_page(), encoding="utf-8")
    LOG_EVENTS.write_text(log_events_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
