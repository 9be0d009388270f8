"""Makes functions of the table's rows: each counts and logs the observations of one kind."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from sidecar.adapters.telemetry.declarations import (
    LEVELS,
    By,
    Column,
    ConfiguredNames,
    LogLine,
    MetricDeclaration,
    MetricKind,
    MetricLabel,
    ObservationRow,
    OccasionalLines,
)
from sidecar.adapters.telemetry.label_values import (
    OTHER,
    TRACE,
    Vocabulary,
    positions_of,
    sources_of,
)
from sidecar.adapters.telemetry.logs import Logger
from sidecar.adapters.telemetry.sampled_lines import SampledLines
from sidecar.service.observations.observations import Observation
from sidecar.wire.settings.settings import Settings

_LINE_EVERY = 60.0
"""Seconds between two log lines of one kind, where anybody can bring them about."""

Record = Callable[[Any], None]


class Circumstances:
    """The context of counting and logging beside the observation: time, log, configuration."""

    def __init__(self, now: Callable[[], float], log: Logger, settings: Settings) -> None:
        self.now = now
        self.sampled = SampledLines(
            lambda event, **fields: self.log.info(event, **fields)  # noqa: PLW0108 - as it then is
        )
        self._said: dict[tuple[str, ...], tuple[float, int]] = {}
        self.configured(log, settings)

    def configured(self, log: Logger, settings: Settings) -> None:
        """Take over a configuration."""
        self.log = log
        self.levels = LEVELS[LEVELS.index(settings.log.level) :]
        self.logs_checks = settings.log.checks
        sources = sources_of(settings)
        self.names: Mapping[ConfiguredNames, Mapping[str, str]] = {
            ConfiguredNames.ISSUERS: positions_of(settings),
            ConfiguredNames.SOURCES: dict(zip(sources, sources, strict=True)),
        }

    def unsaid(self, event: str, *of: str) -> int | None:
        """Return how many lines were left out since the last; None: leave this one out, too.

        A line of each kind in a minute. `of`, like the event, is of a closed set.
        """
        now = self.now()
        said_at, unsaid = self._said.get((event, *of), (-_LINE_EVERY, 0))
        if now - said_at < _LINE_EVERY:
            self._said[event, *of] = said_at, unsaid + 1
            return None
        self._said[event, *of] = now, 0
        return unsaid


def recorder(row: ObservationRow, collectors: Mapping[str, Any], at: Circumstances) -> Record:
    """Return the function that counts and logs the observations of a row."""
    steps = [_step(row.of, column, collectors, at) for column in row.columns]
    if len(steps) == 1:
        return steps[0]

    def record(seen: Observation) -> None:
        for step in steps:
            step(seen)

    return record


def _step(
    of: type[Observation],
    column: Column,
    collectors: Mapping[str, Any],
    at: Circumstances,
) -> Record:
    match column:
        case MetricDeclaration():
            return _counting(of, column, collectors[column.name], at)
        case LogLine():
            return _logging(of, column, at)
        case _:
            return _saying(column(at), at)


def _counting(
    of: type[Observation], metric: MetricDeclaration, collector: Any, at: Circumstances
) -> Record:
    """Return the function that counts an observation in one metric."""
    if metric.each:
        return _counting_each(_attribute(of, metric.each), metric, collector)
    child_of, act = _child(of, metric, collector, at), _ACTS[metric.kind]
    amount = _amount(of, metric, at)
    holds = _attribute(of, metric.when) if metric.when else None
    if metric.exemplar:
        return _observing(child_of, amount, _attribute(of, metric.exemplar))

    def count(seen: Observation) -> None:
        much = amount(seen)
        if much is not None:
            act(child_of(seen), much)

    def count_if(seen: Observation) -> None:
        if holds is None or holds(seen):
            if metric.kind is MetricKind.INFO:
                collector.clear()
            count(seen)

    return count_if if metric.when or metric.kind is MetricKind.INFO else count


def _observing(
    child_of: Callable[[Observation], Any],
    amount: Callable[[Any], Any],
    trace_of: Callable[[Any], str],
) -> Record:
    """Return the function that puts an observation into a histogram, with its trace's id."""

    def observe(seen: Observation) -> None:
        much, trace = amount(seen), trace_of(seen)
        if much is not None:
            child_of(seen).observe(much, {TRACE: trace} if trace else None)

    return observe


def _counting_each(
    items: Callable[[Any], Any], metric: MetricDeclaration, collector: Any
) -> Record:
    """Return the function that counts each item of an observation in one metric."""

    def count_each(seen: Observation) -> None:
        for item in items(seen):
            collector.labels(item).inc()

    def set_each(seen: Observation) -> None:
        collector.clear()
        for item, much in items(seen):
            collector.labels(item).set(much)

    return set_each if metric.kind is MetricKind.GAUGE else count_each


_ACTS: Mapping[MetricKind, Callable[[Any, Any], None]] = {
    MetricKind.COUNTER: lambda child, much: child.inc(much),
    MetricKind.HISTOGRAM: lambda child, much: child.observe(much),
    MetricKind.GAUGE: lambda child, much: child.set(much),
    MetricKind.MOMENT: lambda child, much: child.set(much),
    MetricKind.INFO: lambda child, much: child.set(much),
}


def _amount(
    of: type[Observation], metric: MetricDeclaration, at: Circumstances
) -> Callable[[Any], Any]:
    if metric.kind is MetricKind.MOMENT:
        return lambda _: at.now()
    return _attribute(of, metric.amount) if metric.amount else lambda _: 1


def _child(
    of: type[Observation], metric: MetricDeclaration, collector: Any, at: Circumstances
) -> Callable[[Observation], Any]:
    """Return the function that finds the series of an observation."""
    if not metric.labels:
        return lambda _: collector
    values = _values(of, metric.labels, at)
    if metric.kind is MetricKind.INFO:
        return lambda seen: collector.labels(*values(seen))
    children: dict[tuple[str, ...], Any] = {}  # as `labels()` takes a lock and makes text of values

    def child_of(seen: Observation) -> Any:
        labels = values(seen)
        child = children.get(labels)
        if child is None:
            child = children[labels] = collector.labels(*labels)
        return child

    return child_of


def _values(
    of: type[Observation], labels: Iterable[MetricLabel | str], at: Circumstances
) -> Callable[[Observation], tuple[str, ...]]:
    reads = [_value(of, MetricLabel(x) if isinstance(x, str) else x, at) for x in labels]
    match reads:
        case [first]:
            return lambda seen: (first(seen),)
        case [first, second]:
            return lambda seen: (first(seen), second(seen))
        case _:
            return lambda seen: tuple([read(seen) for read in reads])


def _value(of: type[Observation], label: MetricLabel, at: Circumstances) -> Callable[[Any], str]:
    read = _attribute(of, label.of or label.name)
    if label.among is not None:
        among = label.among
        return lambda seen: at.names[among].get(read(seen), OTHER)
    if label.values or label.cap:
        known = Vocabulary(label.values, label.other, label.cap)
        return lambda seen: known[read(seen)]
    return read


def _logging(of: type[Observation], line: LogLine, at: Circumstances) -> Record:
    """Return the function that writes the line of an observation."""
    event, level = _column(of, line.event), _column(of, line.level)
    fields = _fields(of, line.fields)

    def write(seen: Observation) -> None:
        loud = level(seen)
        if loud in at.levels:
            getattr(at.log, loud)(event(seen), **fields(seen))

    if line.like is not None:
        like = [_attribute(of, name) for name in line.like]

        def write_some(seen: Any) -> None:
            cause = (*(read(seen) for read in like), *seen.by) if seen.by else ()
            at.sampled.write(event(seen), cause, **fields(seen))

        return write_some
    if line.minutely is None:
        return write
    kind = _values(of, line.minutely, at)

    def write_minutely(seen: Observation) -> None:
        name = event(seen)
        unsaid = at.unsaid(name, *kind(seen))
        if unsaid is not None:
            more = {} if line.silently else {"unsaid": unsaid}
            getattr(at.log, level(seen))(name, **fields(seen), **more)

    return write_minutely


def _saying(lines: OccasionalLines, at: Circumstances) -> Record:
    def write(seen: Observation) -> None:
        for level, event, fields in lines(seen):
            getattr(at.log, level)(event, **fields)

    return write


def _column(of: type[Observation], column: str | By | Callable[[Any], str]) -> Callable[[Any], str]:
    if isinstance(column, By):
        read, values, otherwise = _attribute(of, column.of), column.values, column.otherwise
        return lambda seen: values.get(read(seen), otherwise)
    if not isinstance(column, str):
        return column
    return column.format if "{" in column else lambda _: column


def _fields(of: type[Observation], spec: str) -> Callable[[Observation], dict[str, Any]]:
    """Return the function that reads the fields of a line."""
    columns = []
    for field in spec.split():
        name, _, attribute = field.rstrip("?").partition("=")
        columns.append((name, _attribute(of, attribute or name), field.endswith("?")))

    def fields(seen: Observation) -> dict[str, Any]:
        read = {}
        for name, value_of, is_optional in columns:
            value = value_of(seen)
            if value or not is_optional:
                read[name] = value
        return read

    return fields


def _attribute(of: type[Observation], name: str) -> Callable[[Any], Any]:
    if not hasattr(of, name):
        raise AttributeError(f"{of.__name__} has no {name}")
    return attrgetter(name)
