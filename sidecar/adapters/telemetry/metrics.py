"""The metrics by name, in a registry of their own, and their exposition.

No label has unbounded values: what comes from outside goes through a `Vocabulary`. Counters of
small closed sets exist from the start, so that the first increase is seen as one.
"""

import gzip
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from prometheus_client import exposition
from prometheus_client.metrics import Counter, Gauge, Histogram
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar

from sidecar import __version__
from sidecar.adapters.telemetry.declarations import MetricDeclaration
from sidecar.adapters.telemetry.label_values import OTHER, TRACE, Vocabulary
from sidecar.adapters.telemetry.table import STORE_BUCKETS, TABLE
from sidecar.domain.evaluation.decision import Verdict
from sidecar.service.ports.calls import UNKNOWN_CONTEXT

Read: TypeAlias = Callable[[], float]

CHECK_BUCKETS = (
    *(2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3),
    *(1e-2, 5e-2, 0.1, 0.5, 1.0),
)
ROUTINE = "routine"
"""The label `context` of a check in no context."""
SEVERAL = "several"
"""The label `context` of a check in more than one: their combinations are too many to name."""
_CAP = 1000

UNAVAILABLE = "unavailable"
"""The label `decision` of a check that was answered with 503."""
VERDICTS = (
    *(verdict.value for verdict in Verdict),
    *("invalid_token", UNAVAILABLE, UNKNOWN_CONTEXT),
)


class ScrapedLevel(StrEnum):
    """The gauges that are read from their owners at each scrape."""

    READY = "sidecar_ready"
    MARKS_ACTIVE = "sidecar_marks_active"
    SESSIONS = "sidecar_sessions"
    VIEW_SESSIONS = "sidecar_view_sessions"
    VIEW_LIMIT = "sidecar_view_limit"
    TOKENS_LIMIT = "sidecar_tokens_limit"
    WATCHERS = "sidecar_watchers"
    SHARED_CALLS = "sidecar_shared_table_calls"
    DECISION_CHAIN = "sidecar_decision_log_chain_records"
    STORE_STALENESS = "sidecar_store_staleness_seconds"
    SPOOL_EVENTS = "sidecar_spool_events"
    DEAD_LETTERS = "sidecar_dead_letters_waiting"
    WORK_LOG = "sidecar_work_log_entries"
    RESCORE_DONE = "sidecar_rescore_sessions_done"
    RESCORE_EXPECTED = "sidecar_rescore_sessions_expected"
    FAN_OUT_DONE = "sidecar_fan_out_sessions_done"
    FAN_OUT_EXPECTED = "sidecar_fan_out_sessions_expected"


_LEVEL_HELP: Mapping[ScrapedLevel, str] = {
    ScrapedLevel.READY: "Whether this sidecar is ready, as /readyz says.",
    ScrapedLevel.MARKS_ACTIVE: "Marks that bind sessions in this sidecar's view.",
    ScrapedLevel.SESSIONS: "Live sessions that this sidecar serves.",
    ScrapedLevel.VIEW_SESSIONS: "Sessions held in this sidecar's local view.",
    ScrapedLevel.VIEW_LIMIT: "The most sessions it holds; others are read when they are asked for.",
    ScrapedLevel.TOKENS_LIMIT: "Verified tokens that this sidecar keeps at most.",
    ScrapedLevel.WATCHERS: "Connections that watch standings over the local socket.",
    ScrapedLevel.SHARED_CALLS: "Calls in the table that apps read without asking.",
    ScrapedLevel.DECISION_CHAIN: "The number of the last record in the chain of decisions.",
    ScrapedLevel.STORE_STALENESS: "Seconds for which the local view may lag behind the store.",
    ScrapedLevel.SPOOL_EVENTS: "Events kept on disk until the store is back.",
    ScrapedLevel.DEAD_LETTERS: "Dead letters in the store that wait to be put back or dropped.",
    ScrapedLevel.WORK_LOG: "Events in the store whose marks may be neither logged nor counted yet.",
    ScrapedLevel.RESCORE_DONE: "Sessions done in the latest re-score of all, by any sidecar.",
    ScrapedLevel.RESCORE_EXPECTED: "Sessions there were when the latest re-score of all began.",
    ScrapedLevel.FAN_OUT_DONE: "Sessions done, by any sidecar, of events that touch very many.",
    ScrapedLevel.FAN_OUT_EXPECTED: "Sessions found so far of events that touch very many.",
}


class ScrapeFormat(NamedTuple):
    """The form in which a scrape is rendered."""

    openmetrics: bool = False
    gzip: bool = False


PLAIN = ScrapeFormat()


class Exposition(NamedTuple):
    """A rendered scrape: body, its media type, and its content coding (empty: none)."""

    body: bytes
    content_type: str
    encoding: str


class _Checks(Collector):
    """Checks by decision and context, and their times; plain cells, as `labels()` is slow.

    Measured by `benchmarks/telemetry.py`. The sum of the buckets is the count, so that a scrape
    from any thread sees a whole histogram.
    """

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, list[int]]] = {}
        self.buckets = [0] * (len(CHECK_BUCKETS) + 1)
        self.seconds = 0.0
        self.exemplars: dict[int, Exemplar] = {}  # by bucket, the latest

    def cell(self, verdict: str, context: str) -> list[int]:
        return self.cells.setdefault(verdict, {}).setdefault(context, [0])

    def collect(self) -> Iterator[Metric]:
        checks = CounterMetricFamily(
            "sidecar_checks",
            "Checks answered, by decision and authentication context.",
            labels=("decision", "context"),
        )
        for verdict, cells in list(self.cells.items()):
            for context, cell in list(cells.items()):
                checks.add_metric((verdict, context), cell[0])
        yield checks
        times = HistogramMetricFamily("sidecar_check_seconds", "Time to answer a check.")
        bounds = (*(str(bound) for bound in CHECK_BUCKETS), "+Inf")
        counts = accumulate(self.buckets.copy())
        exemplars = self.exemplars.copy()
        buckets: list[Any] = [
            (bound, count, exemplars.get(place))
            for place, (bound, count) in enumerate(zip(bounds, counts, strict=True))
        ]
        times.add_metric((), buckets, self.seconds)
        yield times


class _Stale(Collector):
    """The metric of views too old to decide calls, by context; computed at each scrape."""

    def __init__(self) -> None:
        self.contexts: frozenset[str] = frozenset()
        self.is_stale: Callable[[str], bool] = lambda _: False

    def collect(self) -> Iterator[Metric]:
        stale = GaugeMetricFamily(
            "sidecar_context_stale",
            "Whether the view is too old for calls in a context: when_unknown answers them.",
            labels=("context",),
        )
        for context in sorted(self.contexts):
            stale.add_metric((context,), self.is_stale(context))
        yield stale


class _Conditions(Collector):
    """The conditions of readiness that are not good, as they are at each scrape."""

    def __init__(self) -> None:
        self.read: Callable[[], Iterable[tuple[str, str]]] = tuple

    def collect(self) -> Iterator[Metric]:
        unmet = GaugeMetricFamily(
            "sidecar_condition_unmet",
            "Conditions of readiness that are not good now, as /readyz names them; always 1.",
            labels=("condition", "state"),
        )
        for condition, state in self.read():
            unmet.add_metric((condition, state), 1)
        yield unmet


class _WithoutCreated(Collector):
    """A registry without the `_created` series, which double its size and which nobody asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


class TransmitterLevels:
    """The gauges of events that wait for recipients, and of which sidecar delivers them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._backlog = Gauge(
            "sidecar_transmitter_backlog_events",
            "Events that wait in a recipient's streams, as the delivering sidecar sees them.",
            ("recipient",),
            registry=registry,
        )
        self._delivering = Gauge(
            "sidecar_transmitter_delivering",
            "Whether this sidecar delivers shared signals.",
            registry=registry,
        )

    def delivering(self, yes: bool) -> None:  # noqa: FBT001 - its only argument
        """Set whether this sidecar delivers."""
        self._delivering.set(yes)

    def backlogs(self, counts: Mapping[str, int]) -> None:
        """Set how many events wait, by configured recipient; none are known if it delivers none."""
        self._backlog.clear()
        for recipient, count in counts.items():
            self._backlog.labels(recipient).set(count)


class Metrics:
    """All metrics. `contexts` are the configured authentication contexts, the label's values."""

    def __init__(self, contexts: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._checks = _Checks()
        self.registry.register(self._checks)
        self._stale = _Stale()
        self.registry.register(self._stale)
        self._conditions = _Conditions()
        self.registry.register(self._conditions)
        self.configured(contexts)
        self._levels: dict[ScrapedLevel, Gauge] = {}
        counted = {
            c.name: c for row in TABLE for c in row.columns if isinstance(c, MetricDeclaration)
        }
        self._exposed = _WithoutCreated(self.registry)
        self._shown: set[str] = set()
        self.collectors: dict[str, Any] = {
            name: metric.collector(self.registry) for name, metric in counted.items()
        }
        self._define_others()
        self.transmitter = TransmitterLevels(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _define_others(self) -> None:
        self.http_requests = self._counter(
            "sidecar_http_requests_total", "HTTP requests, by route and status.", "route", "status"
        )
        self._store_seconds = Histogram(
            "sidecar_store_seconds",
            "Time of a store operation.",
            ("operation",),
            buckets=STORE_BUCKETS,
            registry=self.registry,
        )
        self._store_children: dict[str, Histogram] = {}
        self._operations = Vocabulary(cap=_CAP)
        self._queue_depth = self._gauge(
            "sidecar_queue_depth", "What waits in a bounded queue.", "queue"
        )
        self.log_lines_dropped = self._counter(
            "sidecar_log_lines_dropped_total", "Log lines dropped as nobody read standard error."
        )
        build = self._gauge("sidecar_build_info", "The version that runs; always 1.", "version")
        build.labels(__version__).set(1)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def configured(self, contexts: Iterable[str]) -> None:
        """Take these contexts as values of the label `context` from now on; all else is "other"."""
        self._contexts = self._stale.contexts = frozenset(contexts)
        for verdict in (*Verdict, UNAVAILABLE):
            for context in (ROUTINE, *sorted(self._contexts)):
                self._checks.cell(verdict, context)
        self._direct = {
            verdict: {"": cells[ROUTINE], **{c: cells[c] for c in self._contexts if c in cells}}
            for verdict, cells in self._checks.cells.items()
            if ROUTINE in cells
        }

    def checked(self, verdict: str, context: str, seconds: float) -> None:
        """Count a check. `context`: none, one, or several parted by spaces or commas."""
        try:
            cell = self._direct[verdict][context]
        except KeyError:
            cell = self._checks.cell(*self._check_labels(verdict, context))
        cell[0] += 1
        checks = self._checks
        checks.buckets[bisect_left(CHECK_BUCKETS, seconds)] += 1
        checks.seconds += seconds

    def traced(self, seconds: float, trace: str, at: float) -> None:
        """Show a check of this time as an example of its bucket: its trace has this id."""
        place = bisect_left(CHECK_BUCKETS, seconds)
        self._checks.exemplars[place] = Exemplar({TRACE: trace}, seconds, at)

    def _check_labels(self, verdict: str, context: str) -> tuple[str, str]:
        names = set(context.replace(",", " ").split())
        if not names:
            context = ROUTINE
        elif not names <= self._contexts:
            context = OTHER
        else:
            context = names.pop() if len(names) == 1 else SEVERAL
        return verdict if verdict in VERDICTS else OTHER, context

    def stored(self, operation: str, seconds: float) -> None:
        """Count a store operation and its time."""
        child = self._store_children.get(operation)
        if child is None:
            operation = self._operations[operation]
            child = self._store_children[operation] = self._store_seconds.labels(operation)
        child.observe(seconds)

    def level(self, level: ScrapedLevel, read: Read) -> None:
        """Ask `read` at each scrape. It must neither block nor raise."""
        if level not in self._levels:
            self._levels[level] = self._gauge(level, _LEVEL_HELP[level])
        self._levels[level].set_function(read)

    def counted(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the series of a counter: the labels of each, and its value."""
        return [
            (sample.labels, sample.value)
            for family in self.collectors[name].collect()
            for sample in family.samples
            if sample.name == name
        ]

    def show(self, metric: MetricDeclaration) -> None:
        """Show an optional metric from now on."""
        if metric.is_optional and metric.name not in self._shown:
            self._shown.add(metric.name)
            self.registry.register(self.collectors[metric.name])

    def stale(self, is_stale: Callable[[str], bool]) -> None:
        """Ask at each scrape whether the view is too old for a context. It must not block."""
        self._stale.is_stale = is_stale

    def conditions(self, unmet: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Ask at each scrape for the conditions that are not good, each with its state."""
        self._conditions.read = unmet

    def queue(self, name: str, depth: Read) -> None:
        """Ask `depth` at each scrape how much waits in the queue `name`."""
        self._queue_depth.labels(name).set_function(depth)
        self.collectors["sidecar_queue_rejected_total"].labels(name)

    def expose(self, form: ScrapeFormat = PLAIN) -> Exposition:
        """Render every metric."""
        if form.openmetrics:
            body = openmetrics.generate_latest(self._exposed)  # type: ignore[no-untyped-call]
            content_type = openmetrics.CONTENT_TYPE_LATEST
        else:
            body = exposition.generate_latest(self._exposed)
            content_type = exposition.CONTENT_TYPE_PLAIN_0_0_4
        if form.gzip:
            return Exposition(gzip.compress(body, compresslevel=5), content_type, "gzip")
        return Exposition(body, content_type, "")


def form_of(accept: str, accept_encoding: str) -> ScrapeFormat:
    """Return how a scrape is wanted, by these headers of its request."""
    return ScrapeFormat(
        _accepts(accept, "application/openmetrics-text"), _accepts(accept_encoding, "gzip")
    )


def _accepts(header: str, wanted: str) -> bool:
    """Return whether a preference header (RFC 9110, section 12.4.2) names a value without q=0."""
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == wanted:
            quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            return quality.strip("0.") != ""
    return False
