"""The metrics by name, in a registry of their own, and their exposition.

No label has unbounded values: what comes from outside goes through a `Vocabulary`. Counters of
small closed sets exist from the start, so that the first increase is seen as one.
"""

import gzip
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    exposition,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from sidecar import __version__
from sidecar.adapters.telemetry.label_values import OTHER, Vocabulary
from sidecar.adapters.telemetry.operator import OperatorMetrics
from sidecar.adapters.telemetry.receiver import ReceivedMetrics
from sidecar.adapters.telemetry.transmitted import TransmitterMetrics
from sidecar.domain.facts.facts import ACTS, SIGNALS
from sidecar.service.observations.observations import (
    ClearReason,
    DeadReason,
    EventOutcome,
    SpoolTrouble,
    StoreLoss,
)
from sidecar.service.ports.calls import UNKNOWN_CONTEXT, Verdict
from sidecar.wire.http.unasked import Exemption

Read: TypeAlias = Callable[[], float]

CHECK_BUCKETS = (
    *(2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3),
    *(1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0),
)
SIGNAL_TO_MARK_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
STORE_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 1.0, 5.0)

ROUTINE = "routine"
"""The label `context` of a check in no context."""
SEVERAL = "several"
"""The label `context` of a check in more than one: their combinations are too many to name."""
UNKNOWN = "unknown"
_CAP = 1000

VERDICTS = (
    *(verdict.value for verdict in Verdict),
    *("invalid_token", "unavailable", UNKNOWN_CONTEXT),
)


class Level(StrEnum):
    """What is read at each scrape, from whoever holds it."""

    MARKS_ACTIVE = "sidecar_marks_active"
    SESSIONS = "sidecar_sessions"
    VIEW_SESSIONS = "sidecar_view_sessions"
    VIEW_LIMIT = "sidecar_view_limit"
    TOKENS_LIMIT = "sidecar_tokens_limit"
    WATCHERS = "sidecar_watchers"
    STORE_STALENESS = "sidecar_store_staleness_seconds"
    SPOOL_EVENTS = "sidecar_spool_events"
    DEAD_LETTERS = "sidecar_dead_letters_waiting"
    WORK_LOG = "sidecar_work_log_entries"
    RESCORE_DONE = "sidecar_rescore_sessions_done"
    RESCORE_EXPECTED = "sidecar_rescore_sessions_expected"
    FAN_OUT_DONE = "sidecar_fan_out_sessions_done"
    FAN_OUT_EXPECTED = "sidecar_fan_out_sessions_expected"


_LEVEL_HELP: Mapping[Level, str] = {
    Level.MARKS_ACTIVE: "Marks that bind sessions in this sidecar's view.",
    Level.SESSIONS: "Live sessions that this sidecar serves.",
    Level.VIEW_SESSIONS: "Sessions held in this sidecar's local view.",
    Level.VIEW_LIMIT: "Sessions that it holds at most; more are read when they are asked for.",
    Level.TOKENS_LIMIT: "Verified tokens that this sidecar keeps at most.",
    Level.WATCHERS: "Connections that watch standings over the local socket.",
    Level.STORE_STALENESS: "Seconds for which the local view may lag behind the store.",
    Level.SPOOL_EVENTS: "Events kept on disk until the store is back.",
    Level.DEAD_LETTERS: "Dead letters in the store that wait to be put back or dropped.",
    Level.WORK_LOG: "Events in the store whose marks may be untold, in anybody's hands.",
    Level.RESCORE_DONE: "Sessions done in the latest re-score of all, by any sidecar.",
    Level.RESCORE_EXPECTED: "Sessions there were when the latest re-score of all began.",
    Level.FAN_OUT_DONE: "Sessions told of events that touch very many, so far, by any sidecar.",
    Level.FAN_OUT_EXPECTED: "Sessions found so far to be touched by events that touch very many.",
}


class Form(NamedTuple):
    """How a scrape is rendered."""

    openmetrics: bool = False
    gzip: bool = False


PLAIN = Form()


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
        times.add_metric((), list(zip(bounds, counts, strict=True)), self.seconds)
        yield times


class _Stale(Collector):
    """Whether the view is too old to decide calls, by context; asked at each scrape."""

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


class _WithoutCreated(Collector):
    """A registry without the `_created` series, which double its size and which nobody asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


class Metrics:
    """All metrics. `contexts` are the configured authentication contexts, the label's values."""

    def __init__(self, contexts: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._exposed = _WithoutCreated(self.registry)
        self._checks = _Checks()
        self.registry.register(self._checks)
        self._stale = _Stale()
        self.registry.register(self._stale)
        self.configured(contexts)
        self._levels = {level: self._gauge(level, _LEVEL_HELP[level]) for level in Level}
        self._define_counters()
        self._define_sessions()
        self._define_environment()
        self.transmitter = TransmitterMetrics(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _define_counters(self) -> None:
        self.event_types = Vocabulary((*SIGNALS, *ACTS), UNKNOWN)
        self.events = self._counter(
            "sidecar_events_total", "Events at the doors, by type and fate.", "type", "outcome"
        )
        for kind in (*SIGNALS, *ACTS, UNKNOWN):
            for outcome in EventOutcome:
                self.events.labels(kind, outcome)
        self.received = ReceivedMetrics(self.registry)
        self.operators = OperatorMetrics(self.registry)
        self.not_allowed = self._counter(
            "sidecar_not_allowed_total",
            "Events that their source may not say, by source and type.",
            "source",
            "type",
        )
        self.unasked = self._counter(
            "sidecar_calls_unasked_total", "Calls that passed unasked, by reason.", "reason"
        )
        for reason in Exemption:
            self.unasked.labels(reason)
        self.proofs_spent = self._counter("sidecar_proofs_spent_total", "Proofs spent.", "outcome")
        self.invalid_tokens = self._counter(
            "sidecar_invalid_tokens_total", "Access tokens not believed, by reason.", "reason"
        )
        self.claims_missing = self._counter(
            "sidecar_token_claims_missing_total",
            "Verified tokens that lack a claim that is needed; the issuer by its position in "
            "tokens.issuers.",
            *("issuer", "claim"),
        )
        self.reloads = self._counter(
            "sidecar_reloads_total", "Changed files taken up or refused.", "what", "outcome"
        )
        self.jwks_refreshes = self._counter(
            "sidecar_jwks_refreshes_total",
            "Refreshes of an issuer's keys; the issuer by its position in tokens.issuers.",
            *("issuer", "outcome"),
        )
        self.introspections = self._counter(
            "sidecar_introspections_total",
            "Questions about opaque tokens; the issuer by its position in tokens.issuers.",
            *("issuer", "outcome"),
        )
        self.introspection_seconds = Histogram(
            "sidecar_introspection_seconds",
            "Time until an issuer answered about an opaque token, or did not.",
            buckets=STORE_BUCKETS,
            registry=self.registry,
        )
        self.http_requests = self._counter(
            "sidecar_http_requests_total", "HTTP requests, by route and status.", "route", "status"
        )
        self.worker_errors = self._counter(
            "sidecar_worker_errors_total", "Errors that a worker met and went on from.", "where"
        )

    def _define_sessions(self) -> None:
        self.signal_to_mark = Histogram(
            "sidecar_signal_to_mark_seconds",
            "From an event's arrival to the mark it brought being in the store.",
            buckets=SIGNAL_TO_MARK_BUCKETS,
            registry=self.registry,
        )
        self.policies = Vocabulary(cap=_CAP)
        self.mark_signals = Vocabulary((*SIGNALS, *ACTS, "policy"))
        self.marks = self._counter(
            "sidecar_marks_total",
            "Marks set, by policy, signal and the policy's state.",
            *("policy", "signal", "state"),
        )
        self.marks_cleared = self._counter(
            "sidecar_marks_cleared_total", "Marks that bind no longer, by reason.", "reason"
        )
        for reason in ClearReason:
            self.marks_cleared.labels(reason)
        self.revocations = self._counter("sidecar_sessions_revoked_total", "Sessions revoked.")
        self.break_glass = self._counter(
            "sidecar_break_glass_checks_total", "Checks of emergency accounts.", "decision"
        )
        self.over_budget = self._counter(
            "sidecar_prompt_budget_exceeded_total", "Users who were asked too often."
        )
        self.report_only = self._counter(
            "sidecar_report_only_total",
            "Checks of which a report-only policy asked something: what the answer would have "
            "been, and what it was.",
            *("policy", "decision", "answered"),
        )
        self.causes = Vocabulary((*SIGNALS, *ACTS), cap=_CAP)
        self.rescored = self._counter(
            "sidecar_rescored_sessions_total", "Live sessions scored anew, by cause.", "cause"
        )
        self.view_evictions = self._counter(
            "sidecar_view_evictions_total", "Sessions put out of the local view to make room."
        )

    def _define_environment(self) -> None:
        self.reload_successful = self._gauge(
            "sidecar_config_last_reload_successful",
            "Whether the configuration could be taken up when it was read last.",
        )
        self.reload_succeeded_at = self._gauge(
            "sidecar_config_last_reload_success_timestamp_seconds",
            "When the configuration was taken up last.",
        )
        self.credential_failing = self._gauge(
            "sidecar_credential_failing",
            "Whether the file of a credential, by its key, held none when it was last looked at.",
            "credential",
        )
        self.acr_unoffered = self._gauge(
            "sidecar_acr_values_not_offered",
            "What policies can ask an issuer for as acr_values and its discovery does not list; "
            "the issuer by its position in tokens.issuers.",
            "issuer",
        )
        self.restart_required = self._gauge(
            "sidecar_restart_required", "Whether changed configuration waits for a restart."
        )
        self.policy_set = self._gauge(
            "sidecar_policy_set_info", "A digest of the policies in force.", "hash"
        )
        self.store_up = self._gauge(
            "sidecar_store_up", "Whether the store answers and takes writes."
        )
        self.store_losses = self._counter(
            "sidecar_store_losses_total", "Losses of the store, by how they were noticed.", "kind"
        )
        for loss in StoreLoss:
            self.store_losses.labels(loss)
        self.link_up = self._gauge(
            "sidecar_news_up", "Whether this sidecar hears the other sidecars' news."
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
        self.incidents = self._counter(
            "sidecar_door_incidents_total",
            "Clients refused or cut off, by door and what happened.",
            "door",
            "incident",
        )
        self.queue_rejected = self._counter(
            "sidecar_queue_rejected_total", "What a full queue turned away.", "queue"
        )
        self.spool_troubles = self._counter(
            "sidecar_spool_troubles_total", "Times that the spool began to fail.", "trouble"
        )
        for trouble in SpoolTrouble:
            self.spool_troubles.labels(trouble)
        self.spool_replayed = self._counter(
            "sidecar_spool_replayed_total", "Spooled events that were handed to the store."
        )
        self.dead_letters = self._counter(
            "sidecar_dead_letters_total", "Events given up after their tries.", "reason"
        )
        for reason in DeadReason:
            self.dead_letters.labels(reason)
        self.work_claimed = self._counter(
            "sidecar_work_claimed_total", "Work taken over from sidecars that did not finish it."
        )
        self.geography_built = self._gauge(
            "sidecar_geo_database_build_timestamp_seconds",
            "Build time of the geography database in use.",
            "database",
        )
        self.geography_errors = self._counter(
            "sidecar_geo_lookup_errors_total", "Look-ups that met a broken record."
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
        for verdict in Verdict:
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

    def level(self, level: Level, read: Read) -> None:
        """Ask `read` at each scrape. It must neither block nor raise."""
        self._levels[level].set_function(read)

    def stale(self, is_stale: Callable[[str], bool]) -> None:
        """Ask at each scrape whether the view is too old for a context. It must not block."""
        self._stale.is_stale = is_stale

    def queue(self, name: str, depth: Read) -> None:
        """Ask `depth` at each scrape how much waits in the queue `name`."""
        self._queue_depth.labels(name).set_function(depth)
        self.queue_rejected.labels(name)

    def expose(self, form: Form = PLAIN) -> Exposition:
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


def form_of(accept: str, accept_encoding: str) -> Form:
    """Return how a scrape is wanted, by these headers of its request."""
    return Form(_accepts(accept, "application/openmetrics-text"), _accepts(accept_encoding, "gzip"))


def _accepts(header: str, wanted: str) -> bool:
    """Whether a header of preferences (RFC 9110, section 12.4.2) names a value, not with q=0."""
    for part in header.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == wanted:
            quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            return quality.strip("0.") != ""
    return False
