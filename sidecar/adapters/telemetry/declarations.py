"""Declares the columns of the table of observations: metrics with their labels, and log lines."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from prometheus_client.metrics import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

from sidecar.adapters.telemetry.label_values import OTHER
from sidecar.service.observations.observations import Observation
from sidecar.wire.settings.settings import Settings

LEVELS = DEBUG, INFO, WARNING, ERROR = ("debug", "info", "warning", "error")

WrittenLine: TypeAlias = tuple[str, str, Mapping[str, object]]
"""A log line: its level, its event, and its fields."""


class ConfiguredNames(StrEnum):
    """A kind of configured names that a label may have as values; all else is `other`."""

    ISSUERS = "issuers"  # by their position
    SOURCES = "sources"


class MetricLabel(NamedTuple):
    """A label of a metric. Its value is the observation's attribute of that name, or `of`.

    With `values` all others are `other`; with `cap` those that come after so many; with `among`
    those that are not configured. Without any of them the code that observes has a closed set.
    """

    name: str
    of: str = ""
    values: Sequence[str] = ()
    other: str = OTHER
    cap: int = 0
    among: ConfiguredNames | None = None


def one_of(name: str, values: Iterable[str], of: str = "") -> MetricLabel:
    """Declare a label with a closed set of values."""
    return MetricLabel(name, of, tuple(values))


ISSUER = MetricLabel("issuer", among=ConfiguredNames.ISSUERS)


class MetricKind(StrEnum):
    """The kinds of metrics, by what an observation does to them."""

    COUNTER = "counter"  # is added to it
    GAUGE = "gauge"  # is its value from now on
    MOMENT = "moment"  # the same, as of the time of the observation
    INFO = "info"  # is its only series from now on, of value 1
    HISTOGRAM = "histogram"


_COLLECTORS = {MetricKind.COUNTER: Counter, MetricKind.HISTOGRAM: Histogram}


class MetricDeclaration(NamedTuple):
    """A metric, and how an observation counts.

    `amount` is the attribute that is added, set or observed (by default 1; None does not count);
    only observations count of which the attribute `when` holds, and once for each item of `each`;
    of a gauge these are labels with values, which are its only series from then on. `exemplar` is
    the attribute with the id of a trace, which a histogram shows as an exemplar.

    An alert sees the first increase of a series as one only where the series was there before. So
    one whose labels all have `values` has all its series from the start, or from when `wanted`
    holds of the configuration; another one those of `series`. What no alert waits for is wanted by
    `nobody`: its series begin with what they count. One without labels and with `wanted` is not
    there at all until that holds: what it observes cannot happen before.
    """

    name: str
    help: str
    labels: Sequence[MetricLabel] = ()
    kind: MetricKind = MetricKind.COUNTER
    amount: str = ""
    when: str = ""
    each: str = ""
    buckets: Sequence[float] = ()
    exemplar: str = ""
    series: Callable[[Settings], Iterable[tuple[str, ...]]] | None = None
    wanted: Callable[[Settings], bool] | None = None

    @property
    def is_optional(self) -> bool:
        """Return whether it is in no registry until its configuration wants it."""
        return not self.labels and self.wanted is not None

    def collector(self, registry: CollectorRegistry) -> Any:
        """Return the metric, in a registry unless it is optional."""
        names = [label.name for label in self.labels]
        buckets = {"buckets": self.buckets} if self.buckets else {}
        made: Any = _COLLECTORS.get(self.kind, Gauge)
        into = None if self.is_optional else registry
        return made(self.name, self.help, names, registry=into, **buckets)

    def begun(self, settings: Settings) -> Iterable[tuple[str, ...]]:
        """Return the labels of the series that are there before they count anything."""
        if self.series is not None:
            return self.series(settings)
        is_closed = all(label.values and not label.cap for label in self.labels)
        if not (self.labels and is_closed) or not (self.wanted is None or self.wanted(settings)):
            return ()
        return product(*(self._first(label) for label in self.labels))

    @staticmethod
    def _first(label: MetricLabel) -> Iterable[str]:
        return label.values if label.other == OTHER else (*label.values, label.other)


def counter(name: str, text: str, *labels: MetricLabel | str, **columns: Any) -> MetricDeclaration:
    """Declare a counter."""
    return MetricDeclaration(name, text, _labels(labels), **columns)


def gauge(name: str, text: str, *labels: MetricLabel | str, **columns: Any) -> MetricDeclaration:
    """Declare a gauge."""
    return MetricDeclaration(name, text, _labels(labels), **{"kind": MetricKind.GAUGE, **columns})


def histogram(
    name: str, text: str, amount: str, buckets: Sequence[float], **columns: Any
) -> MetricDeclaration:
    """Declare a histogram of an attribute."""
    kind = MetricKind.HISTOGRAM
    return MetricDeclaration(name, text, (), kind, amount, buckets=buckets, **columns)


def nobody(_settings: Settings) -> bool:
    """Return that nobody waits for the series of a metric before they count something."""
    return False


def _labels(labels: Iterable[MetricLabel | str]) -> tuple[MetricLabel, ...]:
    return tuple(MetricLabel(one) if isinstance(one, str) else one for one in labels)


class By(NamedTuple):
    """A column whose value depends on an attribute of the observation."""

    of: str
    values: Mapping[Any, str]
    otherwise: str = ""


class LogLine(NamedTuple):
    """A log line of each observation of a kind.

    `event` may have attributes of the observation in it: `event-{0.outcome}`. `fields` are
    attributes: `name`, or `name=attribute`; one with `?` is left out where it is empty.

    `minutely`: of the lines with the same values of these labels one a minute is written, and says
    as `unsaid` how many were left out, unless `silently`. `like`: of the lines of one event (`by`)
    that are the same in these attributes the first ones are written, and then a sum.
    """

    event: str | By
    level: str | By | Callable[[Any], str]
    fields: str = ""
    minutely: Sequence[MetricLabel | str] | None = None
    silently: bool = False
    like: Sequence[str] | None = None


OccasionalLines: TypeAlias = Callable[[Any], Iterable[WrittenLine]]
"""Returns the lines of an observation that is not always worth one, or is worth several."""

Column: TypeAlias = MetricDeclaration | LogLine | Callable[[Any], OccasionalLines]
"""A metric, a log line, or a function that is given the circumstances and returns lines."""


class ObservationRow(NamedTuple):
    """A row of the table: metrics and log lines of one kind of observation."""

    of: type[Observation]
    columns: Sequence[Column]


def row(of: type[Observation], *columns: Column) -> ObservationRow:
    """Declare how observations of a kind are counted and logged."""
    return ObservationRow(of, columns)
